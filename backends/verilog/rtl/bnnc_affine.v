// bnnc_affine: y = k[c] * x + b[c], modulo 2^OUT_WIDTH.
//
//   LANES, IN_WIDTH, IN_SIGNED  of the input
//   FACTOR_WIDTH                bits of k (signed)
//   OUT_WIDTH                   bits of b and y (signed)
//   CHUNKS                      beats of a pixel: a word of the table each (1: all beats have the same)
//   TABLE                       file of CHUNKS words; lane l has the bits l*FIELD +: FIELD, k below b
//   ROM_STYLE                   0: the tools choose; 1: LUTs; 2: block RAM
//
// Throughput: a beat a cycle. Latency: 4 cycles, 6 where x (as a signed number) or k has more than 18 bits. in_ready depends
// on out_ready.
module bnnc_affine #(
    parameter integer LANES = 2,
    parameter integer IN_WIDTH = 8,
    parameter integer IN_SIGNED = 1,
    parameter integer FACTOR_WIDTH = 8,
    parameter integer OUT_WIDTH = 16,
    parameter integer CHUNKS = 2,
    parameter TABLE = "none",
    parameter integer ROM_STYLE = 0
) (
    input                            clk,
    input                            rst,
    input      [ LANES*IN_WIDTH-1:0] in_data,
    input                            in_valid,
    output                           in_ready,
    output reg [LANES*OUT_WIDTH-1:0] out_data,
    output                           out_valid,
    input                            out_ready
);
  localparam integer XW = IN_SIGNED != 0 ? IN_WIDTH : IN_WIDTH + 1;
  localparam integer PRODUCT = XW + FACTOR_WIDTH;
  localparam integer FIELD = FACTOR_WIDTH + OUT_WIDTH;
  localparam integer MULTIPLY = XW <= 18 && FACTOR_WIDTH <= 18 ? 1 : 3;

  wire advance;
  wire [LANES*IN_WIDTH-1:0] x;
  wire [LANES*FIELD-1:0] word;
  assign in_ready = advance;
  bnnc_valid #(
      .STAGES(3 + MULTIPLY)
  ) valid (
      .clk(clk),
      .rst(rst),
      .in_valid(in_valid),
      .advance(advance),
      .out_valid(out_valid),
      .out_ready(out_ready)
  );
  bnnc_delay #(
      .WIDTH (LANES * IN_WIDTH),
      .CYCLES(2)
  ) delay (
      .clk(clk),
      .rst(1'b0),
      .enable(advance),
      .in(in_data),
      .out(x)
  );
  bnnc_table #(
      .WIDTH(LANES * FIELD),
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

  genvar lane;
  generate
    for (lane = 0; lane < LANES; lane = lane + 1) begin : g_lane
      wire [IN_WIDTH-1:0] element = x[lane*IN_WIDTH+:IN_WIDTH];
      wire [XW-1:0] number;
      if (IN_SIGNED != 0) begin : g_signed
        assign number = element;
      end else begin : g_unsigned
        assign number = {1'b0, element};
      end
      wire [PRODUCT-1:0] product;
      bnnc_multiply #(
          .A_WIDTH(XW),
          .B_WIDTH(FACTOR_WIDTH)
      ) multiply (
          .clk(clk),
          .enable(advance),
          .a(number),
          .b(word[lane*FIELD+:FACTOR_WIDTH]),
          .product(product)
      );
      wire [OUT_WIDTH-1:0] offset;
      bnnc_delay #(
          .WIDTH (OUT_WIDTH),
          .CYCLES(MULTIPLY)
      ) delay_offset (
          .clk(clk),
          .rst(1'b0),
          .enable(advance),
          .in(word[lane*FIELD+FACTOR_WIDTH+:OUT_WIDTH]),
          .out(offset)
      );
      // verilator lint_off UNUSED
      wire [OUT_WIDTH+PRODUCT-1:0] wide = {{OUT_WIDTH{product[PRODUCT-1]}}, product};
      // verilator lint_on UNUSED
      always @(posedge clk) if (advance) out_data[lane*OUT_WIDTH+:OUT_WIDTH] <= wide[OUT_WIDTH-1:0] + offset;
    end
  endgenerate
endmodule
