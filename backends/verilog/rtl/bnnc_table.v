// bnnc_table: a word for each of the CHUNKS beats of a pixel, read with the beat.
//
//   WIDTH, CHUNKS, FILE, ROM_STYLE  of the memory: see bnnc_rom
//
// `step`: a beat is taken (in a cycle with `enable`). Its word is at `data` two cycles with `enable` later.
module bnnc_table #(
    parameter integer WIDTH = 8,
    parameter integer CHUNKS = 2,
    parameter FILE = "none",
    parameter integer ROM_STYLE = 0
) (
    input              clk,
    input              rst,
    input              enable,
    input              step,
    output [WIDTH-1:0] data
);
  localparam integer AW = CHUNKS > 1 ? $clog2(CHUNKS) : 1;
  localparam integer LAST = CHUNKS - 1;
  reg [AW-1:0] chunk;
  always @(posedge clk)
    if (rst) chunk <= 0;
    else if (step) chunk <= chunk == LAST[AW-1:0] ? {AW{1'b0}} : chunk + 1'b1;
  bnnc_rom #(
      .WIDTH(WIDTH),
      .DEPTH(CHUNKS),
      .FILE (FILE),
      .STYLE(ROM_STYLE)
  ) rom (
      .clk(clk),
      .enable(enable),
      .address(chunk),
      .data(data)
  );
endmodule
