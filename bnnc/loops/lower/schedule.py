"""In which order the steps of stages run, and how many rows of each tensor have to be kept for that.

The last stage whose rows are there makes the next step: what is made is used at once, so bands stay as short as the
windows that read them. The order needs no table: which rows are there is known from how many steps were made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bnnc.loops.lower.places import Place, Storage
from bnnc.loops.lower.stages import Need, Stage


@dataclass(frozen=True)
class Band:
    """A tensor while it comes into being: `rows` of its rows are kept, out of `total`, the halo's included."""

    place: Place
    rows: int
    total: int

    @property
    def whole(self) -> bool:
        """Nothing is dropped."""
        return self.rows == self.total

    @property
    def bytes(self) -> int:
        """What the kept rows take."""
        return self.rows * self.place.layout.row * self.place.layout.element.bytes


@dataclass(frozen=True)
class Schedule:
    """Stages in the order of the model; how many steps they make together; the bands of what they make."""

    stages: tuple[Stage, ...]
    steps: int
    bands: dict[Storage, Band]


class Stuck(Exception):
    """A stage waits for rows that never come: a mistake of whoever made the stages."""


def scheduled(stages: Sequence[Stage], kept: set[Storage]) -> Schedule:
    """Runs the stages in mind. `kept`: what is still needed, as a whole, when all are done."""
    made = {stage.result.storage: stage for stage in stages if not _is_below(stage)}
    tops = {storage: 0 if stage.ring else stage.result.layout.halo.top for storage, stage in made.items()}
    done = dict(tops)  # rows that are there, counted from the top of the halo
    most = {storage: top + 1 for storage, top in tops.items()}
    readers: dict[Storage, list[tuple[Stage, Need]]] = {storage: [] for storage in made}
    for stage in stages:
        for need in stage.needs:
            if need.place.storage in made:
                readers[need.place.storage].append((stage, need))
    counts = dict.fromkeys(stages, 0)
    total = sum(stage.steps for stage in stages)

    def ready(stage: Stage) -> bool:
        step = counts[stage]
        return step < stage.steps and all(
            need.end(step) + tops[need.place.storage] <= done[need.place.storage]
            for need in stage.needs
            if need.place.storage in made
        )

    for _ in range(total):
        able = [stage for stage in stages if ready(stage)]
        if not able:
            raise Stuck("rows are waited for that never come")
        stage = able[-1]
        storage, step = stage.result.storage, counts[stage]
        if step % stage.parts == 0:  # a row begins
            lowest = min(
                (need.begin(counts[s]) + tops[storage] for s, need in readers[storage] if counts[s] < s.steps),
                default=done[storage],
            )
            most[storage] = max(most[storage], done[storage] + 1 - lowest)
        counts[stage] = step + 1
        if (step + 1) % stage.parts == 0 or step + 1 == stage.steps:
            done[storage] += 1
    bands = {}
    for storage, stage in made.items():
        if stage.ring:
            if most[storage] > stage.ring:
                raise Stuck(f"{storage.name} keeps {stage.ring} rows, not {most[storage]}")
            continue
        whole = done[storage]
        bands[storage] = Band(stage.result, whole if storage in kept else min(whole, most[storage]), whole)
    return Schedule(tuple(stages), total, bands)


def _is_below(stage: Stage) -> bool:
    return any(need.place is stage.result for need in stage.needs)


__all__ = ["Band", "Schedule", "Stuck", "scheduled"]
