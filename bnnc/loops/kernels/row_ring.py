"""Lists of an image's rows in a ring: as many as a window has rows, of which the next row replaces the oldest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bnnc.loops.builder import Builder
from bnnc.loops.ir import I64, Expression, compare, constant, select


def ring_slot(b: Builder, oldest: Expression, line: Expression, lines: int) -> Expression:
    """(oldest + line) modulo the rows of a window, without a division."""
    if lines == 1:
        return constant(0, I64)
    place = b.let(oldest + line, "place")
    return b.let(select(compare("lt", place, lines), place, place - lines), "slot")


@contextmanager
def output_rows(
    b: Builder, height: int, lines: int, stride: int, add: Callable[[Expression, Expression], None]
) -> Iterator[tuple[Expression, Expression]]:
    """Writes the loop over `height` rows of outputs around the block that follows, which gets the row and the slot of
    its window's first row. add(number, slot): lists a row of the image, counted from the first window's first."""
    fresh = min(stride, lines)
    oldest = b.variable("oldest", constant(0, I64))
    with b.loop(lines - fresh, "line", unroll_one=False) as line:
        add(line, line)
    with b.loop(height, "oy") as oy:
        first = b.let(oy * stride + (lines - fresh), "first")
        with b.loop(fresh, "line") as line:
            add(first + line, ring_slot(b, oldest, line + (lines - fresh), lines))
        yield oy, oldest
        if height > 1 and lines > 1:
            b.assign(oldest, ring_slot(b, oldest, constant(fresh, I64), lines))


__all__ = ["output_rows", "ring_slot"]
