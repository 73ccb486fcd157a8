// bnnc_delay: what came in CYCLES cycles ago.
//
//   WIDTH   bits
//   CYCLES  1 or more
//   RESET   1: `rst` clears it; 0: it has no reset
//
// Throughput: a value a cycle, never stalls. Latency: CYCLES.
module bnnc_delay #(
    parameter integer WIDTH  = 1,
    parameter integer CYCLES = 1,
    parameter integer RESET  = 0
) (
    input              clk,
    input              rst,
    input  [WIDTH-1:0] in,
    output [WIDTH-1:0] out
);
  reg [CYCLES*WIDTH-1:0] line;
  wire clear = RESET != 0 && rst;
  generate
    if (CYCLES == 1) begin : g_one
      always @(posedge clk) line <= clear ? {WIDTH{1'b0}} : in;
    end else begin : g_line
      always @(posedge clk) line <= clear ? {CYCLES * WIDTH{1'b0}} : {line[(CYCLES-1)*WIDTH-1:0], in};
    end
  endgenerate
  assign out = line[CYCLES*WIDTH-1-:WIDTH];
endmodule
