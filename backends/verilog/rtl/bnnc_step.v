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
// Throughput: a beat a cycle. Latency: 2 cycles. in_ready depends on out_ready.
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
    output reg                       out_valid,
    input                            out_ready
);
  localparam integer FIELD = COUNT * IN_WIDTH + (COUNT + 1) * OUT_WIDTH;
  localparam integer CW = CHUNKS > 1 ? $clog2(CHUNKS) : 1;
  localparam integer LAST = CHUNKS - 1;
  localparam [IN_WIDTH-1:0] FLIP = IN_SIGNED != 0 ? {1'b1, {IN_WIDTH - 1{1'b0}}} : {IN_WIDTH{1'b0}};

  reg [CW-1:0] chunk;
  reg [LANES*IN_WIDTH-1:0] x;
  reg valid;
  wire [LANES*FIELD-1:0] word;
  wire advance = !out_valid || out_ready;
  assign in_ready = advance;
  bnnc_rom #(
      .WIDTH(LANES * FIELD),
      .DEPTH(CHUNKS),
      .FILE (TABLE),
      .STYLE(ROM_STYLE)
  ) rom (
      .clk(clk),
      .enable(advance),
      .address(chunk),
      .data(word)
  );
  always @(posedge clk) begin
    if (rst) begin
      chunk <= 0;
      valid <= 1'b0;
      out_valid <= 1'b0;
    end else if (advance) begin
      if (in_valid) chunk <= chunk == LAST[CW-1:0] ? {CW{1'b0}} : chunk + 1'b1;
      valid <= in_valid;
      out_valid <= valid;
    end
    if (advance) x <= in_data;
  end

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
