// bnnc_fork: hands each beat to COPIES readers; every one takes it when it likes, once.
//
//   WIDTH   bits of a beat
//   COPIES  readers: out_valid[i] and out_ready[i] are those of reader i, out_data is for all
//
// Throughput: a beat a cycle. Latency: 0. in_ready depends on out_ready, out_valid on no ready.
module bnnc_fork #(
    parameter integer WIDTH  = 8,
    parameter integer COPIES = 2
) (
    input               clk,
    input               rst,
    input  [ WIDTH-1:0] in_data,
    input               in_valid,
    output              in_ready,
    output [ WIDTH-1:0] out_data,
    output [COPIES-1:0] out_valid,
    input  [COPIES-1:0] out_ready
);
  reg  [COPIES-1:0] done;  // who has this beat already
  wire [COPIES-1:0] served = done | out_ready;
  assign out_data  = in_data;
  assign out_valid = {COPIES{in_valid}} & ~done;
  assign in_ready  = &served;
  always @(posedge clk)
    if (rst) done <= 0;
    else if (in_valid) done <= in_ready ? {COPIES{1'b0}} : served;
endmodule
