"""Generated code on an emulated board: arrays in, arrays out, and what was executed."""

from __future__ import annotations

import itertools
import struct
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bnnc.backends.c.boards.build import build
from bnnc.backends.c.boards.choice import AUTO, find, needed
from bnnc.backends.c.boards.elf import Elf
from bnnc.backends.c.boards.emulators import INPUTS, OUTPUTS, REPORT, emulate
from bnnc.backends.c.boards.firmware import Firmware, firmware_of
from bnnc.backends.c.boards.table import Board, Toolchain
from bnnc.diagnostics import Exit, error
from bnnc.protocols import Counts, LayerCount


@dataclass(frozen=True)
class _Program:
    """A program, and where it runs; `rows`: its input comes row by row."""

    board: Board
    toolchain: Toolchain
    rows: bool
    path: Path


class Emulated:
    """A network on an emulated board. Calling it runs arrays in the layout of the C code, batch first.

    The first board of the machine that has room for the program is taken; one that has none for the image gets its rows
    one by one. `rows` says that they come so, or do not. `files` are an artifact, or firmware of another kind.
    Raises BnncError: B0614 where no board can be emulated here or none has room, B0613 when a program fails.
    """

    def __init__(
        self, files: Mapping[str, bytes] | Firmware, machine: str, board: str = AUTO, rows: bool | None = None
    ) -> None:
        self._firmware: Firmware = files if isinstance(files, Firmware) else firmware_of(files)
        self._folder = tempfile.TemporaryDirectory(prefix="bnnc-board-")
        kinds = [False, True] if self._firmware.takes_rows else [False]
        self._kinds = kinds if rows is None else [kind for kind in kinds if kind == rows]
        if not self._kinds:
            raise error("B0613", f"`{self._firmware.prefix}` takes no rows: it has several inputs")
        self._ways = needed(machine, board).ways
        self._programs: dict[bool, _Program] = {}
        plain = self._program(counted=False)
        self.board, self.toolchain, self.rows = plain.board, plain.toolchain, plain.rows

    def _program(self, *, counted: bool) -> _Program:
        """The program on the first board with room for it; counting takes a little more, so another one perhaps."""
        if counted not in self._programs:
            self._programs[counted] = self._fitting(counted)
        return self._programs[counted]

    def _fitting(self, counted: bool) -> _Program:
        full: list[str] = []
        for number, ((board, toolchain), rows) in enumerate(itertools.product(self._ways, self._kinds)):
            folder = Path(self._folder.name) / f"{'counted' if counted else 'plain'}{number}"
            folder.mkdir()
            built = build(self._firmware, board, toolchain, folder, counted=counted, rows=rows)
            if isinstance(built, Path):
                return _Program(board, toolchain, rows, built)
            full.append(f"{board.name}: {built.where}")
        raise error(
            "B0614",
            "the network is too large for the emulated boards",
            notes=tuple(full),
            helps=("-X board=host runs the same code on this computer",),
            exit_code=Exit.ENVIRONMENT,
        )

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Outputs [batch, length], for inputs [batch, …] in the order of the C function."""
        if any(not len(array) for array in inputs):  # nothing to be done: no board runs without a sample
            big = self.board.big_endian
            return [np.empty((0, a.bytes // a.dtype(big).itemsize), a.dtype(big)) for a in self._firmware.outputs]
        return self._run(inputs, counted=False)[0]

    def count(self, inputs: Sequence[np.ndarray]) -> tuple[Counts, list[np.ndarray]]:
        """What every layer executed, and the outputs. Raises BnncError B0614 for a board without a clock."""
        if not self.board.counts:
            raise error("B0614", f"nothing counts what {self.board.name} executes", helps=("-X board=auto",))
        outputs, report = self._run(inputs, counted=True)
        board = self._program(counted=True).board
        functions = self._firmware.functions
        wide = "Q" if board.counts == "instructions" else "I"
        order = ">" if board.big_endian else "<"
        layout = f"{order}I{len(functions) + 1}{wide}{len(functions) + 1}I"
        stack, *numbers = struct.unpack(layout, report)
        ticks, calls = numbers[: len(functions) + 1], numbers[len(functions) + 1 :]
        empty = ticks[-1] / max(1, calls[-1])
        scale = board.tick / board.each
        layers = [
            LayerCount(symbol, layer, op, called, max(0, round((spent - empty * called) * scale)))
            for (symbol, layer, op), spent, called in zip(functions, ticks, calls, strict=False)
            if called
        ]
        flash, ram = Elf(self._program(counted=False).path.read_bytes()).sizes()
        samples = max((len(array) for array in inputs), default=1)
        return Counts(board.name, board.counts, samples, tuple(layers), flash, ram, stack), outputs

    def _run(self, inputs: Sequence[np.ndarray], *, counted: bool) -> tuple[list[np.ndarray], bytes]:
        program = self._program(counted=counted)
        board, folder = program.board, program.path.parent
        big = board.big_endian
        samples = max((len(array) for array in inputs), default=1)
        columns = [
            np.ascontiguousarray(
                self._firmware.ordered(n, array, program.rows).reshape(samples, -1).astype(a.dtype(big))
            )
            for n, (array, a) in enumerate(zip(inputs, self._firmware.inputs, strict=True))
        ]
        if columns:
            (folder / INPUTS).write_bytes(
                np.concatenate([column.view(np.uint8) for column in columns], axis=1).tobytes()
            )
        emulate(board, program.path, self._firmware.input_bytes, counted=counted)
        data = np.frombuffer((folder / OUTPUTS).read_bytes(), np.uint8)
        if data.size != samples * self._firmware.output_bytes:
            raise error("B0613", f"the emulated board {board.name} gave {data.size} bytes of outputs, not all")
        rows = data.reshape(samples, -1)
        outputs, start = [], 0
        for a in self._firmware.outputs:
            part = np.ascontiguousarray(rows[:, start : start + a.bytes]).view(a.dtype(big))
            outputs.append(part.astype(part.dtype.newbyteorder("=")))
            start += a.bytes
        report = (folder / REPORT).read_bytes()
        _check_stack(program, report)
        return outputs, report


def _check_stack(program: _Program, report: bytes) -> None:
    """Raises BnncError B0613 where the stack has grown down to the data."""
    (stack,) = struct.unpack_from(">I" if program.board.big_endian else "<I", report)
    ram, whole = Elf(program.path.read_bytes()).sizes()[1], program.board.ram[1]
    if ram + stack >= whole:
        raise error("B0613", f"the stack met the data on {program.board.name}: {ram} bytes of data, {whole} of RAM")


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
