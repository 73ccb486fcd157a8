"""Layers that find one output after the other: what becomes of the number found, packed bits or whole sums.

A kernel brings the inputs of one window together; a function of its own, which has the processor's registers to
itself, then finds as many outputs as fit one of its units, a byte or a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bnnc.loops.builder import Builder, at
from bnnc.loops.ir import (
    I16,
    I32,
    I64,
    Binary,
    Buffer,
    Convert,
    Expression,
    Function,
    Scalar,
    compare,
    constant,
    constant_buffer,
    load,
)
from bnnc.loops.kernels.borders import Borders, border_class
from bnnc.loops.layout import WORD, Elements, Packed

SPARE = 4
"""Units at the end of the working memory that hold a word of outputs."""


@dataclass(frozen=True)
class BitSteps:
    """One threshold an output, and the two values around it: thresholds int [O or 1, 1], values int [O or 1, 2]."""

    thresholds: np.ndarray
    values: np.ndarray

    def limits(self, outputs: int) -> np.ndarray:
        """int64 [O]: the sum from which on a bit turns."""
        found: np.ndarray = np.broadcast_to(self.thresholds[:, 0], outputs).astype(np.int64)
        return found

    def turned(self, outputs: int) -> np.ndarray:
        """bool [O]: which bits are set below the threshold."""
        found: np.ndarray = np.broadcast_to(self.values, (outputs, 2))[:, 0] > 0
        return found

    def constant(self, outputs: int) -> np.ndarray:
        """bool [O]: which bits never turn."""
        values = np.broadcast_to(self.values, (outputs, 2))
        found: np.ndarray = values[:, 0] == values[:, 1]
        return found


class Counter(Protocol):
    """A function while it is written; its first parameters are those that `Windows.arguments` fills."""

    b: Builder

    def value(self, output: Expression) -> Expression:
        """The i16 that is found for an output."""
        ...


class Windows(Protocol):
    """A kernel that brings windows together. `scratch` holds `units` units of them, and SPARE more."""

    b: Builder
    name: str
    outputs: int
    unit: Scalar
    units: int
    scratch: Buffer
    y: Buffer
    borders: Borders

    @property
    def arguments(self) -> list[Buffer | Expression]: ...

    def counter(self, comment: str) -> Counter: ...


class Outputs(Protocol):
    """What becomes of the numbers of one pixel."""

    def pixel(self, y: Expression, x: Expression) -> None: ...


class PackedOutputs:
    """Compares each number with a limit, and packs the answers."""

    def __init__(self, kernel: Windows, target: Packed, verb: str, limits: np.ndarray, turned: np.ndarray) -> None:
        """A bit is 1 where `number verb limit`, limits u8, u16 or i16 [class][O]; bool [O] says where it is turned."""
        self.kernel, self.target, self.verb = kernel, target, verb
        outputs = kernel.outputs
        self.limits = constant_buffer(f"{kernel.name}_threshold", limits, "[border class][output]", 2)
        self.flips = None
        if turned.any():
            words = np.packbits(np.pad(turned, (0, -outputs % WORD)), bitorder="little").view("<u4")
            self.flips = constant_buffer(f"{kernel.name}_flip", words, "outputs whose bit is turned round", 4)
        self.partly = outputs > kernel.unit.bits and outputs % kernel.unit.bits > 0
        self.function = self._function(min(kernel.unit.bits, outputs))

    def _function(self, most: int) -> Function:
        """As many outputs as a unit has bits; the last call may have fewer, which then are the unit's high bits."""
        counter = self.kernel.counter(f"counts and compares for {most} outputs of one pixel")
        b, unit = counter.b, self.kernel.unit
        y = b.parameter("y", unit, 1, access="write")
        first, limits = b.scalar("first", I64), b.scalar("limits", I64)
        count = b.scalar("count", I64) if self.partly else constant(most, I64)
        found = b.variable("found", constant(0, unit))
        with b.loop(count, "output", unroll_one=False) as output:
            number = counter.value(first + output)
            limit = load(self.limits, limits + output)
            limit = limit if limit.type == I16 else Convert("zext", limit, I16)
            b.assign(found, Binary("lshr", found, constant(1, unit)))
            with b.when(compare(self.verb, number, limit)):
                b.assign(found, found | -(1 << (unit.bits - 1)))
        b.store(y, 0, found)
        return b.function()

    def pixel(self, y: Expression, x: Expression) -> None:
        """The words of one pixel."""
        kernel, target = self.kernel, self.target
        b, lanes, outputs, units = kernel.b, kernel.unit.bits, kernel.outputs, WORD // kernel.unit.bits
        place = b.let(y * target.row + x * target.pixel + target.origin, "target")
        border = border_class(b, kernel.borders, kernel.name, y, x) * outputs
        with b.loop(outputs // WORD, "word") as word:
            with b.loop(units, "unit") as unit:
                self._call(word * units + unit, kernel.units + unit, border, lanes)
            self._store(place, word, units, 0)
        if rest := outputs % WORD:
            word = constant(outputs // WORD, I64)
            for n in range(-(-rest // lanes)):
                self._call(word * units + n, constant(kernel.units + n, I64), border, min(lanes, rest - n * lanes))
            self._store(place, word, -(-rest // lanes), -rest % lanes)

    def _call(self, unit: Expression, place: Expression, border: Expression, count: int) -> None:
        kernel = self.kernel
        output = kernel.b.let(unit * kernel.unit.bits, "output")
        more = [constant(count, I64)] if self.partly else []
        kernel.b.call(self.function, *kernel.arguments, at(kernel.scratch, place), output, border + output, *more)

    def _store(self, place: Expression, word: Expression, units: int, spare: int) -> None:
        """One word of units; the last has `spare` bits too many, which are its low ones."""
        kernel = self.kernel
        b, unit = kernel.b, kernel.unit
        value: Expression | None = None
        for n in range(units):
            part = load(kernel.scratch, kernel.units + n)
            if n == units - 1 and spare:
                part = Binary("lshr", part, constant(spare, unit))
            part = part if unit == I32 else Convert("zext", part, I32)
            part = Binary("shl", part, constant(n * unit.bits, I32)) if n else part
            value = part if value is None else value | part
        assert value is not None
        b.store(kernel.y, place + word, value if self.flips is None else value ^ load(self.flips, word))


class SumOutputs:
    """Stores the sums: base + scale * number."""

    def __init__(self, kernel: Windows, target: Elements, scale: int, base: np.ndarray) -> None:
        """base int64 [class][O]."""
        self.kernel, self.target = kernel, target
        same = int(base.flat[0]) if bool((base == base.flat[0]).all()) else None
        self.base: Buffer | None = None
        if same is None:
            kind = np.int16 if int(np.abs(base).max()) < 1 << 15 else np.int32
            self.base = constant_buffer(f"{kernel.name}_base", base.astype(kind), "[border class][output]", 4)
        counter = kernel.counter(f"counts for {kernel.outputs} outputs of one pixel")
        b = counter.b
        bases = b.scalar("bases", I64) if self.base is not None else None
        y = b.parameter("y", target.element, kernel.outputs, access="write")
        with b.loop(kernel.outputs, "output", unroll_one=False) as output:
            number = b.let(Convert("sext", counter.value(output), I32), "number")
            start: Expression = constant(same or 0, I32)
            if self.base is not None and bases is not None:
                start = load(self.base, bases + output)
                start = start if start.type == I32 else Convert("sext", start, I32)
            total = start + number * scale
            b.store(y, output, total if target.element == I32 else Convert("trunc", total, target.element))
        self.function = b.function()

    def pixel(self, y: Expression, x: Expression) -> None:
        """The sums of one pixel."""
        kernel, target = self.kernel, self.target
        b = kernel.b
        place = b.let(y * target.row + x * target.pixel + target.origin, "target")
        more: list[Expression] = []
        if self.base is not None:
            more = [b.let(border_class(b, kernel.borders, kernel.name, y, x) * kernel.outputs, "bases")]
        b.call(self.function, *kernel.arguments, *more, at(kernel.y, place))


__all__ = ["SPARE", "BitSteps", "Counter", "Outputs", "PackedOutputs", "SumOutputs", "Windows"]
