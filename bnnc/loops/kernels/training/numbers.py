"""Arithmetic on the few single numbers of a training step, written into the program where it is needed."""

from __future__ import annotations

from bnnc.loops.builder import Builder
from bnnc.loops.ir import I64, Binary, Expression, binary, compare, constant, select

MOST = 2**31 - 1


def square_root(b: Builder, value: Expression) -> Expression:
    """The integer square root of an I64 >= 0, one bit of the result a round."""
    rest = b.variable("rest", value)
    root = b.variable("root", constant(0, I64))
    bit = b.variable("bit", constant(1 << 62, I64))
    with b.loop_while(compare("ne", bit, 0)):
        tried = b.let(root + bit, "tried")
        half = Binary("lshr", root, constant(1, I64))
        fits = b.let(compare("ge", rest, tried), "fits")
        b.assign(rest, select(fits, rest - tried, rest))
        b.assign(root, select(fits, half + bit, half))
        b.assign(bit, Binary("lshr", bit, constant(2, I64)))
    return b.let(root, "square_root")


def rate(b: Builder, wrong: Expression, total: Expression, factor: int) -> Expression:
    """`bit.rate` of I64 numbers."""
    share = binary("div", constant(factor, I64), binary("max", total, constant(1, I64)))
    return binary("min", square_root(b, share * wrong), constant(MOST, I64))


def schedule(
    b: Builder, correct: Expression, total: Expression, progress: list[Expression], patience: int, levels: int
) -> list[Expression]:
    """`bit.schedule` of I64 numbers: the new (best, wait, level)."""
    best, wait, level = progress
    better = b.let(correct * 2000 > best * 2000 + total, "better")
    waited = b.let(wait + 1, "waited")
    late = b.let(waited >= patience, "late")
    following = binary("min", level + 1, constant(levels - 1, I64))
    zero = constant(0, I64)
    return [
        b.let(select(better, correct, best), "best"),
        b.let(select(better, zero, select(late, zero, waited)), "wait"),
        b.let(select(better, level, select(late, following, level)), "level"),
    ]
