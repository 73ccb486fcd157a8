"""That a stream carries the result of an op, for all values that can occur: every form of result, and its op."""

from __future__ import annotations

import dataclasses

import numpy as np

from bnnc.backends.verilog.circuit import Value
from bnnc.backends.verilog.design import Stream
from bnnc.backends.verilog.proof.contents import (
    NOTHING,
    Atoms,
    Best,
    Code,
    Contents,
    Curve,
    Elements,
    Form,
    Interpolated,
    Product,
    Settled,
    Sum,
    Wrong,
    numbers,
)
from bnnc.backends.verilog.proof.meaning import Meanings, terms_of
from bnnc.backends.verilog.proof.pieces import Pieces, different, steps
from bnnc.backends.verilog.proof.weights import compare_layer
from bnnc.ir import bit, fixed, move
from bnnc.ir.op import Op
from bnnc.ir.types import stored_range


def carried(found: Contents, op: Op, value: Value, meanings: Meanings) -> tuple[Contents, str]:
    """The stream as elements of the op, and what was shown. Raises Wrong where it does not carry the op's result."""
    stream, elements = value.stream, meanings.elements
    if (found.size, found.width, found.lanes) != (stream.elements, stream.width, stream.lanes):
        raise Wrong(
            f"{found.size} elements come out, {found.lanes} x {found.width} bits a beat, not {stream.elements}, "
            f"{stream.lanes} x {stream.width}"
        )
    code = code_of(stream)
    ids = meanings.ids(op).reshape(-1)[value.order]
    if isinstance(op, move.MOVES):
        moved = numbers(found, elements, stream.lanes, stream.width, stream.signed)
        if not isinstance(moved.form, Atoms) or moved.form.code != code:
            raise Wrong("its elements are not in the code of its result")
        wrong = np.flatnonzero(moved.form.ids != ids)
        if len(wrong):
            raise Wrong(f"another element than {int(value.order[wrong[0]])} stands at place {int(wrong[0])}")
        shown = f"{len(ids)} elements are where they should be"
    else:
        shown = _computed(found.form, op, value, meanings)
    _fits(stream, *stored_range(op.type.dtype))
    return dataclasses.replace(found, form=Atoms(ids, code), pads=None, via=()), shown


def code_of(stream: Stream) -> Code:
    """How the numbers of a stream are coded."""
    return Code(1, -stream.offset, stream.multiplier)


def _fits(stream: Stream, lo: int, hi: int) -> None:
    low, high = stream.raw_range
    ends = [divmod(end - stream.offset, stream.multiplier) for end in (lo, hi)]
    if any(rest for _, rest in ends) or ends[0][0] < low or ends[1][0] > high:
        raise Wrong(f"values of {lo} to {hi} do not fit its stream")


def _computed(form: Form, op: Op, value: Value, meanings: Meanings) -> str:
    stream = value.stream
    match op, form:
        case (bit.Conv() | bit.Dense(), Sum()):
            return compare_layer(form, op, value, meanings, np.zeros(len(op.weights), np.int64))
        case (fixed.Conv() | fixed.Dense(), Settled()):
            _same(form.shift, op.shift, "SHIFT")
            return compare_layer(form.sum, op, value, meanings, op.bias)
        case (bit.Step(), Curve(shift=None) | Atoms()):
            return _compare_step(form, op, value, meanings)
        case (fixed.Map(), Curve()):
            _same(-1 if form.shift is None else form.shift, op.shift, "SHIFT")
            return _compare_lines(form, op, value, meanings)
        case (fixed.Table(), Interpolated()):
            return _compare_table(form, op, value, meanings)
        case (bit.Pool(function="max" | "min"), Best()):
            return _compare_best(form, op, value, meanings)
        case (bit.Pool() | bit.Add(), Sum() | Atoms()):
            return _compare_terms(form, op, value, meanings, stream.multiplier, stream.offset)
        case (fixed.Pool(), Settled()):
            # A factor of 2^n f and a shift of n more are the same number, rounded alike.
            less = op.shift - form.shift
            if not 0 <= less < 32:
                raise Wrong(f"SHIFT is {form.shift}, not {op.shift}")
            return _compare_terms(form.sum, op, value, meanings, 1 << less, 0)
        case (fixed.Add(), Settled()):
            _same(form.shift, op.point - fixed.fraction(op.dtype), "SHIFT")
            return _compare_terms(form.sum, op, value, meanings, 1, 0)
        case (fixed.Mul(), Product()):
            _same(form.shift, op.shift, "SHIFT")
            wanted = [np.broadcast_to(meanings.ids(x), op.type.shape).reshape(-1)[value.order] for x in (op.a, op.b)]
            if not np.array_equal(np.sort([form.a, form.b], axis=0), np.sort(wanted, axis=0)):
                raise Wrong("it multiplies other elements")
            return f"{len(value.order)} products of 64 bits"
    raise Wrong(f"what comes out is no `{op.opcode}`")


