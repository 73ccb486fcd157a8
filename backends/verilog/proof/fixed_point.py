"""What the engines of fixed-point streams mean, by the heads of their files: exact sums, and a `settle` at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bnnc.backends.verilog.proof.arithmetic import atoms, chunks_of, made, total
from bnnc.backends.verilog.proof.contents import (
    Atoms,
    Code,
    Contents,
    Curve,
    Elements,
    Interpolated,
    Product,
    Settled,
    Sum,
    Wrong,
    numbers,
    raw_range,
)
from bnnc.backends.verilog.proof.moves import Meaning
from bnnc.backends.verilog.proof.pieces import Pieces
from bnnc.backends.verilog.proof.reading import Reading

WORD = 32


def _within(lo: int, hi: int, width: int) -> None:
    """Sums of a fixed-point engine fit its registers. Raises Wrong."""
    if lo < -(1 << (width - 1)) or hi >= 1 << (width - 1):
        raise Wrong(f"its sums reach from {lo} to {hi}, which {width} bits do not hold")


def settle(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_fix_settle."""
    lanes, width, places = engine.numbers("LANES", "IN_WIDTH", "SUM_WIDTH")
    factor, bias_width, shift = (engine.number(name) for name in ("FACTOR", "BIAS_WIDTH", "SHIFT"))
    found = numbers(inputs[0], elements, lanes, width, engine.number("IN_SIGNED") != 0)
    biases = np.zeros(found.size, np.int64)
    if bias_width:
        chunks, turn = chunks_of(engine, found)
        biases = engine.words("TABLE", chunks, lanes * bias_width).fields(0, lanes, bias_width)[turn].reshape(-1)
    form = found.form
    if isinstance(form, Atoms):
        form = total([(found, 1)], 0)
    if not isinstance(form, Sum) or form.divisor != 1:
        raise Wrong("it settles results that are no sums")
    ends = sorted(factor * end for end in raw_range(form, elements))
    _within(ends[0] + int(biases.min()), ends[1] + int(biases.max()), places)
    scaled = replace(form, coefficients=form.coefficients * factor, constant=form.constant * factor + biases)
    return made(found, Settled(scaled, shift), WORD)


def add(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_fix_add."""
    (lanes,) = engine.numbers("LANES")
    terms = []
    for letter, operand in zip("AB", inputs, strict=True):
        width, signed = engine.number(f"{letter}_WIDTH"), engine.number(f"{letter}_SIGNED") != 0
        sign = -1 if engine.number(f"{letter}_NEGATIVE") else 1
        shift = engine.number(f"{letter}_SHIFT")
        if not 0 <= shift < 64:
            raise Wrong(f"{letter}_SHIFT is {shift}")
        terms.append((numbers(operand, elements, lanes, width, signed), sign << shift))
    return made(terms[0][0], Settled(total(terms, 0), engine.number("SHIFT")), WORD)


def mul(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_fix_mul."""
    (lanes,) = engine.numbers("LANES")
    factors = []
    for letter, operand in zip("AB", inputs, strict=True):
        width, signed = engine.number(f"{letter}_WIDTH"), engine.number(f"{letter}_SIGNED") != 0
        factors.append(numbers(operand, elements, lanes, width, signed))
    ids = [_plain(found) for found in factors]
    if factors[0].size != factors[1].size:
        raise Wrong("its inputs have samples of different lengths")
    return made(factors[0], Product(ids[0], ids[1], engine.number("SHIFT")), WORD)


def _plain(found: Contents) -> np.ndarray:
    form = atoms(found)
    if form.code != Code():
        raise Wrong("its input is not the numbers themselves")
    return form.ids


def lines(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_fix_lines."""
    lanes, width, slope, offset, places = engine.numbers(
        "LANES", "IN_WIDTH", "SLOPE_WIDTH", "OFFSET_WIDTH", "SUM_WIDTH"
    )
    count, signed = engine.number("COUNT"), engine.number("IN_SIGNED") != 0
    if count < 0:
        raise Wrong(f"COUNT is {count}")
    found = numbers(inputs[0], elements, lanes, width, signed)
    chunks, turn = chunks_of(engine, found)
    slopes_at = count * WORD
    offsets_at = slopes_at + (count + 1) * slope
    field = offsets_at + (count + 1) * offset
    words = engine.words("TABLE", chunks, lanes * field)

    def read(at: int, many: int, bits: int) -> np.ndarray:
        return np.concatenate([words.fields(lane * field + at, many, bits) for lane in range(lanes)])

    pieces = Pieces(read(0, count, WORD), read(slopes_at, count + 1, slope), read(offsets_at, count + 1, offset))
    form = atoms(found)
    rows = (np.arange(lanes)[None, :] * chunks + turn[:, None]).reshape(-1)
    lo, hi = (int(end) for end in raw_range(form, elements))
    for row in range(len(pieces.slopes)):
        # The least and greatest sums are at the ends of the pieces.
        starts = np.unique(np.concatenate([[lo], pieces.starts(row, lo, hi)]))
        some, own = pieces.lines(row, starts)
        for x in (starts, np.append(starts[1:] - 1, hi)):
            sums = [int(k) * int(at) + int(b) for k, b, at in zip(some, own, x, strict=True)]
            _within(min(sums), max(sums), places)
    return made(found, Curve(form.ids, form.code, pieces, rows, engine.number("SHIFT")), WORD)


def table(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_fix_table."""
    lanes, width, count = engine.numbers("LANES", "IN_WIDTH", "COUNT")
    found = numbers(inputs[0], elements, lanes, width, engine.number("IN_SIGNED") != 0)
    words = engine.words("TABLE", count, 2 * WORD + 1)
    values, rises = words.field(0, WORD), words.field(WORD, WORD + 1)
    form = Interpolated(_plain(found), engine.number("FIRST"), engine.number("STEP"), values, rises)
    return made(found, form, WORD)


FIXED: dict[str, Meaning] = {
    "bnnc_fix_settle": settle,
    "bnnc_fix_add": add,
    "bnnc_fix_mul": mul,
    "bnnc_fix_lines": lines,
    "bnnc_fix_table": table,
}
"""By the name of the module."""
