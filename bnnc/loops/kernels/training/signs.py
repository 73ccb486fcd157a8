"""Takes the signs of hidden weights, of those rows only that changed, straight into the layout of products."""

from __future__ import annotations

from contextlib import nullcontext

from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I8,
    I16,
    I32,
    I64,
    Binary,
    Constant,
    Convert,
    Expression,
    Function,
    Select,
    Unpack,
    binary,
    compare,
    constant,
    load,
    pack,
    popcount,
    select,
    splat,
    vector_of,
)
from bnnc.loops.kernels.training.layouts import CHANGED, Hidden, Signs, half_lanes
from bnnc.loops.layout import WORD
from bnnc.loops.machine import Machine


def take_signs(name: str, hidden: Hidden, w: Signs, turned: Signs | None, adds: bool, machine: Machine) -> Function:
    """A function (hidden, w, [turned], changed, flips, first, last) for rows first … last - 1.

    w and, where it is needed, its transpose `turned` get the signs of the rows that are CHANGED. flips int32 [rows]
    gets how many signs of each row are new; `adds`: it is added to what is there. changed int8 [rows] becomes 0. With
    `turned`, threads split rows at multiples of a unit.
    """
    b = Builder(name, comment=f"signs of {hidden.rows} rows of {hidden.width} hidden weights")
    values = b.parameter("hidden", I16, hidden.length, alignment=64)
    writer = SignWriter(b, hidden, w, turned)
    changed = b.parameter("changed", I8, hidden.rows, "both")
    flips = b.parameter("flips", I32, hidden.rows, "both")
    first, last = b.scalar("first", I64), b.scalar("last", I64)
    lanes = half_lanes(machine)
    type_ = vector_of(I16, lanes)
    with b.loop(last, "row", start=first, unroll_one=False) as row:
        count = b.variable("count", load(flips, row) if adds else constant(0, I32))
        with b.when(compare("eq", load(changed, row), CHANGED)):
            start = b.let(row * hidden.stride, "start")
            writer.begin(row)
            with b.loop(hidden.words, "word", unroll_one=False) as index:
                flags = tuple(
                    compare("ge", load(values, start + (index * WORD + n * lanes), type_, 2 * lanes), 0)
                    for n in range(WORD // lanes)
                )
                word = writer.valid(pack(flags), index)
                b.assign(count, count + popcount(writer.old(index) ^ word))
                writer.store(index, word)
                writer.store_turned(index, word)
        b.store(changed, row, 0)
        b.store(flips, row, count)
    return b.function()


class SignWriter:
    """Writes words of signs of one row, 32 neighbours each, to where products read them."""

    def __init__(self, b: Builder, hidden: Hidden, w: Signs, turned: Signs | None) -> None:
        """Declares the parameters."""
        self.b, self.hidden, self.w, self.turned = b, hidden, w, turned
        self.units = b.parameter("w", w.element, w.length, "both", alignment=w.alignment)
        self.other = None
        if turned is not None:
            self.other = b.parameter("turned", turned.element, turned.length, "both", alignment=turned.alignment)

    def begin(self, row: Expression) -> None:
        """The row that is meant from now on."""
        b, w, turned = self.b, self.w, self.turned
        self.base = b.let(binary("udiv", row, w.lanes) * (w.units * w.lanes) + binary("urem", row, w.lanes), "base")
        if turned is not None:
            self.unit = b.let(binary("udiv", row, turned.bits), "unit")
            own = Convert("trunc", binary("urem", row, turned.bits), turned.element)
            self.bit = b.let(splat(Binary("shl", constant(1, turned.element), own), turned.type), "bit")

    def valid(self, word: Expression, index: Expression) -> Expression:
        """The word without what lies behind the last weight, of which nothing is known."""
        last = self.hidden.width % WORD
        if last == 0 or (isinstance(index, Constant) and index.value < self.hidden.words - 1):
            return self.b.let(word, "signs")
        mask: Expression = constant((1 << last) - 1, I32)
        if not isinstance(index, Constant):
            mask = select(index < self.hidden.words - 1, constant(-1, I32), mask)
        return self.b.let(word & mask, "signs")

    def old(self, index: Expression) -> Expression:
        """The word that is there."""
        w = self.w
        parts = [load(self.units, place) for place in self._places(index)]
        if w.per_word == 1:
            return parts[0]
        low, high = (Convert("zext", part, I32) for part in parts)
        return low | Binary("shl", high, constant(16, I32))

    def store(self, index: Expression, word: Expression) -> None:
        """The new word."""
        for part, place in enumerate(self._places(index)):
            unit = word
            if self.w.per_word > 1:
                unit = Convert("trunc", Binary("lshr", word, constant(16 * part, I32)) if part else word, I16)
            self.b.store(self.units, place, unit)

    def _places(self, index: Expression) -> list[Expression]:
        w = self.w
        return [self.base + (index * (w.per_word * w.lanes) + part * w.lanes) for part in range(w.per_word)]

    def store_turned(self, index: Expression, word: Expression) -> None:
        """The bits of the new word, each as a bit of its own row of the transpose."""
        b, turned, other = self.b, self.turned, self.other
        if turned is None or other is None:
            return
        for n in range(WORD // turned.lanes):
            vector = index * (WORD // turned.lanes) + n
            where = b.let((vector * turned.units + self.unit) * turned.lanes, "where")
            with nullcontext() if turned.lanes == WORD else b.when(vector < turned.vectors):
                cleared = b.let(load(other, where, turned.type, turned.alignment) & ~self.bit, "cleared")
                mine = word if n == 0 else Binary("lshr", word, constant(n * turned.lanes, I32))
                new = Select(Unpack(mine, turned.lanes), cleared | self.bit, cleared)
                b.store(other, where, new, alignment=turned.alignment)
