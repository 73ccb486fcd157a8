// bnnc_fix_settle: y = settle(FACTOR * x + bias[c], SHIFT), the end of fixed-point convolutions, dense layers and pools.
//
//   LANES, IN_WIDTH, IN_SIGNED  of the input: exact sums; y has 32 bits, signed
//   FACTOR                      of every channel (1: no multiplier)
//   BIAS_WIDTH                  bits of a bias, signed; 0: none
//   CHUNKS, TABLE               beats of a pixel; a word of biases each, lane l at l*BIAS_WIDTH (no file without bias)
//   SUM_WIDTH                   bits that hold FACTOR * x + bias
//   SHIFT                       see bnnc_settle
//   ROM_STYLE                   0: the tools choose; 1: LUTs; 2: block RAM
//
// Throughput: a beat a cycle. Latency: 5 cycles; with a FACTOR 6, or 8 where it or x has more than 18 bits. in_ready depends
// on out_ready.
module bnnc_fix_settle #(
    parameter integer LANES = 1,
    parameter integer IN_WIDTH = 40,
    parameter integer IN_SIGNED = 1,
    parameter integer FACTOR = 1,
    parameter integer BIAS_WIDTH = 40,
    parameter integer CHUNKS = 2,
    parameter TABLE = "none",
    parameter integer SUM_WIDTH = 64,
    parameter integer SHIFT = 8,
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
  localparam integer XW = IN_SIGNED != 0 ? IN_WIDTH : IN_WIDTH + 1;
  localparam integer FACTOR_WIDTH = FACTOR < 131072 && FACTOR >= -131072 ? 18 : 32;
  localparam integer MULTIPLY = FACTOR == 1 ? 0 : XW <= 18 && FACTOR_WIDTH <= 18 ? 1 : 3;
  localparam integer PRODUCT = FACTOR == 1 ? XW : XW + FACTOR_WIDTH;
  localparam integer BW = BIAS_WIDTH > 0 ? BIAS_WIDTH : 1;

  wire advance;
  assign in_ready = advance;
  bnnc_valid #(
      .STAGES(5 + MULTIPLY)
  ) valid (
      .clk(clk),
      .rst(rst),
      .in_valid(in_valid),
      .advance(advance),
      .out_valid(out_valid),
      .out_ready(out_ready)
  );
  wire [LANES*BW-1:0] biases;
  wire [LANES*IN_WIDTH-1:0] x;
  bnnc_delay #(
      .WIDTH (LANES * IN_WIDTH),
      .CYCLES(2)
  ) delay_x (
      .clk(clk),
      .rst(1'b0),
      .enable(advance),
      .in(in_data),
      .out(x)
  );

  generate
    if (BIAS_WIDTH > 0) begin : g_bias
      wire [LANES*BW-1:0] word;
      bnnc_table #(
          .WIDTH(LANES * BW),
          .CHUNKS(CHUNKS),
          .FILE(TABLE),
          .ROM_STYLE(ROM_STYLE)
      ) words (
          .clk(clk),
          .rst(rst),
          .enable(advance),
          .step(advance && in_valid),
          .data(word)
      );
      bnnc_delay #(
          .WIDTH (LANES * BW),
          .CYCLES(MULTIPLY)
      ) delay (
          .clk(clk),
          .rst(1'b0),
          .enable(advance),
          .in(word),
          .out(biases)
      );
    end else begin : g_no_bias
      assign biases = 0;
    end
  endgenerate

  genvar lane;
  generate
    for (lane = 0; lane < LANES; lane = lane + 1) begin : g_lane
      wire [PRODUCT-1:0] product;
      wire [XW-1:0] number;
      bnnc_extend #(
          .IN_WIDTH (IN_WIDTH),
          .IN_SIGNED(IN_SIGNED),
          .OUT_WIDTH(XW)
      ) extend_x (
          .in (x[lane*IN_WIDTH+:IN_WIDTH]),
          .out(number)
      );
      if (FACTOR == 1) begin : g_plain
        assign product = number;
      end else begin : g_factor
        bnnc_multiply #(
            .A_WIDTH(XW),
            .B_WIDTH(FACTOR_WIDTH)
        ) multiply (
            .clk(clk),
            .enable(advance),
            .a(number),
            .b(FACTOR[FACTOR_WIDTH-1:0]),
            .product(product)
        );
      end
      wire [SUM_WIDTH-1:0] scaled, bias;
      bnnc_extend #(
          .IN_WIDTH (PRODUCT),
          .OUT_WIDTH(SUM_WIDTH)
      ) extend_product (
          .in (product),
          .out(scaled)
      );
      bnnc_extend #(
          .IN_WIDTH (BW),
          .OUT_WIDTH(SUM_WIDTH)
      ) extend_bias (
          .in (biases[lane*BW+:BW]),
          .out(bias)
      );
      reg [SUM_WIDTH-1:0] sum;
      always @(posedge clk) if (advance) sum <= scaled + bias;
      bnnc_settle #(
          .WIDTH(SUM_WIDTH),
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
