// bnnc_copies: every element several times, side by side: lane l*COPIES + n of the output is lane l of the input. Wires.
//
//   WIDTH   bits of an element
//   LANES   of the input
//   COPIES  of each
//
// Throughput: a beat a cycle. Latency: 0. in_ready depends on out_ready, out_valid on in_valid.
module bnnc_copies #(
    parameter integer WIDTH  = 8,
    parameter integer LANES  = 1,
    parameter integer COPIES = 2
) (
    input                           clk,
    input                           rst,
    input  [       LANES*WIDTH-1:0] in_data,
    input                           in_valid,
    output                          in_ready,
    output [LANES*COPIES*WIDTH-1:0] out_data,
    output                          out_valid,
    input                           out_ready
);
  // verilator lint_off UNUSED
  wire unused = clk && rst;
  // verilator lint_on UNUSED
  assign out_valid = in_valid;
  assign in_ready  = out_ready;
  genvar lane;
  generate
    for (lane = 0; lane < LANES; lane = lane + 1) begin : g_lane
      assign out_data[lane*COPIES*WIDTH+:COPIES*WIDTH] = {COPIES{in_data[lane*WIDTH+:WIDTH]}};
    end
  endgenerate
endmodule
