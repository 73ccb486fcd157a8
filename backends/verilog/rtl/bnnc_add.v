// bnnc_add: A_FACTOR * a + B_FACTOR * b + CONSTANT of two streams, modulo 2^OUT_WIDTH.
//
//   LANES                                  elements of a beat, of every stream
//   A_WIDTH, A_SIGNED, A_FACTOR, B_...     of the operands; factors of -2^31 .. 2^31 - 1
//   CONSTANT, OUT_WIDTH                    of the sum
//
// Throughput: a beat a cycle. Latency: 2 cycles. a_ready depends on b_valid and out_ready, b_ready on a_valid and out_ready.
module bnnc_add #(
    parameter integer LANES = 2,
    parameter integer A_WIDTH = 8,
    parameter integer A_SIGNED = 1,
    parameter integer A_FACTOR = 1,
    parameter integer B_WIDTH = 8,
    parameter integer B_SIGNED = 1,
    parameter integer B_FACTOR = 1,
    parameter integer CONSTANT = 0,
    parameter integer OUT_WIDTH = 9
) (
    input                            clk,
    input                            rst,
    input      [  LANES*A_WIDTH-1:0] a_data,
    input                            a_valid,
    output                           a_ready,
    input      [  LANES*B_WIDTH-1:0] b_data,
    input                            b_valid,
    output                           b_ready,
    output reg [LANES*OUT_WIDTH-1:0] out_data,
    output                           out_valid,
    input                            out_ready
);
  wire [31:0] a_number = A_FACTOR;
  wire [31:0] b_number = B_FACTOR;
  wire [31:0] c_number = CONSTANT;
  wire [OUT_WIDTH-1:0] a_factor, b_factor, constant;
  bnnc_extend #(
      .IN_WIDTH (32),
      .OUT_WIDTH(OUT_WIDTH)
  ) extend_a_number (
      .in (a_number),
      .out(a_factor)
  );
  bnnc_extend #(
      .IN_WIDTH (32),
      .OUT_WIDTH(OUT_WIDTH)
  ) extend_b_number (
      .in (b_number),
      .out(b_factor)
  );
  bnnc_extend #(
      .IN_WIDTH (32),
      .OUT_WIDTH(OUT_WIDTH)
  ) extend_c_number (
      .in (c_number),
      .out(constant)
  );

  wire advance;
  assign a_ready = advance && b_valid;
  assign b_ready = advance && a_valid;
  bnnc_valid #(
      .STAGES(2)
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
      wire [OUT_WIDTH-1:0] a, b;
      bnnc_extend #(
          .IN_WIDTH (A_WIDTH),
          .IN_SIGNED(A_SIGNED),
          .OUT_WIDTH(OUT_WIDTH)
      ) extend_a (
          .in (a_data[lane*A_WIDTH+:A_WIDTH]),
          .out(a)
      );
      bnnc_extend #(
          .IN_WIDTH (B_WIDTH),
          .IN_SIGNED(B_SIGNED),
          .OUT_WIDTH(OUT_WIDTH)
      ) extend_b (
          .in (b_data[lane*B_WIDTH+:B_WIDTH]),
          .out(b)
      );
      reg [OUT_WIDTH-1:0] a_part, b_part;
      always @(posedge clk)
        if (advance) begin
          a_part <= a * a_factor + constant;
          b_part <= b * b_factor;
          out_data[lane*OUT_WIDTH+:OUT_WIDTH] <= a_part + b_part;
        end
    end
  endgenerate
endmodule
