// bnnc_pipeline: valid/ready around a circuit that cannot be stopped: a fixed pipeline that takes a beat a cycle.
//
//   WIDTH    bits of a result
//   LATENCY  cycles from a beat at the input of the pipeline to its result
//   DEPTH    results that can wait; at least LATENCY + 3, or the throughput falls below a beat a cycle
//
// A beat is let in only if there is room for its result, so the pipeline never waits and has no enable signal.
// Throughput: a beat a cycle. Latency: LATENCY + 2 cycles.
module bnnc_pipeline #(
    parameter integer WIDTH = 8,
    parameter integer LATENCY = 4,
    parameter integer DEPTH = 8
) (
    input              clk,
    input              rst,
    input              in_valid,
    output             in_ready,
    input  [WIDTH-1:0] result,
    output [WIDTH-1:0] out_data,
    output             out_valid,
    input              out_ready
);
  localparam integer CW = $clog2(DEPTH + 1);
  reg [LATENCY-1:0] flight;
  reg [CW-1:0] room;
  wire put = in_valid && in_ready;
  wire take = out_valid && out_ready;
  /* verilator lint_off UNUSEDSIGNAL */
  wire accepted;  // there is always room: that is what is counted
  /* verilator lint_on UNUSEDSIGNAL */

  assign in_ready = room != 0;

  always @(posedge clk) begin
    if (rst) begin
      flight <= 0;
      room   <= DEPTH[CW-1:0];
    end else begin
      flight <= (flight << 1) | {{(LATENCY - 1) {1'b0}}, put};
      if (put != take) room <= put ? room - 1'b1 : room + 1'b1;
    end
  end

  bnnc_fifo #(
      .WIDTH(WIDTH),
      .DEPTH(DEPTH)
  ) results (
      .clk(clk),
      .rst(rst),
      .in_data(result),
      .in_valid(flight[LATENCY-1]),
      .in_ready(accepted),
      .out_data(out_data),
      .out_valid(out_valid),
      .out_ready(out_ready)
  );
endmodule
