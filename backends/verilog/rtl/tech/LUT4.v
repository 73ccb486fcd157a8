// Model of the lookup table of Lattice ECP5 (ports A, B, C, D, Z) for simulation; synthesis tools have their own.
`ifndef SYNTHESIS
module LUT4 #(
    parameter [15:0] INIT = 16'h0000
) (
    input  A,
    input  B,
    input  C,
    input  D,
    output Z
);
  assign Z = INIT[{D, C, B, A}];
endmodule
`endif
