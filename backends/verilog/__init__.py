"""The Verilog backend: streaming circuits in plain Verilog-2005 for any FPGA."""

from bnnc.backends.verilog.backend import Backend

__all__ = ["Backend"]
