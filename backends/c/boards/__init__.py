"""Runs generated C where it belongs: on emulated boards, with real cross compilers, instructions counted exactly.

`instructions(files, machine, inputs)` counts what an artifact executes; `Emulated` runs it on arrays; `find` says which
board a machine has here, and what is lacking.
"""

from bnnc.backends.c.boards.choice import AUTO, HOST, Choice, find
from bnnc.backends.c.boards.emulated import Emulated, instructions, missing

__all__ = ["AUTO", "HOST", "Choice", "Emulated", "find", "instructions", "missing"]
