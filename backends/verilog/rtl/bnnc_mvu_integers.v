// bnnc_mvu_integers: a layer of integer weights on integers; PE neurons work on SIMD inputs in each cycle.
//
// A vector is INPUTS numbers (of one group of one output pixel) in SF = INPUTS/SIMD beats; OUTPUTS sums come out in
// NF = OUTPUTS/PE beats. The vector is kept for the NF - 1 later passes, while no input is taken.
//
//   INPUTS, OUTPUTS      of one group; SIMD divides INPUTS, PE divides OUTPUTS
//   GROUPS               vectors that follow one another with weights of their own (a grouped convolution)
//   IN_WIDTH, IN_SIGNED  of an input
//   WEIGHT_WIDTH         1: weights are -1 and 1 (bit 1 is 1; sums without multipliers); 2 and more: two's complement
//   ACC_WIDTH            bits of a sum: signed, right modulo 2^ACC_WIDTH
//   WEIGHTS              file of a word for each (group, nf, sf), sf fastest. The weight of input sf*SIMD + l of neuron
//                        group*OUTPUTS + nf*PE + p is at (p*SIMD + l) * WEIGHT_WIDTH.
//   ROM_STYLE            0: the tools choose; 1: LUTs; 2: block RAM
//
// Throughput: SF*NF cycles a vector. Latency: 4 + ceil(log2(SIMD)) cycles behind a pass (and 1 or 3 for multipliers), 1
// more where 3 results or more can be under way. Nothing stalls inside, see bnnc_mvu_bits.
module bnnc_mvu_integers #(
    parameter integer INPUTS = 16,
    parameter integer OUTPUTS = 8,
    parameter integer SIMD = 4,
    parameter integer PE = 2,
    parameter integer GROUPS = 1,
    parameter integer IN_WIDTH = 8,
    parameter integer IN_SIGNED = 0,
    parameter integer WEIGHT_WIDTH = 1,
    parameter integer ACC_WIDTH = 13,
    parameter WEIGHTS = "none",
    parameter integer ROM_STYLE = 0
) (
    input                           clk,
    input                           rst,
    input  [SIMD*IN_WIDTH-1:0] in_data,
    input                           in_valid,
    output                          in_ready,
    output [      PE*ACC_WIDTH-1:0] out_data,
    output                          out_valid,
    input                           out_ready
);
  localparam integer SF = INPUTS / SIMD;
  localparam integer NF = OUTPUTS / PE;
  localparam integer WIDTH = SIMD * IN_WIDTH;
  localparam integer FIELD = SIMD * WEIGHT_WIDTH;
  localparam integer XW = IN_SIGNED != 0 ? IN_WIDTH : IN_WIDTH + 1;  // inputs as signed numbers
  localparam integer PRODUCT = WEIGHT_WIDTH == 1 ? XW : XW + WEIGHT_WIDTH;
  localparam integer MULTIPLY = WEIGHT_WIDTH == 1 ? 0 : XW <= 18 && WEIGHT_WIDTH <= 18 ? 1 : 3;
  localparam integer DELAY = MULTIPLY + (SIMD > 1 ? $clog2(SIMD) : 0);
  localparam integer ROOM = (DELAY + 6 + SF - 1) / SF;

  wire [WIDTH-1:0] x;
  wire [PE*FIELD-1:0] weights;
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

  wire [PE*ACC_WIDTH-1:0] parts;
  wire [PE-1:0] carries;
  genvar p, l;
  generate
    for (p = 0; p < PE; p = p + 1) begin : g_neuron
      wire [SIMD*PRODUCT-1:0] products;
      wire [SIMD-1:0] pending;
      if (WEIGHT_WIDTH == 1) begin : g_signs  // x, or (not x) and a pending 1
        wire [SIMD-1:0] plus = weights[p*FIELD+:SIMD];
        reg [SIMD*XW-1:0] signed_numbers;
        integer n;
        always @*
          for (n = 0; n < SIMD; n = n + 1)
            signed_numbers[n*XW+:XW] = {{XW - IN_WIDTH{1'b0}}, x[n*IN_WIDTH+:IN_WIDTH]} ^ {XW{!plus[n]}};
        assign products = signed_numbers;
        assign pending  = ~plus;
      end else begin : g_multiply
        assign pending = {SIMD{1'b0}};
        for (l = 0; l < SIMD; l = l + 1) begin : g_lane
          bnnc_multiply #(
              .A_WIDTH(XW),
              .B_WIDTH(WEIGHT_WIDTH)
          ) multiply (
              .clk(clk),
              .enable(1'b1),
              .a({{XW - IN_WIDTH{1'b0}}, x[l*IN_WIDTH+:IN_WIDTH]}),
              .b(weights[p*FIELD+l*WEIGHT_WIDTH+:WEIGHT_WIDTH]),
              .product(products[l*PRODUCT+:PRODUCT])
          );
        end
      end
      bnnc_adder_tree #(
          .LANES(SIMD),
          .IN_WIDTH(PRODUCT),
          .WIDTH(ACC_WIDTH)
      ) tree (
          .clk(clk),
          .numbers(products),
          .pending(pending),
          .sum(parts[p*ACC_WIDTH+:ACC_WIDTH]),
          .carry(carries[p])
      );
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
