"""The accuracy table of training: every shipped setting on its data set, beside the papers' and a float baseline's.

    python benchmarks/training_table.py [--rows mnist-lbe,…] [--seeds 3] [--epochs N] [--data-dir FOLDER]
                                        [--held-out] [--float-epochs 10] [--json]

Protocol: all training images, the official test set, the last epoch; mean and standard deviation over seeds 1, 2, 3 …
`fashion-authors` is the protocol of the LBE paper instead: 50 000 of the training images to train on, the other 10 000
to test on, another split for every seed; the official test set is not read. `--held-out` measures every row in that
way, as the settings were chosen. With PyTorch installed, the same bits and widths are also trained by a
straight-through estimator (`--float-epochs 0` leaves that out); without it, figures recorded earlier are shown, and
marked so.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.process import ROOT
from benchmarks.straight_through import Float, installed, straight_through
from bnnc import api
from bnnc.backends.llvm.host import native_machine
from bnnc.data.majority import majority_accuracy
from bnnc.data.registry import both
from bnnc.data.split import Pair, validation
from bnnc.ir.types import Bit
from bnnc.train.encoding import fitted
from bnnc.train.engine import Samples
from bnnc.train.plan import TrainingPlan

HELD_OUT = Fraction(1, 6)
"""10 000 of 60 000 images."""


@dataclass(frozen=True)
class Row:
    """A row of the table: a net of `examples/`, its data set, and what to compare with, in points.

    seeds: how many, unless the user says. own_split: tested on a part of the training set. least: what bnnc promises.
    paper: published figures, in words. recorded: the float baseline when it was measured last, in words.
    """

    key: str
    net: str
    data: str
    least: float
    paper: str = "-"
    recorded: str = "-"
    seeds: int = 3
    own_split: bool = False


ROWS = (
    Row("mnist-lbe", "mnist/net.bnn", "mnist", 93.5, recorded="97.35"),
    Row("mnist-bep", "mnist/bep.bnn", "mnist", 95.2, recorded="97.35"),
    Row("mnist-features", "mnist/features.bnn", "mnist", 97.0, recorded="97.63, 4 epochs"),
    Row("fashion-lbe", "fashion/net.bnn", "fashion-mnist", 85.4, recorded="87.50"),
    Row("fashion-bep", "fashion/bep.bnn", "fashion-mnist", 85.7, "~86.0", "87.50"),
    Row("fashion-comparisons", "fashion/comparisons.bnn", "fashion-mnist", 88.2, recorded="89.46"),
    Row("prototypes", "prototypes/net.bnn", "prototypes", 95.0, "94.83", "93.15"),
    Row("fashion-authors", "fashion/net.bnn", "fashion-mnist", 86.0, "86.64", seeds=5, own_split=True),
)


@dataclass(frozen=True)
class Result:
    """What a row gave: accuracies of its seeds as fractions, CPU seconds of an epoch on one thread, its measurement on
    the test set included (the median of all)."""

    row: Row
    net: str
    epochs: int
    train: tuple[float, ...]
    test: tuple[float, ...]
    seconds: float
    majority: float | None
    baseline: Float | None

    @property
    def mean(self) -> float:
        """Of the seeds, in points."""
        return 100 * statistics.mean(self.test)

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds, in points; 0 for a single one."""
        return 100 * statistics.stdev(self.test) if len(self.test) > 1 else 0.0

    @property
    def document(self) -> dict[str, Any]:
        """For JSON."""
        found = asdict(self)
        return {**found.pop("row"), **found, "mean": self.mean, "deviation": self.spread}


def pair_of(row: Row, data_dir: str | None, held_out: bool, seed: int) -> Pair:
    """What a row is trained and tested on."""
    data = both(row.data, data_dir)
    return validation(data.train, HELD_OUT, seed) if held_out or row.own_split else data


def encoded(plan: TrainingPlan, pair: Pair, seed: int) -> tuple[Samples, Samples]:
    """The bits that the net is trained on, without shifted images."""
    images, labels = pair.train.load()
    encoding = fitted(plan, plan.input_dtype or pair.train.dtype, images.reshape(-1, *plan.input_shape), seed)
    run = api.machinery("llvm").run(encoding.module())
    test, wanted = pair.test.load()
    shape = plan.input_shape
    return (
        encoding.encode(run, images.reshape(-1, *shape), labels),
        encoding.encode(run, test.reshape(-1, *shape), wanted),
    )


def described(plan: TrainingPlan) -> str:
    """The net and its rule in a few words."""
    settings = plan.settings
    encoders = "+".join(_words(encoder) for encoder in plan.encoders)
    return f"{encoders} {'-'.join(map(str, plan.widths))} {settings.rule}{', shifts' * settings.shifts}"


