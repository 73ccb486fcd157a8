// bnnc_folds: hands the beats of each vector to a matrix-vector unit, NF times over, and counts the places for results.
//
//   WIDTH   bits of a beat
//   SF, NF  beats of a vector, and how often the vector is needed; it is kept from its first pass on
//   WORDS   addresses of the weights: SF * NF * groups
//   ROOM    results (one at the end of each pass) that have a place behind the unit
//
// `address` is that of the weights of the beat that goes in this cycle; `x`, `x_valid` and `x_last` (the last of its
// pass) are that beat two cycles later. `taken` says that a result has left its place.
// Throughput: a beat a cycle; input is taken in the first pass only. A pass ends only when a place is free.
module bnnc_folds #(
    parameter integer WIDTH = 8,
    parameter integer SF = 4,
    parameter integer NF = 4,
    parameter integer WORDS = 16,
    parameter integer ROOM = 2,
    parameter integer ADDRESS_WIDTH = WORDS > 1 ? $clog2(WORDS) : 1
) (
    input                          clk,
    input                          rst,
    input      [        WIDTH-1:0] in_data,
    input                          in_valid,
    output                         in_ready,
    output reg [ADDRESS_WIDTH-1:0] address,
    output reg [        WIDTH-1:0] x,
    output reg                     x_valid,
    output reg                     x_last,
    input                          taken
);
  localparam integer SW = SF > 1 ? $clog2(SF) : 1;
  localparam integer NW = NF > 1 ? $clog2(NF) : 1;
  localparam integer RW = $clog2(ROOM + 1);
  localparam integer LAST_BEAT = SF - 1;
  localparam integer LAST_FOLD = NF - 1;
  localparam integer LAST_WORD = WORDS - 1;

  reg [SW-1:0] beat;
  reg [NW-1:0] fold;
  reg [RW-1:0] used;
  reg valid, last_before;
  wire first = fold == 0;
  wire last = beat == LAST_BEAT[SW-1:0];
  wire clear = !last || used != ROOM[RW-1:0];
  wire go = (!first || in_valid) && clear;
  wire end_of_pass = go && last;
  assign in_ready = first && clear;

  always @(posedge clk) begin
    if (rst) begin
      address <= 0;
      beat <= 0;
      fold <= 0;
      used <= 0;
      valid <= 1'b0;
      x_valid <= 1'b0;
    end else begin
      if (go) begin
        address <= address == LAST_WORD[ADDRESS_WIDTH-1:0] ? {ADDRESS_WIDTH{1'b0}} : address + 1'b1;
        beat <= last ? {SW{1'b0}} : beat + 1'b1;
        if (last) fold <= fold == LAST_FOLD[NW-1:0] ? {NW{1'b0}} : fold + 1'b1;
      end
      if (end_of_pass != taken) used <= end_of_pass ? used + 1'b1 : used - 1'b1;
      valid <= go;
      x_valid <= valid;
    end
    last_before <= last;
    x_last <= last_before;
  end

  reg [WIDTH-1:0] fresh;
  always @(posedge clk) fresh <= in_data;
  generate
    if (NF == 1) begin : g_once
      always @(posedge clk) x <= fresh;
    end else begin : g_keep
      reg [WIDTH-1:0] kept[0:SF-1];
      reg [WIDTH-1:0] again;
      reg first_before;
      always @(posedge clk) begin
        if (first && go) kept[beat] <= in_data;
        if (!first) again <= kept[beat];
        first_before <= first;
        x <= first_before ? fresh : again;
      end
    end
  endgenerate
endmodule
