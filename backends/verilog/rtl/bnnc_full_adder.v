// bnnc_full_adder: how many of three bits are set. Combinational.
//
// Its hierarchy is kept: synthesis tools take sums of wires apart, and then need up to twice as much (a full adder is two
// LUT4 or one LUT6 with two outputs).
(* keep_hierarchy = "yes" *)
module bnnc_full_adder (
    input  a,
    input  b,
    input  c,
    output sum,
    output carry
);
  assign sum   = a ^ b ^ c;
  assign carry = (a && b) || (c && (a || b));
endmodule
