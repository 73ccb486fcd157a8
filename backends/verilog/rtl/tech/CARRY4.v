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
  assign O  = S ^ {CO[2:0], first};
  assign CO[0] = S[0] ? first : DI[0];
  assign CO[1] = S[1] ? CO[0] : DI[1];
  assign CO[2] = S[2] ? CO[1] : DI[2];
  assign CO[3] = S[3] ? CO[2] : DI[3];
endmodule
`endif
