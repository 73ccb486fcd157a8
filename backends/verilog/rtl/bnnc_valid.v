// bnnc_valid: which of the STAGES of a pipeline hold a beat; all stages advance together.
//
//   STAGES  1 or more
//
// `advance` is the enable of every register of the pipeline: its last stage is empty, or its beat is taken.
module bnnc_valid #(
    parameter integer STAGES = 3
) (
    input  clk,
    input  rst,
    input  in_valid,
    output advance,
    output out_valid,
    input  out_ready
);
  assign advance = !out_valid || out_ready;
  bnnc_delay #(
      .CYCLES(STAGES),
      .RESET (1)
  ) stages (
      .clk(clk),
      .rst(rst),
      .enable(advance),
      .in(in_valid),
      .out(out_valid)
  );
endmodule
