"""`bnnc train`: what it prints, writes and refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnnc.cli.epochs import is_milestone, line
from bnnc.train.loop import EpochReport, Training
from tests.cli import Done, bnnc
from tests.shared import SHARED, needs_shared

NET = """net tiny {
  input x: bit[63]
    -> a: dense(35) -> sign
    -> b: dense(21) -> sign
    -> classify(4)
  train { rule lbe  batch 20  epochs 4 }
}
"""
DATA = "prototypes:classes=4,bits=63,p=0.2,train=600,test=200"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CI", raising=False)
    (tmp_path / "net.bnn").write_text(NET)
    return tmp_path


def train(*arguments: str | Path) -> Done:
    return bnnc("train", "net.bnn", "--data", DATA, "--seed", "1", "--on", "reference", *arguments)


def lines(done: Done) -> list[Any]:
    return [json.loads(text) for text in done.out.splitlines()]


def test_it_trains_prints_and_writes(folder: Path) -> None:
    done = train()
    assert done.code == 0, done.err
    assert done.out == ""
    rows = [text.split() for text in done.err.splitlines() if text.endswith(" s")]
    assert [row[0] for row in rows] == ["1", "2", "3", "4"]
    assert "wrote build/tiny/tiny.bnnm" in done.err
    assert (folder / "build/tiny/tiny.bnnm").is_file()
    assert (folder / "build/tiny/tiny.checkpoint.bnnm").is_file()


def test_json_is_a_line_an_epoch_and_one_at_the_end() -> None:
    done = train("--json", "--epochs", "2", "-q")
    first, second, last = lines(done)
    assert set(first) == {"epoch", "train_accuracy", "test_accuracy", "flips", "seconds"}
    assert (first["epoch"], second["epoch"]) == (1, 2)
    assert all(0 <= row[key] <= 1 for row in (first, second) for key in ("train_accuracy", "test_accuracy", "flips"))
    assert last["schema"] == "bnnc.train/1"
    assert last["ok"] is True
    assert last["test_accuracy"] == second["test_accuracy"]
    assert last["artifacts"][0] == str(Path("build/tiny/tiny.bnnm"))
    assert all(Path(path).is_file() for path in last["artifacts"])


def test_the_result_compiles_runs_and_checks(folder: Path) -> None:
    train("-q")
    np.savez(folder / "x.npz", x=np.where(np.arange(63) % 2 == 0, 1, -1)[None])
    assert bnnc("compile", "build/tiny/tiny.bnnm").code == 0
    assert bnnc("run", "--input", "x.npz").err.startswith("using build/tiny/tiny.bnnm")
    assert bnnc("check", "build/tiny/tiny.bnnm", "--data", DATA, "--fail-under", "0.7").code == 0


def test_compiling_into_the_folder_does_not_bar_the_next_training() -> None:
    train("-q")
    assert bnnc("compile").code == 0
    assert train("-q").code == 0
    assert bnnc("compile").code == 0


def test_compiling_into_the_very_folder_leaves_the_trained_net(folder: Path) -> None:
    train("-q", "-o", "out")
    for _ in range(2):
        assert bnnc("compile", "out/tiny.bnnm", "-o", "out").code == 0
        assert train("-q", "-o", "out").code == 0
    assert {"tiny.bnnm", "tiny.checkpoint.bnnm", "facts.json"} <= {path.name for path in (folder / "out").iterdir()}


def test_a_folder_of_compiled_nets_only_is_no_obstacle(folder: Path) -> None:
    train("-q", "-o", "other")
    assert bnnc("compile", "other/tiny.bnnm").code == 0  # makes build/tiny/llvm
    assert train("-q").code == 0


def test_a_strange_folder_is_not_written_into(folder: Path) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.txt").write_text("years of work")
    done = train("-o", "mine", "--json")
    assert (done.code, done.codes) == (2, ["B0106"])
    assert train("-o", "mine", "--force", "-q").code == 0


def test_llvm_and_the_reference_write_the_same_file(folder: Path) -> None:
    train("-q", "-o", "one")
    done = bnnc("train", "net.bnn", "--data", DATA, "--seed", "1", "--threads", "2", "-q", "-o", "two")
    assert done.code == 0, done.err
    for name in ("tiny.bnnm", "tiny.checkpoint.bnnm"):
        assert (folder / "one" / name).read_bytes() == (folder / "two" / name).read_bytes()


def test_an_interrupted_run_keeps_what_is_complete_and_resumes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train("-q", "-o", "whole")
    with monkeypatch.context() as patch:
        epochs = Training.epochs

        def stopped(self: Training, until: int) -> Any:
            for report in epochs(self, until):
                yield report
                if report.epoch == 2:
                    raise KeyboardInterrupt

        patch.setattr(Training, "epochs", stopped)
        done = train("-o", "broken", "--json", "-q")
    assert done.code == 130
    last = lines(done)[-1]
    assert (last["ok"], last["epochs"]) == (False, 2)
    assert "--resume" in last["diagnostics"][0]["help"][0]
    assert bnnc("run", "broken/tiny.bnnm", "--data", DATA).code == 0
    done = train("-o", "broken", "--resume", "--json", "-q")
    assert [row.get("epoch") for row in lines(done)[:-1]] == [3, 4]
    for name in ("tiny.bnnm", "tiny.checkpoint.bnnm"):
        assert (folder / "broken" / name).read_bytes() == (folder / "whole" / name).read_bytes()


def test_an_interrupt_before_the_first_epoch_writes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(self: Training, until: int) -> Any:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(Training, "epochs", stopped)
    assert train("-q").code == 130
    assert not (folder / "build").exists()


def test_there_must_be_something_to_resume() -> None:
    done = train("--resume", "--json", "-q")
    assert (done.code, done.codes) == (1, ["B0535"])


def test_a_dry_run_writes_nothing(folder: Path) -> None:
    assert train("--dry-run", "-q").code == 0
    assert not (folder / "build").exists()


def test_an_accuracy_under_the_limit_fails(folder: Path) -> None:
    done = train("--fail-under", "0.999", "--json", "-q", "--epochs", "1")
    assert done.code == 3
    assert lines(done)[-1]["diagnostics"][0]["code"] == "B0802"
    assert (folder / "build/tiny/tiny.bnnm").is_file()


def test_validation_is_shown_and_chooses() -> None:
    rows = lines(train("--validation", "0.2", "--json", "-q"))
    values = [row["validation_accuracy"] for row in rows[:-1]]
    assert rows[-1]["epoch"] == 1 + values.index(max(values))
    assert rows[-1]["validation_accuracy"] == max(values)


def test_settings_of_training_stand_in_a_table_of_their_own(folder: Path) -> None:
    (folder / "bnnc.toml").write_text(f'model = "net.bnn"\nseed = 5\n[train]\ndata = "{DATA}"\nepochs = 1\nseed = 1\n')
    rows = lines(bnnc("train", "--on", "reference", "--json", "-q"))
    assert (len(rows), rows[-1]["seed"]) == (2, 1)
    (folder / "bnnc.toml").write_text('train = "mnist"\n')
    assert bnnc("train", "net.bnn", "--json", "-q").codes == ["B0102"]
    (folder / "bnnc.toml").write_text("[train]\nepoch = 1\n")
    assert bnnc("train", "net.bnn", "--json", "-q").codes == ["B0102"]


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code"),
    [
        (["net.bnn"], "B0101", 2),
        (["no.bnn", "--data", DATA], "B0407", 1),
        (["net.onnx", "--data", DATA], "B0530", 1),
        (["net.bnn", "--data", DATA, "--on", "lvm"], "B0601", 2),
        (["net.bnn", "--data", DATA, "--epochs", "0"], "B0101", 2),
        (["net.bnn", "--data", DATA, "--validation", "1"], "B0101", 2),
        (["net.bnn", "--data", DATA, "--seed", str(2**31)], "B0532", 1),
        (["net.bnn", "--data", "prototypes"], "B0502", 1),
        (["net.bnn", "--data", "nonsense"], "B0501", 2),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], code: str, exit_code: int, folder: Path) -> None:
    (folder / "net.onnx").write_bytes(b"")
    done = bnnc("train", *arguments, "--json", "-q")
    assert (done.codes, done.code) == ([code], exit_code)


def test_a_plot_is_drawn_where_matplotlib_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    train("-q")
    first = (folder / "build/tiny/tiny.svg").read_bytes()
    assert first.startswith(b"<?xml")
    assert b"tiny on prototypes, lbe, seed 1" in first
    train("-q")
    assert (folder / "build/tiny/tiny.svg").read_bytes() == first
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = train()
    assert "bnnc[report]" in done.err
    assert not (folder / "build/tiny/tiny.svg").exists()


def test_a_terminal_sees_some_epochs_and_a_bar() -> None:
    assert [n for n in range(1, 121) if is_milestone(n)] == [1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert line(EpochReport(7, 0.9, 0.875, 0.0123, 0.061)) == "      7  90.00 %  87.50 %   1.23 %   0.06 s"
    done = train("--color", "always")
    assert "4/4" in done.err or "tiny.bnnm" in done.err


@needs_shared
def test_mnist_in_seconds(folder: Path) -> None:
    """The smoke test: a small net passes 89 % in three epochs."""
    (folder / "small.bnn").write_text(
        "net small {\n  input image: u8[1, 28, 28] -> flatten -> threshold(median)\n"
        "    -> dense(135) -> sign -> dense(135) -> sign -> classify(10)\n  train { rule lbe }\n}\n"
    )
    arguments: list[str | Path] = [
        "--data",
        "mnist",
        "--data-dir",
        SHARED / "data",
        "--epochs",
        "3",
        "--fail-under",
        "0.89",
        "-q",
    ]
    done = bnnc("train", "small.bnn", *arguments, "--seed", "1")
    assert done.code == 0, done.err
