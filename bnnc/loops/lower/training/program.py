"""The whole training step as one program: an epoch, or the evaluation of samples, in one native call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bnnc.ir.bit import Step
from bnnc.ir.module import Input, Module
from bnnc.ir.move import Transpose
from bnnc.ir.training import Reinforce, Update
from bnnc.ir.types import TensorType
from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I32,
    I64,
    Buffer,
    Expression,
    Program,
    Variable,
    binary,
    compare,
    constant,
    load,
    vector_of,
)
from bnnc.loops.kernels.training.layouts import CHANGED, BatchBits, up
from bnnc.loops.lower.training.ops import ModuleTasks
from bnnc.loops.lower.training.phases import ONE, SAMPLES, Run, Task, part, row_part, write_phases
from bnnc.loops.lower.training.tasks import Context
from bnnc.loops.lower.training.values import (
    Bits,
    End,
    HiddenWeights,
    Home,
    Numbers,
    PerSample,
    Value,
    make_home,
    view,
)
from bnnc.loops.machine import Machine

EPOCH, EVALUATE = 0, 1
"""What the entry does: its parameter `task`."""


@dataclass(frozen=True)
class TrainingProgram:
    """The entry takes samples int32 [any][sample_words], labels int32 [any], order int64 [n], answer int32 [1]; then n,
    task, thread and threads. All threads call it at once with the same arena, which holds the state between calls.

    EPOCH: one epoch over the samples in this order. EVALUATE: answer = how many of them are wrong. homes: where the
    tensors of the state are. times: if the program was made so, element times[kernel] of `clock` adds up the ticks that
    thread 0 spends in that kernel.
    """

    program: Program
    homes: Mapping[str, Home]
    sample_words: int
    batch: int
    times: Mapping[str, int]
    clock: Buffer | None
    ends: Mapping[Buffer, End]

    def settle(self, memory: np.ndarray) -> None:
        """To be called once the whole state was stored: rows that are as the end of a batch leaves them need nothing
        at the end of the next."""
        for home in self.homes.values():
            end = self.ends.get(home.value.buffer)
            if end is not None and isinstance(home.value, HiddenWeights):
                hidden, weights = home.fetch(memory), self.homes[end.weights].fetch(memory)
                odd = (np.where(hidden >= 0, 1, -1) != weights) | (np.abs(hidden.astype(np.int32)) > end.bound)
                view(memory, home.value.changed)[:] = np.where(odd.any(1), CHANGED, 0)
                view(memory, end.flips)[:] = 0

    def samples(self, bits: np.ndarray) -> np.ndarray:
        """Packed samples [n, words] as the entry takes them."""
        padded = np.zeros((len(bits), self.sample_words), np.uint32)
        padded[:, : bits.shape[1]] = bits
        return padded


def lower_training(
    name: str,
    width: int,
    batch: int,
    accumulate: Callable[[int], Module],
    end_batch: Module,
    end_epoch: Module,
    evaluate: Callable[[int], Module],
    machine: Machine,
    timed: bool = False,
) -> TrainingProgram:
    """The program of a training step (the modules of `bnnc.train.engine.Step`) on samples of `width` bits.

    Raises BnncError B0615 for what has no kernels.
    """
    writer = _Writer(name, width, batch, machine, timed)
    modules = [accumulate(batch), end_batch, end_epoch, evaluate(batch)]
    writer.make_homes(modules)
    return writer.finish(modules, accumulate(batch + 1), evaluate(batch + 1))


_MOST_TIMES = 256


class _Writer:
    def __init__(self, name: str, width: int, batch: int, machine: Machine, timed: bool) -> None:
        self.timed = timed
        self.name, self.batch, self.machine = name, batch, machine
        self.context = Context(batch, machine)
        self.arena, self.homes, self.ends = self.context.arena, self.context.homes, self.context.ends
        words = up(-(-width // 32), machine.lanes)
        self.layout = BatchBits(batch, width, 1, words)

    def make_homes(self, modules: list[Module]) -> None:
        """Places for everything that any module reads and that is not a sample."""
        types: dict[str, TensorType] = {}
        turned: set[str] = set()
        blocks: dict[str, int] = {}
        for module in modules:
            for op in module.ops():
                if isinstance(op, Reinforce) and isinstance(op.hidden, Input):
                    blocks[op.hidden.name] = op.block
                if isinstance(op, Input) and op.name not in ("samples", "labels"):
                    types[op.name] = op.type
                if isinstance(op, Transpose) and isinstance(op.x, Input):
                    turned.add(op.x.name)
            # What is only written.
            for output in module.outputs:
                if module is not modules[-1]:
                    types.setdefault(output.name, output.value.type)
        for name, type_ in types.items():
            block = blocks.get(name, 1)
            self.homes[name] = make_home(self.arena, f"state_{name}", type_, self.machine, name in turned, block)
        updated = [op.hidden.name for op in modules[0].ops() if isinstance(op, Update) and isinstance(op.hidden, Input)]
        for output in modules[1].outputs:
            sign = output.value
            if not (isinstance(sign, Step) and isinstance(sign.x, Reinforce) and isinstance(sign.x.hidden, Input)):
                continue
            value = self.homes[sign.x.hidden.name].value
            if updated.count(sign.x.hidden.name) == 1 and isinstance(value, HiddenWeights):
                flips = self.arena.take("flips", I32, value.layout.rows)
                self.ends[value.buffer] = End(sign.x.bound, output.name, flips)

    def finish(self, modules: list[Module], more: Module, evaluate_more: Module) -> TrainingProgram:
        b = Builder("run", comment="one epoch of training, or the evaluation of samples; all threads call it at once")
        words = self.layout.stride
        samples = b.parameter("samples", I32, words, alignment=4)
        labels = b.parameter("labels", I32, 1)
        order = b.parameter("order", I64, 1)
        answer = b.parameter("answer", I32, 1, "both")
        n, task, thread, threads = (b.scalar(text, I64) for text in ("n", "task", "thread", "threads"))
        meeting = self.arena.take("meeting", I64, 8)
        x = self.arena.take("samples_of_batch", I32, self.layout.length)
        y = self.arena.take("labels_of_batch", I32, self.batch)
        given: dict[str, Value] = {"samples": Bits(x, self.layout), "labels": PerSample(y)}
        chosen = _Gather(samples, labels, order, x, y, words, self.machine)

        zero = constant(0, I64)
        run = Run(thread, threads, meeting, zero, zero, zero)
        if self.timed:
            run.times, run.clock = {}, self.arena.take("clock", I64, _MOST_TIMES)
        for rows in sorted({h.value.layout.rows for h in self.homes.values() if isinstance(h.value, HiddenWeights)}):
            run.rows[rows] = row_part(b, rows, thread, threads)

        # An epoch and an evaluation never run at once, so they share their passing memory.
        begin = self.arena.bytes
        before, batch_tasks = self._batch(modules, more, given)
        epoch_end = self._tasks(modules[2], None, given).tasks
        behind, self.arena.bytes = self.arena.bytes, begin
        evaluation = self._tasks(modules[3], evaluate_more, given, stores=False)
        self.arena.bytes = max(behind, self.arena.bytes)
        self.context.scratch.settle(self.arena)
        with b.when(compare("eq", task, EPOCH)):
            if before:
                write_phases(b, run, before)
            with b.loop(n, "start", step=self.batch, unroll_one=False) as start:
                self._set_batch(b, run, n, start)
                write_phases(b, run, [chosen.task(start), *batch_tasks])
            write_phases(b, run, epoch_end)
        with b.otherwise():
            (output,) = modules[3].outputs
            wrong = evaluation.values[output.value]
            assert isinstance(wrong, Numbers)

            def add(b: Builder, run: Run) -> None:
                b.store(answer, 0, load(answer, 0) + load(wrong.buffer, 0))

            with b.when(compare("eq", thread, 0)):
                b.store(answer, 0, 0)
            with b.loop(n, "start", step=self.batch, unroll_one=False) as start:
                self._set_batch(b, run, n, start)
                adding = Task(ONE, ONE, (wrong.buffer,), (answer,), add)
                write_phases(b, run, [chosen.task(start), *evaluation.tasks, adding])

        program = Program(
            self.name,
            tuple(self.context.kernels.functions.values()),
            b.function(),
            (samples, labels, order),
            (answer,),
            self.arena.most,
        )
        return TrainingProgram(program, self.homes, words, self.batch, run.times or {}, run.clock, self.ends)

    def _set_batch(self, b: Builder, run: Run, n: Variable, start: Expression) -> None:
        run.count = b.let(binary("min", n - start, constant(self.batch, I64)), "count")
        run.first, run.last = part(b, run.count, run.thread, run.threads)

    def _tasks(self, module: Module, again: Module | None, given: dict[str, Value], stores: bool = True) -> ModuleTasks:
        """`stores`: the module's outputs become the state."""
        tasks = ModuleTasks(self.context, module, again, module.outputs if stores else ())
        tasks.write(given)
        return tasks

    def _batch(self, modules: list[Module], more: Module, given: dict[str, Value]) -> tuple[list[Task], list[Task]]:
        """What is done before the first batch, as no batch changes it, and what is done for each."""
        tasks = [*self._tasks(modules[0], more, given).tasks, *self._tasks(modules[1], None, given).tasks]
        written = {buffer for task in tasks for buffer in task.writes}
        before: list[Task] = []
        done: set[Buffer] = set()
        for task in tasks:
            changing = any(buffer in written and buffer not in done for buffer in task.reads)
            alone = all(sum(buffer in other.writes for other in tasks) == 1 for buffer in task.writes)
            own = not any(home.value.buffer in task.writes for home in self.homes.values())
            if task.share == ONE and not changing and alone and own:
                before.append(task)
                done.update(task.writes)
        return before, [task for task in tasks if task not in before]


class _Gather:
    """Copies the samples of a batch next to each other."""

    def __init__(
        self, samples: Buffer, labels: Buffer, order: Buffer, x: Buffer, y: Buffer, words: int, machine: Machine
    ) -> None:
        self.samples, self.labels, self.order, self.x, self.y = samples, labels, order, x, y
        self.words, self.machine = words, machine

    def task(self, start: Expression) -> Task:
        """The copy of the samples from place `start` of the order on."""
        lanes = self.machine.lanes
        type_ = vector_of(I32, lanes)

        def emit(b: Builder, run: Run) -> None:
            with b.loop(run.last, "sample", start=run.first, unroll_one=False) as sample:
                number = b.let(load(self.order, start + sample), "number")
                b.store(self.y, sample, load(self.labels, number))
                with b.loop(self.words // lanes, "vector") as vector:
                    source = load(self.samples, number * self.words + vector * lanes, type_)
                    b.store(self.x, sample * self.words + vector * lanes, source)

        return Task("gather", SAMPLES, (), (self.x, self.y), emit)


__all__ = ["EPOCH", "EVALUATE", "TrainingProgram", "lower_training"]
