// Model of the carry chain of AMD's 7 series for simulation; synthesis tools have their own.
`ifndef SYNTHESIS
module CARRY4 (
    output [3:0] CO,
    output [3:0] O,
    input        CI,
    input        CYINIT,
    input  [3:0] DI,
    input  [3:0] S
);
  wire first = CI | CYINIT;
  wire c0 = S[0] ? first : DI[0];
  wire c1 = S[1] ? c0 : DI[1];
  wire c2 = S[2] ? c1 : DI[2];
  wire c3 = S[3] ? c2 : DI[3];
  assign CO = {c3, c2, c1, c0};
  assign O  = S ^ {c2, c1, c0, first};
endmodule
`endif
