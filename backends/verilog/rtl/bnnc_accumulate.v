// bnnc_accumulate: sums the parts of each pass of a matrix-vector unit, and hands on the results.
//
//   PE     sums that run side by side
//   WIDTH  bits of a sum
//   DEPTH  results that have a place; who sends the parts sees to it that there is one at the end of a pass
//
// Throughput: a part a cycle. Latency: that of bnnc_fifo.
module bnnc_accumulate #(
    parameter integer PE = 4,
    parameter integer WIDTH = 8,
    parameter integer DEPTH = 1
) (
    input                 clk,
    input                 rst,
    input  [PE*WIDTH-1:0] parts,
    input  [      PE-1:0] carries,
    input                 valid,
    input                 last,
    output [PE*WIDTH-1:0] out_data,
    output                out_valid,
    input                 out_ready
);
  wire [PE*WIDTH-1:0] sums;
  genvar p;
  generate
    for (p = 0; p < PE; p = p + 1) begin : g_sum
      reg [WIDTH-1:0] accumulator;
      // verilator lint_off UNUSED
      wire [WIDTH:0] sum = {accumulator, carries[p]} + {parts[p*WIDTH+:WIDTH], carries[p]};
      // verilator lint_on UNUSED
      always @(posedge clk)
        if (rst || (valid && last)) accumulator <= 0;
        else if (valid) accumulator <= sum[WIDTH:1];
      assign sums[p*WIDTH+:WIDTH] = sum[WIDTH:1];
    end
  endgenerate

  // verilator lint_off UNUSED
  wire always_ready;
  // verilator lint_on UNUSED
  bnnc_fifo #(
      .WIDTH(PE * WIDTH),
      .DEPTH(DEPTH)
  ) results (
      .clk(clk),
      .rst(rst),
      .in_data(sums),
      .in_valid(valid && last),
      .in_ready(always_ready),
      .out_data(out_data),
      .out_valid(out_valid),
      .out_ready(out_ready)
  );
endmodule
