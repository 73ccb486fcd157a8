"""From steps to a program: sections, the memory plan, and the entry that calls everything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bnnc.ir.location import Location
from bnnc.ir.op import Op
from bnnc.loops import ir as loop
from bnnc.loops.builder import Builder, at
from bnnc.loops.ir import Buffer, Call, Expression, Function, Pointer, Program, statements_of
from bnnc.loops.layout import Layout
from bnnc.loops.lower.calls import Step, storages_of
from bnnc.loops.lower.entry import SectionWriter
from bnnc.loops.lower.kernels import LayerKernels
from bnnc.loops.lower.places import Place, Storage
from bnnc.loops.lower.sections import Section, sections_of
from bnnc.loops.lower.sharing import shared
from bnnc.loops.machine import Machine
from bnnc.loops.memory import Interval, MemoryPlan, plan_memory


@dataclass(frozen=True)
class CallFact:
    """A function that the entry calls, how often, which op's value it makes, and where the user's model has it."""

    function: str
    op: Op
    loc: Location
    times: int = 1


@dataclass(frozen=True)
class Alive:
    """What lies in the arena while a section runs: its op and, by op, the bytes of everything that is needed."""

    op: Op
    bytes: tuple[tuple[Op, str, int], ...]

    @property
    def total(self) -> int:
        """All together."""
        return sum(size for _, _, size in self.bytes)


@dataclass(frozen=True)
class Lowered:
    """A program and what is known of it.

    `streamed`: the bytes of the arena up to which `run` needs it, where the rows of the input come in a buffer of the
    arena one by one; None where the input is read as a whole. `additions`: so many rows of weights are added at most,
    whatever the input.
    """

    program: Program
    calls: tuple[CallFact, ...]
    alive: tuple[Alive, ...] = ()
    streamed: int | None = None
    kernels: tuple[LayerKernels, ...] = ()
    additions: int = 0

    @property
    def weight_bytes(self) -> int:
        """All constants of the program."""
        return sum(buffer.bytes for buffer in self.program.constants())


@dataclass(frozen=True)
class Source:
    """A user's image, as rows come from it: so many runs of `count` elements, `step` apart; rows begin `row` apart."""

    buffer: Buffer
    runs: int
    count: int
    step: int
    row: int


