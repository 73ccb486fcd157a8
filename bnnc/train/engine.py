"""What runs a training step: the step as modules, samples as packed bits, and the protocol of engines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from bnnc.ir.module import Module
from bnnc.train.plan import TrainingPlan


@dataclass(frozen=True, eq=False)
class Samples:
    """Encoded samples, made once: bits uint32 [n, ceil(width / 32)], labels int32 [n].

    Element k of a sample is bit k % 32 of word k // 32; 1 stands for +1. Bits behind the last element are 0.
    """

    bits: np.ndarray
    labels: np.ndarray
    width: int

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Step:
    """One training step, as «bit» modules.

    A module's inputs that are named in `state` are read from the state, and its outputs (all are named in `state`, and
    have the type of the input of that name) replace them together at its end; what is no output stays as it was.

    accumulate(B): B samples of the batch `samples` bit [B, width] and `labels` Int(0, classes - 1) [B]. Splitting a
    batch into several calls, of any lengths, gives the same state. end_batch: after the last sample of a batch.
    end_epoch: after the last batch. evaluate(B): `samples` and `labels` as above; changes no state, its one output
    `wrong` Int [1] counts the samples whose best class is not their label. state: the initial value of every tensor of
    the state, in the smallest of int8, int16 and int32 that holds its type.
    """

    width: int
    classes: int
    batch: int
    accumulate: Callable[[int], Module]
    end_batch: Module
    end_epoch: Module
    evaluate: Callable[[int], Module]
    state: Mapping[str, np.ndarray]


class Engine(Protocol):
    """Executes a step. The state lives in the engine; every engine gives the same state for the same calls."""

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace the whole state (names, shapes and value ranges as in Step.state; any integer dtype)."""
        ...

    def state(self, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Copies of the tensors named, or of all, in the dtypes of Step.state."""
        ...

    def epoch(self, samples: Samples, order: np.ndarray) -> None:
        """One epoch: samples[order[0]], samples[order[1]], … (int64), Step.batch of them a batch (the last may be
        short), end_batch after each, end_epoch after the last."""
        ...

    def evaluate(self, samples: Samples) -> int:
        """How many of the samples the present weights put into the right class."""
        ...


@runtime_checkable
class Trains(Protocol):
    """What a backend may also be: one that executes training steps in this process."""

    def engine(self, step: Step, options: Any) -> Engine:
        """An engine with the initial state loaded. Raises BnncError B0615 for a step it cannot execute, or B0603 to
        B0611 where its tools are missing. `options` are the backend's own (threads and machine among them)."""
        ...


@runtime_checkable
class Plans(Protocol):
    """What a frontend may also be: one whose files say what is to be trained."""

    def plan(self, path: Path) -> TrainingPlan:
        """What the net in a file asks to be trained. Raises BnncError."""
        ...
