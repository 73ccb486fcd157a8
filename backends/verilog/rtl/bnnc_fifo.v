// bnnc_fifo: a stream buffer that holds at least DEPTH beats.
//
//   WIDTH  bits of a beat
//   DEPTH  1: one register. 2: two registers, whose in_ready does not depend on out_ready (a skid buffer).
//          3 and more: a ring of DEPTH words (LUT or block RAM, as the tools choose) and an output register.
//
// Throughput: a beat a cycle. Latency: 1 cycle for DEPTH 1 and 2, else 2. Only at DEPTH 1 in_ready depends on out_ready
// in the same cycle; every deeper FIFO breaks chains of ready signals.
module bnnc_fifo #(
    parameter integer WIDTH = 8,
    parameter integer DEPTH = 2
) (
    input                  clk,
    input                  rst,
    input      [WIDTH-1:0] in_data,
    input                  in_valid,
    output                 in_ready,
    output reg [WIDTH-1:0] out_data,
    output reg             out_valid,
    input                  out_ready
);
  wire free = !out_valid || out_ready;

  generate
    if (DEPTH == 1) begin : g_register
      assign in_ready = free;
      always @(posedge clk) begin
        if (rst) out_valid <= 1'b0;
        else if (free) out_valid <= in_valid;
        if (free && in_valid) out_data <= in_data;
      end
    end else if (DEPTH == 2) begin : g_skid
      reg [WIDTH-1:0] aside;
      reg             full;
      assign in_ready = !full;
      always @(posedge clk) begin
        if (rst) begin
          out_valid <= 1'b0;
          full <= 1'b0;
        end else if (free) begin
          out_valid <= full || in_valid;
          full <= 1'b0;
        end else if (in_valid) full <= 1'b1;
        if (free) out_data <= full ? aside : in_data;
        if (!full) aside <= in_data;
      end
    end else begin : g_ring
      localparam integer AW = $clog2(DEPTH);
      localparam [AW-1:0] LAST = DEPTH[AW-1:0] - 1'b1;
      (* no_rw_check *)
      reg [WIDTH-1:0] words[0:DEPTH-1];
      reg [AW-1:0] head, tail;
      reg [AW:0] count;
      wire put = in_valid && in_ready;
      wire take = free && count != 0;
      assign in_ready = count != DEPTH[AW:0];
      always @(posedge clk) begin
        if (rst) begin
          head <= 0;
          tail <= 0;
          count <= 0;
          out_valid <= 1'b0;
        end else begin
          if (put) tail <= tail == LAST ? {AW{1'b0}} : tail + 1'b1;
          if (take) head <= head == LAST ? {AW{1'b0}} : head + 1'b1;
          if (put != take) count <= put ? count + 1'b1 : count - 1'b1;
          if (free) out_valid <= take;
        end
        if (put) words[tail] <= in_data;
        if (take) out_data <= words[head];
      end
    end
  endgenerate
endmodule
