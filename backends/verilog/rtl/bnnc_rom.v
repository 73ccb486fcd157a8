// bnnc_rom: constants. The word of an address comes two cycles with `enable` later: the memory's own register, and one
// more, for block RAM is slow to its outputs.
//
//   WIDTH  bits of a word
//   DEPTH  words
//   FILE   hexadecimal text for $readmemh, one word an address ("none": zeros)
//   STYLE  0: the tools choose; 1: LUTs; 2: block RAM
module bnnc_rom #(
    parameter integer WIDTH = 8,
    parameter integer DEPTH = 2,
    parameter FILE = "none",
    parameter integer STYLE = 0,
    parameter integer ADDRESS_WIDTH = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input                          clk,
    input                          enable,
    input      [ADDRESS_WIDTH-1:0] address,
    output reg [        WIDTH-1:0] data
);
  reg [WIDTH-1:0] word;
  always @(posedge clk) if (enable) data <= word;

  generate
    if (FILE == "none") begin : g_empty
      // verilator lint_off UNUSED
      wire unused = |address;
      // verilator lint_on UNUSED
      always @(posedge clk) if (enable) word <= 0;
    end else if (DEPTH == 1) begin : g_word
      // verilator lint_off UNUSED
      wire unused = address[0];
      // verilator lint_on UNUSED
      reg [WIDTH-1:0] words[0:0];
      initial $readmemh(FILE, words);
      always @(posedge clk) if (enable) word <= words[0];
    end else if (STYLE == 1) begin : g_logic
      (* rom_style = "logic", romstyle = "logic" *)
      reg [WIDTH-1:0] words[0:DEPTH-1];
      initial $readmemh(FILE, words);
      always @(posedge clk) if (enable) word <= words[address];
    end else if (STYLE == 2) begin : g_block
      (* rom_style = "block", ram_style = "block" *)
      reg [WIDTH-1:0] words[0:DEPTH-1];
      initial $readmemh(FILE, words);
      always @(posedge clk) if (enable) word <= words[address];
    end else begin : g_any
      reg [WIDTH-1:0] words[0:DEPTH-1];
      initial $readmemh(FILE, words);
      always @(posedge clk) if (enable) word <= words[address];
    end
  endgenerate
endmodule
