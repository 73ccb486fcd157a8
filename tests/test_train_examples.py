"""The shipped settings of training: they parse, they fit their data, and a short run of them learns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import straight_through, training_table
from benchmarks.process import environment
from benchmarks.training_table import ROWS, Row
from bnnc import api
from bnnc.data.registry import both
from bnnc.train import rules
from bnnc.train.samples import packed
from tests.shared import ROOT, SHARED, needs_shared
from tests.training import prototypes

EXAMPLES = ROOT / "examples"
NETS = sorted(path for name in ("mnist", "fashion", "prototypes") for path in (EXAMPLES / name).glob("*.bnn"))
BITS = {"net.bnn": 785, "bep.bnn": 785, "features.bnn": 4097, "comparisons.bnn": 5185}


@pytest.mark.parametrize("path", NETS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_net_can_be_built(path: Path) -> None:
    plan = api.load_plan(path)
    assert plan.classes == 10
    assert max(plan.widths) <= 1035
    step, _ = rules.build(plan, BITS.get(path.name, 1001) if path.parent.name != "prototypes" else 1001, 1)
    assert step.batch == plan.settings.batch


def test_every_net_has_a_row_and_every_row_a_net() -> None:
    assert {EXAMPLES / row.net for row in ROWS} == set(NETS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_readmes_name_every_net_and_say_what_is_promised(row: Row) -> None:
    path = EXAMPLES / row.net
    readme = path.with_name("README.md").read_text(encoding="utf-8")
    assert f"`{path.name}`" in readme
    table = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    (line,) = (text for text in table.splitlines() if text.startswith(f"| {row.key} |"))
    assert f"| {row.least} |" in line


def test_the_prototypes_are_learnt_in_seconds() -> None:
    run = api.train(EXAMPLES / "prototypes" / "net.bnn", "prototypes", seed=1, epochs=12)
    assert run.history[-1].test_accuracy > 0.90, run.history[-1]


@needs_shared
def test_mnist_is_learnt_in_seconds() -> None:
    run = api.train(EXAMPLES / "mnist" / "net.bnn", "mnist", seed=1, epochs=3, data_dir=SHARED / "data")
    assert run.history[-1].test_accuracy > 0.91, run.history[-1]
    module = run.module()
    assert [output.name for output in module.outputs] == ["scores"]
    images, labels = next(both("mnist", SHARED / "data").test.batches(200))
    scores = api.run(module, {"image": images})["scores"]
    assert (scores.argmax(1) == labels).mean() > 0.85


def test_the_table_prints_a_row_as_json() -> None:
    found = table("--rows", "prototypes", "--seeds", "1", "--epochs", "2", "--float-epochs", "0", "--json")
    assert found.returncode == 0, found.stderr
    (row,) = json.loads(found.stdout)["rows"]
    assert (row["key"], row["epochs"], len(row["test"]), row["deviation"]) == ("prototypes", 2, 1, 0)
    assert row["majority"] > 0.96
    assert row["mean"] == pytest.approx(100 * row["test"][0])


def test_the_table_tells_rows_that_are_not_there() -> None:
    found = table("--rows", "mnist")
    assert found.returncode == 1
    assert "no row mnist; rows: mnist-lbe, " in found.stderr


def table(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What the benchmark prints."""
    command = [sys.executable, str(ROOT / "benchmarks" / "training_table.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)


@pytest.mark.slow
def test_the_float_baseline_learns_what_it_is_shown() -> None:
    if not straight_through.installed():
        pytest.skip("PyTorch is not installed")
    pair = prototypes()
    train, test = (packed(*part.load()) for part in (pair.train, pair.test))
    found = straight_through.straight_through(train, test, (35, 35), 20, 1)
    assert found.test > 0.9, found


def test_the_recorded_baseline_is_marked_so() -> None:
    row = training_table.ROWS[0]
    result = training_table.Result(row, "net", 50, (0.9,) * 3, (0.94, 0.95, 0.96), 0.05, None, None)
    line = list(training_table.table([result], False))[-1]
    assert "**95.00** ± 1.00" in line
    assert "(recorded)" in line
