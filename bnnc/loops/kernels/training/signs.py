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
    select,
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
    multiples of a unit.
    """
    b = Builder(name, comment=f"signs of {hidden.rows} rows of {hidden.width} hidden weights")
    values = b.parameter("hidden", I16, hidden.length, alignment=64)
    units = b.parameter("w", w.element, w.length, "both", alignment=w.alignment)
    other = None
    if turned is not None:
        other = b.parameter("turned", turned.element, turned.length, "both", alignment=turned.alignment)
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
            base = b.let(binary("udiv", row, w.lanes) * (w.units * w.lanes) + binary("urem", row, w.lanes), "base")
            full = hidden.width // WORD
            with b.loop(-(-hidden.width // WORD), "word", unroll_one=False) as index:
                flags = tuple(
                    compare("ge", load(values, start + (index * WORD + n * lanes), type_, 2 * lanes), 0)
                    for n in range(WORD // lanes)
                )
                word = pack(flags)
                if hidden.width % WORD:
                    # Nothing is known of what lies behind the last weight.
                    last_word = constant((1 << hidden.width % WORD) - 1, I32)
                    word = word & select(index < full, constant(-1, I32), last_word)
                word = b.let(word, "new")
                _store(b, w, units, base + index * (w.per_word * w.lanes), word, count)
                if turned is not None and other is not None:
                    _store_turned(b, turned, other, row, index, word)
        b.store(flips, row, count)
    return b.function()


def _store(b: Builder, w: Signs, units: Buffer, place: Expression, word: Expression, count: Variable) -> None:
    """The units of one word of one row; counts bits that are new."""
    for part in range(w.per_word):
        where = b.let(place + part * w.lanes, "where")
        unit = word
        if w.per_word > 1:
            shifted = Binary("lshr", word, constant(16 * part, I32)) if part else word
            unit = b.let(Convert("trunc", shifted, I16), "unit")
        new = popcount(load(units, where) ^ unit)
        b.assign(count, count + (Convert("zext", new, I32) if w.per_word > 1 else new))
        b.store(units, where, unit)


def _store_turned(
    b: Builder, turned: Signs, other: Buffer, row: Expression, index: Expression, word: Expression
) -> None:
    """The bits of one word of a row, each as bit `row` of a row of the transpose."""
    unit = Binary("udiv", row, constant(turned.bits, I64))
    own = Convert("trunc", binary("urem", row, turned.bits), turned.element)
    bit = b.let(splat(Binary("shl", constant(1, turned.element), own), turned.type), "bit")
    for n in range(WORD // turned.lanes):
        vector = index * (WORD // turned.lanes) + n
        where = b.let((vector * turned.units + unit) * turned.lanes, "where")
        inside = vector < turned.vectors
        with nullcontext() if turned.lanes == WORD else b.when(inside):
            cleared = b.let(load(other, where, turned.type, turned.alignment) & ~bit, "cleared")
            mine = word if n == 0 else Binary("lshr", word, constant(n * turned.lanes, I32))
            new = Select(Unpack(mine, turned.lanes), cleared | bit, cleared)
            b.store(other, where, new, alignment=turned.alignment)
