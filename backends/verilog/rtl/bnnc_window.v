// bnnc_window: the windows of a convolution or pool. For every output pixel, for each group, for ky, for kx, for each
// chunk of LANES channels of the group: one beat {pad, lanes}.
//
//   WIDTH                    bits of an element
//   LANES                    channels of a beat, on both sides; divides CHANNELS/GROUPS
//   CHANNELS, GROUPS         of the input. A pool has GROUPS = CHANNELS/LANES: the taps of a chunk follow one another.
//   HEIGHT, COLUMNS          of the input; 1-D is HEIGHT 1
//   KERNEL_*, STRIDE_*, DILATION_*, PAD_TOP, PAD_LEFT
//   OUT_HEIGHT, OUT_COLUMNS  of the output; what lies below and to the right of the input is padding too
//   PAD_VALUE                the (raw) element of the lanes where `pad` is set
//
// Throughput: a beat out a cycle, and a beat in a cycle while there is room. Latency: 3 cycles behind the last tap.
// The memory is a ring for the rows of one window and one stride of rows below it, its size rounded up to a power of two:
// places are sums modulo that power, and the next sample comes in behind this one without a gap.
module bnnc_window #(
    parameter integer WIDTH = 1,
    parameter integer LANES = 2,
    parameter integer CHANNELS = 4,
    parameter integer GROUPS = 1,
    parameter integer HEIGHT = 5,
    parameter integer COLUMNS = 5,
    parameter integer KERNEL_H = 3,
    parameter integer KERNEL_W = 3,
    parameter integer STRIDE_H = 1,
    parameter integer STRIDE_W = 1,
    parameter integer DILATION_H = 1,
    parameter integer DILATION_W = 1,
    parameter integer PAD_TOP = 1,
    parameter integer PAD_LEFT = 1,
    parameter integer OUT_HEIGHT = 5,
    parameter integer OUT_COLUMNS = 5,
    parameter integer PAD_VALUE = 0
) (
    input                        clk,
    input                        rst,
    input      [LANES*WIDTH-1:0] in_data,
    input                        in_valid,
    output                       in_ready,
    output reg [  LANES*WIDTH:0] out_data,
    output reg                   out_valid,
    input                        out_ready
);
  localparam integer PIXEL = CHANNELS / LANES;
  localparam integer CHUNKS = PIXEL / GROUPS;
  localparam integer ROW = COLUMNS * PIXEL;
  localparam integer SAMPLE = HEIGHT * ROW;
  localparam integer SPAN_H = (KERNEL_H - 1) * DILATION_H;
  localparam integer SPAN_W = (KERNEL_W - 1) * DILATION_W;
  localparam integer WINDOW = SPAN_H * ROW + SPAN_W * PIXEL;
  localparam integer AW = $clog2((SPAN_H + 1 + STRIDE_H) * ROW);
  localparam integer SIZE = 1 << AW;
  // A place is the number of a word in the endless input, modulo a power of two far above any distance that is compared.
  localparam integer PW = $clog2(SAMPLE + SIZE) + 2;

  // How far the place of a tap moves with the next step of each loop, all loops inside it starting again.
  localparam integer TO_CHUNK = 1;
  localparam integer TO_COLUMN = DILATION_W * PIXEL - (CHUNKS - 1);
  localparam integer TO_ROW = DILATION_H * ROW - SPAN_W * PIXEL - (CHUNKS - 1);
  localparam integer TO_GROUP = 1 - WINDOW;
  localparam integer BACK = WINDOW + PIXEL - 1;  // from the last tap of a window to its origin
  localparam integer TO_RIGHT = STRIDE_W * PIXEL - BACK;
  localparam integer TO_BELOW = STRIDE_H * ROW - (OUT_COLUMNS - 1) * STRIDE_W * PIXEL - BACK;
  localparam integer TO_SAMPLE = SAMPLE - (OUT_HEIGHT - 1) * STRIDE_H * ROW + TO_BELOW - STRIDE_H * ROW;
  localparam integer FIRST = -PAD_TOP * ROW - PAD_LEFT * PIXEL;
  localparam integer DOWN = STRIDE_H * ROW;
  localparam integer TOP_ROW = (STRIDE_H - PAD_TOP % STRIDE_H) % STRIDE_H * ROW;  // of windows that start inside

  reg  [PW-1:0] written;  // the next word that comes in
  reg  [PW-1:0] needed;  // the first word of the highest row that is still needed: all before it is free
  reg  [PW-1:0] sample;  // first word of the sample
  reg  [PW-1:0] tap;
  wire [PW-1:0] ahead = written - tap;
  wire [PW-1:0] held = written - needed;
  wire [PW-1:0] begun = written - sample;
  wire advance = !out_valid || out_ready;
  wire outside;
  // A tap is there when it has been written, padding when the first word of the sample has.
  wire there = outside ? !begun[PW-1] && begun != 0 : !ahead[PW-1] && ahead != 0;
  wire go = there && advance;
  wire put = in_valid && in_ready;
  assign in_ready = held[PW-1] || held < SIZE[PW-1:0];

  wire chunk, column, row, group, across, down;  // a loop is at its last step
  wire at_column = chunk;
  wire at_row = at_column && column;
  wire at_group = at_row && row;
  wire at_right = at_group && group;
  wire at_below = at_right && across;
  wire at_after = at_below && down;
  bnnc_counter #(
      .COUNT(CHUNKS)
  ) chunks (
      .clk (clk),
      .rst (rst),
      .step(go),
      .last(chunk)
  );
  bnnc_counter #(
      .COUNT(KERNEL_W)
  ) kernel_columns (
      .clk (clk),
      .rst (rst),
      .step(go && at_column),
      .last(column)
  );
  bnnc_counter #(
      .COUNT(KERNEL_H)
  ) kernel_rows (
      .clk (clk),
      .rst (rst),
      .step(go && at_row),
      .last(row)
  );
  bnnc_counter #(
      .COUNT(GROUPS)
  ) groups (
      .clk (clk),
      .rst (rst),
      .step(go && at_group),
      .last(group)
  );
  bnnc_counter #(
      .COUNT(OUT_COLUMNS)
  ) out_columns (
      .clk (clk),
      .rst (rst),
      .step(go && at_right),
      .last(across)
  );
  bnnc_counter #(
      .COUNT(OUT_HEIGHT)
  ) out_rows (
      .clk (clk),
      .rst (rst),
      .step(go && at_below),
      .last(down)
  );

  wire above, within_image, top;  // the first row of the next windows: above the image, in it, the highest such
  wire [PW-1:0] next_sample = sample + SAMPLE[PW-1:0];
  always @(posedge clk)
    if (rst) begin
      written <= 0;
      needed <= 0;
      sample <= 0;
      tap <= FIRST[PW-1:0];
    end else begin
      if (put) written <= written + 1'b1;
      if (go) begin
        if (at_after) begin
          needed <= next_sample;
          sample <= next_sample;
        end else if (at_below && !above) begin
          if (!within_image) needed <= next_sample;
          else needed <= top ? sample + TOP_ROW[PW-1:0] : needed + DOWN[PW-1:0];
        end
        if (at_after) tap <= tap + TO_SAMPLE[PW-1:0];
        else if (at_below) tap <= tap + TO_BELOW[PW-1:0];
        else if (at_right) tap <= tap + TO_RIGHT[PW-1:0];
        else if (at_group) tap <= tap + TO_GROUP[PW-1:0];
        else if (at_row) tap <= tap + TO_ROW[PW-1:0];
        else if (at_column) tap <= tap + TO_COLUMN[PW-1:0];
        else tap <= tap + TO_CHUNK[PW-1:0];
      end
    end

  // Where the tap is in the image; a negative coordinate is a large one, modulo a power of two.
  localparam integer LAST_Y = (OUT_HEIGHT - 1) * STRIDE_H + SPAN_H;
  localparam integer LAST_X = (OUT_COLUMNS - 1) * STRIDE_W + SPAN_W;
  generate
    if (PAD_TOP > 0 || LAST_Y - PAD_TOP >= HEIGHT || PAD_LEFT > 0 || LAST_X - PAD_LEFT >= COLUMNS) begin : g_padding
      localparam integer YW = $clog2(HEIGHT + LAST_Y + STRIDE_H + 1) + 1;
      localparam integer XW = $clog2(COLUMNS + LAST_X + 1) + 1;
      localparam integer TOP = -PAD_TOP;
      localparam integer LEFT = -PAD_LEFT;
      localparam integer UP = -SPAN_H;
      localparam integer UP_BELOW = STRIDE_H - SPAN_H;
      localparam integer BACK_LEFT = -SPAN_W;
      localparam integer NEXT_LEFT = STRIDE_W - SPAN_W;
      reg [YW-1:0] y;
      reg [XW-1:0] x;
      wire [YW-1:0] y_below = y + UP_BELOW[YW-1:0];
      assign above = y_below[YW-1];
      assign within_image = y_below < HEIGHT[YW-1:0];
      assign top = y_below < STRIDE_H[YW-1:0];
      assign outside = y >= HEIGHT[YW-1:0] || x >= COLUMNS[XW-1:0];
      always @(posedge clk)
        if (rst) begin
          y <= TOP[YW-1:0];
          x <= LEFT[XW-1:0];
        end else if (go) begin
          if (at_after) y <= TOP[YW-1:0];
          else if (at_below) y <= y_below;
          else if (at_group) y <= y + UP[YW-1:0];
          else if (at_row) y <= y + DILATION_H[YW-1:0];
          if (at_below) x <= LEFT[XW-1:0];
          else if (at_right) x <= x + NEXT_LEFT[XW-1:0];
          else if (at_row) x <= x + BACK_LEFT[XW-1:0];
          else if (at_column) x <= x + DILATION_W[XW-1:0];
        end
    end else begin : g_inside
      assign outside = 1'b0;
      assign above = 1'b0;
      assign within_image = 1'b1;
      assign top = 1'b0;
    end
  endgenerate

  (* no_rw_check *)
  reg [LANES*WIDTH-1:0] words[0:SIZE-1];
  reg [LANES*WIDTH-1:0] word;
  reg pad, valid;
  always @(posedge clk) begin
    if (put) words[written[AW-1:0]] <= in_data;
    if (advance) begin
      word <= words[tap[AW-1:0]];
      pad <= outside;
      out_data <= {pad, pad ? {LANES{PAD_VALUE[WIDTH-1:0]}} : word};
    end
    if (rst) begin
      valid <= 1'b0;
      out_valid <= 1'b0;
    end else if (advance) begin
      valid <= there;
      out_valid <= valid;
    end
  end
endmodule
