// bnnc_mvu_bits: a layer of binary or ternary weights on bits; PE neurons work on SIMD inputs in each cycle.
//
// A vector is INPUTS bits (of one group of one output pixel) in SF = INPUTS/SIMD beats; OUTPUTS sums come out in
// NF = OUTPUTS/PE beats. The vector is kept for the NF - 1 later passes, while no input is taken.
//
//   INPUTS, OUTPUTS  of one group; SIMD divides INPUTS, PE divides OUTPUTS
//   GROUPS           vectors that follow one another with weights of their own (a grouped convolution)
//   FLAGS            a beat has so many bits `pad`, one above each SIMD/FLAGS lanes: they lie outside the input
//   TERNARY          1: weights are -1, 0 or 1
//   SUM              0: out = how many products are +1, unsigned (weights 0 count nothing; `pad` is not looked at)
//                    1: out = the sum of the products, signed; where `pad` is set they are 0
//   ACC_WIDTH        bits of a sum
//   WEIGHTS          file of a word for each (group, nf, sf), sf fastest. Neuron group*OUTPUTS + nf*PE + p has the bits
//                    p*FIELD +: FIELD of it, input sf*SIMD + l the l-th of them (1 is +1); FIELD = SIMD. For TERNARY
//                    there are, above SIMD bits of signs, SIMD bits `is not 0`, and above those how many of them are
//                    set, in $clog2(SIMD + 1) bits; FIELD is the sum of the three. The sign of a 0 has no effect.
//   ROM_STYLE        0: the tools choose; 1: LUTs; 2: block RAM
//
// Throughput: SF*NF cycles a vector. Latency: 5 + ceil(log2(ceil(SIMD/8))) + SUM cycles behind a pass, 1 more where
// 3 results or more can be under way. Nothing stalls inside: a pass ends only when its results have a place in the FIFO
// behind, and that is as deep as full throughput needs.
module bnnc_mvu_bits #(
    parameter integer INPUTS = 64,
    parameter integer OUTPUTS = 16,
    parameter integer SIMD = 16,
    parameter integer PE = 4,
    parameter integer GROUPS = 1,
    parameter integer FLAGS = 0,
    parameter integer TERNARY = 0,
    parameter integer SUM = 0,
    parameter integer ACC_WIDTH = 7,
    parameter WEIGHTS = "none",
    parameter integer ROM_STYLE = 0
) (
    input                     clk,
    input                     rst,
    input  [  SIMD+FLAGS-1:0] in_data,
    input                     in_valid,
    output                    in_ready,
    output [PE*ACC_WIDTH-1:0] out_data,
    output                    out_valid,
    input                     out_ready
);
  localparam integer SF = INPUTS / SIMD;
  localparam integer NF = OUTPUTS / PE;
  localparam integer WIDTH = SIMD + FLAGS;
  localparam integer SPAN = FLAGS > 0 ? SIMD / FLAGS : SIMD;
  localparam integer COUNT_WIDTH = $clog2(SIMD + 1);
  localparam integer FIELD = TERNARY != 0 ? 2 * SIMD + COUNT_WIDTH : SIMD;
  localparam integer TREE = SIMD > 8 ? 1 + $clog2((SIMD + 7) / 8) : 1;
  localparam integer DELAY = TREE + (SUM != 0 ? 1 : 0);
  localparam integer ROOM = (DELAY + 6 + SF - 1) / SF;

  // verilator lint_off UNUSED
  wire [WIDTH-1:0] x;
  wire [PE*FIELD-1:0] weights;  // the numbers of weights that are not 0 are for a single flag
  // verilator lint_on UNUSED
  wire counted, counted_last;
  bnnc_folds #(
      .WIDTH(WIDTH),
      .SF(SF),
      .NF(NF),
      .GROUPS(GROUPS),
      .WEIGHT_WIDTH(PE * FIELD),
      .WEIGHTS(WEIGHTS),
      .ROM_STYLE(ROM_STYLE),
      .DELAY(DELAY),
      .ROOM(ROOM)
  ) folds (
      .clk(clk),
      .rst(rst),
      .in_data(in_data),
      .in_valid(in_valid),
      .in_ready(in_ready),
      .x(x),
      .weights(weights),
      .counted(counted),
      .counted_last(counted_last),
      .taken(out_valid && out_ready)
  );

  // Where one flag holds for all lanes, the part of the beat is left out; else the product of each lane is.
  // verilator lint_off UNUSED
  wire outside;
  wire [SIMD-1:0] used;
  wire [COUNT_WIDTH:0] used_lanes;
  // verilator lint_on UNUSED
  wire [SIMD-1:0] lanes;
  genvar f, p;
  generate
    if (SUM != 0 && FLAGS == 1) begin : g_pad
      bnnc_delay #(
          .WIDTH (1),
          .CYCLES(TREE)
      ) delay_pad (
          .clk(clk),
          .rst(1'b0),
          .enable(1'b1),
          .in(x[WIDTH-1]),
          .out(outside)
      );
    end else begin : g_no_pad
      assign outside = 1'b0;
    end
    if (FLAGS == 0) begin : g_lanes
      assign lanes = x;
    end else begin : g_taps
      for (f = 0; f < FLAGS; f = f + 1) begin : g_tap
        assign lanes[f*SPAN+:SPAN] = x[f*(SPAN+1)+:SPAN];
      end
    end
    if (SUM != 0 && FLAGS > 1) begin : g_pads
      localparam integer FLAG_WIDTH = $clog2(FLAGS + 1);
      localparam integer EARLY = TREE - 1 - (FLAGS > 8 ? $clog2((FLAGS + 7) / 8) : 0);
      wire [FLAGS-1:0] taps;
      wire [FLAG_WIDTH-1:0] number;  // of taps that count, and one more if `more`
      wire more;
      for (f = 0; f < FLAGS; f = f + 1) begin : g_flag
        assign taps[f] = !x[f*(SPAN+1)+SPAN];
        assign used[f*SPAN+:SPAN] = {SPAN{taps[f]}};
      end
      bnnc_popcount #(
          .BITS(FLAGS)
      ) count_taps (
          .clk  (clk),
          .bits (taps),
          .count(number),
          .carry(more)
      );
      wire [COUNT_WIDTH:0] all_taps = {{COUNT_WIDTH + 1 - FLAG_WIDTH{1'b0}}, number} + {{COUNT_WIDTH{1'b0}}, more};
      bnnc_delay #(
          .WIDTH (COUNT_WIDTH + 1),
          .CYCLES(EARLY)
      ) delay_taps (
          .clk(clk),
          .rst(1'b0),
          .enable(1'b1),
          .in(all_taps * SPAN[COUNT_WIDTH:0]),
          .out(used_lanes)
      );
    end else begin : g_all_used
      assign used = {SIMD{1'b1}};
      assign used_lanes = SIMD[COUNT_WIDTH:0];
    end
  endgenerate

  localparam integer NEEDED = SUM != 0 ? COUNT_WIDTH + 1 : COUNT_WIDTH;
  localparam integer PART = NEEDED < ACC_WIDTH ? NEEDED : ACC_WIDTH;
  wire [PE*ACC_WIDTH-1:0] parts;
  wire [PE-1:0] carries;
  generate
    for (p = 0; p < PE; p = p + 1) begin : g_neuron
      wire [SIMD-1:0] equal = (lanes ~^ weights[p*FIELD+:SIMD]) & used;
      wire [SIMD-1:0] ones;
      wire [COUNT_WIDTH-1:0] amount;  // and one more if `more`
      wire more;
      if (TERNARY != 0) begin : g_ternary
        assign ones = equal & weights[p*FIELD+SIMD+:SIMD];
      end else begin : g_binary
        assign ones = equal;
      end
      bnnc_popcount #(
          .BITS(SIMD)
      ) popcount (
          .clk  (clk),
          .bits (ones),
          .count(amount),
          .carry(more)
      );

      // The part of this beat, in as few bits as hold it (or as the sum has: sums are right modulo 2^ACC_WIDTH).
      wire [PART-1:0] part;
      if (SUM == 0) begin : g_count
        assign part = amount[PART-1:0];
        assign carries[p] = more;
      end else begin : g_sum
        wire [COUNT_WIDTH:0] weighed;
        if (TERNARY == 0) begin : g_all
          assign weighed = used_lanes;
        end else if (FLAGS > 1) begin : g_weighed_used
          wire [COUNT_WIDTH-1:0] some;
          wire one;
          bnnc_popcount #(
              .BITS(SIMD)
          ) count_weighed (
              .clk  (clk),
              .bits (weights[p*FIELD+SIMD+:SIMD] & used),
              .count(some),
              .carry(one)
          );
          assign weighed = {1'b0, some} + {{COUNT_WIDTH{1'b0}}, one};
        end else begin : g_weighed
          assign weighed[COUNT_WIDTH] = 1'b0;
          bnnc_delay #(
              .WIDTH (COUNT_WIDTH),
              .CYCLES(TREE)
          ) delay_weighed (
              .clk(clk),
              .rst(1'b0),
              .enable(1'b1),
              .in(weights[p*FIELD+2*SIMD+:COUNT_WIDTH]),
              .out(weighed[COUNT_WIDTH-1:0])
          );
        end
        // Twice (amount + more), less what was weighed; one of the two `more` goes to the accumulator's carry.
        wire [COUNT_WIDTH:0] total = {amount, more} - weighed;
        reg [PART-1:0] total_kept;
        reg more_kept;
        always @(posedge clk) begin
          total_kept <= outside ? {PART{1'b0}} : total[PART-1:0];
          more_kept  <= !outside && more;
        end
        assign part = total_kept;
        assign carries[p] = more_kept;
      end

      assign parts[p*ACC_WIDTH+:ACC_WIDTH] = {{ACC_WIDTH - PART{SUM != 0 ? part[PART-1] : 1'b0}}, part};
    end
  endgenerate

  bnnc_accumulate #(
      .PE(PE),
      .WIDTH(ACC_WIDTH),
      .DEPTH(ROOM)
  ) accumulate (
      .clk(clk),
      .rst(rst),
      .parts(parts),
      .carries(carries),
      .valid(counted),
      .last(counted_last),
      .out_data(out_data),
      .out_valid(out_valid),
      .out_ready(out_ready)
  );
endmodule
