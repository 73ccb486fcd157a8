// bnnc_constant: the same beats for every sample, without end.
//
//   WIDTH      bits of a beat
//   BEATS      of a sample
//   TABLE      file of BEATS words
//   ROM_STYLE  0: the tools choose; 1: LUTs; 2: block RAM
//
// Throughput: a beat a cycle, from the third cycle behind the reset on.
module bnnc_constant #(
    parameter integer WIDTH = 8,
    parameter integer BEATS = 4,
    parameter TABLE = "none",
    parameter integer ROM_STYLE = 0
) (
    input              clk,
    input              rst,
    output [WIDTH-1:0] out_data,
    output             out_valid,
    input              out_ready
);
  localparam integer AW = BEATS > 1 ? $clog2(BEATS) : 1;
  localparam integer LAST = BEATS - 1;
  reg [AW-1:0] beat;
  wire advance;
  bnnc_valid #(
      .STAGES(2)
  ) valid (
      .clk(clk),
      .rst(rst),
      .in_valid(1'b1),
      .advance(advance),
      .out_valid(out_valid),
      .out_ready(out_ready)
  );
  always @(posedge clk)
    if (rst) beat <= 0;
    else if (advance) beat <= beat == LAST[AW-1:0] ? {AW{1'b0}} : beat + 1'b1;
  bnnc_rom #(
      .WIDTH(WIDTH),
      .DEPTH(BEATS),
      .FILE (TABLE),
      .STYLE(ROM_STYLE)
  ) rom (
      .clk(clk),
      .enable(advance),
      .address(beat),
      .data(out_data)
  );
endmodule
