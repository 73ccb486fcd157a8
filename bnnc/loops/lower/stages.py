"""Stages: what a call does, a row at a time; for machines that have no memory to keep whole images.

A tensor is kept as a band: the last few of its rows, its halo included, one after the other. A stage makes one row, or
a `part` of it, in each step, from some rows of other bands; which rows is known by the number of the step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bnnc.loops.ir import Buffer, Function
from bnnc.loops.layout import Layout
from bnnc.loops.lower.places import Place


@dataclass(frozen=True, eq=False)
class Need:
    """What step t reads of a place: of the rows from t * stride + first on, `count` of them, those in low..high - 1.

    Row 0 is the first of the image; rows of the halo have negative numbers and those from the height on.
    """

    place: Place
    stride: int
    first: int
    count: int
    low: int
    high: int

    def begin(self, step: int) -> int:
        """The first row of a step."""
        return min(max(step * self.stride + self.first, self.low), self.high)

    def end(self, step: int) -> int:
        """The row behind the last of a step."""
        return min(max(step * self.stride + self.first + self.count, self.low), self.high)


@dataclass(frozen=True)
class Number:
    """A number that a stage's function takes: of step t it is t * stride, modulo `ring` unless that is 0.

    With `back`, only the first `ring` steps count so; then it repeats the last `back` of these. It is at most `most`,
    if that is given. `part`: which of the steps of its row of the result it is. `table`: the element of this table.
    """

    stride: int = 1
    ring: int = 0
    back: int = 0
    most: int | None = None
    part: bool = False
    table: Buffer | None = None


@dataclass(frozen=True, eq=False)
class Slot:
    """A place from element `first` on, and `step` elements further for each slot of a ring."""

    place: Place
    first: int
    number: Number
    step: int


@dataclass(frozen=True, eq=False)
class Moved:
    """Where a place or what is needed of it begins, and so many elements on."""

    of: Need | Place
    elements: int


Argument = Need | Place | Number | Slot | Moved
"""A Need stands for where its first row lies; a place of the stage's own result for the row that is being made."""


@dataclass(frozen=True, eq=False)
class Variant:
    """Which function the steps before `stop` run, from where the stage's previous variant stopped."""

    stop: int
    function: Function | None
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, eq=False)
class Stage:
    """So many steps, each a call; every `parts` of them finish a row of `result`.

    `ring`: how many rows of the result its functions keep themselves, in slots; 0: the result is a band. Without a
    function it brings rows of the user's input.
    """

    steps: int
    needs: tuple[Need, ...]
    result: Place
    variants: tuple[Variant, ...]
    parts: int = 1
    ring: int = 0


def rows_of(stage: Stage) -> int:
    """How many rows a stage makes."""
    return -(-stage.steps // stage.parts)


def band(layout: Layout, rows: int) -> Layout:
    """So many rows of an image, with the halo at their sides."""
    return replace(layout, height=rows, halo=replace(layout.halo, top=0, bottom=0))


__all__ = ["Argument", "Moved", "Need", "Number", "Slot", "Stage", "Variant", "band", "rows_of"]
