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

  // A process for a level, not wires for every adder: simulators take as long for all parts of a vector as for one.
  genvar level;
  generate
    for (level = 0; level <= LEVELS; level = level + 1) begin : g_level
      localparam integer W = IN_WIDTH + level < WIDTH ? IN_WIDTH + level : WIDTH;
      localparam integer N = (LANES + (1 << level) - 1) >> level;
      wire [W*N-1:0] sums;
      wire [N-1:0] carries;
      if (level == 0) begin : g_input
        if (W == IN_WIDTH) begin : g_whole
          assign sums = numbers;
        end else begin : g_low
          reg [W*N-1:0] low;
          integer n;
          always @* for (n = 0; n < N; n = n + 1) low[W*n+:W] = numbers[IN_WIDTH*n+:W];
          assign sums = low;
        end
        assign carries = pending;
      end else begin : g_pairs
        localparam integer BELOW = (LANES + (1 << (level - 1)) - 1) >> (level - 1);
        localparam integer V = IN_WIDTH + level - 1 < WIDTH ? IN_WIDTH + level - 1 : WIDTH;
        localparam integer PAIRS = BELOW / 2;
        wire [V*BELOW-1:0] below = g_level[level-1].sums;
        wire [BELOW-1:0] pending_below = g_level[level-1].carries;
        reg [W*PAIRS-1:0] totals, kept;
        reg [PAIRS-1:0] later, later_kept;
        // verilator lint_off UNUSED
        reg [W:0] both;
        // verilator lint_on UNUSED
        reg [V-1:0] a, b;
        integer n;
        always @*
          for (n = 0; n < PAIRS; n = n + 1) begin
            // The lowest place makes a carry of that of `a`: so one carry chain adds all three.
            a = below[2*n*V+:V];
            b = below[(2*n+1)*V+:V];
            both = {{W - V{IN_SIGNED != 0 && a[V-1]}}, a, pending_below[2*n]}
                 + {{W - V{IN_SIGNED != 0 && b[V-1]}}, b, pending_below[2*n]};
            totals[W*n+:W] = both[W:1];
            later[n] = pending_below[2*n+1];
          end
        always @(posedge clk) begin
          kept <= totals;
          later_kept <= later;
        end
        if (BELOW % 2 == 0) begin : g_even
          assign sums = kept;
          assign carries = later_kept;
        end else begin : g_alone
          reg [W-1:0] alone;
          reg alone_later;
          always @(posedge clk) begin
            alone <= {{W - V{IN_SIGNED != 0 && below[V*BELOW-1]}}, below[V*BELOW-1-:V]};
            alone_later <= pending_below[BELOW-1];
          end
          assign sums = {alone, kept};
          assign carries = {alone_later, later_kept};
        end
      end
    end
  endgenerate
  localparam integer TOP = IN_WIDTH + LEVELS < WIDTH ? IN_WIDTH + LEVELS : WIDTH;
  assign sum   = {{WIDTH - TOP{IN_SIGNED != 0 && g_level[LEVELS].sums[TOP-1]}}, g_level[LEVELS].sums};
  assign carry = g_level[LEVELS].carries;
endmodule
