// bnnc_adder_tree: the sum of LANES numbers, each of which may have one more to add (`pending`): `sum` + `carry`.
//
//   LANES     numbers of a word
//   IN_WIDTH  bits of a number; IN_SIGNED 1: two's complement
//   WIDTH     bits of the sum, which is right modulo 2^WIDTH
//
// (-x is (not x) + 1: such a lane gives (not x) and a pending 1.) Each adder takes the pending bit of its left number as its
// carry in and hands on that of its right one; the last comes out beside the sum, for the accumulator's carry.
// A word a cycle, never stalls. Latency: ceil(log2(LANES)) cycles (0 for one lane: wires).
module bnnc_adder_tree #(
    parameter integer LANES = 8,
    parameter integer IN_WIDTH = 9,
    parameter integer IN_SIGNED = 1,
    parameter integer WIDTH = 12
) (
    // verilator lint_off UNUSED
    input                       clk,
    input  [LANES*IN_WIDTH-1:0] numbers,
    // verilator lint_on UNUSED
    input  [         LANES-1:0] pending,
    output [         WIDTH-1:0] sum,
    output                      carry
);
  localparam integer LEVELS = LANES > 1 ? $clog2(LANES) : 0;

  genvar level, n;
  generate
    for (level = 0; level <= LEVELS; level = level + 1) begin : g_level
      localparam integer W = IN_WIDTH + level < WIDTH ? IN_WIDTH + level : WIDTH;
      localparam integer N = (LANES + (1 << level) - 1) >> level;
      wire [W*N-1:0] sums;
      wire [N-1:0] carries;
      if (level == 0) begin : g_input
        for (n = 0; n < N; n = n + 1) begin : g_lane
          assign sums[W*n+:W] = numbers[IN_WIDTH*n+:W];
          assign carries[n] = pending[n];
        end
      end else begin : g_pairs
        localparam integer BELOW = (LANES + (1 << (level - 1)) - 1) >> (level - 1);
        localparam integer V = IN_WIDTH + level - 1 < WIDTH ? IN_WIDTH + level - 1 : WIDTH;
        for (n = 0; n < N; n = n + 1) begin : g_pair
          wire [V-1:0] a = g_level[level-1].sums[2*n*V+:V];
          wire a_carry = g_level[level-1].carries[2*n];
          reg [W-1:0] total;
          reg carry_on;
          assign sums[W*n+:W] = total;
          assign carries[n] = carry_on;
          if (2 * n + 1 < BELOW) begin : g_add
            wire [V-1:0] b = g_level[level-1].sums[(2*n+1)*V+:V];
            // The lowest place makes a carry of a_carry: so one carry chain adds all three.
            wire [W-1:0] a_wide = {{W - V{IN_SIGNED != 0 && a[V-1]}}, a};
            wire [W-1:0] b_wide = {{W - V{IN_SIGNED != 0 && b[V-1]}}, b};
            // verilator lint_off UNUSED
            wire [W:0] both = {a_wide, a_carry} + {b_wide, a_carry};
            // verilator lint_on UNUSED
            always @(posedge clk) begin
              total <= both[W:1];
              carry_on <= g_level[level-1].carries[2*n+1];
            end
          end else begin : g_alone
            always @(posedge clk) begin
              total <= {{W - V{IN_SIGNED != 0 && a[V-1]}}, a};
              carry_on <= a_carry;
            end
          end
        end
      end
    end
  endgenerate
  localparam integer TOP = IN_WIDTH + LEVELS < WIDTH ? IN_WIDTH + LEVELS : WIDTH;
  assign sum   = {{WIDTH - TOP{IN_SIGNED != 0 && g_level[LEVELS].sums[TOP-1]}}, g_level[LEVELS].sums};
  assign carry = g_level[LEVELS].carries;
endmodule
