"""Adds the corrections of a batch to hidden weights, row by row: each row that was picked is read and written once."""

from __future__ import annotations

from dataclasses import dataclass

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
    Select,
    Unpack,
    Variable,
    binary,
    compare,
    constant,
    load,
    pack,
    popcount,
    splat,
    vector_of,
)
from bnnc.loops.kernels.training.layouts import CHANGED, WITHIN, BatchBits, Hidden, Signs, half_lanes, up
from bnnc.loops.kernels.training.signs import SignWriter
from bnnc.loops.layout import WORD
from bnnc.loops.machine import Machine


@dataclass(frozen=True)
class Last:
    """An update that ends a batch: it brings the weights within ±bound, and takes the signs of rows that agree with
    them already."""

    bound: int
    w: Signs
    turned: Signs | None


def can_end(machine: Machine) -> bool:
    """Whether an update may take signs: a few vectors are a word of them."""
    return half_lanes(machine) * 4 >= WORD


def update(
    name: str, hidden: Hidden, x: BatchBits, last_one: Last | None, machine: Machine, parts: int = 1
) -> Function:
    """A function (picks, counts, x, hidden, links, heads, changed, [w, [turned], flips], samples, first, last).

    Adds to rows first … last - 1. picks, counts: of `samples` samples in each of the `parts` batches that make up x, as
    the pick kernel gives them. heads int32 [rows], links int32 [samples][rows]: scratch. h + 2 Σ ±x is clamped once,
    after the sum. changed int8 [rows] becomes CHANGED for a row that was touched; but an update that is the last of a
    batch makes it WITHIN, writes the signs to w (and to its transpose `turned`), and puts into flips int32 [rows] how
    many of them are new. It leaves that to others where the row was CHANGED before.
    """
    b = Builder(name, comment=f"corrections of {hidden.rows} rows of {hidden.width} hidden weights")
    kernel = _Update(b, hidden, x, last_one, machine)
    heads = b.parameter("heads", I32, hidden.rows, "both")
    links, picks = kernel.links, kernel.picks
    changed = b.parameter("changed", I8, hidden.rows, "both")
    writer = SignWriter(b, hidden, last_one.w, last_one.turned) if last_one else None
    flips = b.parameter("flips", I32, hidden.rows, "write") if last_one else None
    samples, first, last = b.scalar("samples", I64), b.scalar("first", I64), b.scalar("last", I64)
    with b.loop(last, "row", start=first, unroll_one=False) as row:
        b.store(heads, row, -1)
        if flips is not None:
            b.store(flips, row, 0)
    with b.loop(parts, "part") as part, b.loop(samples, "sample", unroll_one=False) as sample:
        number = b.let(part * (x.samples // parts) + sample, "number")
        start = b.let(number * hidden.rows, "start")
        with b.loop(Convert("sext", load(kernel.counts, number), I64), "i", unroll_one=False) as i:
            row = b.let(Convert("sext", Binary("ashr", load(picks, start + i), constant(1, I32)), I64), "row")
            with b.when(compare("ge", row, first) & compare("lt", row, last)):
                b.store(links, start + i, load(heads, row))
                b.store(heads, row, Convert("trunc", start + i, I32))
    with b.loop(last, "row", start=first, unroll_one=False) as row:
        head = b.let(load(heads, row), "head")
        with b.when(head >= 0):
            if writer is None or flips is None:
                b.store(changed, row, CHANGED)
                kernel.write(row, head, None)
            else:
                with b.when(compare("eq", load(changed, row), CHANGED)):
                    kernel.write(row, head, None)
                with b.otherwise():
                    b.store(changed, row, WITHIN)
                    b.store(flips, row, kernel.write(row, head, writer))
    return b.function()


class _Update:
    """Writes the update of one row."""

    def __init__(self, b: Builder, hidden: Hidden, x: BatchBits, last_one: Last | None, machine: Machine) -> None:
        self.b, self.hidden, self.x, self.machine = b, hidden, x, machine
        self.bound = last_one.bound if last_one else hidden.limit
        self.picks = b.parameter("picks", I32, x.samples * hidden.rows)
        self.counts = b.parameter("counts", I32, x.samples)
        self.bits = b.parameter("x", I32, x.length)
        self.weights = b.parameter("hidden", I16, hidden.length, "both", alignment=64)
        self.links = b.parameter("links", I32, x.samples * hidden.rows, "both")
        self.lanes = half_lanes(machine)
        self.type = vector_of(I16, self.lanes)

    def write(self, row: Expression, head: Expression, writer: SignWriter | None) -> Expression:
        """The code for one row; its signs go to `writer`. Gives how many signs are new (without a writer: 0)."""
        b, lanes = self.b, self.lanes
        vectors = self.hidden.words * WORD // lanes
        most = 26 if self.machine.vector_registers >= 32 else 8
        together = -(-vectors // -(-vectors // most))
        if writer is not None:
            together = up(together, WORD // lanes)
            writer.begin(row)
        count = b.variable("count", constant(0, I32))
        for start, vectors_of_piece, rounds in _pieces(vectors, together):
            with b.loop(rounds, "piece") as piece:
                place = b.let(piece * (vectors_of_piece * lanes) + start * lanes, "place")
                sums, base = self._sums(place, head, vectors_of_piece)
                self._apply(row, place, sums, base, writer, count)
        return count

    def _sums(self, place: Expression, head: Expression, vectors: int) -> tuple[list[Variable], Variable]:
        """What the picks of a row add to some vectors of it: sums, and a number for all."""
        b, lanes = self.b, self.lanes
        sums = [b.variable("sum", constant(0, self.type)) for _ in range(vectors)]
        base = b.variable("base", constant(0, I16))
        node = b.variable("node", head)
        with b.loop_while(node >= 0):
            at = b.let(Convert("sext", node, I64), "at")
            # 2 d x = 4 d [x is +1] - 2 d: one addition where the bit is set, the rest for the whole row.
            twice = b.let(Convert("trunc", load(self.picks, at) & 1, I16) * 4 - 2, "twice")
            step = b.let(splat(twice + twice, self.type), "step")
            b.assign(base, base - twice)
            start = b.let(binary("udiv", at, self.hidden.rows) * self.x.stride, "start")
            for n, total in enumerate(sums):
                flags = _flags(self.bits, start, place, n, lanes)
                b.assign(total, Select(flags, total + step, total))
            b.assign(node, load(self.links, at))
        return sums, base

    def _apply(
        self,
        row: Expression,
        place: Expression,
        sums: list[Variable],
        base: Variable,
        writer: SignWriter | None,
        count: Variable,
    ) -> None:
        b, lanes, type_, bound = self.b, self.lanes, self.type, self.bound
        zero = constant(0, type_)
        ends = [b.let(splat(constant(end, I16) - base, type_), "end") for end in (-bound, bound)]
        offset = b.let(splat(base, type_), "offset")
        flags: list[list[Expression]] = [[], []]
        for n, total in enumerate(sums):
            where = b.let(row * self.hidden.stride + place + n * lanes, "where")
            old = b.let(load(self.weights, where, type_, 2 * lanes), "old")
            if bound + 2 * self.x.samples < 1 << 15:
                low, high = (b.let(end - total, "low_high") for end in ends)
                h = binary("min", binary("max", old, low), high) + total + offset
            else:
                # The same where h is within ±bound, without leaving 16 bits.
                delta = b.let(total + offset, "delta")
                h = binary("max", old, -bound - binary("min", delta, zero))
                h = binary("min", h, bound - binary("max", delta, zero)) + delta
            h = b.let(h, "h")
            b.store(self.weights, where, h, alignment=2 * lanes)
            if writer is None:
                continue
            for each, value in zip(flags, (old, h), strict=True):
                each.append(b.let(compare("ge", value, 0), "flags"))
            if len(flags[0]) * lanes == WORD:
                index = b.let(binary("udiv", place, WORD) + (n + 1) * lanes // WORD - 1, "index")
                before, after = (writer.valid(pack(tuple(each)), index) for each in flags)
                flags = [[], []]
                new = b.let(before ^ after, "new")
                b.assign(count, count + popcount(new))
                writer.store(index, after)
                # Most words are as they were, but a branch that cannot be foreseen costs more than writing them.
                writer.store_turned(index, after)


def _pieces(vectors: int, together: int) -> list[tuple[int, int, int]]:
    """(first vector, vectors, rounds) that cover a row."""
    full, rest = divmod(vectors, together)
    pieces = [(0, together, full)]
    if rest:
        pieces.append((full * together, rest, 1))
    return pieces


def _flags(bits: Buffer, start: Expression, place: Expression, n: int, lanes: int) -> Expression:
    """Bits of x for one vector of a row."""
    element = place + n * lanes
    word = load(bits, start + Binary("lshr", element, constant(5, I64)))
    if lanes < WORD:
        word = Binary("lshr", word, Convert("trunc", element, I32) & 31)
    return Unpack(word, lanes)