def _words(encoder: Any) -> str:
    count = getattr(encoder, "count", None) or getattr(encoder, "levels", None)
    return f"{count or ''}{' ' if count else ''}{type(encoder).__name__.lower()}"


Baselines = dict[tuple[Any, ...], Float]
"""By data, split, encoders and widths: rows that differ in the rule share one."""


def measured(row: Row, given: argparse.Namespace, baselines: Baselines) -> Result:
    """Train a row with all its seeds."""
    plan = api.load_plan(ROOT / "examples" / row.net)
    epochs = given.epochs or plan.settings.epochs
    train, test, times = [], [], []
    for seed in range(1, (given.seeds or row.seeds) + 1):
        pair = pair_of(row, given.data_dir, given.held_out, seed)
        run = api.training(plan, pair, seed=seed, threads=1)
        before = time.process_time()
        for _ in run.epochs(epochs):
            now = time.process_time()
            times.append(now - before)
            before = now
        train.append(run.history[-1].train_accuracy)
        test.append(run.history[-1].test_accuracy)
        _say(given, f"{row.key}, seed {seed}: {100 * test[-1]:.2f}")
    pair = pair_of(row, given.data_dir, given.held_out, 1)
    majority = majority_accuracy(pair.train, pair.test) if pair.train.dtype == Bit() else None
    baseline = None
    if given.float_epochs and installed():
        key = (row.data, row.own_split, plan.encoders, plan.widths)
        if key not in baselines:
            baselines[key] = straight_through(*encoded(plan, pair, 1), plan.widths, given.float_epochs, 1)
        baseline = baselines[key]
        _say(given, f"{row.key}, float: {100 * baseline.test:.2f}")
    return Result(row, described(plan), epochs, tuple(train), tuple(test), statistics.median(times), majority, baseline)


def _say(given: argparse.Namespace, text: str) -> None:
    if not given.quiet:
        print(text, file=sys.stderr, flush=True)


def table(results: list[Result], held_out: bool) -> Iterator[str]:
    """The lines of the table, in Markdown."""
    yield (
        "| row | net | epochs, seeds | train | "
        + ("held out" if held_out else "test")
        + " | at least | paper | float | CPU s/epoch |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for result in results:
        row = result.row
        if result.baseline:
            reference = f"{100 * result.baseline.test:.2f} ({result.baseline.epochs} epochs)"
        else:
            reference = f"{row.recorded} (recorded)" if row.recorded != "-" else "-"
        if result.majority is not None:
            reference += f"; majority {100 * result.majority:.2f}"
        yield (
            f"| {row.key} | {result.net} | {result.epochs}, {len(result.test)} "
            f"| {100 * statistics.mean(result.train):.2f} | **{result.mean:.2f}** ± {result.spread:.2f} "
            f"| {row.least} | {row.paper} | {reference} | {result.seconds:.3f} |"
        )


def chosen(text: str | None) -> tuple[Row, ...]:
    """The rows that the user names, or all."""
    if not text:
        return ROWS
    keys = [key.strip() for key in text.split(",")]
    unknown = sorted(set(keys) - {row.key for row in ROWS})
    if unknown:
        raise SystemExit(f"no row {', '.join(unknown)}; rows: {', '.join(row.key for row in ROWS)}")
    return tuple(row for row in ROWS if row.key in keys)


def main() -> int:
    """Prints the table; with --json, one document. Exit code 1 if a full run misses what bnnc promises."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", help="which, by name; all without it")
    parser.add_argument("--seeds", type=int, help="how many; without it 3, and 5 for fashion-authors")
    parser.add_argument("--epochs", type=int, help="instead of those in the nets")
    parser.add_argument("--data-dir", default=os.environ.get("BNNC_DATA"), help="where the data sets are")
    parser.add_argument(
        "--held-out", action="store_true", help="measure on 10 000 training images, trained on the rest"
    )
    parser.add_argument("--float-epochs", type=int, default=10, help="of the float baseline; 0 leaves it out")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--quiet", action="store_true", help="nothing while it runs")
    given = parser.parse_args()
    rows = chosen(given.rows)
    if given.float_epochs and not installed():
        print(
            "PyTorch is not installed: the float baseline is not trained; pip install -e '.[bench]' brings it",
            file=sys.stderr,
        )
    baselines: Baselines = {}
    results = [measured(row, given, baselines) for row in rows]
    if given.json:
        machine = native_machine().cpu
        print(json.dumps({"machine": machine, "rows": [result.document for result in results]}, indent=1))
    else:
        print("\n".join(table(results, given.held_out)))
    full = not (given.epochs or given.held_out or (given.seeds and given.seeds < 3))
    missed = [result.row.key for result in results if full and result.mean < result.row.least]
    if missed:
        print(f"below what is promised: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
