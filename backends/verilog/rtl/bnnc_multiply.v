// bnnc_multiply: the product of two signed numbers, pipelined, in pieces that fit the multipliers of an FPGA.
//
//   A_WIDTH, B_WIDTH  bits of the factors; the product has the sum of both
//
// A product a cycle while `enable`. Latency: 1 cycle where both factors have at most 18 bits; else 3, the factors being
// cut into limbs of 17 bits (products of limbs, then the sum of each row of them, then the sum of the rows).
module bnnc_multiply #(
    parameter integer A_WIDTH = 32,
    parameter integer B_WIDTH = 32
) (
    input                        clk,
    input                        enable,
    input  [        A_WIDTH-1:0] a,
    input  [        B_WIDTH-1:0] b,
    output [A_WIDTH+B_WIDTH-1:0] product
);
  localparam integer WIDTH = A_WIDTH + B_WIDTH;
  localparam integer SHORT = A_WIDTH <= 18 && B_WIDTH <= 18 ? 1 : 0;
  localparam integer ROWS = SHORT != 0 || A_WIDTH == 1 ? 1 : (A_WIDTH + 15) / 17;
  localparam integer COLUMNS = SHORT != 0 || B_WIDTH == 1 ? 1 : (B_WIDTH + 15) / 17;
  // Whole limbs and a sign bit. Every limb has a sign of its own, which is 0 but in the highest.
  wire [17*ROWS:0] a_wide = {{17 * ROWS + 1 - A_WIDTH{a[A_WIDTH-1]}}, a};
  wire [17*COLUMNS:0] b_wide = {{17 * COLUMNS + 1 - B_WIDTH{b[B_WIDTH-1]}}, b};

  genvar i, j;
  generate
    for (i = 0; i < ROWS; i = i + 1) begin : g_row
      wire signed [17:0] a_limb = {i == ROWS - 1 && a_wide[17*ROWS], a_wide[17*i+:17]};
      for (j = 0; j < COLUMNS; j = j + 1) begin : g_limb
        wire signed [17:0] b_limb = {j == COLUMNS - 1 && b_wide[17*COLUMNS], b_wide[17*j+:17]};
        reg signed [35:0] part;
        always @(posedge clk) if (enable) part <= a_limb * b_limb;
        // The sum of this row so far, modulo 2^WIDTH, at its place in the row.
        // verilator lint_off UNUSED
        wire [WIDTH+35:0] extended = {{WIDTH{part[35]}}, part};
        // verilator lint_on UNUSED
        wire [WIDTH-1:0] sum;
        if (j == 0) begin : g_first
          assign sum = extended[WIDTH-1:0];
        end else begin : g_next
          assign sum = g_limb[j-1].sum + (extended[WIDTH-1:0] << (17 * j));
        end
      end
      wire [WIDTH-1:0] total;  // the sum of the rows so far
      if (SHORT != 0) begin : g_only
        assign total = g_limb[0].sum;
      end else begin : g_sum
        reg [WIDTH-1:0] row;
        always @(posedge clk) if (enable) row <= g_limb[COLUMNS-1].sum;
        if (i == 0) begin : g_first
          assign total = row;
        end else begin : g_next
          assign total = g_row[i-1].total + (row << (17 * i));
        end
      end
    end
    if (SHORT != 0) begin : g_short
      assign product = g_row[0].total;
    end else begin : g_long
      reg [WIDTH-1:0] result;
      always @(posedge clk) if (enable) result <= g_row[ROWS-1].total;
      assign product = result;
    end
  endgenerate
endmodule