def _same(found: int, wanted: int, what: str) -> None:
    if found != wanted:
        raise Wrong(f"{what} is {found}, not {wanted}")


def _inputs(ids: np.ndarray, x: Op, value: Value, meanings: Meanings) -> None:
    """Every position is made of the element of x that it should be made of. Raises Wrong."""
    wrong = np.flatnonzero(ids != meanings.ids(x).reshape(-1)[value.order])
    if len(wrong):
        raise Wrong(f"element {int(value.order[wrong[0]])} is made of another element")


def _functions(ids: np.ndarray, code: Code, row: np.ndarray, rows: int, value: Value, elements: Elements) -> np.ndarray:
    """Each function that is used, once: [engine's row, op's row, channel, least raw number, greatest]."""
    pixels = value.type.size // value.type.shape[0]
    channel = value.order // pixels
    lo, hi = elements.ranges(ids)
    low = -((-code.factor * lo - code.offset) // code.divisor)
    return np.unique(np.stack([row, channel if rows > 1 else 0 * channel, low, code.raw(hi)], axis=1), axis=0)


def _compare_step(form: Curve | Atoms, op: bit.Step, value: Value, meanings: Meanings) -> str:
    if isinstance(form, Atoms):
        form = _as_curve(form)
    _inputs(form.ids, op.x, value, meanings)
    code, stream = form.code, value.stream
    # raw = (factor * x + offset) / divisor reaches the least number at or above that of the threshold.
    thresholds = -((-code.factor * op.thresholds.astype(np.int64) - code.offset) // code.divisor)
    wanted = steps(thresholds, (op.values.astype(np.int64) - stream.offset) // stream.multiplier)
    return _compare(form, wanted, len(op.values), value, meanings.elements, 1 << stream.width)


def _as_curve(form: Atoms) -> Curve:
    """A line of elements: (factor * x + offset) / divisor as factor * raw + rest, raw = (x + shift) / divisor."""
    code = form.code
    shift = next(n for n in range(code.divisor) if (code.offset - code.factor * n) % code.divisor == 0)
    rest = (code.offset - code.factor * shift) // code.divisor
    line = Pieces(np.empty((1, 0), np.int64), np.array([[code.factor]]), np.array([[rest]]))
    return Curve(form.ids, Code(1, shift, code.divisor), line, np.zeros(len(form.ids), np.int64))


def _compare_lines(form: Curve, op: fixed.Map, value: Value, meanings: Meanings) -> str:
    _inputs(form.ids, op.x, value, meanings)
    code = form.code
    if code.factor != 1:
        raise Wrong("its input is coded in another way")
    thresholds = -((-op.thresholds.astype(np.int64) - code.offset) // code.divisor)
    slopes = op.slopes.astype(np.int64)
    wanted = Pieces(thresholds, slopes * code.divisor, op.offsets - slopes * code.offset)
    return _compare(form, wanted, len(op.slopes), value, meanings.elements, 0)


def _compare(form: Curve, wanted: Pieces, rows: int, value: Value, elements: Elements, modulus: int) -> str:
    used = _functions(form.ids, form.code, form.row, rows, value, elements)
    for row, own, lo, hi in used.tolist():
        found = different((form.pieces, row), (wanted, own), lo, hi, modulus)
        if found is not None:
            x = int(form.code.value(np.array(found[0])))
            raise Wrong(f"channel {own} gives {found[1]} for {x}, not {found[2]} (raw numbers)")
    return f"{len(used)} functions, each for every number that can come"


def _compare_table(form: Interpolated, op: fixed.Table, value: Value, meanings: Meanings) -> str:
    _inputs(form.ids, op.x, value, meanings)
    _same(form.first, op.first, "FIRST")
    _same(form.step, op.step, "STEP")
    values = op.values.astype(np.int64)
    if not np.array_equal(form.values, values[:-1]) or not np.array_equal(form.rises, np.diff(values)):
        raise Wrong("its knots are not those of the op")
    return f"{len(form.values)} intervals between knots"


def _compare_best(form: Best, op: bit.Pool, value: Value, meanings: Meanings) -> str:
    stream = value.stream
    if form.code != code_of(stream):
        raise Wrong("its elements are not in the code of its result")
    windows = meanings.pooled(op)[value.order]
    pixels = value.type.size // value.type.shape[0]
    channel = value.order // pixels
    smallest = np.full(len(channel), op.function == "min")
    if op.smallest is not None:
        smallest |= op.smallest[channel]
    ends = meanings.elements.known(np.array(stored_range(op.type.dtype), np.int64))
    empty = (windows == NOTHING).all(1)
    windows[empty, 0] = ends[smallest[empty].astype(np.int64)]
    wrong = np.flatnonzero(form.smallest != smallest)
    if len(wrong):
        raise Wrong(f"channel {int(channel[wrong[0]])} takes the other extreme")
    found, wanted = _sets(form.index), _sets(windows)
    if found.shape != wanted.shape or not np.array_equal(found, wanted):
        raise Wrong("its windows hold other elements")
    return f"{len(found)} windows of {found.shape[1]}"


def _sets(index: np.ndarray) -> np.ndarray:
    """The elements of each row, ascending, each once."""
    index = np.sort(index, axis=1)
    index[:, 1:][index[:, 1:] == index[:, :-1]] = NOTHING
    return np.sort(index, axis=1)


def _compare_terms(
    form: Sum | Atoms, op: Op, value: Value, meanings: Meanings, multiplier: int, offset: int
) -> str:  # fmt: skip
    if isinstance(form, Atoms):
        code, size = form.code, len(form.ids)
        zeros, constants = np.zeros(size, np.int64), np.full(size, code.offset)
        factors = np.array([[code.factor]])
        form = Sum(form.ids[:, None], np.arange(size), factors, zeros, constants, code.divisor)
    if len(form.coefficients) != 1:
        raise Wrong("it sums other elements")
    terms = terms_of(op, meanings)
    ids, factors, constant = _canonical(
        form.index[form.row], multiplier * form.coefficients[0], multiplier * form.constant, meanings.elements
    )
    zeros = np.full(len(value.order), -offset * form.divisor)
    others = _canonical(terms.index[value.order], form.divisor * terms.coefficients, zeros, meanings.elements)
    count = max(ids.shape[1], others[0].shape[1])
    for found, wanted, blank in ((ids, others[0], NOTHING), (factors, others[1], 0)):
        if not np.array_equal(_filled(found, count, blank), _filled(wanted, count, blank)):
            raise Wrong("it sums other elements, or with other factors")
    if not np.array_equal(constant, others[2]):
        raise Wrong("a constant is added that should not be")
    return f"{len(value.order)} sums of {terms.index.shape[1]}"


def _canonical(
    index: np.ndarray, factors: np.ndarray, constant: np.ndarray, elements: Elements
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums as ids that ascend, their factors, and what the known numbers add up to: [n, terms], [n, terms], [n]."""
    factor = np.broadcast_to(factors, index.shape).astype(np.int64)
    known = elements.constant(index) | (index == NOTHING)
    lo, _ = elements.ranges(index)
    constant = constant + np.where(known & (index != NOTHING), lo * factor, 0).sum(1)
    index, factor = np.where(known, NOTHING, index), np.where(known, 0, factor)
    for _ in range(2):
        order = np.argsort(index, axis=1, kind="stable")
        index, factor = np.take_along_axis(index, order, 1), np.take_along_axis(factor, order, 1)
        for t in range(1, index.shape[1]):
            same = index[:, t] == index[:, t - 1]
            factor[:, t] += np.where(same, factor[:, t - 1], 0)
            factor[same, t - 1] = 0
        index = np.where(factor == 0, NOTHING, index)
    return index, factor, constant


def _filled(values: np.ndarray, count: int, blank: int) -> np.ndarray:
    """With columns of blanks in front, as those that do not count sort."""
    return np.pad(values, ((0, 0), (count - values.shape[1], 0)), constant_values=blank)


__all__ = ["carried", "code_of"]
