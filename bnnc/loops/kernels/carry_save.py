"""Layers on bits for processors without a popcount, one output after the other: carry-save adders, then few counts.

A sum of ±1 products is N - 2 m, where m counts the bits in which a window and an output's weights differ. Differences
are added eight units at a time into three planes by full adders (Harley and Seal's counter); only what carries out of
them is counted, and the planes once at the end. A unit is a byte on 8-bit processors, whose count is looked up, and a
word elsewhere. The window's bits are brought together first, so that borders, strides and dilations cost nothing in
the inner loop. Weights take one bit each, as [output][unit]; nothing depends on the data but the values.

Where many outputs share an input, adding rows (row_conv.py) is faster on words; this form needs fewer outputs, hardly
any memory, and gives whole sums.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bnnc.ir.location import UNKNOWN, Location
from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I8,
    I16,
    I32,
    I64,
    Binary,
    Buffer,
    Convert,
    Expression,
    Function,
    Scalar,
    Variable,
    compare,
    constant,
    constant_buffer,
    load,
    popcount,
)
from bnnc.loops.kernels.adders import full_adder
from bnnc.loops.kernels.borders import Borders, Within, corrections
from bnnc.loops.kernels.outputs import SPARE, BitSteps, Counter, Outputs, PackedOutputs, SumOutputs
from bnnc.loops.kernels.tiling import Window, input_origin
from bnnc.loops.layout import WORD, Elements, Packed
from bnnc.loops.machine import Machine

ROUND = 8
"""Units that are added in one go: three planes take all but one carry."""
ONES = constant_buffer("ones", np.array([number.bit_count() for number in range(256)], np.uint8), "ones of a byte", 1)


def unit_of(machine: Machine) -> Scalar:
    """What bits are added in: as wide as the processor's registers, up to a word."""
    return I8 if machine.word_bits == 8 else I32


LEAST = 2
"""Words of a window from which on whole sums are worth it; bits and bytes always are."""


