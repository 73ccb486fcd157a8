"""Splits the work of a training step among threads, with barriers only where one needs what another one does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from bnnc.loops.builder import Builder
from bnnc.loops.ir import I64, Buffer, Expression, Ticks, binary, compare, constant, load

ONE = "one"
"""Work for one thread."""
SAMPLES = "samples"
"""Each thread has its samples of the batch."""


@dataclass(eq=False)
class Run:
    """Numbers that tasks need: of the batch at hand, and of the thread. `rows`: its rows of a matrix of so many."""

    thread: Expression
    threads: Expression
    meeting: Buffer
    count: Expression
    first: Expression
    last: Expression
    rows: dict[int, tuple[Expression, Expression]] = field(default_factory=dict)
    times: dict[str, int] | None = None
    clock: Buffer | None = None

    def timed(self, b: Builder, name: str, emit: Callable[[], None]) -> None:
        """What `emit` writes; if times are wanted, the ticks that thread 0 spends there are added up."""
        if self.times is None or self.clock is None:
            emit()
            return
        place = self.times.setdefault(name, len(self.times))
        before = b.let(Ticks(), "before")
        emit()
        spent = b.let(Ticks() - before, "spent")
        with b.when(compare("eq", self.thread, 0)):
            b.store(self.clock, place, load(self.clock, place) + spent)


@dataclass(frozen=True, eq=False)
class Task:
    """One op, or a part of it: `share` says who does what (`ONE`, `SAMPLES`, or the number of rows that threads share),
    reads and writes what it touches, `emit` writes its code."""

    name: str
    share: str | int
    reads: tuple[Buffer, ...]
    writes: tuple[Buffer, ...]
    emit: Callable[[Builder, Run], None]

    def waits_for(self, other: Task) -> bool:
        """Whether the other one, which comes before, must not run later."""
        touched = {*self.reads, *self.writes}
        return any(buffer in touched for buffer in other.writes) or any(b in other.reads for b in self.writes)


def phases(tasks: Sequence[Task]) -> list[list[Task]]:
    """The tasks in groups between which all threads meet. Within a group no thread needs what another one does."""
    number: dict[Task, int] = {}
    for place, task in enumerate(tasks):
        first = 0
        for other in tasks[:place]:
            if task.waits_for(other):
                first = max(first, number[other] + (other.share != task.share))
        number[task] = first
    count = max(number.values(), default=-1) + 1
    return [[task for task in tasks if number[task] == phase] for phase in range(count)]


def write_phases(b: Builder, run: Run, tasks: Sequence[Task]) -> None:
    """The code of the tasks, with a barrier behind each phase."""
    for phase in phases(tasks):
        for share in dict.fromkeys(task.share for task in phase):
            chosen = [task for task in phase if task.share == share]
            if share == ONE:
                with b.when(compare("eq", run.thread, 0)):
                    run.timed(b, ONE, partial(_write, b, run, chosen))
            else:
                for task in chosen:
                    run.timed(b, task.name, partial(_write, b, run, [task]))
        run.timed(b, "barrier", partial(b.barrier, run.meeting, run.threads))


def _write(b: Builder, run: Run, tasks: Sequence[Task]) -> None:
    for task in tasks:
        task.emit(b, run)


def part(b: Builder, total: Expression, thread: Expression, threads: Expression) -> tuple[Expression, Expression]:
    """The first and the last + 1 of `total` things that a thread has."""
    first = b.let(binary("div", total * thread, threads), "first")
    return first, b.let(binary("div", total * (thread + 1), threads), "last")


def row_part(b: Builder, rows: int, thread: Expression, threads: Expression) -> tuple[Expression, Expression]:
    """Like `part`, in steps of 32 rows, which are one word of a transpose."""
    first, last = part(b, constant(-(-rows // 32), I64), thread, threads)
    return b.let(first * 32, "first_row"), b.let(binary("min", last * 32, constant(rows, I64)), "last_row")
