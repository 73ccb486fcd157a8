// bnnc_fix_lines: y = settle(slopes[c][n] * x + offsets[c][n], SHIFT), n = how many of the ascending thresholds[c] are <= x
// (the op fix.map: a function made of lines).
//
//   LANES, IN_WIDTH, IN_SIGNED  of the input (at most 32 bits); y has 32 bits, signed
//   COUNT                       thresholds of a channel (0: one line)
//   SLOPE_WIDTH, OFFSET_WIDTH   bits of a slope and of an offset, signed
//   CHUNKS                      beats of a pixel: a word of the table each (1: all beats have the same)
//   TABLE                       file of CHUNKS words; lane l has the bits l*FIELD +: FIELD: from the lowest, COUNT
//                               thresholds of 32 bits (signed), COUNT+1 slopes, COUNT+1 offsets
//   SUM_WIDTH                   bits that hold slope * x + offset
//   SHIFT                       see bnnc_settle
//   ROM_STYLE                   0: the tools choose; 1: LUTs; 2: block RAM
//
// Throughput: a beat a cycle. Latency: 7 cycles, 9 where x or a slope has more than 18 bits. in_ready depends on out_ready.
module bnnc_fix_lines #(
    parameter integer LANES = 1,
    parameter integer IN_WIDTH = 32,
    parameter integer IN_SIGNED = 1,
    parameter integer COUNT = 1,
    parameter integer SLOPE_WIDTH = 32,
    parameter integer OFFSET_WIDTH = 64,
    parameter integer CHUNKS = 2,
    parameter TABLE = "none",
    parameter integer SUM_WIDTH = 64,
    parameter integer SHIFT = 16,
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
  localparam integer MULTIPLY = XW <= 18 && SLOPE_WIDTH <= 18 ? 1 : 3;
  localparam integer SLOPES = COUNT * 32;
  localparam integer OFFSETS = SLOPES + (COUNT + 1) * SLOPE_WIDTH;
  localparam integer FIELD = OFFSETS + (COUNT + 1) * OFFSET_WIDTH;

  wire advance;
  assign in_ready = advance;
  bnnc_valid #(
      .STAGES(6 + MULTIPLY)
  ) valid (
      .clk(clk),
      .rst(rst),
      .in_valid(in_valid),
      .advance(advance),
      .out_valid(out_valid),
      .out_ready(out_ready)
  );
  wire [LANES*FIELD-1:0] word;
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
      wire [FIELD-1:0] field = word[lane*FIELD+:FIELD];
      // Flipping the sign bit makes a signed comparison an unsigned one.
      wire [32:0] key;
      bnnc_extend #(
          .IN_WIDTH (IN_WIDTH),
          .IN_SIGNED(IN_SIGNED),
          .OUT_WIDTH(33)
      ) extend_key (
          .in (x[lane*IN_WIDTH+:IN_WIDTH]),
          .out(key)
      );
      reg [SLOPE_WIDTH-1:0] slope, line_slope;
      reg [OFFSET_WIDTH-1:0] offset, line_offset;
      reg [XW-1:0] number;
      integer n;
      always @* begin
        line_slope  = field[SLOPES+:SLOPE_WIDTH];
        line_offset = field[OFFSETS+:OFFSET_WIDTH];
        for (n = 0; n < COUNT; n = n + 1)
          if ({!key[32], key[31:0]} >= {!field[n*32+31], field[n*32+31], field[n*32+:31]}) begin
            line_slope  = field[SLOPES+(n+1)*SLOPE_WIDTH+:SLOPE_WIDTH];
            line_offset = field[OFFSETS+(n+1)*OFFSET_WIDTH+:OFFSET_WIDTH];
          end
      end
      wire [XW-1:0] extended;
      bnnc_extend #(
          .IN_WIDTH (IN_WIDTH),
          .IN_SIGNED(IN_SIGNED),
          .OUT_WIDTH(XW)
      ) extend_x (
          .in (x[lane*IN_WIDTH+:IN_WIDTH]),
          .out(extended)
      );
      always @(posedge clk)
        if (advance) begin
          slope  <= line_slope;
          offset <= line_offset;
          number <= extended;
        end
      wire [XW+SLOPE_WIDTH-1:0] product;
      wire [OFFSET_WIDTH-1:0] later;
      bnnc_multiply #(
          .A_WIDTH(XW),
          .B_WIDTH(SLOPE_WIDTH)
      ) multiply (
          .clk(clk),
          .enable(advance),
          .a(number),
          .b(slope),
          .product(product)
      );
      bnnc_delay #(
          .WIDTH (OFFSET_WIDTH),
          .CYCLES(MULTIPLY)
      ) delay (
          .clk(clk),
          .rst(1'b0),
          .enable(advance),
          .in(offset),
          .out(later)
      );
      wire [SUM_WIDTH-1:0] scaled, shifted;
      bnnc_extend #(
          .IN_WIDTH (XW + SLOPE_WIDTH),
          .OUT_WIDTH(SUM_WIDTH)
      ) extend_product (
          .in (product),
          .out(scaled)
      );
      bnnc_extend #(
          .IN_WIDTH (OFFSET_WIDTH),
          .OUT_WIDTH(SUM_WIDTH)
      ) extend_offset (
          .in (later),
          .out(shifted)
      );
      reg [SUM_WIDTH-1:0] sum;
      always @(posedge clk) if (advance) sum <= scaled + shifted;
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
