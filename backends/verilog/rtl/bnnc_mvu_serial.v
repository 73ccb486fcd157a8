// bnnc_mvu_serial: a layer of weights -1 and 1 on integers that come bit by bit (bnnc_planes): PE neurons count SIMD bits
// in each cycle, as in bnnc_mvu_bits, and double their sums from plane to plane. No multipliers, no wide adder trees.
//
// A vector is INPUTS numbers (of one group of one output pixel), SIMD of them at a time, each IN_WIDTH beats of SIMD bits,
// the highest first: SF = INPUTS/SIMD*IN_WIDTH beats. OUTPUTS sums come out in NF = OUTPUTS/PE beats. The vector is kept for
// the NF - 1 later passes, while no input is taken.
//
//   INPUTS, OUTPUTS      of one group; SIMD divides INPUTS, PE divides OUTPUTS
//   GROUPS               vectors that follow one another with weights of their own (a grouped convolution)
//   IN_WIDTH, IN_SIGNED  of an input; signed: its highest bit counts negative
//   ACC_WIDTH            bits of a sum: signed, right modulo 2^ACC_WIDTH
//   WEIGHTS              file of a word for each (group, nf, chunk of SIMD inputs), chunks fastest. Neuron
//                        group*OUTPUTS + nf*PE + p has the bits p*FIELD +: FIELD of it: input chunk*SIMD + l the l-th of
//                        them (1 is 1, 0 is -1), and above those how many weights are -1, in $clog2(SIMD + 1) bits.
//   ROM_STYLE            0: the tools choose; 1: LUTs; 2: block RAM
//
// A number times -1 is, bit by bit, (not bit) - 1: so the plane of a chunk adds (the bits equal to their weights) less (the
// weights -1).
// Throughput: SF*NF cycles a vector. Latency: 7 + ceil(log2(ceil(SIMD/8))) cycles behind a pass, 1 more where 3 results or
// more can be under way. Nothing stalls inside, see bnnc_mvu_bits.
module bnnc_mvu_serial #(
    parameter integer INPUTS = 16,
    parameter integer OUTPUTS = 8,
    parameter integer SIMD = 4,
    parameter integer PE = 2,
    parameter integer GROUPS = 1,
    parameter integer IN_WIDTH = 8,
    parameter integer IN_SIGNED = 0,
    parameter integer ACC_WIDTH = 13,
    parameter WEIGHTS = "none",
    parameter integer ROM_STYLE = 0
) (
    input                     clk,
    input                     rst,
    input  [        SIMD-1:0] in_data,
    input                     in_valid,
    output                    in_ready,
    output [PE*ACC_WIDTH-1:0] out_data,
    output                    out_valid,
    input                     out_ready
);
  localparam integer SF = INPUTS / SIMD * IN_WIDTH;
  localparam integer COUNT_WIDTH = $clog2(SIMD + 1);
  localparam integer FIELD = SIMD + COUNT_WIDTH;
  localparam integer TREE = SIMD > 8 ? 1 + $clog2((SIMD + 7) / 8) : 1;
  localparam integer DELAY = TREE + 2;
  localparam integer ROOM = (DELAY + 6 + SF - 1) / SF;
  localparam integer TOTAL = COUNT_WIDTH + 1 + IN_WIDTH;  // bits of the sum of a chunk
  localparam integer PART = TOTAL < ACC_WIDTH ? TOTAL : ACC_WIDTH;

  wire [SIMD-1:0] x;
  wire [PE*FIELD-1:0] weights;
  wire counted, counted_last;
  bnnc_folds #(
      .WIDTH(SIMD),
      .SF(SF),
      .NF(OUTPUTS / PE),
      .GROUPS(GROUPS),
      .REPEAT(IN_WIDTH),
      .WEIGHT_WIDTH(PE * FIELD),
      .WEIGHTS(WEIGHTS),
      .ROM_STYLE(ROM_STYLE),
      .DELAY(TREE + 1),
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

  wire last_plane;
  bnnc_counter #(
      .COUNT(IN_WIDTH)
  ) planes (
      .clk (clk),
      .rst (rst),
      .step(counted),
      .last(last_plane)
  );
  reg first_plane, summed, summed_last;
  always @(posedge clk) begin
    if (rst) first_plane <= 1'b1;
    else if (counted) first_plane <= last_plane;
    summed <= !rst && counted && last_plane;
    summed_last <= counted_last;
  end

  wire negative = IN_SIGNED != 0 && first_plane;
  wire [PE*ACC_WIDTH-1:0] parts;
  genvar p;
  generate
    for (p = 0; p < PE; p = p + 1) begin : g_neuron
      wire [COUNT_WIDTH-1:0] amount;  // and one more if `more`
      wire [COUNT_WIDTH-1:0] minus;
      wire more;
      bnnc_popcount #(
          .BITS(SIMD)
      ) popcount (
          .clk  (clk),
          .bits (x ~^ weights[p*FIELD+:SIMD]),
          .count(amount),
          .carry(more)
      );
      bnnc_delay #(
          .WIDTH (COUNT_WIDTH),
          .CYCLES(TREE)
      ) delay_minus (
          .clk(clk),
          .rst(1'b0),
          .enable(1'b1),
          .in(weights[p*FIELD+SIMD+:COUNT_WIDTH]),
          .out(minus)
      );
      reg [COUNT_WIDTH:0] plane;
      reg more_kept;
      // verilator lint_off UNUSED
      reg [TOTAL-1:0] total;  // of a chunk; right modulo 2^ACC_WIDTH is enough
      // verilator lint_on UNUSED
      wire [TOTAL-1:0] doubled = first_plane ? {TOTAL{1'b0}} : {total[TOTAL-2:0], 1'b0};
      wire [TOTAL-1:0] added = {{TOTAL - COUNT_WIDTH - 1{plane[COUNT_WIDTH]}}, plane} ^ {TOTAL{negative}};
      wire carry = more_kept ^ negative;
      // verilator lint_off UNUSED
      wire [TOTAL:0] next = {doubled, carry} + {added, carry};
      // verilator lint_on UNUSED
      always @(posedge clk) begin
        plane <= {1'b0, amount} - {1'b0, minus};
        more_kept <= more;
        if (counted) total <= next[TOTAL:1];
      end
      assign parts[p*ACC_WIDTH+:ACC_WIDTH] = {{ACC_WIDTH - PART{total[TOTAL-1]}}, total[PART-1:0]};
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
      .carries({PE{1'b0}}),
      .valid(summed),
      .last(summed_last),
      .out_data(out_data),
      .out_valid(out_valid),
      .out_ready(out_ready)
  );
endmodule
