// bnnc_fix_add: y = settle(±(a << A_SHIFT) ± (b << B_SHIFT), SHIFT) of two streams.
//
//   LANES                                               elements of a beat, of every stream; y has 32 bits, signed
//   A_WIDTH, A_SIGNED, A_SHIFT, A_NEGATIVE (1: -a), B_... of the operands
//   SHIFT                                               see bnnc_settle
//
// Throughput: a beat a cycle. Latency: 3 cycles. a_ready depends on b_valid and out_ready, b_ready on a_valid and out_ready.
module bnnc_fix_add #(
    parameter integer LANES = 1,
    parameter integer A_WIDTH = 32,
    parameter integer A_SIGNED = 1,
    parameter integer A_SHIFT = 0,
    parameter integer A_NEGATIVE = 0,
    parameter integer B_WIDTH = 32,
    parameter integer B_SIGNED = 1,
    parameter integer B_SHIFT = 0,
    parameter integer B_NEGATIVE = 0,
    parameter integer SHIFT = 0
) (
    input                      clk,
    input                      rst,
    input  [LANES*A_WIDTH-1:0] a_data,
    input                      a_valid,
    output                     a_ready,
    input  [LANES*B_WIDTH-1:0] b_data,
    input                      b_valid,
    output                     b_ready,
    output [     LANES*32-1:0] out_data,
    output                     out_valid,
    input                      out_ready
);
  localparam integer A_BITS = A_WIDTH + A_SHIFT;
  localparam integer B_BITS = B_WIDTH + B_SHIFT;
  localparam integer WIDTH = (A_BITS > B_BITS ? A_BITS : B_BITS) + 3;  // an unsigned one, its negative, a sum
  wire advance;
  assign a_ready = advance && b_valid;
  assign b_ready = advance && a_valid;
  bnnc_valid #(
      .STAGES(3)
  ) valid (
      .clk(clk),
      .rst(rst),
      .in_valid(a_valid && b_valid),
      .advance(advance),
      .out_valid(out_valid),
      .out_ready(out_ready)
  );
  genvar lane;
  generate
    for (lane = 0; lane < LANES; lane = lane + 1) begin : g_lane
      wire [WIDTH-1:0] a, b;
      bnnc_extend #(
          .IN_WIDTH (A_WIDTH),
          .IN_SIGNED(A_SIGNED),
          .OUT_WIDTH(WIDTH)
      ) extend_a (
          .in (a_data[lane*A_WIDTH+:A_WIDTH]),
          .out(a)
      );
      bnnc_extend #(
          .IN_WIDTH (B_WIDTH),
          .IN_SIGNED(B_SIGNED),
          .OUT_WIDTH(WIDTH)
      ) extend_b (
          .in (b_data[lane*B_WIDTH+:B_WIDTH]),
          .out(b)
      );
      wire [WIDTH-1:0] a_part = A_NEGATIVE != 0 ? -(a << A_SHIFT) : a << A_SHIFT;
      wire [WIDTH-1:0] b_part = b << B_SHIFT;
      reg  [WIDTH-1:0] sum;
      always @(posedge clk) if (advance) sum <= B_NEGATIVE != 0 ? a_part - b_part : a_part + b_part;
      bnnc_settle #(
          .WIDTH(WIDTH),
          .SHIFT(SHIFT)
      ) settle (
          .clk(clk),
          .enable(advance),
          .x(sum),
          .y(out_data[lane*32+:32])
      );
    end
  endgenerate
endmodule
