"""Rows of weights added to counters with vectors, for one pixel: for 128 outputs, or for 32 with four rows at a time.

The functions are (list, w, start, odd, ends, y, count, number, even, invert): i16 `list` names `count` rows, then as
many of zeros as fill up vectors; counters start at `start`, and are compared with `number` (row_vector_tables.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from bnnc.ir.location import Location
from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I16,
    I32,
    I64,
    Binary,
    Convert,
    Expression,
    Extract,
    Function,
    Gather,
    Variable,
    Vector,
    constant,
    load,
    splat,
)
from bnnc.loops.kernels.adders import bit_mask, borrow_on, full_adder

LANES = 4
WORDS = Vector(I32, LANES)
STEP = 16
"""Vectors of rows that are added in one go: of 16, four levels of adders take all but one carry."""
TAIL = (STEP, 8, 4)
"""What the end of a list is added in: lists are filled up to a multiple of the last."""


@dataclass(frozen=True)
class Rows:
    """A layer's rows: how many inputs an output has, words of 32 outputs in a row, elements of the list and of the
    weights, and planes of the counters."""

    name: str
    taps: int
    groups: int
    listed: int
    words: int
    planes: int
    loc: Location


class _Sums:
    """The start of a function that adds the listed rows to counters and compares them."""

    def __init__(self, rows: Rows, name: str, comment: str, lanes: int) -> None:
        self.planes = rows.planes
        self.b = b = Builder(f"{rows.name}_{name}", comment, rows.loc)
        self.list = b.parameter("list", I16, rows.listed)
        self.rows = b.parameter("w", I32, rows.words - rows.groups + lanes)
        self.start = b.parameter("start", I32, self.planes * lanes)
        self.odd = b.parameter("odd", I32, lanes)
        self.ends = b.parameter("ends", I32, rows.groups + lanes)
        self.y = b.parameter("y", I32, lanes, access="write")
        self.count = b.scalar("count", I32)
        self.number, self.even, self.invert = (b.scalar(name, I32) for name in ("number", "even", "invert"))

    def add(self, counters: list[Variable], rows: int) -> None:
        """Adds all listed rows; a vector takes `rows` of them."""
        b = self.b
        # Vectors in all: lists are filled up to whole steps of the smallest tree.
        unit = rows * TAIL[-1]
        shift = unit.bit_length() - 1
        count = b.let(Binary("lshr", self.count + (unit - 1), constant(shift, I32)), "count")
        begin: Expression = constant(0, I32)
        last = b.let(count * unit, "last")
        for size in TAIL:
            units = size // TAIL[-1]
            end = last if units == 1 else b.let((count - (count & (units - 1))) * unit, f"end{size}")
            with b.loop(end, "k", start=begin, step=size * rows, unroll_one=False) as k:
                self._tree(counters, k, size, rows)
            begin = end

    def _row(self, k: Expression, rows: int) -> Expression:
        if rows == 1:
            return self.b.let(load(self.rows, Convert("zext", load(self.list, k), I64), WORDS), "row")
        places = Convert("zext", load(self.list, k, Vector(I16, LANES)), WORDS)
        return self.b.let(Gather(self.rows, constant(0, I64), places), "row")

    def _tree(self, counters: list[Variable], k: Expression, size: int, rows: int) -> None:
        """Adds so many vectors: each level joins two carries of the level below with its own counter plane."""
        b = self.b
        waiting: dict[int, Expression] = {}
        for n in range(0, size, 2):
            carry = full_adder(b, counters[0], self._row(k + n * rows, rows), self._row(k + (n + 1) * rows, rows))
            level = 1
            while level in waiting:
                carry = full_adder(b, counters[level], waiting.pop(level), carry)
                level += 1
            waiting[level] = carry
        ((level, carry),) = waiting.items()
        for plane in counters[level:]:
            following = b.let(plane & carry, "carry") if plane is not counters[-1] else carry
            b.assign(plane, plane ^ carry)
            carry = following

    def borrow(self, planes: list[Expression], type_: Vector | None) -> Expression:
        """All ones in the lanes of counters that are below the number (or equal, where the threshold is odd)."""
        b = self.b
        of = type_ or I32
        odd, even = load(self.odd, 0, of), b.let(splat(self.even, of), "even")
        borrow = b.variable("borrow", even & odd | ~even)
        for p, plane in enumerate(planes):
            borrow_on(b, borrow, plane, bit_mask(b, self.number, p, of))
        return borrow

    def finish(self, borrow: Expression, groups: int, type_: Vector | None) -> Function:
        """Stores the outputs' bits."""
        of = type_ or I32
        bits = (~borrow ^ splat(self.invert, of)) & load(self.ends, 0, of)
        self.b.store(self.y, 0, bits ^ load(self.ends, groups, of))
        return self.b.function()


def vector_sums(rows: Rows) -> Function:
    """Adds one row a vector, for 128 outputs."""
    sums = _Sums(rows, "vector", "adds rows for 128 outputs of one pixel", LANES)
    b = sums.b
    counters = [b.variable(f"c{p}", load(sums.start, p * LANES, WORDS)) for p in range(sums.planes)]
    sums.add(counters, 1)
    return sums.finish(sums.borrow(list(counters), WORDS), rows.groups, WORDS)


def word_sums(rows: Rows) -> Function:
    """Adds four rows a vector, for 32 outputs; then the lanes are joined."""
    sums = _Sums(rows, "word", "adds rows for 32 outputs of one pixel, four at a time", 1)
    b = sums.b
    # A lane counts every fourth row.
    counts = max(5, (-(-rows.taps // LANES)).bit_length())
    counters = [b.variable(f"c{p}", constant(0, WORDS)) for p in range(counts)]
    sums.add(counters, LANES)
    columns: list[list[Expression]] = [[] for _ in range(sums.planes + 1)]
    totals: list[Expression] = []
    for p in range(sums.planes):
        column = columns[p]
        if p < counts:
            column += [b.let(Extract(counters[p], lane), "lane") for lane in range(LANES)]
        column.append(b.let(load(sums.start, p), "start"))
        while len(column) > 1:
            first, second, *rest = column
            third, rest = (rest[0], rest[1:]) if rest else (None, [])
            either = b.let(first ^ second, "either")
            carry = first & second if third is None else first & second | either & third
            columns[p + 1].append(b.let(carry, "carry"))
            column = [*rest, either if third is None else b.let(either ^ third, "sum")]
        totals.append(column[0])
    return sums.finish(sums.borrow(totals, None), rows.groups, None)


__all__ = ["LANES", "TAIL", "Rows", "vector_sums", "word_sums"]
