"""Calls: what has to run for each tensor that exists in memory, in the order of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bnnc.ir.op import Op
from bnnc.loops.ir import Function
from bnnc.loops.kernels.halo import fill_row
from bnnc.loops.lower.banded import Rows
from bnnc.loops.lower.places import Place, Storage
from bnnc.loops.lower.stages import Need, Stage, Variant, rows_of


@dataclass(eq=False)
class Step:
    """One tensor made: by a function from whole tensors, or by stages a row at a time, or by either.

    `fills` are run before, to write halos; `beside` is a second place that is written; `scratch` is working memory.
    """

    function: Function | None
    reads: tuple[Place, ...]
    write: Place
    op: Op
    once: bool = False
    beside: Place | None = None
    rows: Rows | None = None
    scratch: tuple[Place, ...] = ()
    fills: tuple[tuple[Function, Place], ...] = ()
    _stages: tuple[Stage, ...] | None = None

    @property
    def places(self) -> tuple[Place, ...]:
        """Its arguments, in order."""
        return (*self.reads, *self.scratch, self.write, *([] if self.beside is None else [self.beside]))

    def stages(self) -> tuple[Stage, ...]:
        """Its stages; none where it works on whole tensors only."""
        if self._stages is None:
            made = (self.rows(self.write) or ()) if self.rows is not None else ()
            self._stages = (*made, *_below(made[-1], self.op)) if made else ()
        return self._stages


def _below(stage: Stage, op: Op) -> tuple[Stage, ...]:
    """What writes the halo below the last row."""
    rows, bottom = rows_of(stage), stage.result.layout.halo.bottom
    if not bottom:
        return ()
    function = fill_row(f"{stage.result.storage.name}_below", op.loc, stage.result.layout)
    after = Need(stage.result, 1, rows, 0, 0, rows + bottom)
    return (Stage(bottom, (after,), stage.result, (Variant(bottom, function, (stage.result,)),)),)


def touch_all(steps: Sequence[Step]) -> None:
    """Notes from which step to which each storage is alive."""
    for step in steps:
        for place in step.places:
            place.storage.first = place.storage.last = None
    for number, step in enumerate(steps):
        for place in step.places:
            place.storage.touch(number)


def storages_of(steps: Sequence[Step]) -> list[Storage]:
    """Everything that lies in the arena, in order of first use."""
    found = {place.storage: None for step in steps for place in step.places if place.storage.buffer is None}
    return list(found)


__all__ = ["Step", "storages_of", "touch_all"]
