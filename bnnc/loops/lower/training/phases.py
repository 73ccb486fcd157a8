"""Splits the work of a training step among threads, with barriers only where one needs what another one does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bnnc.loops.builder import Builder
from bnnc.loops.ir import I64, Buffer, Expression, binary, compare, constant

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


@dataclass(frozen=True, eq=False)
class Task:
    """One op: who does which part of it (`ONE`, `SAMPLES`, or the number of rows that are shared), what it touches, and
    how its code is written."""

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
                    for task in chosen:
                        task.emit(b, run)
            else:
                for task in chosen:
                    task.emit(b, run)
        b.barrier(run.meeting, run.threads)


def part(b: Builder, total: Expression, thread: Expression, threads: Expression) -> tuple[Expression, Expression]:
    """The first and the last + 1 of `total` things that a thread has."""
    first = b.let(binary("div", total * thread, threads), "first")
    return first, b.let(binary("div", total * (thread + 1), threads), "last")


def row_part(b: Builder, rows: int, thread: Expression, threads: Expression) -> tuple[Expression, Expression]:
    """Like `part`, in steps of 32 rows, which are one word of a transpose."""
    first, last = part(b, constant(-(-rows // 32), I64), thread, threads)
    return b.let(first * 32, "first_row"), b.let(binary("min", last * 32, constant(rows, I64)), "last_row")
