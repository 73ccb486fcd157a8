// bnnc_fix_table: a smooth function, interpolated between its values at knots 2^STEP apart (the op fix.table).
//
//   LANES, IN_WIDTH, IN_SIGNED  of the input (at most 32 bits); y has 32 bits, signed
//   FIRST, STEP                 the first knot, and the logarithm of their distance (0 .. 30)
//   COUNT                       intervals between knots
//   TABLE                       file of COUNT words of 65 bits: the value at the left knot in the lower 32 (signed), and
//                               above it how far the value at the right knot is from it, in 33 (signed)
//   ROM_STYLE                   0: the tools choose; 1: LUTs; 2: block RAM
//
// p = min(max(x - FIRST, 0), COUNT * 2^STEP - 1), i = p >> STEP, r = p modulo 2^STEP;
// y = value[i] + ((rise[i] * r + 2^(STEP-1)) >> STEP), without the half where STEP is 0.
// Throughput: a beat a cycle. Latency: 9 cycles. in_ready depends on out_ready.
module bnnc_fix_table #(
    parameter integer LANES = 1,
    parameter integer IN_WIDTH = 32,
    parameter integer IN_SIGNED = 1,
    parameter integer FIRST = 0,
    parameter integer STEP = 4,
    parameter integer COUNT = 16,
    parameter TABLE = "none",
    parameter integer ROM_STYLE = 0
) (
    input                       clk,
    input                       rst,
    input  [LANES*IN_WIDTH-1:0] in_data,
    input                       in_valid,
    output                      in_ready,
    output [      LANES*32-1:0] out_data,
    output                      out_valid,
    input                       out_ready
);
  localparam integer AW = COUNT > 1 ? $clog2(COUNT) : 1;
  localparam integer RW = STEP + 1;  // the rest, as a signed number
  localparam integer PRODUCT = 33 + RW;
  localparam integer HALF_PLACE = STEP > 0 ? STEP - 1 : 0;
  wire advance;
  assign in_ready = advance;
  bnnc_valid #(
      .STAGES(9)
  ) valid (
      .clk(clk),
      .rst(rst),
      .in_valid(in_valid),
      .advance(advance),
      .out_valid(out_valid),
      .out_ready(out_ready)
  );
  // 48 bits hold COUNT * 2^STEP up to 2^46, and x - FIRST.
  wire [31:0] count = COUNT;
  wire signed [31:0] first = FIRST;
  wire [47:0] end_of_table = ({16'd0, count} << STEP) - 48'd1;

  genvar lane;
  generate
    for (lane = 0; lane < LANES; lane = lane + 1) begin : g_lane
      wire [47:0] x;
      bnnc_extend #(
          .IN_WIDTH (IN_WIDTH),
          .IN_SIGNED(IN_SIGNED),
          .OUT_WIDTH(48)
      ) extend_x (
          .in (in_data[lane*IN_WIDTH+:IN_WIDTH]),
          .out(x)
      );
      // Stages 1 and 2: the place; stages 3 and 4: the knot.
      reg [47:0] distance;
      // verilator lint_off UNUSED
      reg [47:0] place;
      // verilator lint_on UNUSED
      always @(posedge clk)
        if (advance) begin
          distance <= x - {{16{first[31]}}, first};
          place <= distance[47] ? 48'd0 : distance > end_of_table ? end_of_table : distance;
        end
      wire [64:0] knot;
      bnnc_rom #(
          .WIDTH(65),
          .DEPTH(COUNT),
          .FILE (TABLE),
          .STYLE(ROM_STYLE)
      ) rom (
          .clk(clk),
          .enable(advance),
          .address(place[STEP+:AW]),
          .data(knot)
      );
      reg [RW-1:0] rest, rest_before;
      wire [RW-1:0] rest_of_place;
      if (STEP > 0) begin : g_rest
        assign rest_of_place = {1'b0, place[RW-2:0]};
      end else begin : g_no_rest
        assign rest_of_place = 1'b0;
      end
      always @(posedge clk)
        if (advance) begin
          rest_before <= rest_of_place;
          rest <= rest_before;
        end

      // Stages 5 to 7: the product; 8: its rounding; 9: the sum.
      wire [PRODUCT-1:0] product;
      wire [31:0] value;
      bnnc_multiply #(
          .A_WIDTH(33),
          .B_WIDTH(RW)
      ) multiply (
          .clk(clk),
          .enable(advance),
          .a(knot[64:32]),
          .b(rest),
          .product(product)
      );
      bnnc_delay #(
          .WIDTH (32),
          .CYCLES(4)
      ) delay (
          .clk(clk),
          .rst(1'b0),
          .enable(advance),
          .in(knot[31:0]),
          .out(value)
      );
      wire [PRODUCT-1:0] half = STEP > 0 ? {{PRODUCT - 1{1'b0}}, 1'b1} << HALF_PLACE : {PRODUCT{1'b0}};
      // verilator lint_off UNUSED
      reg  [PRODUCT-1:0] rounded;
      // verilator lint_on UNUSED
      reg  [       31:0] y;
      always @(posedge clk)
        if (advance) begin
          rounded <= product + half;
          y <= value + rounded[STEP+:32];
        end
      assign out_data[lane*32+:32] = y;
    end
  endgenerate
endmodule
