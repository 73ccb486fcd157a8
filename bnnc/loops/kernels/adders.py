"""Arithmetic on numbers that lie bit-sliced, lane by lane: carry-save adders, and comparison by subtraction."""

from __future__ import annotations

from bnnc.loops.builder import Builder
from bnnc.loops.ir import I32, Binary, Expression, Type, Variable, constant, splat


def full_adder(b: Builder, plane: Variable, a: Expression, c: Expression) -> Expression:
    """plane + a + c: the sum stays in the plane, the carry is given. Each step may overwrite an operand."""
    either = b.let(plane ^ a, "u")
    both = b.let(a ^ c, "v")
    b.assign(plane, plane ^ both)
    return b.let(a ^ (either & both), "carry")


def bit_mask(b: Builder, number: Expression, bit: int, type_: Type = I32) -> Expression:
    """A number's bit in every bit of every lane: the plane of a number that is the same in all of them."""
    value = Binary("lshr", number, constant(bit, I32)) & 1 if bit else number & 1
    return b.let(splat(constant(0, I32) - value, type_), "mask")


def borrow_on(b: Builder, borrow: Variable, plane: Expression, taken: Expression) -> None:
    """plane - taken - borrow: what the next plane has to lend. After the last, who is smaller has a 1."""
    b.assign(borrow, (~plane & (taken | borrow)) | (taken & borrow))


__all__ = ["bit_mask", "borrow_on", "full_adder"]
