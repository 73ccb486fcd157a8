"""Sections: runs of steps that work row by row together, chosen so that the least memory is in use at any time.

Inside a section a tensor is a band of a few rows, but the working memory of all its layers is there at once; between
sections tensors are whole, and working memory is shared. Which is better depends on the network, so all cuts are tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bnnc.loops.lower.calls import Step
from bnnc.loops.lower.places import Storage
from bnnc.loops.lower.schedule import Schedule, Stuck, scheduled
from bnnc.loops.lower.stages import Stage, Variant

LONGEST = 24
"""Steps that one section has at most: more take longer to cut, and long code."""


@dataclass(frozen=True)
class Section:
    """Steps first..last - 1, as one loop over their stages, or, without a schedule, a single call on whole tensors."""

    first: int
    last: int
    schedule: Schedule | None


def sections_of(steps: Sequence[Step], by_rows: bool) -> list[Section]:
    """The sections of a network; without `by_rows` only what has no other form works row by row."""
    count = len(steps)
    forced = [_forced(step) for step in steps]
    allowed = [bool(step.stages()) if (by_rows or step.function is None) else False for step in steps]
    bounds: dict[Storage, int] = {}
    groups: dict[int, int] = {}  # step -> the first of those that can work together
    start = 0
    for stop in range(count + 1):
        if stop == count or not allowed[stop]:
            for first in range(start, stop, LONGEST):
                _bound(steps, first, min(stop, first + LONGEST), bounds, groups)
            start = stop + 1
    best: list[tuple[int, int, int]] = [(0, 0, 0)]  # for the first so many steps: peak, sections, where the last begins
    for last in range(1, count + 1):
        group = groups.get(last - 1)
        first_possible = last - 1 if group is None or not by_rows else group
        options = []
        for first in range(first_possible, last):
            peak, before, _ = best[first]
            here = _alive(steps, first, last, allowed[first], bounds)
            options.append((max(peak, here), before + 1, first))
        best.append(min(options))
    cuts = []
    last = count
    while last:
        cuts.append((best[last][2], last))
        last = best[last][2]
    return [_section(steps, first, last, forced[first], allowed[first]) for first, last in reversed(cuts)]


def _forced(step: Step) -> bool:
    """Whether it has to work row by row: no other form is there, or it reads the user's image, which may come so."""
    return step.function is None or any(n.place.storage.buffer is not None for s in step.stages() for n in s.needs)


def _section(steps: Sequence[Step], first: int, last: int, forced: bool, allowed: bool) -> Section:
    if last == first + 1 and not (forced and allowed):
        return Section(first, last, None)
    return Section(first, last, schedule_of(steps, first, last))


def schedule_of(steps: Sequence[Step], first: int, last: int) -> Schedule:
    """The schedule of some steps. Raises Stuck when they do not work row by row together."""
    stages = [stage for step in steps[first:last] for stage in step.stages()]
    made = {stage.result.storage: stage for stage in stages}
    for stage in stages:
        for need in stage.needs:
            maker = made.get(need.place.storage)
            if maker is not None and not maker.ring and need.place.layout != maker.result.layout:
                raise Stuck(f"{need.place.storage.name} is read in another shape")
    fetched: dict[Storage, Stage] = {}
    for stage in stages:
        for need in stage.needs:
            storage = need.place.storage
            if storage.buffer is not None and storage.buffer.space == "parameter":
                rows = max(need.end(0), need.end(stage.steps - 1))
                before = fetched.get(storage)
                rows = max(rows, before.steps if before else 0)
                fetched[storage] = Stage(rows, (), need.place, (Variant(rows, None, ()),))
    kept = {storage for storage in made if storage.last is None or storage.last >= last}
    return scheduled([*fetched.values(), *stages], kept)


def _bound(steps: Sequence[Step], first: int, last: int, bounds: dict[Storage, int], groups: dict[int, int]) -> None:
    """So many bytes of each tensor are kept when all these steps work together; where they cannot, all of it."""
    if last - first < 1:
        return
    try:
        bands = schedule_of(steps, first, last).bands
    except Stuck:
        middle = (first + last) // 2
        if last - first > 1:
            _bound(steps, first, middle, bounds, groups)
            _bound(steps, middle, last, bounds, groups)
        return
    groups.update(dict.fromkeys(range(first, last), first))
    for storage, band in bands.items():
        bounds[storage] = band.bytes


def _alive(steps: Sequence[Step], first: int, last: int, by_rows: bool, bounds: dict[Storage, int]) -> int:
    """Bytes in use during some steps."""
    found = 0
    seen: set[Storage] = set()
    for number, step in enumerate(steps):
        for place in step.places:
            storage = place.storage
            if storage in seen:
                continue
            seen.add(storage)
            assert storage.first is not None
            assert storage.last is not None
            if storage.buffer is not None:
                if by_rows and first <= number < last and storage in bounds:
                    found += bounds[storage]
                continue
            if not storage.lasting and (storage.first >= last or storage.last < first):
                continue
            inside = storage.first >= first and storage.last < last and not storage.lasting
            found += min(storage.bytes, bounds.get(storage, storage.bytes)) if inside and by_rows else storage.bytes
    return found


__all__ = ["LONGEST", "Section", "sections_of"]
