"""Checks a network: a target against the reference or another runtime, every pass against the one before, accuracy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from bnnc.compare import TOLERANCE, Agreement
from bnnc.data.seeded import seeded
from bnnc.ir.module import Module
from bnnc.passes import pipelines
from bnnc.passes.manager import Pass, PassReport
from bnnc.passes.options import PassOptions
from bnnc.reference import run as reference

Inputs = Mapping[str, np.ndarray]
Runs = Callable[[Inputs], dict[str, np.ndarray]]
# How many samples the reference works on at a time: results and times come in pieces of this size.
CHUNK = 16


@dataclass(frozen=True)
class Piece:
    """Some samples, batch first, and their classes where those are known."""

    inputs: Inputs
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return max((len(array) for array in self.inputs.values()), default=1)

    def part(self, start: int, stop: int) -> Piece:
        """The samples from `start` up to `stop`."""
        inputs = {name: array[start:stop] for name, array in self.inputs.items()}
        return Piece(inputs, None if self.labels is None else self.labels[start:stop])


@dataclass
class Verdict:
    """What a check found. `sample` holds the inputs of the first sample that differs, as a batch of one."""

    agreement: Agreement = field(default_factory=Agreement)
    sample: dict[str, np.ndarray] = field(default_factory=dict)
    labelled: int = 0
    right: int = 0

    @property
    def accuracy(self) -> float | None:
        """The share of the labelled samples whose class the network finds; None without labels."""
        return self.right / self.labelled if self.labelled else None

    def as_json(self) -> dict[str, object]:
        """The object `check` of `bnnc check --json`; the accuracy is that of `labelled` inputs."""
        return {
            "inputs": self.agreement.inputs,
            "equal": self.agreement.equal,
            "exempt_ties": self.agreement.exempt_ties,
            "max_abs_error": self.agreement.max_abs_error,
            "accuracy": self.accuracy,
            **({"labelled": self.labelled} if self.labelled else {}),
        }


def classes(module: Module, outputs: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The class of every sample: the arg-max (lowest index on a tie) of the first output with scores or an index."""
    for output in module.outputs:
        values = np.moveaxis(outputs[output.name], output.batch_axis, 0)
        flat = values.reshape(len(values), math.prod(values.shape[1:]))
        if flat.shape[1] > 1:
            return np.asarray(flat.argmax(1))
        if flat.shape[1] == 1 and np.dtype(output.storage).kind in "iu":
            return np.asarray(flat[:, 0].astype(np.int64))
    return None


def pieces_of(inputs: Inputs, length: int = CHUNK) -> Iterator[Piece]:
    """Given inputs, a few samples at a time."""
    total = max((len(array) for array in inputs.values()), default=1)
    for start in range(0, total, length):
        yield Piece({name: array[start : start + length] for name, array in inputs.items()})


def seeded_pieces(module: Module, count: int, seed: int) -> Iterator[Piece]:
    """`count` made-up samples, first one, then more at a time: a slow reference is noticed early."""
    start, size = 0, 1
    while start < count:
        size = min(size, count - start)
        yield Piece(seeded(module, size, seed, start))
        start, size = start + size, min(size * 2, CHUNK)


def first(pieces: Iterable[Piece], count: int) -> Iterator[Piece]:
    """The first `count` samples; what lies behind them is not even read."""
    for piece in pieces:
        yield piece.part(0, count)
        count -= len(piece)
        if count <= 0:
            return


