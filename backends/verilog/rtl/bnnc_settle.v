// bnnc_settle: the end of a fixed-point op: shift right with halves rounded up (or left), clamp to 32 bits.
//
//   WIDTH  bits of the signed number
//   SHIFT  to the right; negative: to the left. y = clamp((x + 2^(SHIFT-1)) >> SHIFT) to -2^31 .. 2^31 - 1
//
// A number a cycle while `enable`. Latency: 2 cycles.
module bnnc_settle #(
    parameter integer WIDTH = 64,
    parameter integer SHIFT = 8
) (
    input                  clk,
    input                  enable,
    input      [WIDTH-1:0] x,
    output reg [     31:0] y
);
  localparam integer LEFT = SHIFT < 0 ? -SHIFT : 0;
  localparam integer RIGHT = SHIFT > 0 ? SHIFT : 0;
  localparam integer W = (WIDTH > 32 ? WIDTH : 32) + 1 + LEFT;
  localparam integer HALF_PLACE = RIGHT > 0 ? RIGHT - 1 : 0;
  wire [W-1:0] wide = {{W - WIDTH{x[WIDTH-1]}}, x};
  wire [W-1:0] half = RIGHT > 0 ? {{W - 1{1'b0}}, 1'b1} << HALF_PLACE : {W{1'b0}};
  reg signed [W-1:0] rounded;
  wire signed [W-1:0] moved = rounded >>> RIGHT;
  wire fits = moved[W-1:31] == {W - 31{moved[W-1]}};
  always @(posedge clk)
    if (enable) begin
      rounded <= (wide << LEFT) + half;
      y <= fits ? moved[31:0] : {moved[W-1], {31{!moved[W-1]}}};
    end
endmodule
