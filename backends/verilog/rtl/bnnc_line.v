// bnnc_line: what came in LENGTH steps ago; long lines lie in a memory.
//
//   WIDTH   bits
//   LENGTH  steps, 1 or more: up to 4 are registers, more a ring (LUT or block RAM, as the tools choose)
//
// `in` is taken in every cycle with `step`; `out` (a register) is what the step before gave. What a line holds before it
// is full is undefined.
module bnnc_line #(
    parameter integer WIDTH  = 8,
    parameter integer LENGTH = 9
) (
    input              clk,
    input              rst,
    input              step,
    input  [WIDTH-1:0] in,
    output [WIDTH-1:0] out
);
  generate
    if (LENGTH <= 4) begin : g_registers
      bnnc_delay #(
          .WIDTH (WIDTH),
          .CYCLES(LENGTH)
      ) delay (
          .clk(clk),
          .rst(rst),
          .enable(step),
          .in(in),
          .out(out)
      );
    end else begin : g_ring
      // The word that is read is never the one that is written: it is the oldest, written next.
      localparam integer AW = $clog2(LENGTH);
      localparam integer LAST = LENGTH - 1;
      (* no_rw_check *)
      reg [WIDTH-1:0] words[0:LENGTH-1];
      reg [WIDTH-1:0] word;
      reg [AW-1:0] newest, oldest;
      assign out = word;
      always @(posedge clk) begin
        if (rst) begin
          newest <= 0;
          oldest <= 1;
        end else if (step) begin
          newest <= oldest;
          oldest <= oldest == LAST[AW-1:0] ? {AW{1'b0}} : oldest + 1'b1;
        end
        if (step) begin
          words[newest] <= in;
          word <= words[oldest];
        end
      end
    end
  endgenerate
endmodule
