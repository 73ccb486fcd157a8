// bnnc_repeat: each group of BEATS beats, TIMES times over (a vector that meets every pixel).
//
//   WIDTH  bits of a beat
//   BEATS  of a group
//   TIMES  passes; the first is that of the input itself
//
// Throughput: a beat out a cycle, BEATS * TIMES cycles a group; input is taken in the first pass only. Latency: 2 cycles.
// in_ready depends on out_ready.
module bnnc_repeat #(
    parameter integer WIDTH = 8,
    parameter integer BEATS = 4,
    parameter integer TIMES = 3
) (
    input                  clk,
    input                  rst,
    input      [WIDTH-1:0] in_data,
    input                  in_valid,
    output                 in_ready,
    output reg [WIDTH-1:0] out_data,
    output reg             out_valid,
    input                  out_ready
);
  localparam integer AW = BEATS > 1 ? $clog2(BEATS) : 1;
  localparam integer LAST = BEATS - 1;
  (* no_rw_check *)
  reg [WIDTH-1:0] kept[0:BEATS-1];
  reg [WIDTH-1:0] fresh, again;
  reg [AW-1:0] beat;
  reg first, was_first, valid;
  wire last_pass;
  wire last = beat == LAST[AW-1:0];
  wire advance = !out_valid || out_ready;
  wire there = !first || in_valid;
  wire go = there && advance;
  assign in_ready = first && advance;
  bnnc_counter #(
      .COUNT(TIMES)
  ) passes (
      .clk (clk),
      .rst (rst),
      .step(go && last),
      .last(last_pass)
  );
  always @(posedge clk) begin
    if (rst) begin
      beat <= 0;
      first <= 1'b1;
      valid <= 1'b0;
      out_valid <= 1'b0;
    end else if (advance) begin
      if (there) begin
        beat <= last ? {AW{1'b0}} : beat + 1'b1;
        if (last) first <= last_pass;
      end
      valid <= there;
      out_valid <= valid;
    end
    if (go && first) kept[beat] <= in_data;
    if (advance) begin
      if (!first) again <= kept[beat];
      fresh <= in_data;
      was_first <= first;
      out_data <= was_first ? fresh : again;
    end
  end
endmodule
