"""Adds the corrections of a batch to hidden weights, row by row: each row that was picked is read and written once."""

from __future__ import annotations

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
    binary,
    compare,
    constant,
    load,
    splat,
    vector_of,
)
from bnnc.loops.kernels.training.layouts import CHANGED, WITHIN, BatchBits, Hidden, half_lanes
from bnnc.loops.layout import WORD
from bnnc.loops.machine import Machine


def update(name: str, hidden: Hidden, x: BatchBits, bound: int, machine: Machine) -> Function:
    """A function (picks, counts, x, hidden, heads, links, changed, samples, first, last) for rows first … last - 1.

    picks, counts: of `samples` samples, as the pick kernel gives them. heads int32 [rows], links int32 [samples][rows]:
    scratch. h + 2 Σ ±x is clamped to ±bound once, after the sum: to the limit of the type, or to less where the batch
    ends with this call. changed int8 [rows] becomes CHANGED, or then WITHIN, for every row that was touched.
    """
    b = Builder(name, comment=f"corrections of {hidden.rows} rows of {hidden.width} hidden weights")
    picks = b.parameter("picks", I32, x.samples * hidden.rows)
    counts = b.parameter("counts", I32, x.samples)
    bits = b.parameter("x", I32, x.length)
    weights = b.parameter("hidden", I16, hidden.length, "both", alignment=64)
    heads = b.parameter("heads", I32, hidden.rows, "both")
    links = b.parameter("links", I32, x.samples * hidden.rows, "both")
    changed = b.parameter("changed", I8, hidden.rows, "write")
    samples, first, last = b.scalar("samples", I64), b.scalar("first", I64), b.scalar("last", I64)
    with b.loop(last, "row", start=first, unroll_one=False) as row:
        b.store(heads, row, -1)
    with b.loop(samples, "sample", unroll_one=False) as sample:
        start = b.let(sample * hidden.rows, "start")
        with b.loop(Convert("sext", load(counts, sample), I64), "i", unroll_one=False) as i:
            row = b.let(Convert("sext", Binary("ashr", load(picks, start + i), constant(1, I32)), I64), "row")
            with b.when(compare("ge", row, first) & compare("lt", row, last)):
                b.store(links, start + i, load(heads, row))
                b.store(heads, row, Convert("trunc", start + i, I32))
    with b.loop(last, "row", start=first, unroll_one=False) as row:
        head = b.let(load(heads, row), "head")
        with b.when(head >= 0):
            b.store(changed, row, WITHIN if bound < hidden.limit else CHANGED)
            _row(b, hidden, x, bound, machine, row, head, picks, bits, weights, links)
    return b.function()


def _row(
    b: Builder,
    hidden: Hidden,
    x: BatchBits,
    bound: int,
    machine: Machine,
    row: Expression,
    head: Expression,
    picks: Buffer,
    bits: Buffer,
    weights: Buffer,
    links: Buffer,
) -> None:
    lanes = half_lanes(machine)
    type_ = vector_of(I16, lanes)
    vectors = hidden.words * WORD // lanes
    most = 26 if machine.vector_registers >= 32 else 8
    pieces = -(-vectors // most)
    together = -(-vectors // pieces)
    for start, count, rounds in _pieces(vectors, together):
        with b.loop(rounds, "piece") as piece:
            place = b.let(piece * (count * lanes) + start * lanes, "place")
            sums = [b.variable("sum", constant(0, type_)) for _ in range(count)]
            base = b.variable("base", constant(0, I16))
            node = b.variable("node", head)
            with b.loop_while(node >= 0):
                at = b.let(Convert("sext", node, I64), "at")
                # 2 d x = 4 d [x is +1] - 2 d: one addition where the bit is set, the rest for the whole row.
                twice = b.let(Convert("trunc", load(picks, at) & 1, I16) * 4 - 2, "twice")
                step = b.let(splat(twice + twice, type_), "step")
                b.assign(base, base - twice)
                from_ = b.let(binary("udiv", at, hidden.rows) * x.stride, "from")
                for n, total in enumerate(sums):
                    flags = _flags(bits, from_, place, n, lanes)
                    b.assign(total, Select(flags, total + step, total))
                b.assign(node, load(links, at))
            zero = constant(0, type_)
            ends = [b.let(splat(constant(end, I16) - base, type_), "end") for end in (-bound, bound)]
            offset = b.let(splat(base, type_), "offset")
            for n, total in enumerate(sums):
                where = b.let(row * hidden.stride + place + n * lanes, "where")
                h = load(weights, where, type_, 2 * lanes)
                if bound + 2 * x.samples < 1 << 15:
                    low, high = (b.let(end - total, "low_high") for end in ends)
                    h = binary("min", binary("max", h, low), high) + total + offset
                else:
                    # The same where h is within ±bound, without leaving 16 bits.
                    delta = b.let(total + offset, "delta")
                    h = binary("max", h, -bound - binary("min", delta, zero))
                    h = binary("min", h, bound - binary("max", delta, zero)) + delta
                b.store(weights, where, h, alignment=2 * lanes)


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