class Assembly:
    """The program of some steps."""

    def __init__(
        self,
        name: str,
        steps: Sequence[Step],
        inputs: tuple[Buffer, ...],
        outputs: tuple[Buffer, ...],
        sources: dict[Storage, Source],
        machine: Machine,
    ) -> None:
        self.name, self.steps, self.machine = name, steps, machine
        self.inputs, self.outputs, self.sources = inputs, outputs, sources
        self.sections = sections_of(steps, machine.streams)
        self.writers = {s.first: SectionWriter(s.schedule) for s in self.sections if s.schedule is not None}

    def lowered(self, kernels: tuple[LayerKernels, ...], additions: int = 0) -> Lowered:
        """The program, and what is known of it."""
        self._plan()
        functions, facts = self._functions()
        self.same = shared(dict.fromkeys(functions))
        b = Builder("run", comment="n samples, one after the other")
        self.b = b
        self.parameters: dict[Buffer, Buffer] = {}
        self.rows_of: dict[Storage, Storage] = {}
        self.views: dict[tuple[Storage, loop.Scalar], Buffer] = {}
        for buffer in (*self.inputs, *self.outputs):
            self.parameters[buffer] = b.parameter(buffer.name, buffer.element, buffer.length, buffer.access)
        n = b.scalar("n", loop.I64)
        with b.loop(n, "sample") as self.sample:
            for number, section in enumerate(self.sections):
                if section.schedule is None:
                    self._whole(self.steps[section.first])
                else:
                    self.rows_of = {storage: rows for (i, storage), rows in self.bands.items() if i == number}
                    self.writers[section.first].write(b, self._pointer, self._fetch, self.same)
                self.rows_of = {}
        entry = b.function()
        inputs = tuple(self.parameters[buffer] for buffer in self.inputs)
        outputs = tuple(self.parameters[buffer] for buffer in self.outputs)
        made = tuple(with_callees(dict.fromkeys(self.same.values())))
        program = Program(self.name, made, entry, inputs, outputs, self.plan.bytes)
        named = tuple(CallFact(self.same[f].name, op, op.loc, times) for f, op, times in facts)
        return Lowered(program, named, self._alive(), self._streamed(), kernels, additions)

    # ------------------------------------------------------------------------------------------------------- memory
    def _plan(self) -> None:
        """Where everything lies. Bands take the rows that they keep; what only one section uses lives only there."""
        number = {k: i for i, s in enumerate(self.sections) for k in range(s.first, s.last)}
        sizes: dict[Storage, int] = {}
        spans: dict[Storage, tuple[int, int]] = {}
        last = len(self.sections)
        for storage in storages_of(self.steps):
            sizes[storage] = storage.bytes
            spans[storage] = number[storage.first or 0], number[storage.last or 0]
            if storage.lasting:
                spans[storage] = 0, last
        self.bands: dict[tuple[int, Storage], Storage] = {}  # where the rows of a user's array lie in a section
        for i, section in enumerate(self.sections):
            for storage, band in section.schedule.bands.items() if section.schedule else ():
                if storage.buffer is None:
                    sizes[storage] = band.bytes
                else:
                    rows = self.bands[i, storage] = Storage(f"{storage.name}_rows", band.bytes)
                    sizes[rows], spans[rows] = band.bytes, (i, i)
        storages = list(sizes)
        self.sizes, self.spans = sizes, spans
        intervals = [Interval(sizes[s], *spans[s]) for s in storages]
        self.plan: MemoryPlan = plan_memory(intervals, self.machine.alignment)
        self.offsets = dict(zip(storages, self.plan.offsets, strict=True))

    def _streamed(self) -> int | None:
        """How much of the arena is used when the rows of the input are read where they are."""
        if len(self.inputs) != 1 or len(self.bands) != 1:
            return None
        ((section, storage),) = self.bands
        for step in self.steps:
            if step.stages() and self._by_rows(step):
                continue
            if any(place.storage is storage for place in step.reads):
                return None
        source, rows = self.sources[storage], self.bands[section, storage]
        if source.runs > 1 or self.sections[section].schedule.bands[storage].rows > 1:  # type: ignore[union-attr]
            return self.plan.bytes
        return max((self.offsets[s] + self.sizes[s] for s in self.offsets if s is not rows), default=0)

    def _by_rows(self, step: Step) -> bool:
        return any(s.schedule is not None and step in self.steps[s.first : s.last] for s in self.sections)

    def _alive(self) -> tuple[Alive, ...]:
        owners = {place.storage: step.op for step in reversed(self.steps) for place in step.places}
        owners.update({place.storage: step.op for step in self.steps for place in (step.write, *step.scratch)})
        found = []
        for i, section in enumerate(self.sections):
            there = [
                (owners.get(s, self.steps[section.first].op), s.name, self.sizes[s])
                for s, (first, last) in self.spans.items()
                if first <= i <= last
            ]
            found.append(Alive(self.steps[section.last - 1].op, tuple(there)))
        return tuple(found)

    # -------------------------------------------------------------------------------------------------------- calls
    def _functions(self) -> tuple[list[Function], list[tuple[Function, Op, int]]]:
        """Everything that is called, in order, and by which op how often."""
        facts: list[tuple[Function, Op, int]] = []
        for section in self.sections:
            if section.schedule is None:
                step = self.steps[section.first]
                assert step.function is not None
                facts += [(function, step.op, 1) for function, _ in step.fills]
                facts.append((step.function, step.op, 1))
                continue
            owner = {
                variant.function: step.op
                for step in self.steps[section.first : section.last]
                for stage in step.stages()
                for variant in stage.variants
            }
            writer = self.writers[section.first]
            facts += [(f, owner.get(f, self.steps[section.first].op), times) for f, times in writer.made()]
        return [function for function, _, _ in facts], facts

    def _whole(self, step: Step) -> None:
        assert step.function is not None
        for function, place in step.fills:
            self._call(function, [place], False)
        self._call(step.function, step.places, step.once)

    def _call(self, function: Function, places: Sequence[Place], once: bool) -> None:
        b = self.b
        arguments = [self._pointer(place) for place in places]
        if once:
            with b.when(loop.compare("eq", self.sample, loop.constant(0, loop.I64))):
                b.call(self.same[function], *arguments)
        else:
            b.call(self.same[function], *arguments)

    def _pointer(self, place: Place) -> Pointer:
        """Where a place begins."""
        storage = place.storage
        if storage.buffer is None:
            return at(self._view(storage, place.layout))
        if storage.buffer.space == "constant":
            return at(storage.buffer)
        if storage in self.rows_of:
            return at(self._view(self.rows_of[storage], place.layout))
        mine = self.parameters[storage.buffer]
        return at(mine, self.sample * mine.length)

    def _view(self, storage: Storage, layout: Layout) -> Buffer:
        key = storage, layout.element
        if key not in self.views:
            offset = self.offsets[storage]
            length = self.sizes[storage] // layout.element.bytes
            name, alignment = f"arena_{offset}", self.machine.alignment
            self.views[key] = Buffer(name, layout.element, length, "arena", "both", alignment, offset)
        return self.views[key]

    def _fetch(self, place: Place, row: Expression, target: Pointer) -> None:
        source = self.sources[place.storage]
        mine = self.parameters[source.buffer]
        start = at(mine, self.sample * mine.length + row * source.row)
        self.b.fetch(target, start, row, source.runs, source.count, source.step)


def with_callees(functions: Iterable[Function]) -> dict[Function, None]:
    """The functions in order, each after those that it calls."""
    found: dict[Function, None] = {}
    for function in functions:
        called = (s.function for s in statements_of(function.body) if isinstance(s, Call))
        found.update(with_callees(called))
        found[function] = None
    return found


__all__ = ["Alive", "Assembly", "CallFact", "Lowered", "Section", "Source", "with_callees"]
