"""How near the kernels come to what this machine can do: xor + popcount + add on full vectors, and nothing else.

    python benchmarks/roofline.py [--rounds 15] [--json]

Every round measures the roofline and every kernel once, so that a change of the clock meets all of them; the figures
are medians of CPU time. One bit-MAC is one xnor and one addition of a bit. Kernels include the threshold and packing
of the result; the roofline is xor, popcount and add on registers alone. A dense layer of one sample reads each weight
once, so a large one is bound by the cache that its weights stream from, not by this roofline.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bnnc.backends.llvm.host import native_machine
from bnnc.backends.llvm.jit import JitProgram
from bnnc.backends.llvm.roofline import Roofline
from bnnc.loops.builder import Builder, at
from bnnc.loops.ir import I64, Buffer, Function, Program
from bnnc.loops.kernels.epilogue import StepToPlanes
from bnnc.loops.kernels.popcount import popcount_conv
from bnnc.loops.kernels.tiling import Window
from bnnc.loops.layout import Halo, Packed
from bnnc.loops.machine import Machine

BIT = (0,)


@dataclass
class Case:
    """Something that runs `macs` bit-MACs; `run(repeats)` runs it natively."""

    name: str
    macs: int
    run: Callable[[int], None]
    repeats: int
    compile_seconds: float = 0.0
    seconds: list[float] = field(default_factory=list)

    def measure(self) -> None:
        """One round: CPU seconds of one run."""
        start = time.thread_time_ns()
        self.run(self.repeats)
        self.seconds.append((time.thread_time_ns() - start) / self.repeats / 1e9)

    @property
    def rate(self) -> float:
        """bit-MAC/s, from the median."""
        return self.macs / statistics.median(self.seconds)


def program_of(function: Function) -> Program:
    """A program of one call."""
    b = Builder("run")
    passed = [
        b.parameter(p.name, p.element, p.length, p.access, p.alignment)
        for p in function.parameters
        if isinstance(p, Buffer)
    ]
    b.scalar("n", I64)
    b.call(function, *(at(buffer) for buffer in passed))
    inputs = tuple(p for p in passed if p.access == "read")
    return Program(function.name, (function,), b.function(), inputs, tuple(p for p in passed if p.access != "read"))


def conv_function(machine: Machine, size: int, channels: int, pad: int, kernel: int = 3) -> tuple[Function, int]:
    """A square convolution with `same` padding, its threshold and its packing."""
    rng = np.random.default_rng(size)
    border = kernel // 2
    weights = rng.choice([-1, 1], (channels, channels, kernel, kernel))
    image = Packed(channels, size, size, BIT, Halo(border, border, border, border, pad or -1))
    output = Packed(channels, size, size, BIT, Halo(border, border, border, border, pad or -1))
    thresholds = rng.integers(-20, 21, (channels, 1))
    step = StepToPlanes(output, thresholds, np.array([[-1, 1]]))
    window = Window((kernel, kernel), pads=(border,) * 4)
    name = f"conv{kernel}x{kernel}_{size}x{size}x{channels}_pad{'m' if pad < 0 else ''}{abs(pad)}"
    function = popcount_conv(
        name, image, weights, window, step, machine, pad_value=pad, halo_value=image.halo.value
    )  # fmt: skip
    return function, size * size * channels * channels * kernel * kernel


def cases(machine: Machine) -> list[Case]:
    """The roofline first, then the kernels."""
    made: list[tuple[str, Function, int]] = []
    for pad in (1, 0):
        for size, channels in ((56, 64), (28, 128), (14, 256), (7, 512)):
            function, macs = conv_function(machine, size, channels, pad)
            made.append((function.name, function, macs))
    for channels in (512, 1024, 2048):
        function, macs = conv_function(machine, 1, channels, 1, kernel=1)
        made.append((f"dense_{channels}x{channels}", function, macs))
    roofline = Roofline(machine)
    result = [Case("roofline", roofline.bit_macs, roofline.run, 500)]
    for name, function, macs in made:
        start = time.perf_counter()
        program = JitProgram(program_of(function), machine, bench=True)
        elapsed = time.perf_counter() - start
        rng = np.random.default_rng(0)
        inputs = [rng.integers(-(2**31), 2**31, p.length, dtype=np.int32) for p in program.program.inputs]

        def run(repeats: int, program: JitProgram = program, inputs: list[np.ndarray] = inputs) -> None:
            program.repeat(inputs, 1, repeats, call=0)

        run(1)
        start = time.perf_counter()
        run(4)
        once = (time.perf_counter() - start) / 4
        result.append(Case(name, macs, run, max(2, int(0.01 / max(once, 1e-9))), elapsed))
    return result


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    machine = native_machine()
    measured = cases(machine)
    for _ in range(options.rounds):
        for case in measured:
            case.measure()
    top = measured[0].rate
    rows = [
        {
            "case": case.name,
            "us": round(statistics.median(case.seconds) * 1e6, 3),
            "tera_bit_macs_a_second": round(case.rate / 1e12, 3),
            "of_roofline": round(case.rate / top, 3),
            "compile_ms": round(case.compile_seconds * 1e3, 1),
        }
        for case in measured
    ]
    out = sys.stdout
    if options.json:
        out.write(json.dumps({"cpu": machine.cpu, "rounds": options.rounds, "cases": rows}, indent=2) + "\n")
        return
    out.write(f"{machine.cpu}, {options.rounds} rounds, medians of CPU time\n")
    for row in rows:
        out.write(
            f"{row['case']:28} {row['us']:10.2f} us {row['tera_bit_macs_a_second']:7.3f} T bit-MAC/s "
            f"{row['of_roofline']:6.1%}  compiled in {row['compile_ms']:.0f} ms\n"
        )


if __name__ == "__main__":
    main()
