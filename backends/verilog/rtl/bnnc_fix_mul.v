// bnnc_fix_mul: y = settle(a * b, SHIFT) of two streams (a gate).
//
//   LANES                             elements of a beat, of every stream; y has 32 bits, signed
//   A_WIDTH, A_SIGNED, B_...          of the operands
//   SHIFT                             see bnnc_settle
//
// Throughput: a beat a cycle. Latency: 4 cycles, 6 where an operand (as a signed number) has more than 18 bits. a_ready
// depends on b_valid and out_ready, b_ready on a_valid and out_ready.
module bnnc_fix_mul #(
    parameter integer LANES = 1,
    parameter integer A_WIDTH = 32,
    parameter integer A_SIGNED = 1,
    parameter integer B_WIDTH = 32,
    parameter integer B_SIGNED = 1,
    parameter integer SHIFT = 16
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
  localparam integer AW = A_SIGNED != 0 ? A_WIDTH : A_WIDTH + 1;
  localparam integer BW = B_SIGNED != 0 ? B_WIDTH : B_WIDTH + 1;
  localparam integer MULTIPLY = AW <= 18 && BW <= 18 ? 1 : 3;
  wire advance;
  assign a_ready = advance && b_valid;
  assign b_ready = advance && a_valid;
  bnnc_valid #(
      .STAGES(3 + MULTIPLY)
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
      wire [AW-1:0] a_wide;
      wire [BW-1:0] b_wide;
      bnnc_extend #(
          .IN_WIDTH (A_WIDTH),
          .IN_SIGNED(A_SIGNED),
          .OUT_WIDTH(AW)
      ) extend_a (
          .in (a_data[lane*A_WIDTH+:A_WIDTH]),
          .out(a_wide)
      );
      bnnc_extend #(
          .IN_WIDTH (B_WIDTH),
          .IN_SIGNED(B_SIGNED),
          .OUT_WIDTH(BW)
      ) extend_b (
          .in (b_data[lane*B_WIDTH+:B_WIDTH]),
          .out(b_wide)
      );
      reg [AW-1:0] a;
      reg [BW-1:0] b;
      always @(posedge clk)
        if (advance) begin
          a <= a_wide;
          b <= b_wide;
        end
      wire [AW+BW-1:0] product;
      bnnc_multiply #(
          .A_WIDTH(AW),
          .B_WIDTH(BW)
      ) multiply (
          .clk(clk),
          .enable(advance),
          .a(a),
          .b(b),
          .product(product)
      );
      bnnc_settle #(
          .WIDTH(AW + BW),
          .SHIFT(SHIFT)
      ) settle (
          .clk(clk),
          .enable(advance),
          .x(product),
          .y(out_data[lane*32+:32])
      );
    end
  endgenerate
endmodule