@dataclass(frozen=True)
class _Units:
    """How the bits of a window lie in units: a tap takes `each` of them, or `slot` bits of one."""

    unit: Scalar
    taps: int
    each: int
    slot: int

    @property
    def together(self) -> int:
        """Taps in a unit."""
        return self.unit.bits // self.slot

    @property
    def count(self) -> int:
        """Units of a window."""
        return self.taps * self.each if self.each > 1 else -(-self.taps // self.together)


def _units(image: Packed, window: Window, machine: Machine) -> _Units:
    unit = unit_of(machine)
    slot = min(unit.bits, 1 << (image.channels - 1).bit_length())
    return _Units(unit, window.kernel[0] * window.kernel[1], -(-image.channels // unit.bits), slot)


def carry_fits(image: Packed, weights: np.ndarray, groups: int) -> bool:
    """Whether a layer can be done this way: ±1 weights on bits, and sums of 16 bits."""
    return (
        image.planes == (0,)
        and groups == 1
        and bool((np.abs(weights) == 1).all())
        and int(np.prod(weights.shape[1:])) < 1 << 14
    )


def carries_pay(image: Packed, window: Window, machine: Machine, sums: bool) -> bool:
    """Whether this is faster than counting the bits of every word, where no instruction does that."""
    return unit_of(machine) == I8 or not sums or _units(image, window, machine).count >= LEAST


def carry_scratch(image: Packed, window: Window, machine: Machine) -> int:
    """Units of the working memory: the bits of one window, and of one word of outputs."""
    return SPARE + _units(image, window, machine).count


def carry_conv(
    name: str,
    image: Packed,
    weights: np.ndarray,
    window: Window,
    target: Packed | Elements,
    steps: BitSteps | None,
    machine: Machine,
    *,
    pad_value: int = 0,
    halo_value: int = -1,
    within: Within | None = None,
    loc: Location = UNKNOWN,
) -> Function:
    """NAME(x, scratch, y): a ±1 convolution [O, C, KH, KW]; its sums, or with `steps` bits (see `carry_fits`).

    scratch: units [carry_scratch] (i8 or i32, see `unit_of`). Outside the image x counts as `pad_value`; `halo_value`
    is what the bits in the halo mean. `within`: the image is some rows of a larger one, and if borders differ the
    function is (x, scratch, y, row).
    """
    outputs = len(weights)
    b = Builder(name, f"{outputs} outputs, window {window.kernel} on {image.channels} channels, carries saved", loc)
    borders, correction = corrections(image, weights, window, pad_value - halo_value, within)
    base = int(np.prod(weights.shape[1:])) + correction
    kernel = _Carries(b, name, image, weights, window, target, borders, _units(image, window, machine), loc)
    if within is not None and len(borders.rows) > 1:
        kernel.borders = replace(borders, first=b.scalar("row", I64))
    ending: Outputs
    if steps is None:
        assert isinstance(target, Elements)
        ending = SumOutputs(kernel, target, -2, base)
    else:
        assert isinstance(target, Packed)
        # base - 2 m >= t where m < limit.
        bits = int(np.prod(weights.shape[1:]))
        limits = np.clip((base - steps.limits(outputs)) // 2 + 1, 0, bits + 1)
        limits[:, steps.constant(outputs)] = 0
        kind = np.uint8 if bits < 255 else np.uint16
        ending = PackedOutputs(kernel, target, "ult", limits.astype(kind), steps.turned(outputs))
    kernel.write(ending)
    return b.function()


class _Carries:
    """Writes the function: windows are brought together here, and handed to a function that counts."""

    def __init__(
        self,
        b: Builder,
        name: str,
        image: Packed,
        weights: np.ndarray,
        window: Window,
        target: Packed | Elements,
        borders: Borders,
        units: _Units,
        loc: Location,
    ) -> None:
        self.b, self.name, self.image, self.window, self.borders, self.loc = b, name, image, window, borders, loc
        self.cut, self.unit, self.units = units, units.unit, units.count
        self.outputs = len(weights)
        self.x = b.parameter("x", I32, image.length)
        self.scratch = b.parameter("scratch", self.unit, self.units + SPARE, access="both")
        self.y = b.parameter("y", target.element, target.length, access="write")
        taps = (weights > 0).transpose(0, 2, 3, 1).astype(np.uint8)
        taps = np.pad(taps, ((0, 0), (0, 0), (0, 0), (0, units.each * units.slot - image.channels)))
        flat = taps.reshape(self.outputs, -1)
        # Two bytes are read at once.
        row, kind = (16, "<u2") if self.unit == I8 else (WORD, "<u4")
        self.words = -(-flat.shape[1] // row)  # of an output
        flat = np.pad(flat, ((0, 0), (0, self.words * row - flat.shape[1])))
        packed = np.packbits(flat, axis=1, bitorder="little").view(kind)
        self.weights = constant_buffer(f"{name}_weights", packed, "[output][tap][channel] weight bits", 4)

    def write(self, ending: Outputs) -> None:
        """The loops over pixels."""
        b = self.b
        height, width = self.window.output(self.image.height, self.image.width)
        with b.loop(height, "oy") as y, b.loop(width, "ox") as x:
            self._window(y, x)
            ending.pixel(y, x)

    @property
    def arguments(self) -> list[Buffer | Expression]:
        """What a counter is called with."""
        return [self.scratch]

    def counter(self, comment: str) -> Counter:
        """A function that counts in how many bits a window and an output's weights differ."""
        return _Differences(self, comment)

    def _window(self, y: Expression, x: Expression) -> None:
        """Brings the bits of a window together."""
        b, image, window = self.b, self.image, self.window
        origin = input_origin(image, window)
        corner = b.let(y * (window.strides[0] * image.row) + x * (window.strides[1] * image.pixel) + origin, "corner")
        each, per_word = self.cut.each, WORD // self.unit.bits
        whole, rest = divmod(each, per_word)
        joined = _Joined(self) if self.cut.together > 1 else None
        with b.loop(window.kernel[0], "ky") as ky, b.loop(window.kernel[1], "kx") as kx:
            tap = ky * (window.dilations[0] * image.row) + kx * (window.dilations[1] * image.pixel)
            start = b.let(corner + tap, "tap")
            if joined is not None:
                joined.add(start)
            else:
                place = b.let((ky * window.kernel[1] + kx) * each, "place")
                with b.loop(whole, "k") as k:
                    self._split(start + k, place + k * per_word, per_word)
                if rest:
                    self._split(start + whole, place + whole * per_word, rest)
        if joined is not None:
            joined.finish()

    def _split(self, source: Expression, place: Expression, count: int) -> None:
        """The first units of a word of the image."""
        b = self.b
        for n, part in enumerate(parts_of(b.let(load(self.x, source), "word"), self.unit)[:count]):
            b.store(self.scratch, place + n, part)


class _Joined:
    """Fills units with the bits of several taps, where each has few."""

    def __init__(self, kernel: _Carries) -> None:
        self.b, self.x, self.scratch, self.cut = kernel.b, kernel.x, kernel.scratch, kernel.cut
        b, unit = self.b, self.cut.unit
        self.filled = b.variable("filled", constant(0, unit))
        self.left = b.variable("left", constant(self.cut.together, I8))
        self.place = b.variable("place", constant(0, I32))

    def add(self, source: Expression) -> None:
        """The next tap comes in at the top of a unit, which is stored when it is full."""
        b, unit, slot = self.b, self.cut.unit, self.cut.slot
        word = load(self.x, source)
        bits = word if unit == I32 else Convert("trunc", word, unit)
        top = Binary("shl", bits, constant(unit.bits - slot, unit))
        b.assign(self.filled, Binary("lshr", self.filled, constant(slot, unit)) | top)
        b.assign(self.left, self.left - 1)
        with b.when(compare("eq", self.left, 0)):
            b.store(self.scratch, self.place, self.filled)
            b.assign(self.place, self.place + 1)
            b.assign(self.left, constant(self.cut.together, I8))

    def finish(self) -> None:
        """The last unit, if it is not full."""
        together, slot = self.cut.together, self.cut.slot
        if rest := self.cut.taps % together:
            down = constant((together - rest) * slot, self.cut.unit)
            self.b.store(self.scratch, self.cut.count - 1, Binary("lshr", self.filled, down))


def parts_of(word: Expression, unit: Scalar) -> list[Expression]:
    """The units of a word."""
    of = word.type
    if of == unit:
        return [word]
    bits = of.element.bits
    places = [Binary("lshr", word, constant(shift, of)) if shift else word for shift in range(0, bits, unit.bits)]
    return [Convert("trunc", place, unit) for place in places]


class _Differences:
    """Writes into a function of its own, which has the processor's registers to itself, how bits are counted."""

    def __init__(self, kernel: _Carries, comment: str) -> None:
        self.units, self.words, self.unit, self.weights = kernel.units, kernel.words, kernel.unit, kernel.weights
        self.b = b = Builder(f"{kernel.name}_outputs", comment, kernel.loc)
        self.bits = b.parameter("bits", kernel.unit, kernel.units)

    def value(self, output: Expression) -> Expression:
        """The i16 number of bits in which the window differs from an output's weights."""
        b, per_row = self.b, self.weights.element.bits // self.unit.bits
        start = b.let(output * self.words, "start")
        rounds, rest = divmod(self.units, ROUND)
        planes = [b.variable(f"c{p}", constant(0, self.unit)) for p in range(3)]
        # A byte holds the counts of 31 rounds.
        eights = b.variable("eights", constant(0, I16 if self.unit == I32 or rounds > 31 else I8))
        with b.loop(rounds, "k") as k:
            first = b.let(k * ROUND, "at")
            ((_, carry),) = self._add(planes, b.let(start + k * (ROUND // per_row), "w"), first, ROUND)
            b.assign(eights, eights + self._ones(carry, eights.of.element))
        counts: list[list[Expression]] = [[] for _ in range(4)]
        if rounds:
            counts[3].append(eights if eights.type == I16 else Convert("zext", eights, I16))
        if rest:
            row = b.let(start + rounds * (ROUND // per_row), "w")
            for level, carry in self._add(planes, row, constant(rounds * ROUND, I64), rest):
                counts[level].append(self._ones(carry, I16))
        used = 3 if rounds else self.units.bit_length() - 1
        for level, plane in enumerate(planes[:used]):
            counts[level].append(self._ones(plane, I16))
        total: Expression | None = None
        for alike in reversed(counts):
            if total is not None:
                total = Binary("shl", total, constant(1, I16))
            for count in alike:
                total = count if total is None else total + count
        return b.let(constant(0, I16) if total is None else total, "differ")

    def _add(
        self, planes: list[Variable], where: Expression, at_: Expression, count: int
    ) -> list[tuple[int, Expression]]:
        """Adds the next `count` units to the planes; what is left over, with the level that it counts at."""
        b, per_row = self.b, self.weights.element.bits // self.unit.bits
        waiting: dict[int, Expression] = {}
        for first in range(0, count, per_row):
            row = b.let(load(self.weights, where + first // per_row), "row")
            for n, part in enumerate(parts_of(row, self.unit)[: count - first]):
                unit = b.let(load(self.bits, at_ + (first + n)) ^ part, "d")
                level = 0
                while level in waiting and level < len(planes):
                    unit = full_adder(b, planes[level], waiting.pop(level), unit)
                    level += 1
                waiting[level] = unit
        return sorted(waiting.items())

    def _ones(self, unit: Expression, of: Scalar) -> Expression:
        """How many bits of a unit are set."""
        if self.unit == I32:
            return Convert("trunc", popcount(unit), of)
        count = load(ONES, Convert("zext", unit, I64))
        return count if of == I8 else Convert("zext", count, of)


__all__ = ["carries_pay", "carry_conv", "carry_fits", "carry_scratch", "unit_of"]
