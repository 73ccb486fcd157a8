"""Lowering: from a «bit» module to a program of loops for one machine. network.py walks, the others know one family."""
