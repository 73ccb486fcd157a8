// Model of a lookup table of six inputs of AMD's 7 series for simulation; synthesis tools have their own.
`ifndef SYNTHESIS
module LUT6 #(
    parameter [63:0] INIT = 64'h0000000000000000
) (
    output O,
    input  I0,
    input  I1,
    input  I2,
    input  I3,
    input  I4,
    input  I5
);
  assign O = INIT[{I5, I4, I3, I2, I1, I0}];
endmodule
`endif
