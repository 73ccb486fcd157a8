"""Writes a section of the entry: a loop over the steps of its stages, each made when the rows for it are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace

from bnnc.ir.location import UNKNOWN
from bnnc.loops.builder import Builder
from bnnc.loops.ir import I64, Convert, Expression, Function, Pointer, Variable, binary, compare, constant, load, select
from bnnc.loops.kernels.halo import fill_halo
from bnnc.loops.layout import Layout
from bnnc.loops.lower.places import Place, Storage
from bnnc.loops.lower.schedule import Schedule
from bnnc.loops.lower.stages import Argument, Moved, Need, Number, Slot, Stage, Variant, rows_of


def shift_rows(name: str, layout: Layout, rows: int) -> Function:
    """NAME(y): rows 1, 2, … of a band move up by one."""
    b = Builder(name, "rows move up by one")
    y = b.parameter("y", layout.element, rows * layout.row, access="both")
    with b.loop((rows - 1) * layout.row, "k") as k:
        b.store(y, k, load(y, k + layout.row))
    return b.function()


class SectionWriter:
    """One loop. Each stage counts its steps; each band knows its first row where it drops rows."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.fills = _fills(schedule)
        self.shifts = {
            storage: shift_rows(f"{storage.name}_up", band.place.layout, band.rows)
            for storage, band in schedule.bands.items()
            if 1 < band.rows < band.total
        }
        self.counts: dict[Stage, Variable] = {}
        self.finished: dict[Storage, Variable] = {}  # rows, where several steps make one
        self.parts: dict[Stage, Variable] = {}
        self.firsts: dict[Storage, Variable] = {}
        self.rings: dict[tuple[Stage, Number], Variable] = {}
        self.makers: dict[Storage, list[Stage]] = {}
        for stage in schedule.stages:
            self.makers.setdefault(stage.result.storage, []).append(stage)

    def made(self) -> list[tuple[Function, int]]:
        """Every function that it calls, and how often."""
        found = [(function, 1) for function, _ in self.fills]
        for storage, function in self.shifts.items():
            band = self.schedule.bands[storage]
            found.append((function, band.total - band.rows))
        for stage in self.schedule.stages:
            start = 0
            for variant in stage.variants:
                if variant.function is not None:
                    found.append((variant.function, variant.stop - start))
                start = variant.stop
        return found

    def write(
        self,
        b: Builder,
        memory: Callable[[Place], Pointer],
        fetch: Callable[[Place, Expression, Pointer], None],
        functions: Mapping[Function, Function],
    ) -> None:
        """Fills halos, then makes all steps.

        memory: where a place begins; fetch: brings a row of a user's array; functions: what each is called as.
        """
        self.b, self.memory, self.fetch, self.functions = b, memory, fetch, functions
        schedule = self.schedule
        for function, place in self.fills:
            b.call(functions[function], memory(place))
        for stage in schedule.stages:
            self._declare(stage)
        with b.loop(schedule.steps, "step", unroll_one=False):
            idle = b.variable("idle", constant(1, I64))
            for stage in reversed(schedule.stages):
                with ExitStack() as conditions:
                    if stage is not schedule.stages[-1]:
                        conditions.enter_context(b.when(compare("ne", idle, 0)))
                    conditions.enter_context(b.when(compare("lt", self.counts[stage], stage.steps)))
                    for need in stage.needs:
                        if need.place.storage in self.makers:
                            end = _clipped(need, need.count, self.counts[stage], stage.steps)
                            there = self._there(need.place.storage)
                            conditions.enter_context(b.when(compare("le", end + self._top(need.place.storage), there)))
                    self._step(stage)
                    if stage is not schedule.stages[0]:
                        b.assign(idle, 0)

    # ------------------------------------------------------------------------------------------------------ counters
    def _declare(self, stage: Stage) -> None:
        b, storage = self.b, stage.result.storage
        zero = constant(0, I64)
        self.counts[stage] = b.variable("count", zero)
        if stage.parts > 1:
            self.parts[stage] = b.variable("part", zero)
            self.finished[storage] = b.variable("rows", zero)
        if storage in self.shifts and storage not in self.firsts:
            self.firsts[storage] = b.variable("first", zero)
        for variant in stage.variants:
            for argument in variant.arguments:
                number = argument.number if isinstance(argument, Slot) else argument
                if isinstance(number, Number) and number.ring > 1 and (stage, number) not in self.rings:
                    self.rings[stage, number] = b.variable("slot", zero)

    def _top(self, storage: Storage) -> int:
        stage = self.makers[storage][0]
        return 0 if stage.ring else stage.result.layout.halo.top

    def _there(self, storage: Storage) -> Expression:
        """How many rows are there, counted from the top of the halo."""
        main, *below = self.makers[storage]
        rows: Expression = self.finished.get(storage, self.counts[main])
        for stage in below:
            rows = rows + self.counts[stage]
        return rows + self._top(storage)

    # ----------------------------------------------------------------------------------------------------- one step
    def _step(self, stage: Stage) -> None:
        b, storage, count = self.b, stage.result.storage, self.counts[stage]
        band, first = self.schedule.bands.get(storage), self.firsts.get(storage)
        if band is not None and first is not None:
            with ExitStack() as conditions:
                if stage.parts > 1:
                    conditions.enter_context(b.when(compare("eq", self.parts[stage], 0)))
                conditions.enter_context(b.when(compare("ge", self._there(storage), band.rows)))
                b.call(self.functions[self.shifts[storage]], self.memory(stage.result))
                b.assign(first, binary("min", first + 1, constant(band.total - band.rows, I64)))
        self._variants(stage, stage.variants, 0)
        for (owner, number), slot in self.rings.items():
            if owner is stage:
                after = b.let(slot + number.stride % number.ring, "after")
                inside = compare("lt", after, number.ring)
                b.assign(slot, select(inside, after, after - (number.back or number.ring)))
        b.assign(count, binary("min", count + 1, constant(stage.steps, I64)))
        if stage.parts > 1:
            part, rows = self.parts[stage], self.finished[storage]
            b.assign(part, binary("min", part + 1, constant(stage.parts, I64)))
            ended = [compare("ge", part, stage.parts)]
            if stage.steps % stage.parts:
                ended.append(compare("ge", count, stage.steps))
            for number_, condition in enumerate(ended):
                with b.when(condition):
                    if number_:  # a row that both end is counted once
                        with b.when(compare("ne", part, 0)):
                            b.assign(part, 0)
                            b.assign(rows, binary("min", rows + 1, constant(rows_of(stage), I64)))
                    else:
                        b.assign(part, 0)
                        b.assign(rows, binary("min", rows + 1, constant(rows_of(stage), I64)))

    def _variants(self, stage: Stage, variants: tuple[Variant, ...], start: int) -> None:
        one, *others = variants
        if not others:
            self._call(stage, one, start)
            return
        with self.b.when(compare("lt", self.counts[stage], one.stop)):
            self._call(stage, one, start)
        with self.b.otherwise():
            self._variants(stage, tuple(others), one.stop)

    def _call(self, stage: Stage, variant: Variant, start: int) -> None:
        if variant.function is None:
            self.fetch(stage.result, self.counts[stage], self._target(stage))
            return
        arguments = [self._argument(stage, argument, (start, variant.stop)) for argument in variant.arguments]
        self.b.call(self.functions[variant.function], *arguments)

    def _argument(self, stage: Stage, argument: Argument, steps: tuple[int, int]) -> Pointer | Expression:
        if isinstance(argument, Need):
            storage = argument.place.storage
            row = _clipped(argument, 0, self.counts[stage], steps[1], steps[0])
            if storage in self.makers:
                band = self.schedule.bands[storage]
                if band.rows == 1:
                    return self.memory(argument.place)
                row = row + self._top(storage)
                if storage in self.firsts:
                    row = row - self.firsts[storage]
            else:
                row = row + argument.place.layout.halo.top
            return _moved(self.memory(argument.place), row * argument.place.layout.row)
        if isinstance(argument, Number):
            return self._number(stage, argument)
        if isinstance(argument, Slot):
            more = self._number(stage, argument.number) * argument.step + argument.first
            return _moved(self.memory(argument.place), more)
        if isinstance(argument, Moved):
            pointer = self._argument(stage, argument.of, steps)
            assert isinstance(pointer, Pointer)
            return _moved(pointer, constant(argument.elements, I64))
        if argument is stage.result and not stage.ring:
            return self._target(stage)
        return self.memory(argument)

    def _number(self, stage: Stage, number: Number) -> Expression:
        zero = constant(0, I64)
        if number.table is not None:
            return Convert("zext", load(number.table, self.counts[stage]), I64)
        if number.part:
            return self.parts.get(stage, zero)
        if number.ring:
            slot: Expression = self.rings.get((stage, number), zero)
            return slot if number.most is None else binary("min", slot, constant(number.most, I64))
        return self.counts[stage] * number.stride

    def _target(self, stage: Stage) -> Pointer:
        """Where the row lies that is being made."""
        storage = stage.result.storage
        if self.schedule.bands[storage].rows == 1:
            return self.memory(stage.result)
        row = self._there(storage)
        if storage in self.firsts:
            row = row - self.firsts[storage]
        return _moved(self.memory(stage.result), row * stage.result.layout.row)


