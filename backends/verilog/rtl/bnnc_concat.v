// bnnc_concat: per pixel, the beats of `a` and then those of `b` (channels of two tensors, one behind the other).
//
//   WIDTH             bits of a beat
//   A_BEATS, B_BEATS  of a pixel
//
// Throughput: a beat a cycle, A_BEATS + B_BEATS cycles a pixel. Latency: 0. a_ready and b_ready depend on out_ready.
module bnnc_concat #(
    parameter integer WIDTH   = 8,
    parameter integer A_BEATS = 2,
    parameter integer B_BEATS = 3
) (
    input              clk,
    input              rst,
    input  [WIDTH-1:0] a_data,
    input              a_valid,
    output             a_ready,
    input  [WIDTH-1:0] b_data,
    input              b_valid,
    output             b_ready,
    output [WIDTH-1:0] out_data,
    output             out_valid,
    input              out_ready
);
  reg  second;  // it is the turn of b
  wire a_last, b_last;
  wire a_moves = a_valid && a_ready;
  wire b_moves = b_valid && b_ready;
  assign a_ready   = !second && out_ready;
  assign b_ready   = second && out_ready;
  assign out_valid = second ? b_valid : a_valid;
  assign out_data  = second ? b_data : a_data;
  bnnc_counter #(
      .COUNT(A_BEATS)
  ) a_beats (
      .clk (clk),
      .rst (rst),
      .step(a_moves),
      .last(a_last)
  );
  bnnc_counter #(
      .COUNT(B_BEATS)
  ) b_beats (
      .clk (clk),
      .rst (rst),
      .step(b_moves),
      .last(b_last)
  );
  always @(posedge clk)
    if (rst) second <= 1'b0;
    else if (a_moves && a_last) second <= 1'b1;
    else if (b_moves && b_last) second <= 1'b0;
endmodule
