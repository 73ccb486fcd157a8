"""What this machine can do at most: xor, popcount and add on registers, in bit-MACs a second, measured here and now."""

from __future__ import annotations

import statistics
import time

import numpy as np

from bnnc.backends.llvm.jit import JitProgram
from bnnc.loops.builder import Builder
from bnnc.loops.ir import I32, I64, Buffer, Function, Program, load, popcount, vector_of
from bnnc.loops.machine import Machine

ROUNDS = 4096
_LEAST_SECONDS = 0.001


def roofline_function(machine: Machine) -> tuple[Function, int]:
    """Independent chains total += popcount(total ^ w) in registers, and the bit-MACs of one call.

    No value is known before it is computed, and every chain is stored, so that nothing can be left out.
    """
    lanes, chains = machine.lanes, 24 if machine.vector_registers >= 32 else 10
    type_ = vector_of(I32, lanes)
    b = Builder("roofline")
    w, y = b.parameter("w", I32, 4 * lanes), b.parameter("y", I32, chains * lanes, access="write")
    rows = [b.let(load(w, i * lanes, type_), "w") for i in range(4)]
    totals = [b.variable("total", rows[i % 4] + i) for i in range(chains)]
    with b.loop(ROUNDS):
        for i, total in enumerate(totals):
            b.assign(total, total + popcount(total ^ rows[i % 4]))
    for i, total in enumerate(totals):
        b.store(y, i * lanes, total)
    return b.function(), ROUNDS * chains * lanes * 32


class Roofline:
    """Measures again at every call, since clocks change."""

    def __init__(self, machine: Machine) -> None:
        function, self.bit_macs = roofline_function(machine)
        b = Builder("run")
        lengths = [buffer.length for buffer in function.parameters if isinstance(buffer, Buffer)]
        w, y = b.parameter("w", I32, lengths[0]), b.parameter("y", I32, lengths[1], "write")
        b.scalar("n", I64)
        b.call(function, w, y)
        program = Program("roofline_of_machine", (function,), b.function(), (w,), (y,))
        self._program = JitProgram(program, machine, bench=True)
        self._input = [np.arange(w.length, dtype=np.int32)]

    def run(self, repeats: int) -> None:
        """Runs the loop; `bit_macs` each time."""
        self._program.repeat(self._input, 1, repeats, call=0)

    def rate(self, rounds: int = 5) -> float:
        """bit-MACs a second of CPU time: the median of some rounds of about a millisecond."""
        self.run(10)
        start = time.thread_time()
        self.run(10)
        repeats = max(10, int(10 * _LEAST_SECONDS / max(time.thread_time() - start, 1e-9)))
        found = []
        for _ in range(rounds):
            start = time.thread_time()
            self.run(repeats)
            found.append(self.bit_macs * repeats / (time.thread_time() - start))
        return statistics.median(found)