def _fills(schedule: Schedule) -> list[tuple[Function, Place]]:
    """What is filled before: the halo above the first row and at the sides of all rows. What is below has a stage."""
    found = []
    for storage, band in schedule.bands.items():
        layout = band.place.layout
        halo = layout.halo
        if storage.buffer is None and (halo.top or halo.left or halo.right):
            rows = band.rows - halo.top - (halo.bottom if band.whole else 0)
            partly = replace(layout, height=rows, halo=replace(halo, bottom=0))
            found.append((fill_halo(f"{storage.name}_halo", UNKNOWN, partly), band.place))
    return found


def _clipped(need: Need, more: int, step: Expression, stop: int, start: int = 0) -> Expression:
    """The row behind `more` rows of a need, in each step from start to before stop."""
    ends = [t * need.stride + need.first + more for t in (start, stop - 1)]
    row = step * need.stride + (need.first + more) if start + 1 < stop or need.stride == 0 else constant(ends[0], I64)
    if need.stride == 0:
        row = constant(ends[0], I64)
    if min(ends) < need.low:
        row = binary("max", row, constant(need.low, I64))
    if max(ends) > need.high:
        row = binary("min", row, constant(need.high, I64))
    return row


def _moved(pointer: Pointer, more: Expression) -> Pointer:
    return Pointer(pointer.buffer, pointer.index + more)


__all__ = ["SectionWriter", "shift_rows"]
