// bnnc_counter: a loop of COUNT steps; `last` (a register) is set while it is at the last one.
//
// Each cycle with `step` takes a step; behind the last one the loop starts again.
module bnnc_counter #(
    parameter integer COUNT = 4
) (
    input  clk,
    input  rst,
    input  step,
    output last
);
  generate
    if (COUNT == 1) begin : g_one
      // verilator lint_off UNUSED
      wire unused = clk && rst && step;
      // verilator lint_on UNUSED
      assign last = 1'b1;
    end else begin : g_loop
      localparam integer WIDTH = $clog2(COUNT);
      localparam integer BEFORE_LAST = COUNT - 2;
      reg [WIDTH-1:0] at;
      reg at_last;
      assign last = at_last;
      always @(posedge clk)
        if (rst) begin
          at <= 0;
          at_last <= 1'b0;
        end else if (step) begin
          at <= at_last ? {WIDTH{1'b0}} : at + 1'b1;
          at_last <= at == BEFORE_LAST[WIDTH-1:0];
        end
    end
  endgenerate
endmodule
