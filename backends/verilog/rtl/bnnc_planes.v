// bnnc_planes: the bits of LANES numbers, a bit of each number a beat, the highest bits first.
//
//   LANES, WIDTH  numbers of a beat, and bits of each
//
// Throughput: a beat out a cycle, a beat in every WIDTH cycles. Latency: 1 cycle. in_ready depends on out_ready.
module bnnc_planes #(
    parameter integer LANES = 4,
    parameter integer WIDTH = 8
) (
    input                    clk,
    input                    rst,
    input  [LANES*WIDTH-1:0] in_data,
    input                    in_valid,
    output                   in_ready,
    output [      LANES-1:0] out_data,
    output                   out_valid,
    input                    out_ready
);
  wire [LANES*WIDTH-1:0] planes;
  genvar lane, plane;
  generate
    for (plane = 0; plane < WIDTH; plane = plane + 1) begin : g_plane
      for (lane = 0; lane < LANES; lane = lane + 1) begin : g_lane
        assign planes[plane*LANES+lane] = in_data[lane*WIDTH+WIDTH-1-plane];
      end
    end
  endgenerate
  bnnc_width #(
      .WIDTH(LANES),
      .IN(WIDTH),
      .OUT(1)
  ) parts (
      .clk(clk),
      .rst(rst),
      .in_data(planes),
      .in_valid(in_valid),
      .in_ready(in_ready),
      .out_data(out_data),
      .out_valid(out_valid),
      .out_ready(out_ready)
  );
endmodule
