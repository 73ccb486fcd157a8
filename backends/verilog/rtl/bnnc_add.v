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
    output reg                       out_valid,
    input                            out_ready
);
  wire signed [31:0] a_factor = A_FACTOR;
  // verilator lint_off UNUSED
  wire [OUT_WIDTH+31:0] a_factor_wide = {{OUT_WIDTH{a_factor[31]}}, a_factor};
  // verilator lint_on UNUSED
  wire signed [31:0] b_factor = B_FACTOR;
  // verilator lint_off UNUSED
  wire [OUT_WIDTH+31:0] b_factor_wide = {{OUT_WIDTH{b_factor[31]}}, b_factor};
  // verilator lint_on UNUSED
  wire signed [31:0] constant = CONSTANT;
  // verilator lint_off UNUSED
  wire [OUT_WIDTH+31:0] constant_wide = {{OUT_WIDTH{constant[31]}}, constant};
  // verilator lint_on UNUSED

  reg  valid;
  wire advance = !out_valid || out_ready;
  assign a_ready = advance && b_valid;
  assign b_ready = advance && a_valid;
  always @(posedge clk)
    if (rst) begin
      valid <= 1'b0;
      out_valid <= 1'b0;
    end else if (advance) begin
      valid <= a_valid && b_valid;
      out_valid <= valid;
    end

  genvar lane;
  generate
    for (lane = 0; lane < LANES; lane = lane + 1) begin : g_lane
      wire [A_WIDTH-1:0] a = a_data[lane*A_WIDTH+:A_WIDTH];
      wire [B_WIDTH-1:0] b = b_data[lane*B_WIDTH+:B_WIDTH];
      // verilator lint_off UNUSED
      wire [OUT_WIDTH+A_WIDTH-1:0] a_wide = {{OUT_WIDTH{A_SIGNED != 0 && a[A_WIDTH-1]}}, a};
      wire [OUT_WIDTH+B_WIDTH-1:0] b_wide = {{OUT_WIDTH{B_SIGNED != 0 && b[B_WIDTH-1]}}, b};
      // verilator lint_on UNUSED
      reg [OUT_WIDTH-1:0] a_part, b_part;
      always @(posedge clk)
        if (advance) begin
          a_part <= a_wide[OUT_WIDTH-1:0] * a_factor_wide[OUT_WIDTH-1:0] + constant_wide[OUT_WIDTH-1:0];
          b_part <= b_wide[OUT_WIDTH-1:0] * b_factor_wide[OUT_WIDTH-1:0];
          out_data[lane*OUT_WIDTH+:OUT_WIDTH] <= a_part + b_part;
        end
    end
  endgenerate
endmodule
