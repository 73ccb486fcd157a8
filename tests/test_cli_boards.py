"""`bnnc run`, `check` and `bench` on emulated boards: what they say, where nothing is emulated too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bnnc import api
from bnnc.backends.c.boards import choice
from bnnc.backends.c.boards.table import Board
from tests.cli import EXAMPLE, bnnc
from tests.test_boards import needs_board

MODEL = str(EXAMPLE / "model.onnx")
PIXELS = ("--pixels", "1/255")


@needs_board("cortex-m0")
def test_run_on_a_machine_runs_on_its_board(tmp_path: Path) -> None:
    """Any file, any batch, the model's own outputs; the note says which emulator it was."""
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 28, 28)).astype(np.uint8)
    np.save(tmp_path / "images.npy", images)
    out = tmp_path / "out.npz"
    words = ("run", MODEL, *PIXELS, "--input", str(tmp_path / "images.npy"), "--on", "c", "--machine", "cortex-m0")
    done = bnnc(*words, "-o", str(out), "--json")
    assert done.code == 0, done.err
    assert "Cortex-M0, emulated: microbit in qemu-system-arm" in done.err
    place = json.loads(done.out)["place"]
    assert (place["emulated"], place["install"]) == (True, [])
    module = api.load(MODEL, pixels={"": (1 / 255, (0.0,), (1.0,))})
    expected = api.run(module, {module.inputs[0].name: images}, on="reference")
    found = np.load(out)
    assert set(found.files) == set(expected)
    for name, array in expected.items():
        assert np.array_equal(found[name], array)


@needs_board("cortex-m4")
def test_check_and_bench_on_a_board() -> None:
    done = bnnc("check", MODEL, *PIXELS, "--target", "c", "--machine", "cortex-m4", "--check", "5", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["check"]["equal"] == 5
    done = bnnc("bench", MODEL, *PIXELS, "--target", "c", "--machine", "cortex-m4", "--batch", "2", "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    rows, bench = document["layers"], document["bench"]
    assert sum(row["instructions"] for row in rows) == pytest.approx(bench["instructions"], rel=1e-3)
    assert sum(row["bit_macs"] for row in rows) > 500_000
    assert bench["flash_bytes"] > 8000
    assert 100 < bench["stack_bytes"] < 1000


def test_without_an_emulator_it_runs_here_and_says_what_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(_: Board) -> bool:
        return False

    monkeypatch.setattr(choice, "has_emulator", nothing)
    words = ("check", MODEL, *PIXELS, "--target", "c", "--machine", "cortex-m4", "--check", "2", "--json")
    done = bnnc(*words)
    assert done.code == 0, done.err
    assert "this computer, with the code for cortex-m4: no emulated board is here" in done.err
    install = json.loads(done.out)["place"]["install"]
    assert any(line.startswith("apt install ") and "qemu-system-arm" in line for line in install)
    assert 'pip install "bnnc[emulation]"' in install
    refused = bnnc(*words, "-X", "board=mps2-an386")
    assert refused.code == 4
    assert "B0614" in refused.err
    assert "apt install" in refused.err


def test_a_board_that_there_is_not_is_named() -> None:
    done = bnnc("check", MODEL, *PIXELS, "--target", "c", "--machine", "cortex-m4", "-X", "board=mps2-an368")
    assert done.code == 2
    assert "did you mean `mps2-an386`?" in done.err
    done = bnnc("check", MODEL, *PIXELS, "--target", "c", "--machine", "cortex-m4", "-X", "board=microbit")
    assert "--machine cortex-m0" in done.err


def test_host_means_this_computer() -> None:
    words = ("check", MODEL, *PIXELS, "--target", "c", "--machine", "cortex-m4", "--check", "2", "--json")
    done = bnnc(*words, "-X", "board=host")
    assert done.code == 0, done.err
    assert json.loads(done.out)["place"] == {
        "text": "this computer, with the code for cortex-m4",
        "emulated": False,
        "install": [],
    }
