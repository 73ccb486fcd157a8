"""Generated C on emulated boards: compared with the reference, and counted call by call."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import numpy as np

from bnnc.backends.c import Backend
from bnnc.backends.c.boards import Emulated
from bnnc.backends.c.boards import missing as lacking
from bnnc.diagnostics import BnncError
from bnnc.ir.module import Module
from bnnc.ir.types import Bit
from bnnc.reference.run import run as reference

SAMPLES = 2


@dataclass(frozen=True)
class Run:
    """A run: whether every output was right, what each function executed for a sample (instructions, on AVR cycles),
    and sizes. `flash` is of the whole program without inputs; `ram` holds the input, the output and the working
    memory, and `stack` is what was used of the stack."""

    ok: bool
    calls: dict[str, int]
    flash: int
    ram: int
    stack: int
    said: str

    @property
    def instructions(self) -> int:
        """All calls together."""
        return sum(self.calls.values())


def run(
    module: Module,
    machine: str,
    *,
    layout: str = "hwc",
    board: str = "auto",
    damage: bool = False,
    streamed: bool = False,
) -> Run:
    """Emit, build with -O2, and run random inputs (half of all bits set) on the emulated board.

    `damage` turns 32 bits of the largest table round, which must show. `streamed`: the image is given row by row.
    """
    options = Backend.Options(machine=machine, input_layout=layout, name="net")
    files = dict(Backend().emit(module, options).files)
    if damage:
        largest = max(json.loads(files["net.json"])["tables"], key=lambda table: int(table["bytes"]))
        place = re.compile(rf"({largest['name']}\[\d+\] = {{\n +)")
        files["net.c"] = place.sub(r"\1 0xffffffffu ^ ", files["net.c"].decode()).encode()
    rng = np.random.default_rng(11)
    drawn = {}
    for op in module.inputs:
        shape = (SAMPLES, *op.type.shape)
        drawn[op.name] = rng.choice([-1, 1], shape) if isinstance(op.dtype, Bit) else rng.integers(0, 256, shape)
    given = [np.moveaxis(a, 1, -1) if a.ndim == 4 and layout == "hwc" else a for a in drawn.values()]
    expected = reference(module, drawn)
    try:
        counts, found = Emulated(files, machine, board, streamed or None).count(given)
    except BnncError as reason:
        return Run(False, {}, 0, 0, 0, str(reason))
    wanted = [expected[output.name].reshape(SAMPLES, -1) for output in module.outputs]
    ok = all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
    calls = {layer.function: round(layer.count / SAMPLES) for layer in counts.layers}
    return Run(ok, calls, counts.flash, counts.ram, counts.stack, "right" if ok else "WRONG")


__all__ = ["Run", "lacking", "run"]
