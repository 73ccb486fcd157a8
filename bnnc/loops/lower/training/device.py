"""The training step for one sample at a time: a program for each of its functions, on one state in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.training import Total, Trigger
from bnnc.ir.types import TensorType
from bnnc.loops.builder import Builder
from bnnc.loops.ir import I32, I64, Buffer, Program, constant
from bnnc.loops.kernels.training.single import widened, words_of
from bnnc.loops.lower.training.phases import Run
from bnnc.loops.lower.training.single import SingleTasks
from bnnc.loops.lower.training.single_values import SingleHome, SumsOfOne, Words, single_home
from bnnc.loops.lower.training.tasks import Context
from bnnc.loops.lower.training.values import Arena, Home, Numbers, Value, refused
from bnnc.loops.machine import Machine

WORD_BYTES = 4


@dataclass(frozen=True)
class DeviceProgram:
    """Four programs on one arena, all of whose functions are in each.

    accumulate(samples): one sample, int32 [sample_words], whose label is in `label`. end_batch, end_epoch: nothing
    given. run(samples, out): int32 scores of the classes. homes: where the tensors of the state are, in the first
    `kept` bytes; what is behind is free between calls, `free` bytes from `passing` on.
    """

    accumulate: Program
    end_batch: Program
    end_epoch: Program
    run: Program
    homes: Mapping[str, Home | SingleHome]
    label: Buffer
    sample_words: int
    classes: int
    kept: int

    @property
    def programs(self) -> tuple[Program, ...]:
        """All of them."""
        return (self.accumulate, self.end_batch, self.end_epoch, self.run)

    @property
    def bytes(self) -> int:
        """The memory that they need."""
        return max(program.arena_bytes for program in self.programs)


def lower_device(
    name: str,
    width: int,
    classes: int,
    accumulate: Module,
    end_batch: Module,
    end_epoch: Module,
    evaluate: Module,
    machine: Machine,
) -> DeviceProgram:
    """The programs of a training step: its modules (`bnnc.train.engine.Step`) for one sample of `width` bits.

    Raises BnncError B0615 for what has no kernels.
    """
    return _Writer(name, width, classes, machine).finish(accumulate, end_batch, end_epoch, _scores(evaluate))


def _scores(evaluate: Module) -> Module:
    """The module that gives the scores by which an evaluation judges."""
    (output,) = evaluate.outputs
    judged: Op = output.value
    if not isinstance(judged, Total) or not isinstance(judged.x, Trigger):
        raise refused("an evaluation that does not compare scores with labels")
    scores = judged.x.scores
    module = Module("run", (), (Output("scores", scores, "int32"),))
    return replace(module, inputs=tuple(op for op in module.ops() if isinstance(op, Input)))


class _Writer:
    def __init__(self, name: str, width: int, classes: int, machine: Machine) -> None:
        self.name, self.width, self.classes = name, width, classes
        self.context = Context(1, machine)
        self.context.arena = self.arena = Arena(WORD_BYTES)
        self.matrices: dict[str, SingleHome] = {}

    def finish(self, accumulate: Module, end_batch: Module, end_epoch: Module, run: Module) -> DeviceProgram:
        self._make_homes((accumulate, end_batch, end_epoch, run))
        label = self.arena.take("label_of_sample", I32, 1)
        kept = self.arena.bytes
        drafts = [
            self._entry("accumulate", accumulate, label, accumulate.outputs),
            self._entry("end_batch", end_batch, label, end_batch.outputs),
            self._entry("end_epoch", end_epoch, label, end_epoch.outputs),
            self._entry("run", run, label, ()),
        ]
        # Functions are shared by all, so each program lists all of them.
        functions = tuple(self.context.kernels.functions.values())
        first, batch, epoch, last = (
            replace(draft, functions=functions, arena_bytes=self.arena.most) for draft in drafts
        )
        homes: dict[str, Home | SingleHome] = {**self.matrices, **self.context.homes}
        return DeviceProgram(first, batch, epoch, last, homes, label, words_of(self.width), self.classes, kept)

    def _make_homes(self, modules: tuple[Module, ...]) -> None:
        types: dict[str, TensorType] = {}
        for module in modules:
            for source in module.inputs:
                if source.name not in ("samples", "labels"):
                    types[source.name] = source.type
            if module is not modules[-1]:
                for output in module.outputs:
                    types.setdefault(output.name, output.value.type)
        # Weights first: what a program reads most has the smallest addresses.
        for name in sorted(types, key=lambda name: (len(types[name].shape) < 2, list(types).index(name))):
            home = single_home(self.arena, name, types[name])
            if isinstance(home, SingleHome):
                self.matrices[name] = home
            else:
                self.context.homes[name] = home

    def _entry(self, name: str, module: Module, label: Buffer, outputs: tuple[Output, ...]) -> Program:
        """One program; what it needs besides the state is free again afterwards."""
        b = Builder(name)
        begin = self.arena.bytes
        reads = any(source.name == "samples" for source in module.inputs)
        samples = b.parameter("samples", I32, words_of(self.width)) if reads else None
        out = b.parameter("out", I32, self.classes, "write") if not outputs else None
        given: dict[str, Value] = {"labels": Numbers(label, 1)}
        if samples is not None:
            given["samples"] = Words(samples, self.width)
        tasks = SingleTasks(self.context, self.matrices, module, outputs)
        tasks.write(given)
        n = b.scalar("n", I64)
        one, zero = constant(1, I64), constant(0, I64)
        run = Run(zero, one, label, one, zero, one)
        with b.loop(n, "sample", unroll_one=False):
            for task in tasks.tasks:
                task.emit(b, run)
            if out is not None:
                scores = tasks.values[module.outputs[0].value]
                assert isinstance(scores, SumsOfOne)
                kernel = self.context.kernels.get("widened", self.classes, lambda name: widened(name, self.classes))
                b.call(kernel, scores.buffer, out)
        self.arena.bytes = begin
        function = b.function()
        given_buffers = tuple(buffer for buffer in (samples,) if buffer is not None)
        return Program(f"{self.name}_{name}", (), function, given_buffers, (out,) if out is not None else (), 0)


__all__ = ["DeviceProgram", "lower_device"]
