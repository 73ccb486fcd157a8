"""The loop over epochs: samples are encoded once, an engine runs the step, what it made is measured and kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from bnnc.data import draws
from bnnc.data.dataset import Dataset
from bnnc.data.split import Pair, validation
from bnnc.diagnostics import Diagnostic, error
from bnnc.ir.module import Module
from bnnc.ir.training import PERMUTATION, stream
from bnnc.ir.types import Bit, DType
from bnnc.train import checkpoint, rules
from bnnc.train.checkpoint import EpochCounts, Snapshot
from bnnc.train.encoding import Runs, fitted
from bnnc.train.engine import Engine, Samples, Step
from bnnc.train.export import network
from bnnc.train.plan import TrainingPlan, name_of
from bnnc.train.shifts import shifted
from bnnc.train.state import completed, kept, signs_of

PATIENCE = 15
"""With validation, training ends after so many epochs without a better one."""
CHANCE_EPOCHS = 5
"""After so many epochs a run that is no better than guessing is called stuck."""


@dataclass(frozen=True)
class EpochReport:
    """One epoch, as people and scripts are told, in fractions: accuracies, and the share of all weights that changed
    their sign at the end of a batch, on average over the batches."""

    epoch: int
    train_accuracy: float
    test_accuracy: float
    flips: float
    seconds: float
    validation_accuracy: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The line of `bnnc train --json`."""
        row = {
            "epoch": self.epoch,
            "train_accuracy": self.train_accuracy,
            "test_accuracy": self.test_accuracy,
            "flips": self.flips,
            "seconds": round(self.seconds, 4),
        }
        if self.validation_accuracy is not None:
            row["validation_accuracy"] = self.validation_accuracy
        return row


@dataclass(frozen=True)
class Machinery:
    """Who executes: an engine for a step, and a caller for the encoder's module."""

    engine: Callable[[Step], Engine]
    run: Callable[[Module], Runs]


@dataclass
class _Sets:
    train: Samples
    test: Samples
    validation: Samples | None
    drawn: int
    chance: float = field(default=0.0)


