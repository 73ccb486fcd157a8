// bnnc_lut4: a function of up to four bits.
//
//   TABLE  truth table: bit {d, c, b, a} is the output for these inputs
//
// Combinational. Its hierarchy is kept: see bnnc_adder.
(* keep_hierarchy = "yes" *)
module bnnc_lut4 #(
    parameter [15:0] TABLE = 16'h0000
) (
    input  a,
    input  b,
    input  c,
    input  d,
    output y
);
  assign y = TABLE[{d, c, b, a}];
endmodule
