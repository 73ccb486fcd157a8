// bnnc_window_wide: the windows of a convolution or pool, whole. For every output pixel, for each chunk of LANES channels:
// one beat with all taps of its window (ky, then kx), each {pad, lanes}.
//
//   WIDTH                    bits of an element
//   LANES                    channels of a beat that comes in, and of a tap; divides CHANNELS, and those of a group
//   CHANNELS, HEIGHT, COLUMNS of the input; 1-D is HEIGHT 1
//   KERNEL_*, STRIDE_*, DILATION_*, PAD_TOP, PAD_LEFT
//   OUT_HEIGHT, OUT_COLUMNS  of the output; what lies below and to the right of the input is padding too
//   PAD_VALUE                the (raw) element of the lanes of a tap outside the input
//   FLAG                     0: taps have no bit `pad`
//
// The pixels move through lines as long as the kernel's rows and columns are apart, so that the taps of a window stand
// side by side. Each step takes a beat in; behind the last beat of a sample come as many empty steps as its last window
// reaches below it. Windows must end one after the other, none before the first beat:
// (OUT_COLUMNS - 1) * STRIDE_W < STRIDE_H * COLUMNS or OUT_HEIGHT is 1, and FIRST (below) is not negative.
//
// Throughput: a step a cycle while no window waits. Latency: 1 cycle behind the last tap. in_ready depends on out_ready.
module bnnc_window_wide #(
    parameter integer WIDTH = 1,
    parameter integer LANES = 2,
    parameter integer CHANNELS = 4,
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
    parameter integer PAD_VALUE = 0,
    parameter integer FLAG = 1
) (
    input                             clk,
    input                             rst,
    input  [         LANES*WIDTH-1:0] in_data,
    input                             in_valid,
    output                            in_ready,
    output [KERNEL_H*KERNEL_W*(LANES*WIDTH+FLAG)-1:0] out_data,
    output                            out_valid,
    input                             out_ready
);
  localparam integer TAP = LANES * WIDTH;
  localparam integer PIXEL = CHANNELS / LANES;
  localparam integer ROW = COLUMNS * PIXEL;
  localparam integer SAMPLE = HEIGHT * ROW;
  localparam integer ALL = KERNEL_H * KERNEL_W;
  localparam integer FIELD = TAP + FLAG;
  localparam integer SPAN_H = (KERNEL_H - 1) * DILATION_H;
  localparam integer SPAN_W = (KERNEL_W - 1) * DILATION_W;

  // The step in which the last tap of a window comes in, and how far it is from one window to the next.
  localparam integer FIRST = (SPAN_H - PAD_TOP) * ROW + (SPAN_W - PAD_LEFT) * PIXEL;
  localparam integer TO_CHUNK = 1;
  localparam integer TO_RIGHT = (STRIDE_W - 1) * PIXEL + 1;
  localparam integer ACROSS = (OUT_COLUMNS - 1) * STRIDE_W * PIXEL + PIXEL - 1;
  localparam integer TO_BELOW = STRIDE_H * ROW - ACROSS;
  localparam integer END = FIRST + (OUT_HEIGHT - 1) * STRIDE_H * ROW + ACROSS + 1;
  localparam integer STEPS = END > SAMPLE ? END : SAMPLE;
  localparam integer AW = $clog2(STEPS + 1);
  localparam integer LAST_STEP = STEPS - 1;
  localparam integer LAST_BEAT = SAMPLE - 1;

  reg full;  // a window stands in the lines
  wire move = !full || out_ready;
  reg empty_steps;
  wire step = move && (empty_steps || in_valid);
  assign in_ready  = move && !empty_steps;
  assign out_valid = full;

  reg [AW-1:0] at, next;  // the step that is to come, and that of the next window
  wire hit = at == next;
  wire last_step = at == LAST_STEP[AW-1:0];
  wire found = step && hit;
  wire chunk, across, down;  // a loop is at its last step
  bnnc_counter #(
      .COUNT(PIXEL)
  ) chunks (
      .clk (clk),
      .rst (rst),
      .step(found),
      .last(chunk)
  );
  bnnc_counter #(
      .COUNT(OUT_COLUMNS)
  ) out_columns (
      .clk (clk),
      .rst (rst),
      .step(found && chunk),
      .last(across)
  );
  bnnc_counter #(
      .COUNT(OUT_HEIGHT)
  ) out_rows (
      .clk (clk),
      .rst (rst),
      .step(found && chunk && across),
      .last(down)
  );
  always @(posedge clk)
    if (rst) begin
      full <= 1'b0;
      empty_steps <= 1'b0;
      at <= 0;
      next <= FIRST[AW-1:0];
    end else begin
      if (move) full <= found;
      if (step) begin
        at <= last_step ? {AW{1'b0}} : at + 1'b1;
        empty_steps <= !last_step && (empty_steps || at == LAST_BEAT[AW-1:0]);
      end
      if (found) begin
        if (!chunk) next <= next + TO_CHUNK[AW-1:0];
        else if (!across) next <= next + TO_RIGHT[AW-1:0];
        else if (!down) next <= next + TO_BELOW[AW-1:0];
        else next <= FIRST[AW-1:0];
      end
    end

  // Column kx of the kernel at kx*KERNEL_H*TAP; what comes in is its right column's lowest tap.
  wire [ALL*TAP-1:0] lines;
  reg [TAP-1:0] newest;
  assign lines[ALL*TAP-1-:TAP] = newest;
  always @(posedge clk) if (step) newest <= in_data;
  generate
    if (KERNEL_H > 1) begin : g_rows
      bnnc_line #(
          .WIDTH ((KERNEL_H - 1) * TAP),
          .LENGTH(DILATION_H * ROW)
      ) rows (
          .clk (clk),
          .rst (rst),
          .step(step),
          .in  (lines[ALL*TAP-1-:(KERNEL_H-1)*TAP]),
          .out (lines[(ALL-1)*TAP-1-:(KERNEL_H-1)*TAP])
      );
    end
    if (KERNEL_W > 1) begin : g_columns
      bnnc_line #(
          .WIDTH ((KERNEL_W - 1) * KERNEL_H * TAP),
          .LENGTH(DILATION_W * PIXEL)
      ) columns (
          .clk (clk),
          .rst (rst),
          .step(step),
          .in  (lines[ALL*TAP-1:KERNEL_H*TAP]),
          .out (lines[(KERNEL_W-1)*KERNEL_H*TAP-1:0])
      );
    end
  endgenerate

  // Which rows and columns of the kernel lie outside; a negative coordinate is a large one, modulo a power of two.
  localparam integer LAST_Y = (OUT_HEIGHT - 1) * STRIDE_H + SPAN_H;
  localparam integer LAST_X = (OUT_COLUMNS - 1) * STRIDE_W + SPAN_W;
  localparam integer YW = $clog2(HEIGHT + LAST_Y + STRIDE_H + 1) + 1;
  localparam integer XW = $clog2(COLUMNS + LAST_X + STRIDE_W + 1) + 1;
  localparam integer TOP = -PAD_TOP;
  localparam integer LEFT = -PAD_LEFT;
  wire [ALL-1:0] pads;
  genvar ky, kx;
  generate
    if (PAD_TOP > 0 || LAST_Y - PAD_TOP >= HEIGHT || PAD_LEFT > 0 || LAST_X - PAD_LEFT >= COLUMNS) begin : g_padding
      reg [YW-1:0] y;
      reg [XW-1:0] x;
      always @(posedge clk)
        if (rst) begin
          y <= TOP[YW-1:0];
          x <= LEFT[XW-1:0];
        end else if (found && chunk) begin
          x <= across ? LEFT[XW-1:0] : x + STRIDE_W[XW-1:0];
          if (across) y <= down ? TOP[YW-1:0] : y + STRIDE_H[YW-1:0];
        end
      for (ky = 0; ky < KERNEL_H; ky = ky + 1) begin : g_row
        localparam integer BELOW = ky * DILATION_H;
        wire [YW-1:0] row = y + BELOW[YW-1:0];
        reg outside;
        always @(posedge clk) if (found) outside <= row >= HEIGHT[YW-1:0];
      end
      for (kx = 0; kx < KERNEL_W; kx = kx + 1) begin : g_column
        localparam integer RIGHT = kx * DILATION_W;
        wire [XW-1:0] column = x + RIGHT[XW-1:0];
        reg outside;
        always @(posedge clk) if (found) outside <= column >= COLUMNS[XW-1:0];
        for (ky = 0; ky < KERNEL_H; ky = ky + 1) begin : g_pad
          assign pads[ky*KERNEL_W+kx] = outside || g_row[ky].outside;
        end
      end
    end else begin : g_inside
      assign pads = {ALL{1'b0}};
    end
  endgenerate

  generate
    for (ky = 0; ky < KERNEL_H; ky = ky + 1) begin : g_taps
      for (kx = 0; kx < KERNEL_W; kx = kx + 1) begin : g_tap
        localparam integer N = ky * KERNEL_W + kx;
        wire [TAP-1:0] tap = pads[N] ? {LANES{PAD_VALUE[WIDTH-1:0]}} : lines[(kx*KERNEL_H+ky)*TAP+:TAP];
        assign out_data[N*FIELD+:TAP] = tap;
        if (FLAG != 0) begin : g_flag
          assign out_data[N*FIELD+TAP] = pads[N];
        end
      end
    end
  endgenerate
endmodule
