"""Takes the signs of hidden weights, of those rows only that changed, straight into the layout of products."""

from __future__ import annotations

from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I8,
    I16,
    I32,
    I64,
    Binary,
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
    splat,
    vector_of,
)
from bnnc.loops.kernels.training.layouts import Hidden, Signs, half_lanes
from bnnc.loops.layout import WORD
from bnnc.loops.machine import Machine


def take_signs(name: str, hidden: Hidden, w: Signs, turned: Signs | None, machine: Machine) -> Function:
    """A function (hidden, w, [turned], changed, flips, first, last) for rows first … last - 1.

    w and, where it is needed, its transpose `turned` get the signs of the rows whose `changed` (int8) is 1, which
    becomes 0; flips int32 [rows] gets how many signs of each row are new. With `turned`, threads split rows at
    multiples of 32.
    """
    b = Builder(name, comment=f"signs of {hidden.rows} rows of {hidden.width} hidden weights")
    values = b.parameter("hidden", I16, hidden.length, alignment=64)
    words = b.parameter("w", I32, w.length, "both", alignment=4 * w.lanes)
    other = b.parameter("turned", I32, turned.length, "both", alignment=4 * turned.lanes) if turned else None
    changed = b.parameter("changed", I8, hidden.rows, "both")
    flips = b.parameter("flips", I32, hidden.rows, "write")
    first, last = b.scalar("first", I64), b.scalar("last", I64)
    lanes = half_lanes(machine)
    type_ = vector_of(I16, lanes)
    with b.loop(last, "row", start=first, unroll_one=False) as row:
        count = b.variable("count", constant(0, I32))
        with b.when(compare("ne", load(changed, row), 0)):
            b.store(changed, row, 0)
            start = b.let(row * hidden.stride, "start")
            base = b.let(binary("udiv", row, w.lanes) * (w.words * w.lanes) + binary("urem", row, w.lanes), "base")

            def word_of(index: Expression) -> Expression:
                parts = tuple(
                    compare("ge", load(values, start + (index * WORD + n * lanes), type_, min(64, 2 * lanes)), 0)
                    for n in range(WORD // lanes)
                )
                return pack(parts)

            def write(index: Expression, mask: int) -> None:
                new = word_of(index)
                if mask:
                    new = new & mask
                new = b.let(new, "new")
                place = b.let(base + index * w.lanes, "place")
                b.assign(count, count + popcount(load(words, place) ^ new))
                b.store(words, place, new)
                if turned is not None and other is not None:
                    valid = hidden.width % WORD if mask else WORD
                    for n in range(-(-valid // turned.lanes)):
                        vector = index * (WORD // turned.lanes) + n
                        where = b.let(
                            (vector * turned.words + Binary("lshr", row, constant(5, I64))) * turned.lanes, "where"
                        )
                        own = Binary("shl", constant(1, I32), Convert("trunc", row, I32) & 31)
                        bit = b.let(splat(own, turned.type), "bit")
                        old = load(other, where, turned.type, 4 * turned.lanes)
                        cleared = b.let(old & ~bit, "cleared")
                        mine = new if n == 0 else Binary("lshr", new, constant(n * turned.lanes, I32))
                        b.store(
                            other,
                            where,
                            Select(Unpack(mine, turned.lanes), cleared | bit, cleared),
                            alignment=4 * turned.lanes,
                        )

            full = hidden.width // WORD
            with b.loop(full, "word", unroll_one=False) as index:
                write(index, 0)
            if hidden.width % WORD:
                write(constant(full, I64), (1 << hidden.width % WORD) - 1)
        b.store(flips, row, count)
    return b.function()
