"""The engine that runs a step in the reference, op by op: slow, and the judge of every other engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from bnnc.ir.module import Module
from bnnc.reference.run import run
from bnnc.train.engine import Samples, Step
from bnnc.train.samples import unpack_rows

EVALUATED = 1000
"""How many samples are evaluated at a time."""


class ReferenceEngine:
    """An Engine on numpy. `split` cuts every batch into calls of at most that many samples (the state is the same)."""

    def __init__(self, step: Step, split: int | None = None) -> None:
        self.step = step
        self._split = split or step.batch
        self._modules: dict[tuple[str, int], Module] = {}
        self._state: dict[str, np.ndarray] = {}
        self.load_state(step.state)

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace the whole state."""
        wanted = self.step.state
        assert state.keys() == wanted.keys(), sorted(state.keys() ^ wanted.keys())
        for name, array in wanted.items():
            assert state[name].shape == array.shape, name
        self._state = {name: np.array(state[name], array.dtype) for name, array in wanted.items()}

    def state(self, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Copies of the tensors named, or of all."""
        return {name: self._state[name].copy() for name in (self._state if names is None else names)}

    def epoch(self, samples: Samples, order: np.ndarray) -> None:
        """One epoch over samples[order]."""
        for start in range(0, len(order), self.step.batch):
            batch = order[start : start + self.step.batch]
            for piece in _pieces(batch, self._split):
                self._run(self._module("accumulate", len(piece)), _arrays(samples, piece))
            self._run(self.step.end_batch)
        self._run(self.step.end_epoch)

    def evaluate(self, samples: Samples) -> int:
        """How many samples are put into the right class."""
        wrong = 0
        for piece in _pieces(np.arange(len(samples)), EVALUATED):
            module = self._module("evaluate", len(piece))
            wrong += int(run(module, self._inputs(module, _arrays(samples, piece)))["wrong"][0, 0])
        return len(samples) - wrong

    def _module(self, which: str, length: int) -> Module:
        if (which, length) not in self._modules:
            make = self.step.accumulate if which == "accumulate" else self.step.evaluate
            self._modules[which, length] = make(length)
        return self._modules[which, length]

    def _inputs(self, module: Module, more: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        known = {**self._state, **more}
        # The reference has one more axis in front: here a module is run once.
        return {op.name: known[op.name][None] for op in module.inputs}

    def _run(self, module: Module, more: Mapping[str, np.ndarray] | None = None) -> None:
        results = run(module, self._inputs(module, more or {}))
        self._state.update({name: array[0] for name, array in results.items()})


def _pieces(order: np.ndarray, length: int) -> Iterator[np.ndarray]:
    for start in range(0, len(order), length):
        yield order[start : start + length]


def _arrays(samples: Samples, chosen: np.ndarray) -> dict[str, np.ndarray]:
    bits = unpack_rows(samples.bits[chosen], samples.width)
    return {"samples": bits, "labels": samples.labels[chosen]}