class Training:
    """A training run: everything from the data to the bytes of the result.

    Raises BnncError where the plan and the data do not fit (B0502), and what `rules.build` and the encoders raise.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        data: Pair,
        machinery: Machinery,
        *,
        seed: int = 0,
        validation: Fraction | None = None,
    ) -> None:
        rules.check(plan, seed)
        _check_fit(plan, data.train)
        self.plan = plan
        self.seed = seed
        self._validation = validation
        data = Pair(data.train.held(), data.test)  # read once: for the digest, the encoders and the samples
        self._digest = data.train.digest()
        self._load(data, machinery)
        self.step, self.design = rules.build(plan, self._encoding.row, seed)
        self._engine = machinery.engine(self.step)
        self._last = Snapshot({name: self.step.state[name] for name in kept(self.step.state)})

    def _load(self, data: Pair, machinery: Machinery) -> None:
        plan = self.plan
        split = validation(data.train, self._validation, self.seed) if self._validation else None
        images, labels = (split.train if split else data.train).load()
        shape = plan.input_shape
        self._encoding = fitted(plan, plan.input_dtype or data.train.dtype, images.reshape(-1, *shape), self.seed)
        run = machinery.run(self._encoding.module())

        def encoded(samples: np.ndarray, their: np.ndarray) -> Samples:
            return self._encoding.encode(run, samples.reshape(-1, *shape), their)

        counts = np.bincount(labels, minlength=plan.classes)
        train = encoded(shifted(images), np.tile(labels, 5)) if plan.settings.shifts else encoded(images, labels)
        self._sets = _Sets(
            train,
            encoded(*data.test.load()),
            encoded(*split.test.load()) if split else None,
            len(labels),
            float(counts.max() / max(1, len(labels))),
        )

    @property
    def epochs_done(self) -> int:
        """How many epochs are complete."""
        return len(self._last.history)

    @property
    def history(self) -> list[EpochReport]:
        """Every complete epoch (those before a resumption without their times)."""
        return [self._report(number, counts, 0.0) for number, counts in enumerate(self._last.history, 1)]

    @property
    def result_epoch(self) -> int:
        """The epoch whose network is the result: the last complete one, or the best one with validation."""
        return self._last.best_epoch or self.epochs_done

    def epochs(self, until: int) -> Iterator[EpochReport]:
        """Train until so many epochs are complete, or, with validation, none has been better for PATIENCE epochs.

        An exception (an interrupt, for example) leaves the run as it was after the last complete epoch.
        """
        self._engine.load_state(completed(self._last.state))
        while self.epochs_done < until and not self._stalled():
            number = self.epochs_done
            started = time.perf_counter()
            self._engine.epoch(
                self._sets.train, permutation(self.seed, number, len(self._sets.train), self._sets.drawn)
            )
            seconds = time.perf_counter() - started
            self._last = self._after(self._engine)
            yield self._report(number + 1, self._last.history[-1], seconds)

    def _stalled(self) -> bool:
        return bool(self._last.best_epoch) and self.epochs_done - self._last.best_epoch >= PATIENCE

    def _after(self, engine: Engine) -> Snapshot:
        """The run after one more epoch."""
        state = engine.state(kept(self.step.state))
        wrong, total, flips = (int(n) for n in state["last"])
        test = engine.evaluate(self._sets.test)
        last = self._last
        if self._sets.validation is None:
            return Snapshot(state, (*last.history, EpochCounts(wrong, total, flips, test)))
        right = engine.evaluate(self._sets.validation)
        history = (*last.history, EpochCounts(wrong, total, flips, test, right))
        if right > max((counts.validation for counts in last.history), default=-1):
            return Snapshot(state, history, len(history), state)
        return Snapshot(state, history, last.best_epoch, last.best)

    def _report(self, number: int, counts: EpochCounts, seconds: float) -> EpochReport:
        weights = sum(matrix.rows * matrix.columns for matrix in self.design.matrices)
        batches = -(-counts.total // self.step.batch)
        held = self._sets.validation
        return EpochReport(
            number,
            (counts.total - counts.wrong) / max(1, counts.total),
            counts.test / max(1, len(self._sets.test)),
            counts.flips / max(1, weights * batches),
            seconds,
            None if held is None else counts.validation / len(held),
        )

    def stuck(self) -> Diagnostic | None:
        """A warning if the run is no better than guessing after CHANCE_EPOCHS epochs."""
        if self.epochs_done < CHANCE_EPOCHS:
            return None
        counts = self._last.history[-1]
        accuracy = 1 - counts.wrong / max(1, counts.total)
        if accuracy > self._sets.chance + 0.02:
            return None
        notes = []
        for number, matrix in enumerate(self.design.matrices):
            hidden = np.abs(self._last.state[f"hidden_{matrix.name}"].astype(np.int64))
            share = float((hidden >= rules.largest_hidden(self.plan) - 1).mean())
            layer = max(0, number - 1) if self.plan.recurrence else number
            notes.append(
                f"layer `{name_of(self.plan, layer)}`: {100 * share:.0f} % of its hidden weights are at their limit"
            )
        return Diagnostic(
            "B0505",
            f"training is stuck at chance: {100 * accuracy:.1f} % after {self.epochs_done} epochs, and the most "
            f"frequent class alone makes {100 * self._sets.chance:.1f} %",
            "warning",
            (self.plan.loc,),
            tuple(notes),
            ("try a larger gate or smaller margin, 16-bit hidden weights, or other encoders",),
        )

    def module(self) -> Module:
        """The network of the result."""
        return self._network(self._last.best or self._last.state)

    def _network(self, state: Mapping[str, np.ndarray]) -> Module:
        weights = {matrix.name: signs_of(state[f"hidden_{matrix.name}"]) for matrix in self.design.matrices}
        return network(self.plan, self._encoding, self.design, weights)

    def _same(self) -> dict[str, Any]:
        """What a checkpoint must agree in to be of this training."""
        return {
            "plan": checkpoint.described(self.plan),
            "seed": self.seed,
            "validation": None if self._validation is None else str(self._validation),
            "data digest": self._digest,
        }

    def _facts(self, history: tuple[EpochCounts, ...], best_epoch: int) -> dict[str, Any]:
        rows = [[c.wrong, c.total, c.flips, c.test, c.validation] for c in history]
        return {**self._same(), "test": len(self._sets.test), "best_epoch": best_epoch, "history": rows}

    def _codes(self) -> dict[str, np.ndarray]:
        return {str(number): code for number, code in enumerate(self.design.codes, 1)}

    def result(self) -> bytes:
        """The `.bnnm` of the result, with the state of its epoch. Equal training gives equal bytes."""
        last = self._last
        facts = self._facts(last.history, last.best_epoch)
        return checkpoint.dumps(self.module(), facts, last.best or last.state, self._codes())

    def checkpoint(self) -> bytes:
        """The `.bnnm` from which `resume` goes on: the state of the last complete epoch, and that of the best."""
        last = self._last
        facts = self._facts(last.history, last.best_epoch)
        return checkpoint.dumps(self._network(last.state), facts, last.state, self._codes(), last.best)

    def resume(self, data: bytes, file: str) -> None:
        """Go on from a checkpoint. Raises BnncError: B0420 to B0423, B0534, B0535."""
        facts, snapshot = checkpoint.loads(data, file, self.design.states.types)
        checkpoint.check_same(facts, self._same(), file)
        self._last = snapshot


def permutation(seed: int, epoch: int, count: int, drawn: int) -> np.ndarray:
    """The order of samples in an epoch (counted from 0): the first `drawn` of all `count` by ascending draws.

    The draws of one stream all differ, so no order of equals has to be chosen.
    """
    keys = draws.draws(stream(seed, PERMUTATION, 0, epoch), 0, count)
    return np.argsort(keys)[:drawn].astype(np.int64, copy=False)


def _check_fit(plan: TrainingPlan, data: Dataset) -> None:
    """Raises BnncError B0502 unless the samples fit the input, and the labels the classes."""
    dtype: DType = plan.input_dtype or data.dtype
    size = int(np.prod(plan.input_shape))
    same = data.shape == plan.input_shape or (len(plan.input_shape) == 1 and data.type.size == size)
    if not same or dtype != data.dtype:
        wanted = f"{dtype}{list(plan.input_shape)}"
        raise error(
            "B0502",
            f"data set `{data.name}` is {data.type}, but input `{plan.input_name}` of net `{plan.name}` is {wanted}",
            places=(plan.loc,),
            helps=(f"other data, or change the input to {data.type}",),
        )
    if len(data.classes) != plan.classes:
        raise error(
            "B0502",
            f"data set `{data.name}` has {len(data.classes)} classes, but net `{plan.name}` has {plan.classes}",
            places=(plan.loc,),
            helps=(f"change the classifier to {len(data.classes)} classes",),
        )
    if plan.settings.shifts and (len(data.shape) != 3 or data.dtype == Bit()):
        raise error("B0536", f"`shifts` moves images, and `{data.name}` is {data.type}", places=(plan.loc,))
