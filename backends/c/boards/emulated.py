"""Generated code on an emulated board: arrays in, arrays out, and what was executed."""

from __future__ import annotations

import itertools
import struct
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bnnc.backends.c.boards.build import NoRoom, build
from bnnc.backends.c.boards.choice import AUTO, find, needed
from bnnc.backends.c.boards.elf import Elf
from bnnc.backends.c.boards.emulators import INPUTS, OUTPUTS, REPORT, emulate
from bnnc.backends.c.boards.firmware import Firmware, firmware_of
from bnnc.backends.c.boards.table import Board, Toolchain
from bnnc.diagnostics import Exit, error
from bnnc.protocols import Counts, LayerCount


class Emulated:
    """A network on an emulated board. Calling it runs arrays in the layout of the C code, batch first.

    The first board of the machine that has room for the program is taken; one that has none for the image gets its rows
    one by one. `rows` says that they come so, or do not. Raises BnncError: B0614 where no board can be emulated here or
    none has room, B0613 when a program fails.
    """

    def __init__(self, files: Mapping[str, bytes], machine: str, board: str = AUTO, rows: bool | None = None) -> None:
        self._firmware: Firmware = firmware_of(files)
        self._folder = tempfile.TemporaryDirectory(prefix="bnnc-board-")
        self._programs: dict[bool, Path] = {}
        self.rows = False
        kinds = [False, True] if self._firmware.takes_rows else [False]
        self._kinds = kinds if rows is None else [kind for kind in kinds if kind == rows]
        if not self._kinds:
            raise error("B0613", f"`{self._firmware.prefix}` takes no rows: it has several inputs")
        self.board, self.toolchain = self._fitting(needed(machine, board).ways)

    def _fitting(self, ways: Sequence[tuple[Board, Toolchain]]) -> tuple[Board, Toolchain]:
        full: list[str] = []
        for (board, toolchain), rows in itertools.product(ways, self._kinds):
            self.rows = rows
            built = self._built(board, toolchain, counted=False)
            if isinstance(built, Path):
                self._programs[False] = built
                return board, toolchain
            full.append(f"{board.name}: {built.where}")
        raise error(
            "B0614",
            "the network is too large for the emulated boards",
            notes=tuple(full),
            helps=("-X board=host runs the same code on this computer",),
            exit_code=Exit.ENVIRONMENT,
        )

    def _built(self, board: Board, toolchain: Toolchain, *, counted: bool) -> Path | NoRoom:
        folder = Path(self._folder.name) / ("counted" if counted else "plain")
        folder.mkdir(exist_ok=True)
        return build(self._firmware, board, toolchain, folder, counted=counted, rows=self.rows)

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Outputs [batch, length], for inputs [batch, …] in the order of the C function."""
        return self._run(inputs, counted=False)[0]

    def count(self, inputs: Sequence[np.ndarray]) -> tuple[Counts, list[np.ndarray]]:
        """What every layer executed, and the outputs. Raises BnncError B0614 for a board without a clock."""
        if not self.board.counts:
            raise error("B0614", f"nothing counts what {self.board.name} executes", helps=("-X board=auto",))
        outputs, report = self._run(inputs, counted=True)
        functions = self._firmware.functions
        wide = "Q" if self.board.counts == "instructions" else "I"
        order = ">" if self.board.big_endian else "<"
        layout = f"{order}I{len(functions) + 1}{wide}{len(functions) + 1}I"
        stack, *numbers = struct.unpack(layout, report)
        ticks, calls = numbers[: len(functions) + 1], numbers[len(functions) + 1 :]
        empty = ticks[-1] / max(1, calls[-1])
        scale = self.board.tick / self.board.each
        layers = [
            LayerCount(symbol, layer, op, called, max(0, round((spent - empty * called) * scale)))
            for (symbol, layer, op), spent, called in zip(functions, ticks, calls, strict=False)
            if called
        ]
        flash, ram = Elf(self._programs[False].read_bytes()).sizes()
        samples = max((len(array) for array in inputs), default=1)
        return Counts(self.board.name, self.board.counts, samples, tuple(layers), flash, ram, stack), outputs

    def _program(self, counted: bool) -> Path:
        if counted not in self._programs:
            built = self._built(self.board, self.toolchain, counted=counted)
            if isinstance(built, NoRoom):
                raise error("B0614", f"there is no room on {self.board.name} to count: {built.where}")
            self._programs[counted] = built
        return self._programs[counted]

    def _run(self, inputs: Sequence[np.ndarray], *, counted: bool) -> tuple[list[np.ndarray], bytes]:
        program = self._program(counted)
        big = self.board.big_endian
        samples = max((len(array) for array in inputs), default=1)
        columns = [
            np.ascontiguousarray(self._firmware.ordered(n, array, self.rows).reshape(samples, -1).astype(a.dtype(big)))
            for n, (array, a) in enumerate(zip(inputs, self._firmware.inputs, strict=True))
        ]
        if columns:
            (program.parent / INPUTS).write_bytes(
                np.concatenate([column.view(np.uint8) for column in columns], axis=1).tobytes()
            )
        emulate(self.board, program, self._firmware.input_bytes, counted=counted)
        data = np.frombuffer((program.parent / OUTPUTS).read_bytes(), np.uint8)
        if data.size != samples * self._firmware.output_bytes:
            raise error("B0613", f"the emulated board {self.board.name} gave {data.size} bytes of outputs, not all")
        rows = data.reshape(samples, -1)
        outputs, start = [], 0
        for a in self._firmware.outputs:
            part = np.ascontiguousarray(rows[:, start : start + a.bytes]).view(a.dtype(big))
            outputs.append(part.astype(part.dtype.newbyteorder("=")))
            start += a.bytes
        return outputs, (program.parent / REPORT).read_bytes()


def instructions(
    files: Mapping[str, bytes],
    machine: str,
    inputs: Sequence[np.ndarray],
    *,
    board: str = AUTO,
    rows: bool | None = None,
) -> Counts:
    """What an artifact of the C target (`Backend().emit(...).files`) executes on an emulated board of its machine.

    inputs: arrays in the order and the layout in which NAME_run takes them, batch first. The counts are exact but for
    two instructions a call or so, and the same in every run; on AVR they are cycles. `counts.total / counts.samples`
    is a sample's share; `counts.layers` has the calls function by function.
    Raises BnncError: B0614 where no board of the machine can be emulated here or none has room (`missing(machine)` says
    what to install), B0613 when the program fails.
    """
    return Emulated(files, machine, board, rows).count(inputs)[0]


def missing(machine: str, board: str = AUTO) -> tuple[str, ...]:
    """What to type so that a board of the machine can be emulated here; nothing where one can."""
    return find(machine, board).installs


__all__ = ["Counts", "Emulated", "instructions", "missing"]
