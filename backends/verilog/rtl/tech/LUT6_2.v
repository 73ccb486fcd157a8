// Model of a lookup table with two outputs of AMD's 7 series for simulation; synthesis tools have their own.
`ifndef SYNTHESIS
module LUT6_2 #(
    parameter [63:0] INIT = 64'h0000000000000000
) (
    output O6,
    output O5,
    input  I0,
    input  I1,
    input  I2,
    input  I3,
    input  I4,
    input  I5
);
  assign O5 = INIT[{1'b0, I4, I3, I2, I1, I0}];
  assign O6 = INIT[{I5, I4, I3, I2, I1, I0}];
endmodule
`endif
