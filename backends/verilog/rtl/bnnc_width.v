// bnnc_width: changes how many lanes a beat has; the elements keep their order.
//
//   WIDTH    bits of an element
//   IN, OUT  lanes of a beat on either side; one divides the other (chain two modules where it does not)
//
// Throughput: a beat a cycle on the side of fewer lanes. in_ready depends on out_ready.
// Latency: 1 cycle behind the beat that completes a word (0 for IN = OUT: wires).
module bnnc_width #(
    parameter integer WIDTH = 8,
    parameter integer IN = 4,
    parameter integer OUT = 1
) (
    input                  clk,
    input                  rst,
    input  [ IN*WIDTH-1:0] in_data,
    input                  in_valid,
    output                 in_ready,
    output [OUT*WIDTH-1:0] out_data,
    output                 out_valid,
    input                  out_ready
);
  generate
    if (IN == OUT) begin : g_equal
      // verilator lint_off UNUSED
      wire unused = clk && rst;
      // verilator lint_on UNUSED
      assign out_data  = in_data;
      assign out_valid = in_valid;
      assign in_ready  = out_ready;
    end else begin : g_convert
      localparam integer PARTS = IN > OUT ? IN / OUT : OUT / IN;
      localparam integer CW = $clog2(PARTS);
      localparam integer LAST = PARTS - 1;
      localparam integer BEFORE_LAST = PARTS - 2;
      reg [CW-1:0] part;
      reg full;

      if (IN > OUT) begin : g_narrow  // a word is kept, and shifted down: its lowest part is the one that goes
        reg [IN*WIDTH-1:0] word;
        reg load;  // nothing is kept, or the last part
        wire step = !full || out_ready;
        assign out_data  = word[OUT*WIDTH-1:0];
        assign out_valid = full;
        assign in_ready  = load && step;
        always @(posedge clk)
          if (rst) begin
            full <= 1'b0;
            load <= 1'b1;
            part <= 0;
          end else if (step) begin
            full <= !load || in_valid;
            load <= load ? !in_valid : part == BEFORE_LAST[CW-1:0];
            part <= load ? {CW{1'b0}} : part + 1'b1;
          end
        always @(posedge clk)
          if (step) word <= load ? in_data : {word[IN*WIDTH-1-:OUT*WIDTH], word[IN*WIDTH-1:OUT*WIDTH]};
      end else begin : g_widen  // parts are shifted in from above
        reg [OUT*WIDTH-1:0] word;
        wire last = part == LAST[CW-1:0];
        wire move = in_valid && in_ready;
        assign out_data  = word;
        assign out_valid = full;
        assign in_ready  = !full || out_ready;
        always @(posedge clk) begin
          if (rst) begin
            full <= 1'b0;
            part <= 0;
          end else begin
            if (in_ready) full <= in_valid && last;
            if (move) part <= last ? {CW{1'b0}} : part + 1'b1;
          end
          if (move) word <= {in_data, word[OUT*WIDTH-1:IN*WIDTH]};
        end
      end
    end
  endgenerate
endmodule
