"""Cuts a run of neighbouring elements into vectors: whole ones in a loop, the rest in vectors of half the size each."""

from __future__ import annotations

from collections.abc import Iterator

from bnnc.loops.builder import Builder
from bnnc.loops.ir import Constant, Expression


def strips(b: Builder, count: int, lanes: int) -> Iterator[tuple[Expression, int]]:
    """(index of the first element, how many) of every strip; what the caller writes for one stands in its loop.

    `lanes` is a power of two. The body is written once for the whole vectors and once for every size of the rest.
    """
    full = count // lanes
    if full:
        with b.loop(full, "strip") as strip:
            yield b.let(strip * lanes, "first"), lanes
    done, width = full * lanes, lanes // 2
    while done < count:
        if count - done >= width:
            yield Constant(done, b.index), width
            done += width
        width //= 2
