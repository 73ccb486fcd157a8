// bnnc_adder: two functions of the same three bits, in most cases the sum and the carry of a full adder.
//
//   SUM, CARRY  truth tables: bit {c, b, a} is the output for these inputs (inverted inputs are part of the tables)
//
// Combinational. Its hierarchy is kept: synthesis tools take sums of wires apart, and then need up to three times as much.
(* keep_hierarchy = "yes" *)
module bnnc_adder #(
    parameter [7:0] SUM   = 8'h96,
    parameter [7:0] CARRY = 8'he8
) (
    input  a,
    input  b,
    input  c,
    output sum,
    output carry
);
  assign sum   = SUM[{c, b, a}];
  assign carry = CARRY[{c, b, a}];
endmodule
