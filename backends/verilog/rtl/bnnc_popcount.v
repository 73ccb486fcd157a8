// bnnc_popcount: how many of BITS bits are set; pipelined, a word a cycle, never stalls.
//
//   BITS   bits of a word
//   WIDTH  bits of the count, fixed by BITS
//
// Latency: 1 cycle for groups of four bits and 1 for each level of the tree above: 1 + ceil(log2(ceil(BITS / 4))).
// Logic synthesis spoils a popcount written as one sum; registers between the levels keep the structure: four bits
// (which absorb the XNOR in front of them) become a 3-bit number in 3 LUT4, and numbers are added by carry chains.
module bnnc_popcount #(
    parameter integer BITS = 49,
    parameter integer WIDTH = $clog2(BITS + 1)
) (
    input              clk,
    input  [ BITS-1:0] bits,
    output [WIDTH-1:0] count
);
  localparam integer WORDS = (BITS + 3) / 4;
  localparam integer LEVELS = WORDS > 1 ? $clog2(WORDS) : 0;
  wire [4*WORDS-1:0] padded = {{4 * WORDS - BITS{1'b0}}, bits};

  genvar level, n;
  generate
    for (level = 0; level <= LEVELS; level = level + 1) begin : g_level
      localparam integer W = level + 3 < WIDTH ? level + 3 : WIDTH;
      localparam integer N = (WORDS + (1 << level) - 1) >> level;
      reg [W*N-1:0] sums;
      if (level == 0) begin : g_fours
        for (n = 0; n < N; n = n + 1) begin : g_four
          wire [W-1:0] a = {{W - 1{1'b0}}, padded[4*n]};
          wire [W-1:0] b = {{W - 1{1'b0}}, padded[4*n+1]};
          wire [W-1:0] c = {{W - 1{1'b0}}, padded[4*n+2]};
          wire [W-1:0] d = {{W - 1{1'b0}}, padded[4*n+3]};
          always @(posedge clk) sums[W*n+:W] <= (a + b) + (c + d);
        end
      end else begin : g_pairs
        localparam integer BELOW = (WORDS + (1 << (level - 1)) - 1) >> (level - 1);
        localparam integer V = level + 2 < WIDTH ? level + 2 : WIDTH;
        for (n = 0; n < N; n = n + 1) begin : g_pair
          wire [W-1:0] a = {{W - V{1'b0}}, g_level[level-1].sums[2*n*V+:V]};
          if (2 * n + 1 < BELOW) begin : g_add
            wire [W-1:0] b = {{W - V{1'b0}}, g_level[level-1].sums[(2*n+1)*V+:V]};
            always @(posedge clk) sums[W*n+:W] <= a + b;
          end else begin : g_alone
            always @(posedge clk) sums[W*n+:W] <= a;
          end
        end
      end
    end
  endgenerate
  assign count = g_level[LEVELS].sums;
endmodule
