// bnnc_constant: the same beats for every sample, without end.
//
//   WIDTH      bits of a beat
//   BEATS      of a sample
//   TABLE      file of BEATS words
//   ROM_STYLE  0: the tools choose; 1: LUTs; 2: block RAM
//
// Throughput: a beat a cycle, from the second cycle behind the reset on.
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
  reg valid;
  wire advance = !valid || out_ready;
  assign out_valid = valid;
  always @(posedge clk)
    if (rst) begin
      beat  <= 0;
      valid <= 1'b0;
    end else if (advance) begin
      beat  <= beat == LAST[AW-1:0] ? {AW{1'b0}} : beat + 1'b1;
      valid <= 1'b1;
    end
  bnnc_rom #(
      .WIDTH(WIDTH),
      .DEPTH(BEATS),
      .FILE (TABLE),
      .STYLE(ROM_STYLE)
  ) rom (
      .clk(clk),
      .enable(advance && !rst),
      .address(beat),
      .data(out_data)
  );
endmodule
