// bnnc_popcount: how many of BITS bits are set: `count` + `carry`. Pipelined, a word a cycle, never stalls.
//
//   BITS   bits of a word
//   WIDTH  bits of the count, fixed by BITS
//
// Of each group of eight bits seven are counted by four full adders, in one stage; the eighth is handed on to the carry
// chains of the adders behind, whose carry inputs would else be idle, and the last of these comes out as `carry`.
// Latency: 1 + ceil(log2(ceil(BITS / 8))) cycles.
module bnnc_popcount #(
    parameter integer BITS  = 49,
    parameter integer WIDTH = $clog2(BITS + 1)
) (
    input              clk,
    input  [ BITS-1:0] bits,
    output [WIDTH-1:0] count,
    output             carry
);
  localparam integer GROUPS = (BITS + 7) / 8;
  localparam integer PART = WIDTH < 3 ? WIDTH : 3;
  reg [PART*GROUPS-1:0] counts;
  reg [GROUPS-1:0] eighths;

  genvar g;
  generate
    for (g = 0; g < GROUPS; g = g + 1) begin : g_group
      localparam integer SIZE = BITS - 8 * g < 8 ? BITS - 8 * g : 8;
      // verilator lint_off UNUSED
      wire [7:0] b = {{8 - SIZE{1'b0}}, bits[8*g+:SIZE]};
      wire [2:0] n;
      // verilator lint_on UNUSED
      if (SIZE <= 2) begin : g_two
        assign n = {1'b0, b[0] && b[1], b[0] ^ b[1]};
      end else begin : g_more
        wire sum_a, carry_a;
        bnnc_full_adder first (
            .a(b[0]),
            .b(b[1]),
            .c(b[2]),
            .sum(sum_a),
            .carry(carry_a)
        );
        if (SIZE == 3) begin : g_three
          assign n = {1'b0, carry_a, sum_a};
        end else begin : g_seven
          wire sum_b, carry_b, carry_c;
          bnnc_full_adder second (
              .a(b[3]),
              .b(b[4]),
              .c(b[5]),
              .sum(sum_b),
              .carry(carry_b)
          );
          bnnc_full_adder ones (
              .a(sum_a),
              .b(sum_b),
              .c(b[6]),
              .sum(n[0]),
              .carry(carry_c)
          );
          bnnc_full_adder twos (
              .a(carry_a),
              .b(carry_b),
              .c(carry_c),
              .sum(n[1]),
              .carry(n[2])
          );
        end
      end
      always @(posedge clk) begin
        counts[PART*g+:PART] <= n[PART-1:0];
        eighths[g] <= b[7];
      end
    end
  endgenerate

  bnnc_adder_tree #(
      .LANES(GROUPS),
      .IN_WIDTH(PART),
      .IN_SIGNED(0),
      .WIDTH(WIDTH)
  ) tree (
      .clk(clk),
      .numbers(counts),
      .pending(eighths),
      .sum(count),
      .carry(carry)
  );
endmodule
