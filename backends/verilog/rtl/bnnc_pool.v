// bnnc_pool: the largest, smallest or summed element of each lane over TAPS beats of a window; `pad` taps do not count.
//
//   LANES, IN_WIDTH, SIGNED  of the input; a beat has one more bit above the lanes, `pad`
//   OUT_WIDTH                IN_WIDTH for maximum and minimum; bits of a sum
//   TAPS                     of a window
//   FUNCTION                 0: maximum (of bits: OR), 1: minimum (of bits: AND), 2: sum of FACTOR * x + OFFSET
//   CHUNKS                   beats of an output pixel
//   SMALLEST                 a bit for each channel: a maximum takes the minimum there
//
// Throughput: a beat in a cycle, a beat out every TAPS. Latency: 1 cycle behind the last tap. in_ready depends on
// out_ready.
module bnnc_pool #(
    parameter integer LANES = 2,
    parameter integer IN_WIDTH = 4,
    parameter integer SIGNED = 0,
    parameter integer OUT_WIDTH = 4,
    parameter integer TAPS = 4,
    parameter integer FUNCTION = 0,
    parameter integer CHUNKS = 2,
    parameter [LANES*CHUNKS-1:0] SMALLEST = 0,
    parameter integer FACTOR = 1,
    parameter integer OFFSET = 0
) (
    input                            clk,
    input                            rst,
    input      [   LANES*IN_WIDTH:0] in_data,
    input                            in_valid,
    output                           in_ready,
    output reg [LANES*OUT_WIDTH-1:0] out_data,
    output reg                       out_valid,
    input                            out_ready
);
  wire pad = in_data[LANES*IN_WIDTH];
  wire last;
  wire advance = !out_valid || out_ready;
  wire go = in_valid && advance;
  reg  empty;  // no tap of this window counted yet
  assign in_ready = advance;
  bnnc_counter #(
      .COUNT(TAPS)
  ) taps (
      .clk (clk),
      .rst (rst),
      .step(go),
      .last(last)
  );
  always @(posedge clk)
    if (rst) begin
      empty <= 1'b1;
      out_valid <= 1'b0;
    end else if (advance) begin
      if (in_valid) empty <= last || (empty && pad);
      out_valid <= in_valid && last;
    end

  wire [LANES*OUT_WIDTH-1:0] next;
  reg  [LANES*OUT_WIDTH-1:0] so_far;
  always @(posedge clk) begin
    if (go) so_far <= next;
    if (go && last) out_data <= next;
  end

  genvar lane;
  generate
    if (FUNCTION == 2) begin : g_sum
      wire signed [31:0] factor = FACTOR;
      // verilator lint_off UNUSED
      wire [OUT_WIDTH+31:0] factor_wide = {{OUT_WIDTH{factor[31]}}, factor};
      // verilator lint_on UNUSED
      wire signed [31:0] offset = OFFSET;
      // verilator lint_off UNUSED
      wire [OUT_WIDTH+31:0] offset_wide = {{OUT_WIDTH{offset[31]}}, offset};
      // verilator lint_on UNUSED
      for (lane = 0; lane < LANES; lane = lane + 1) begin : g_lane
        wire [IN_WIDTH-1:0] x = in_data[lane*IN_WIDTH+:IN_WIDTH];
        // verilator lint_off UNUSED
        wire [OUT_WIDTH+IN_WIDTH-1:0] wide = {{OUT_WIDTH{SIGNED != 0 && x[IN_WIDTH-1]}}, x};
        // verilator lint_on UNUSED
        wire [OUT_WIDTH-1:0] term = wide[OUT_WIDTH-1:0] * factor_wide[OUT_WIDTH-1:0] + offset_wide[OUT_WIDTH-1:0];
        wire [OUT_WIDTH-1:0] total = empty ? {OUT_WIDTH{1'b0}} : so_far[lane*OUT_WIDTH+:OUT_WIDTH];
        assign next[lane*OUT_WIDTH+:OUT_WIDTH] = total + (pad ? {OUT_WIDTH{1'b0}} : term);
      end
    end else begin : g_best
      wire [LANES-1:0] smallest;
      if (FUNCTION == 1 || SMALLEST == {LANES * CHUNKS{1'b1}}) begin : g_minimum
        assign smallest = {LANES{1'b1}};
      end else if (SMALLEST == 0 || CHUNKS == 1) begin : g_maximum
        assign smallest = SMALLEST[LANES-1:0];
      end else begin : g_either
        // The flags of this chunk are lowest; they go round with the chunks.
        reg [LANES*CHUNKS-1:0] flags;
        always @(posedge clk)
          if (rst) flags <= SMALLEST;
          else if (go && last) flags <= {flags[LANES-1:0], flags[LANES*CHUNKS-1:LANES]};
        assign smallest = flags[LANES-1:0];
      end
      for (lane = 0; lane < LANES; lane = lane + 1) begin : g_lane
        wire [IN_WIDTH-1:0] x = in_data[lane*IN_WIDTH+:IN_WIDTH];
        wire [IN_WIDTH-1:0] best = so_far[lane*IN_WIDTH+:IN_WIDTH];
        wire [IN_WIDTH-1:0] sign = {SIGNED != 0, {IN_WIDTH - 1{1'b0}}};
        wire better = smallest[lane] ? (x ^ sign) < (best ^ sign) : (x ^ sign) > (best ^ sign);
        assign next[lane*IN_WIDTH+:IN_WIDTH] = empty || (!pad && better) ? x : best;
      end
    end
  endgenerate
endmodule
