// bnnc_counter7: how many of seven bits are 1, in three lookup tables and a carry chain of AMD's 7 series.
//
//   INIT0  function of x0 … x4 in the lower half, and of x0 … x4 and a in all of it
//   INIT1, INIT2  functions of x0 … x4 in the upper half, 0 in the lower one
//
// With the tables for plain inputs, y0 + 2*y1 + 4*y2 = x0 + … + x4 + a + e; inverters of x and a are part of the tables.
// The chain adds (the number of ones of x0 … x4) + a + e. Combinational.
module bnnc_counter7 #(
    parameter [63:0] INIT0 = 64'h6996966996696996,
    parameter [63:0] INIT1 = 64'h177e7ee800000000,
    parameter [63:0] INIT2 = 64'he880800000000000
) (
    input  x0,
    input  x1,
    input  x2,
    input  x3,
    input  x4,
    input  a,
    input  e,
    output y0,
    output y1,
    output y2
);
  wire [2:0] propagate, generated;
  /* verilator lint_off UNUSEDSIGNAL */
  wire [3:0] sums, carries;
  /* verilator lint_on UNUSEDSIGNAL */
  LUT6_2 #(
      .INIT(INIT0)
  ) table0 (
      .O6(propagate[0]), .O5(generated[0]), .I0(x0), .I1(x1), .I2(x2), .I3(x3), .I4(x4), .I5(a)
  );
  LUT6_2 #(
      .INIT(INIT1)
  ) table1 (
      .O6(propagate[1]), .O5(generated[1]), .I0(x0), .I1(x1), .I2(x2), .I3(x3), .I4(x4), .I5(1'b1)
  );
  LUT6_2 #(
      .INIT(INIT2)
  ) table2 (
      .O6(propagate[2]), .O5(generated[2]), .I0(x0), .I1(x1), .I2(x2), .I3(x3), .I4(x4), .I5(1'b1)
  );
  CARRY4 chain (
      .O(sums), .CO(carries), .CI(1'b0), .CYINIT(e), .DI({1'b0, generated}), .S({1'b0, propagate})
  );
  assign {y2, y1, y0} = sums[2:0];
endmodule
