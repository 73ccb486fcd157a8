// bnnc_argmax: the index of the largest of COUNT numbers; of equal ones the lowest index wins.
//
//   WIDTH   bits of a number; SIGNED 1: two's complement
//   COUNT   numbers of a sample, LANES of them in a beat (LANES divides COUNT)
//
// out_data is the index, in $clog2(COUNT) bits (1 for COUNT = 1).
// Throughput: a beat a cycle, a sample in COUNT/LANES cycles. Latency: 1 + ceil(log2(LANES)) cycles behind the last beat
// (the lanes meet in a tree of comparators with registers between its levels). in_ready depends on out_ready.
module bnnc_argmax #(
    parameter integer WIDTH = 8,
    parameter integer SIGNED = 0,
    parameter integer COUNT = 10,
    parameter integer LANES = 5,
    parameter integer INDEX_WIDTH = COUNT > 1 ? $clog2(COUNT) : 1
) (
    input                        clk,
    input                        rst,
    input      [LANES*WIDTH-1:0] in_data,
    input                        in_valid,
    output                       in_ready,
    output reg [INDEX_WIDTH-1:0] out_data,
    output reg                   out_valid,
    input                        out_ready
);
  localparam integer BEATS = COUNT / LANES;
  localparam integer BW = BEATS > 1 ? $clog2(BEATS) : 1;
  localparam integer LEVELS = LANES > 1 ? $clog2(LANES) : 0;
  localparam integer LAST = BEATS - 1;
  localparam [WIDTH-1:0] FLIP = SIGNED != 0 ? {1'b1, {WIDTH - 1{1'b0}}} : {WIDTH{1'b0}};

  wire advance = !out_valid || out_ready;
  assign in_ready = advance;

  // Level 0 is the input; at each further level half as many candidates, registered.
  genvar level, n;
  generate
    for (level = 0; level <= LEVELS; level = level + 1) begin : g_level
      localparam integer N = (LANES + (1 << level) - 1) >> level;
      wire valid;
      wire [N*WIDTH-1:0] keys;
      wire [N*INDEX_WIDTH-1:0] lanes;
      if (level == 0) begin : g_input
        assign valid = in_valid;
        for (n = 0; n < N; n = n + 1) begin : g_lane
          assign keys[n*WIDTH+:WIDTH] = in_data[n*WIDTH+:WIDTH] ^ FLIP;
          assign lanes[n*INDEX_WIDTH+:INDEX_WIDTH] = n[INDEX_WIDTH-1:0];
        end
      end else begin : g_tree
        localparam integer BELOW = (LANES + (1 << (level - 1)) - 1) >> (level - 1);
        reg held;
        always @(posedge clk)
          if (rst) held <= 1'b0;
          else if (advance) held <= g_level[level-1].valid;
        assign valid = held;
        for (n = 0; n < N; n = n + 1) begin : g_pair
          reg [WIDTH-1:0] key;
          reg [INDEX_WIDTH-1:0] lane;
          wire [WIDTH-1:0] key_a = g_level[level-1].keys[2*n*WIDTH+:WIDTH];
          wire [INDEX_WIDTH-1:0] lane_a = g_level[level-1].lanes[2*n*INDEX_WIDTH+:INDEX_WIDTH];
          if (2 * n + 1 < BELOW) begin : g_two
            wire [WIDTH-1:0] key_b = g_level[level-1].keys[(2*n+1)*WIDTH+:WIDTH];
            wire [INDEX_WIDTH-1:0] lane_b = g_level[level-1].lanes[(2*n+1)*INDEX_WIDTH+:INDEX_WIDTH];
            wire greater = key_b > key_a;
            always @(posedge clk)
              if (advance) begin
                key  <= greater ? key_b : key_a;
                lane <= greater ? lane_b : lane_a;
              end
          end else begin : g_one
            always @(posedge clk)
              if (advance) begin
                key  <= key_a;
                lane <= lane_a;
              end
          end
          assign keys[n*WIDTH+:WIDTH] = key;
          assign lanes[n*INDEX_WIDTH+:INDEX_WIDTH] = lane;
        end
      end
    end
  endgenerate

  // The best lane of a beat against the best of the beats before it.
  wire beat_valid = g_level[LEVELS].valid;
  wire [WIDTH-1:0] key = g_level[LEVELS].keys;
  wire [INDEX_WIDTH-1:0] index = g_level[LEVELS].lanes + base;
  reg [INDEX_WIDTH-1:0] base;
  reg [BW-1:0] beat;
  reg [WIDTH-1:0] best;
  wire last = beat == LAST[BW-1:0];
  wire better = beat == 0 || key > best;
  always @(posedge clk) begin
    if (rst) begin
      beat <= 0;
      base <= 0;
      out_valid <= 1'b0;
    end else if (advance) begin
      out_valid <= beat_valid && last;
      if (beat_valid) begin
        beat <= last ? {BW{1'b0}} : beat + 1'b1;
        base <= last ? {INDEX_WIDTH{1'b0}} : base + LANES[INDEX_WIDTH-1:0];
      end
    end
    if (advance && beat_valid && better) begin
      best <= key;
      out_data <= index;
    end
  end
endmodule
