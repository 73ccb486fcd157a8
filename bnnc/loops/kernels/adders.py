"""Carry-save adders: three words become the words of their sums' lower and upper bits, lane by lane."""

from __future__ import annotations

from bnnc.loops.builder import Builder
from bnnc.loops.ir import Expression, Variable


def full_adder(b: Builder, plane: Variable, a: Expression, c: Expression) -> Expression:
    """plane + a + c: the sum stays in the plane, the carry is given. Each step may overwrite an operand."""
    either = b.let(plane ^ a, "u")
    both = b.let(a ^ c, "v")
    b.assign(plane, plane ^ both)
    return b.let(a ^ (either & both), "carry")


__all__ = ["full_adder"]
