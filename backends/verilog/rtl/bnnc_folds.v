// bnnc_folds: hands each beat of a vector, with its weights, to a matrix-vector unit, NF times over.
//
//   WIDTH         bits of a beat
//   SF, NF        beats of a vector, and how often the vector is needed; it is kept from its first pass on
//   GROUPS        vectors that follow one another with weights of their own
//   REPEAT        beats that follow one another and have the same weights
//   WEIGHT_WIDTH  bits of a word of weights; WEIGHTS, ROM_STYLE: see bnnc_rom (word ((group*NF + pass)*SF + beat) / REPEAT)
//   DELAY         cycles from `x` until its part of the results is at the accumulators
//   ROOM          results (one at the end of each pass) that have a place behind the unit
//
// `x` and `weights` belong together; DELAY cycles later `counted` says that a beat is there, and `counted_last` that it is
// the last of its pass. `taken` says that a result has left its place.
// Throughput: a beat a cycle; input is taken in the first pass only. Latency: 3 cycles. Nothing behind it ever stalls: a
// pass ends only when there is a place for its result.
module bnnc_folds #(
    parameter integer WIDTH = 8,
    parameter integer SF = 4,
    parameter integer NF = 4,
    parameter integer GROUPS = 1,
    parameter integer REPEAT = 1,
    parameter integer WEIGHT_WIDTH = 8,
    parameter WEIGHTS = "none",
    parameter integer ROM_STYLE = 0,
    parameter integer DELAY = 2,
    parameter integer ROOM = 2
) (
    input                         clk,
    input                         rst,
    input      [       WIDTH-1:0] in_data,
    input                         in_valid,
    output                        in_ready,
    output reg [       WIDTH-1:0] x,
    output reg [WEIGHT_WIDTH-1:0] weights,
    output                        counted,
    output                        counted_last,
    input                         taken
);
  localparam integer BW = SF > 1 ? $clog2(SF) : 1;
  localparam integer RW = $clog2(ROOM + 1);
  localparam integer WORDS = GROUPS * NF * SF / REPEAT;
  localparam integer AW = WORDS > 1 ? $clog2(WORDS) : 1;
  localparam integer LAST_BEAT = SF - 1;
  localparam integer LAST_WORD = WORDS - 1;

  reg [AW-1:0] address;
  reg [BW-1:0] beat;
  reg [RW-1:0] used;
  reg first;  // pass
  wire last = beat == LAST_BEAT[BW-1:0];
  wire last_pass;
  wire clear = !last || used != ROOM[RW-1:0];
  wire go = (!first || in_valid) && clear;
  wire end_of_pass = go && last;
  assign in_ready = first && clear;
  bnnc_counter #(
      .COUNT(NF)
  ) passes (
      .clk (clk),
      .rst (rst),
      .step(end_of_pass),
      .last(last_pass)
  );
  wire end_of_word;
  bnnc_counter #(
      .COUNT(REPEAT)
  ) repeats (
      .clk (clk),
      .rst (rst),
      .step(go),
      .last(end_of_word)
  );
  always @(posedge clk)
    if (rst) begin
      address <= 0;
      beat <= 0;
      first <= 1'b1;
      used <= 0;
    end else begin
      if (go && end_of_word) address <= address == LAST_WORD[AW-1:0] ? {AW{1'b0}} : address + 1'b1;
      if (go) beat <= last ? {BW{1'b0}} : beat + 1'b1;
      if (end_of_pass) first <= last_pass;
      if (end_of_pass != taken) used <= end_of_pass ? used + 1'b1 : used - 1'b1;
    end

  bnnc_delay #(
      .CYCLES(3 + DELAY),
      .RESET (1)
  ) delay_valid (
      .clk(clk),
      .rst(rst),
      .enable(1'b1),
      .in(go),
      .out(counted)
  );
  bnnc_delay #(
      .CYCLES(3 + DELAY)
  ) delay_last (
      .clk(clk),
      .rst(rst),
      .enable(1'b1),
      .in(last),
      .out(counted_last)
  );

  wire [WEIGHT_WIDTH-1:0] word;
  bnnc_rom #(
      .WIDTH(WEIGHT_WIDTH),
      .DEPTH(WORDS),
      .FILE (WEIGHTS),
      .STYLE(ROM_STYLE)
  ) rom (
      .clk(clk),
      .enable(1'b1),
      .address(address),
      .data(word)
  );
  // One more register on the long way from the memory to all the neurons.
  reg [WIDTH-1:0] fresh, chosen;
  always @(posedge clk) begin
    fresh <= in_data;
    x <= chosen;
    weights <= word;
  end
  generate
    if (NF == 1) begin : g_once
      always @(posedge clk) chosen <= fresh;
    end else begin : g_keep
      (* no_rw_check *)
      reg [WIDTH-1:0] kept[0:SF-1];
      reg [WIDTH-1:0] again;
      reg first_before;
      always @(posedge clk) begin
        if (first && go) kept[beat] <= in_data;
        if (!first) again <= kept[beat];
        first_before <= first;
        chosen <= first_before ? fresh : again;
      end
    end
  endgenerate
endmodule
