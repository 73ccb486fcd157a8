// bnnc_step: out = values[c][how many of the ascending thresholds[c] are <= x], c = the channel.
//
//   LANES      channels of a beat
//   IN_WIDTH   bits of x and of a threshold; IN_SIGNED 1: both are signed
//   OUT_WIDTH  bits of a value
//   CHUNKS     beats of a pixel: a word of the table each (1: all pixels have the same table)
//   COUNT      thresholds of a channel
//   TABLE      file of CHUNKS words; lane l has the bits l*FIELD +: FIELD of a word, FIELD = COUNT*IN_WIDTH +
//              (COUNT+1)*OUT_WIDTH: threshold n at n*IN_WIDTH, value n at COUNT*IN_WIDTH + n*OUT_WIDTH
//   ROM_STYLE  0: the tools choose; 1: LUTs; 2: block RAM
//
// Throughput: a beat a cycle. Latency: 3 cycles. in_ready depends on out_ready.
module bnnc_step #(
    parameter integer LANES = 4,
    parameter integer IN_WIDTH = 8,
    parameter integer IN_SIGNED = 0,
    parameter integer OUT_WIDTH = 1,
    parameter integer CHUNKS = 4,
    parameter integer COUNT = 1,
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
  localparam integer FIELD = COUNT * IN_WIDTH + (COUNT + 1) * OUT_WIDTH;
  localparam [IN_WIDTH-1:0] FLIP = IN_SIGNED != 0 ? {1'b1, {IN_WIDTH - 1{1'b0}}} : {IN_WIDTH{1'b0}};

  wire advance;
  wire [LANES*IN_WIDTH-1:0] x;
  wire [LANES*FIELD-1:0] word;
  assign in_ready = advance;
  bnnc_valid #(
      .STAGES(3)
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
      // Flipping the sign bit makes a signed comparison an unsigned one.
      wire [IN_WIDTH-1:0] key = x[lane*IN_WIDTH+:IN_WIDTH] ^ FLIP;
      wire [FIELD-1:0] field = word[lane*FIELD+:FIELD];
      reg [OUT_WIDTH-1:0] value;
      integer n;
      always @* begin
        value = field[COUNT*IN_WIDTH+:OUT_WIDTH];
        for (n = 0; n < COUNT; n = n + 1)
          if (key >= (field[n*IN_WIDTH+:IN_WIDTH] ^ FLIP)) value = field[COUNT*IN_WIDTH+(n+1)*OUT_WIDTH+:OUT_WIDTH];
      end
      always @(posedge clk) if (advance) out_data[lane*OUT_WIDTH+:OUT_WIDTH] <= value;
    end
  endgenerate
endmodule
