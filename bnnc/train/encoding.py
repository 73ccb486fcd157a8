"""From the samples of a data set to packed bits: the fitted encoders as a module, and their bulk execution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bnnc.diagnostics import error
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.move import Concat, Reshape, Slice
from bnnc.ir.op import Op
from bnnc.ir.types import DType
from bnnc.train.encoders import Grid, fit, grid
from bnnc.train.engine import Samples
from bnnc.train.plan import TrainingPlan
from bnnc.train.samples import pack_rows

BATCH = 4096
OUTPUT = "bits"
Runs = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Encoding:
    """The bits of a sample: `parts`, one op bit [width] for each step of a sequence (else a single one), on `source`.

    `bias`: in training every part is followed by a constant +1, so that sums are of an odd number of bits. In the
    exported network that input is part of the thresholds.
    """

    source: Input
    parts: tuple[Op, ...]
    bias: bool

    @property
    def row(self) -> int:
        """How many bits a training sample has, the constant ones included."""
        return len(self.parts) * (self.parts[0].type.size + self.bias)

    def module(self) -> Module:
        """All parts one after the other, without the constants: bit [steps * width]."""
        bits = self.parts[0] if len(self.parts) == 1 else Concat(self.parts, 0)
        return Module("encoder", (self.source,), (Output(OUTPUT, bits, "int8"),))

    def encode(self, run: Runs, samples: np.ndarray, labels: np.ndarray) -> Samples:
        """The samples [n, *shape] as packed bits; `run` executes `module()`."""
        steps, width = len(self.parts), self.parts[0].type.size
        rows = np.empty((len(samples), -(-self.row // 32)), np.uint32)
        for start in range(0, len(samples), BATCH):
            part = samples[start : start + BATCH]
            bits = run({self.source.name: part})[OUTPUT].reshape(len(part), steps, width)
            if self.bias:
                bits = np.concatenate([bits, np.ones((len(part), steps, 1), np.int8)], 2)
            rows[start : start + len(part)] = pack_rows(bits.reshape(len(part), -1))
        return Samples(rows, labels.astype(np.int32), self.row)


def fitted(plan: TrainingPlan, dtype: DType, samples: np.ndarray, seed: int) -> Encoding:
    """The encoders of the plan (or its frozen layers), fitted to the training samples [n, *plan.input_shape].

    Raises BnncError B0536 for encoders that the samples do not suit.
    """
    if plan.base is not None:
        return _frozen(plan, plan.base)
    source = Input(plan.input_name, dtype, plan.input_shape, loc=plan.loc)
    cell = plan.recurrence.width if plan.recurrence else 0
    parts = list(_steps(plan, source))
    of = grid(plan.input_shape[1:] if plan.recurrence else plan.input_shape)
    try:
        apply = fit(plan.encoders, samples.reshape(-1, of.size), of, seed)
    except MemoryError:
        raise error("B0536", "the training set is too large for these encoders to be fitted in memory") from None
    encoded = tuple(apply(part) for part in parts)
    return Encoding(source, encoded, (encoded[0].type.size + cell) % 2 == 0)


def _steps(plan: TrainingPlan, source: Input) -> tuple[Op, ...]:
    """The elements of each step of a sequence, flat; of anything else, all of them."""
    if plan.recurrence is None:
        return (_flat(source),)
    first, *rest = source.type.shape
    if first != plan.recurrence.steps:
        raise error(
            "B0536", f"the input {source.type} has {first} steps, not {plan.recurrence.steps}", places=(plan.loc,)
        )
    flat = Reshape(source, (first, int(np.prod(rest))))
    return tuple(_flat(Slice(flat, (t, 0), (1, flat.shape[1]), (1, 1))) for t in range(first))


def _flat(x: Op) -> Op:
    return x if len(x.type.shape) == 1 else Reshape(x, (x.type.size,))


def _frozen(plan: TrainingPlan, base: Module) -> Encoding:
    """The frozen layers in front stand for the encoders: their bits are the samples."""
    (source,), (output,) = base.inputs, base.outputs
    part = _flat(output.value)
    if plan.recurrence is not None:
        raise error("B0530", "a recurrent layer cannot be trained over frozen layers", places=(plan.loc,))
    return Encoding(source, (part,), part.type.size % 2 == 0)


__all__ = ["BATCH", "Encoding", "Grid", "Runs", "fitted"]
