// bnnc_reorder: the beats of a sample in any order, any number of times or not at all, with a constant between them:
// transpositions, gathers, slices, paddings, expansions.
//
//   WIDTH                bits of a beat
//   IN_BEATS, OUT_BEATS  of a sample
//   INDEX                file of OUT_BEATS words: which beat of the sample comes out; IN_BEATS stands for FILL
//   FILL                 a beat
//   ROM_STYLE            of the index: 0: the tools choose; 1: LUTs; 2: block RAM
//
// Two samples are kept: one comes in while one goes out. Throughput: at most max(IN_BEATS, OUT_BEATS) + 3 cycles a
// sample. Latency: 5 cycles behind the last beat of the sample. in_ready depends on no ready.
module bnnc_reorder #(
    parameter integer WIDTH = 8,
    parameter integer IN_BEATS = 4,
    parameter integer OUT_BEATS = 4,
    parameter INDEX = "none",
    parameter [WIDTH-1:0] FILL = 0,
    parameter integer ROM_STYLE = 0
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
  localparam integer XW = $clog2(IN_BEATS + 1);
  localparam integer AW = $clog2(2 * IN_BEATS);
  localparam integer OW = OUT_BEATS > 1 ? $clog2(OUT_BEATS) : 1;
  localparam integer LAST = OUT_BEATS - 1;
  localparam integer LAST_IN = 2 * IN_BEATS - 1;
  wire advance = !out_valid || out_ready;

  // A whole sample is unread until its last beat is asked for, and has its bank until that beat has been read.
  reg [1:0] unread, occupied;
  reg out_bank;
  reg [AW-1:0] in_address;
  wire in_last;
  wire put = in_valid && in_ready;
  assign in_ready = occupied != 2;
  bnnc_counter #(
      .COUNT(IN_BEATS)
  ) in_beats (
      .clk (clk),
      .rst (rst),
      .step(put),
      .last(in_last)
  );

  // Stages 1 and 2: the index; stage 3: the beat; stage 4: the output.
  reg [OW-1:0] beat;
  wire go = unread != 0 && advance;
  wire last = beat == LAST[OW-1:0];
  wire [XW-1:0] index;
  reg valid_1, valid_2, valid_3, last_1, last_2, bank_1, bank_2, fill_3;
  bnnc_rom #(
      .WIDTH(XW),
      .DEPTH(OUT_BEATS),
      .FILE (INDEX),
      .STYLE(ROM_STYLE)
  ) rom (
      .clk(clk),
      .enable(advance),
      .address(beat),
      .data(index)
  );
  wire whole = put && in_last;
  wire free = advance && valid_2 && last_2;
  always @(posedge clk)
    if (rst) begin
      unread <= 0;
      occupied <= 0;
      out_bank <= 1'b0;
      in_address <= 0;
      beat <= 0;
      valid_1 <= 1'b0;
      valid_2 <= 1'b0;
      valid_3 <= 1'b0;
      out_valid <= 1'b0;
    end else begin
      if (put) in_address <= in_address == LAST_IN[AW-1:0] ? {AW{1'b0}} : in_address + 1'b1;
      if (whole != free) occupied <= whole ? occupied + 1'b1 : occupied - 1'b1;
      if (whole != (go && last)) unread <= whole ? unread + 1'b1 : unread - 1'b1;
      if (go) begin
        beat <= last ? {OW{1'b0}} : beat + 1'b1;
        if (last) out_bank <= !out_bank;
      end
      if (advance) begin
        valid_1 <= go;
        valid_2 <= valid_1;
        valid_3 <= valid_2;
        out_valid <= valid_3;
      end
    end

  (* no_rw_check *)
  reg [WIDTH-1:0] kept[0:2*IN_BEATS-1];
  reg [WIDTH-1:0] word;
  wire [AW-1:0] from = (bank_2 ? IN_BEATS[AW-1:0] : {AW{1'b0}}) + {{AW - XW{1'b0}}, index};
  always @(posedge clk) begin
    if (put) kept[in_address] <= in_data;
    if (advance) begin
      last_1 <= last;
      bank_1 <= out_bank;
      last_2 <= last_1;
      bank_2 <= bank_1;
      fill_3 <= index == IN_BEATS[XW-1:0];
      word <= kept[from];
      out_data <= fill_3 ? FILL : word;
    end
  end
endmodule
