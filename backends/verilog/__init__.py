"""The Verilog backend: streaming circuits in plain Verilog-2005 for any FPGA."""
