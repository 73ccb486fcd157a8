"""Proofs about emitted Verilog: read back from its text, and compared with the integers that the layers mean."""
