"""Layers row by row: a function that takes in a row of the image, and one that makes a row of the result."""

from __future__ import annotations

from dataclasses import dataclass

from bnnc.loops.ir import Buffer, Function, Scalar


@dataclass(frozen=True)
class Pooling:
    """A maximum over windows of (rows, columns) that touch and do not overlap, taken of bits while they are made."""

    rows: int
    columns: int


@dataclass(frozen=True)
class Part:
    """Of a scratch memory, from element `first` on for slot 0, and `step` elements further for each other slot."""

    scratch: int
    first: int
    step: int


@dataclass(frozen=True)
class RowKernel:
    """A layer in functions of one row each, which share scratch memory that keeps what the last `slots` rows gave.

    * feed(x, parts…): takes in a row of the image, given from element `origin` of the row on, halo included.
    * blank(parts…): takes in a row outside of the image; None where windows stay inside. `blanks` are its parts.
    * row(scratch…, y, numbers…): makes a row of the result of all slots, from element `target` of the row on. `numbers`
      says which I64 it takes: `slot` that holds the first row of the window; `part`, which row of a window of the pool
      it is: row 0 starts y, others are joined with what y holds; or a table, from which the row's element is passed.

    `kept`: after a row of the result the functions move so many slots to the front themselves, and the next row goes
    behind them; None where slots are a ring. `whole`: the layer is as large as its image; there is one slot, and `feed`
    takes the whole image.
    """

    feed: Function
    feeds: tuple[Part, ...]
    blank: Function | None
    blanks: tuple[Part, ...]
    row: Function
    scratch: tuple[tuple[Scalar, int], ...]
    slots: int
    numbers: tuple[str | Buffer, ...]
    origin: int
    target: int
    kept: int | None = None
    whole: bool = False


__all__ = ["Part", "Pooling", "RowKernel"]
