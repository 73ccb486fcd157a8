// bnnc_lookup: out = table[x - LOW], one table for all channels or one for each.
//
//   LANES, IN_WIDTH, IN_SIGNED  of the input; LOW <= x < LOW + SIZE
//   OUT_WIDTH                   bits of an entry
//   LOW, SIZE                   the smallest x, and how many there are
//   CHUNKS                      1: the same tables for every beat; else the beats of a pixel, with tables of their own
//   SHARED                      1: all lanes use one table (CHUNKS is 1 then)
//   TABLE                       file of CHUNKS*SIZE words: at chunk*SIZE + x - LOW, lane l has the bits l*OUT_WIDTH +:
//                               OUT_WIDTH (SHARED: words of OUT_WIDTH bits)
//   ROM_STYLE                   0: the tools choose; 1: LUTs; 2: block RAM
//
// Throughput: a beat a cycle. Latency: 3 cycles. in_ready depends on out_ready.
module bnnc_lookup #(
    parameter integer LANES = 2,
    parameter integer IN_WIDTH = 4,
    parameter integer IN_SIGNED = 0,
    parameter integer OUT_WIDTH = 8,
    parameter integer LOW = 0,
    parameter integer SIZE = 16,
    parameter integer CHUNKS = 1,
    parameter integer SHARED = 0,
    parameter TABLE = "none",
    parameter integer ROM_STYLE = 0
) (
    input                            clk,
    input                            rst,
    input      [ LANES*IN_WIDTH-1:0] in_data,
    input                            in_valid,
    output                           in_ready,
    output     [LANES*OUT_WIDTH-1:0] out_data,
    output                           out_valid,
    input                            out_ready
);
  localparam integer WORDS = CHUNKS * SIZE;
  localparam integer AW = WORDS > 1 ? $clog2(WORDS) : 1;
  localparam integer WORD = SHARED != 0 ? OUT_WIDTH : LANES * OUT_WIDTH;
  localparam integer START = -LOW;  // address of x = 0 in the first table

  wire advance;
  wire go = in_valid && advance;
  wire last;
  reg [AW-1:0] base;
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
  bnnc_counter #(
      .COUNT(CHUNKS)
  ) chunks (
      .clk (clk),
      .rst (rst),
      .step(go),
      .last(last)
  );
  always @(posedge clk)
    if (rst) base <= START[AW-1:0];
    else if (go) base <= last ? START[AW-1:0] : base + SIZE[AW-1:0];

  genvar lane;
  generate
    for (lane = 0; lane < LANES; lane = lane + 1) begin : g_lane
      wire [IN_WIDTH-1:0] x = in_data[lane*IN_WIDTH+:IN_WIDTH];
      // verilator lint_off UNUSED
      wire [AW+IN_WIDTH-1:0] wide = {{AW{IN_SIGNED != 0 && x[IN_WIDTH-1]}}, x};
      wire [WORD-1:0] word;
      // verilator lint_on UNUSED
      reg [AW-1:0] address;
      always @(posedge clk) if (advance) address <= base + wide[AW-1:0];
      bnnc_rom #(
          .WIDTH(WORD),
          .DEPTH(WORDS),
          .FILE (TABLE),
          .STYLE(ROM_STYLE)
      ) rom (
          .clk(clk),
          .enable(advance),
          .address(address),
          .data(word)
      );
      assign out_data[lane*OUT_WIDTH+:OUT_WIDTH] = word[(SHARED!=0?0 : lane)*OUT_WIDTH+:OUT_WIDTH];
    end
  endgenerate
endmodule
