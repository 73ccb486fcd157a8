"""What the lowering of every op of a training step needs: where values are, and how a kernel becomes a task."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bnnc.ir.module import Module, Output
from bnnc.ir.op import Op
from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I32,
    Buffer,
    Expression,
    Function,
    Pointer,
    Scalar,
    constant_buffer,
)
from bnnc.loops.kernels.training import bits
from bnnc.loops.kernels.training.layouts import BatchBits, packed_rows
from bnnc.loops.lower.training.phases import SAMPLES, Run, Task
from bnnc.loops.lower.training.values import (
    Arena,
    Bits,
    Chosen,
    End,
    Home,
    Known,
    Numbers,
    PerSample,
    Scratch,
    Sums,
    Value,
    refused,
)
from bnnc.loops.machine import Machine

MOST_THREADS = 64
"""Threads that may share a step: each has scratch memory of its own."""


class Kernels:
    """The functions and constants of the program; equal ones are made once."""

    def __init__(self) -> None:
        self.functions: dict[Hashable, Function] = {}
        self.constants: dict[Hashable, Buffer] = {}

    def get(self, kind: str, key: Hashable, make: Callable[[str], Function]) -> Function:
        """The function of that kind for that key; `make` gets its name."""
        known = self.functions.get((kind, key))
        if known is None:
            number = sum(other[0] == kind for other in self.functions)  # type: ignore[index]
            known = self.functions[kind, key] = make(f"{kind}_{number}")
        return known

    def constant(self, kind: str, array: np.ndarray) -> Buffer:
        """A constant with this content."""
        key = (kind, array.shape, array.tobytes())
        if key not in self.constants:
            self.constants[key] = constant_buffer(f"constant_{kind}_{len(self.constants)}", array)
        return self.constants[key]


@dataclass(eq=False)
class Context:
    """What all modules of a step share. `ends`: what becomes of hidden weights after their only update in a batch."""

    batch: int
    machine: Machine
    arena: Arena = field(default_factory=Arena)
    kernels: Kernels = field(default_factory=Kernels)
    scratch: Scratch = field(default_factory=lambda: Scratch(MOST_THREADS))
    homes: dict[str, Home] = field(default_factory=dict)
    ends: dict[Buffer, End] = field(default_factory=dict)


class TaskWriter:
    """Collects the tasks of one module, in order.

    `again`: the same module for one sample more, which shows what depends on their number; None for a module without
    samples. `outputs`: those that become the state.
    """

    def __init__(self, context: Context, module: Module, again: Module | None, outputs: tuple[Output, ...]) -> None:
        self.batch, self.machine, self.arena = context.batch, context.machine, context.arena
        self.kernels, self.scratch = context.kernels, context.scratch
        self.homes, self.ends = context.homes, context.ends
        self.module, self.outputs = module, outputs
        self.tasks: list[Task] = []
        self.values: dict[Op, Value] = {}
        self.users = module.users()
        self._more = dict(zip(module.ops(), (again or module).ops(), strict=True))

    def _samples(
        self,
        kernel: Function,
        reads: Sequence[Buffer],
        writes: Sequence[Buffer],
        own: Scalar | None = None,
        passed: Sequence[Buffer] | None = None,
    ) -> None:
        """A call for the samples of each thread; with scratch memory of elements `own`; `passed`: what stands for the
        buffers that are read."""

        def emit(b: Builder, run: Run) -> None:
            arguments: list[Buffer | Pointer | Expression] = [*(passed or reads)]
            if own is not None:
                arguments.append(self.scratch.of(run.thread, own))
            b.call(kernel, *arguments, *writes, run.first, run.last)

        self.tasks.append(Task(kernel.name, SAMPLES, tuple(reads), tuple(writes), emit))

    def _per_sample(self, kernel: Function, reads: Sequence[Buffer]) -> PerSample:
        flags = self.arena.take("flags", I32, self.batch)
        self._samples(kernel, reads, [flags])
        return PerSample(flags)

    def _new_bits(self, width: int, planes: int = 1) -> Bits:
        layout = BatchBits(self.batch, width, planes)
        return Bits(self.arena.take("bits", I32, layout.length), layout)

    def _bits(self, op: Op) -> Bits:
        value = self.values[op]
        if isinstance(value, Chosen):
            value = self.values[op] = self._taken(value)
        if not isinstance(value, Bits):
            raise refused(f"`{op.opcode}` is not the bits of samples")
        return value

    def _taken(self, x: Chosen) -> Bits:
        """The bits that each sample chose."""
        table = self.kernels.constant("rows", packed_rows(x.values > 0))
        result = self._new_bits(x.values.shape[1])
        if x.index is None:
            kernel = self.kernels.get(
                "same_row", (table, result.layout), lambda name: bits.same_row(name, table, result.layout)
            )
        else:
            kernel = self.kernels.get(
                "rows",
                (table, result.layout),
                lambda name: bits.table_rows(name, table, len(x.values), result.layout),
            )
        self._samples(kernel, [x.index] if x.index is not None else [], [result.buffer])
        return result

    def _sums(self, op: Op) -> Sums:
        value = self.values[op]
        if not isinstance(value, Sums):
            raise refused(f"`{op.opcode}` is not a sum a neuron")
        return value

    def _flags(self, op: Op) -> Buffer:
        value = self.values[op]
        if not isinstance(value, PerSample):
            raise refused(f"`{op.opcode}` is not a number a sample")
        return value.buffer

    def _number_buffer(self, op: Op) -> Buffer:
        value = self.values[op]
        if isinstance(value, Known) and not any(value.slopes):
            return self.kernels.constant("numbers", np.array(value.values, np.int32))
        if not isinstance(value, Numbers):
            raise refused(f"`{op.opcode}` is not a number")
        return value.buffer