def patient(pieces: Iterable[Piece], seconds: float) -> Iterator[Piece]:
    """The same samples for something slow: one, then more at a time while that is quick; none after `seconds`.

    The time counts in which the samples are used: until the next ones are asked for.
    """
    spent, size = 0.0, 1
    for piece in pieces:
        start = 0
        while start < len(piece):
            if spent > seconds:
                return
            part = piece.part(start, start + size)
            begun = time.perf_counter()
            yield part
            took = time.perf_counter() - begun
            start, spent = start + size, spent + took
            size = size * 2 if took < seconds / 16 else max(1, size // 2) if took > seconds / 4 else size


def judge(module: Module) -> Runs:
    """The reference on the meaning of the module: what every target must reproduce bit by bit."""
    meaning = pipelines.canonical(module)
    return _on_reference(meaning)


def _on_reference(meaning: Module) -> Runs:
    return lambda inputs: reference.run(meaning, inputs)


def recorded(module: Module, outputs: Mapping[str, np.ndarray]) -> Runs:
    """Recorded outputs, handed out sample by sample in the order of the inputs they belong to."""
    axes = {output.name: output.batch_axis for output in module.outputs}
    done = 0

    def following(inputs: Inputs) -> dict[str, np.ndarray]:
        nonlocal done
        start, done = done, done + len(Piece(inputs))
        return {name: np.take(array, range(start, done), axes.get(name, 0)) for name, array in outputs.items()}

    return following


def compare(
    module: Module,
    found: Runs,
    pieces: Iterable[Piece],
    expected: Runs | None = None,
    *,
    count: int | None = None,
    seconds: float | None = None,
) -> Verdict:
    """Compare what `found` gives with what the reference gives, bit by bit; or with `expected`, within the tolerance.

    After `count` samples or `seconds` no more are compared (at least one piece is); labelled ones still count for the
    accuracy.
    """
    verdict = Verdict()
    result = verdict.agreement
    meaning = pipelines.canonical(module)
    wanted = expected or _on_reference(meaning)
    tolerance = None if expected is None else TOLERANCE
    started = time.perf_counter()
    for piece in pieces:
        late = seconds is not None and time.perf_counter() - started > seconds
        enough = result.inputs > 0 and (late or (count is not None and result.inputs >= count))
        if enough and piece.labels is None:
            break
        outputs = found(piece.inputs)
        if piece.labels is not None:
            _count_right(verdict, module, outputs, piece.labels)
        if not enough:
            before, had = result.inputs, result.first
            result.add(meaning, piece.inputs, wanted(piece.inputs), outputs, tolerance)
            if had is None and result.first is not None:
                at = result.first.sample - before
                verdict.sample = {name: np.asarray(a)[at : at + 1] for name, a in piece.inputs.items()}
    return verdict


def _count_right(verdict: Verdict, module: Module, outputs: Mapping[str, np.ndarray], labels: np.ndarray) -> None:
    decided = classes(module, outputs)
    if decided is not None:
        verdict.labelled += len(labels)
        verdict.right += int((decided == labels).sum())


@dataclass(frozen=True)
class PassRow:
    """One pass of a check: how many ops it left, and on how many inputs the modules before and after it agree.

    A pass that is not `exact` fixes what an imported model means: there the comparison is within the tolerance.
    """

    name: str
    exact: bool
    ops: int
    agreement: Agreement
    seconds: float
    chosen: bool = False

    @property
    def wrong(self) -> bool:
        """Whether the pass did what it must not do; one that the user chose may change results."""
        return bool(self.agreement.different) and not self.chosen

    def as_json(self) -> dict[str, object]:
        """A row of the list `passes` of `bnnc check --each-pass --json`."""
        return {
            "name": self.name,
            "exact": self.exact,
            "ops": self.ops,
            "inputs": self.agreement.inputs,
            "equal": self.agreement.equal,
            "exempt_ties": self.agreement.exempt_ties,
            "seconds": round(self.seconds, 4),
        }


def check_passes(module: Module, inputs: Inputs, options: PassOptions = pipelines.EXACT) -> list[PassRow]:
    """Run the reference before and after every pass on the same inputs, and compare.

    Passes that options ask for change the meaning, and take the formats of streams from the same inputs.
    """
    rows: list[PassRow] = []
    before, values = module, reference.run(module, inputs)

    def observe(each: Pass, after: Module, report: PassReport) -> None:
        nonlocal before, values
        result, found = Agreement(), reference.run(after, inputs)
        result.add(before, inputs, values, found, None if each.exact else TOLERANCE)
        rows.append(PassRow(each.name, each.exact, report.ops, result, report.seconds, each.chosen))
        before, values = after, found

    pipelines.optimise(module, observe, options=replace(options, inputs=inputs))
    return rows
