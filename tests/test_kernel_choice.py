"""Kernels chosen layer by layer: each gives the same bits; a board says which is best; a file keeps the choice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bnnc import api
from bnnc.backends.c import Backend
from bnnc.backends.c.boards import missing
from bnnc.diagnostics import BnncError
from bnnc.ir import bit, move
from bnnc.ir.location import Location
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.store import dumps
from bnnc.ir.types import Bit, Int
from bnnc.loops.lower.kernels import KERNELS
from bnnc.loops.lower.network import lower
from bnnc.loops.machine import CONTROLLERS, Machine
from tests.cli import bnnc
from tests.test_kernel_rows import agree, steps

needs_m0 = pytest.mark.skipif(bool(missing("cortex-m0")), reason="needs a compiler and an emulator for Cortex-M0")


def network(outputs: int = 40) -> Module:
    """A layer on pixels, a layer on bits, and scores; two layers bear the same name."""
    rng = np.random.default_rng(0)
    x = Input("x", Int(0, 255), (2, 4, 3))
    value: Op = x
    for pad in (0, -1):
        weights = rng.choice([-1, 1], (outputs, value.type.shape[0], 3, 3)).astype(np.int8)
        sums = bit.Conv(value, weights, (1, 1), (1, 1, 1, 1), (1, 1), 1, pad, loc=Location("conv"))
        value = bit.Step(sums, *steps(rng, outputs, 6 if pad else 300), Bit(), loc=Location("conv"))
    flat = move.Reshape(value, (value.type.size,))
    scores = bit.Dense(flat, rng.choice([-1, 1], (3, value.type.size)).astype(np.int8), loc=Location("scores"))
    return Module("net", (x,), (Output("y", scores, "int32"),))


DIFFERENT = ("generic-c", "cortex-m0", "cortex-m55", "rv32imac_zbb", "avr")


@pytest.mark.parametrize(
    "machine", [machine for machine in CONTROLLERS if machine.name in DIFFERENT], ids=lambda machine: str(machine.name)
)
def test_every_kernel_that_fits_a_layer_gives_the_same_bits(machine: Machine) -> None:
    module = network(9)
    arrays = np.random.default_rng(1).integers(0, 256, (1, 2, 4, 3))
    usual = lower(module, machine)
    assert [choice.layer for choice in usual.kernels] == ["conv", "conv#2", "scores"]
    assert all(choice.kernel == choice.fitting[0] for choice in usual.kernels)
    assert all(set(choice.fitting) <= set(KERNELS) for choice in usual.kernels)
    for number in range(max(len(choice.fitting) for choice in usual.kernels)):
        wanted = {choice.layer: choice.fitting[number % len(choice.fitting)] for choice in usual.kernels}
        lowered = lower(module, machine, wanted)
        assert {choice.layer: choice.kernel for choice in lowered.kernels} == wanted
        agree(module, lowered, arrays)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"conv": "rows"}, "these can: "),
        ({"scores": "guessing"}, "these can: "),
        ({"cnov": "lanes"}, "its layers: conv"),
    ],
)
def test_a_choice_that_does_not_fit_is_an_error(wanted: dict[str, str], words: str) -> None:
    with pytest.raises(BnncError) as caught:
        lower(network(9), CONTROLLERS[1], wanted)
    assert caught.value.diagnostics[0].code == "B0618"
    assert words in caught.value.diagnostics[0].notes[0]


@needs_m0
def test_a_board_chooses_and_the_file_is_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table's best are kept; the file makes the code that it says."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.bnnm").write_bytes(dumps(network(9)))
    done = bnnc("bench", "net.bnnm", "--target", "c", "--machine", "cortex-m0", "-X", "tune", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["after"] <= found["before"]
    chosen = {c["layer"]: c["kernel"] for c in found["candidates"] if c["chosen"]}
    least = {layer: min(c["instructions"] for c in found["candidates"] if c["layer"] == layer) for layer in chosen}
    for candidate in found["candidates"]:
        if candidate["chosen"]:
            assert candidate["instructions"] == least[candidate["layer"]]
    file = json.loads((tmp_path / "net.tuned.json").read_text())
    assert file == {"schema": "bnnc.tuned/1", "machine": "cortex-m0", "kernels": chosen}
    # Another choice makes other code, and the same outputs.
    file["kernels"]["conv#2"] = "popcount"
    (tmp_path / "mine.json").write_text(json.dumps(file))
    arguments = ("--target", "c", "--machine", "cortex-m0", "-X", "tuned=mine.json")
    done = bnnc("check", "net.bnnm", *arguments, "-X", "board=host")
    assert done.code == 0, done.err
    module = network(9)
    text = [
        Backend().emit(module, Backend.Options(machine="cortex-m0", tuned=name)).files["net.c"]
        for name in ("", "mine.json", "net.tuned.json")
    ]
    assert text[0] != text[1] != text[2]


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "B0407"), ("{", "B0618"), ("[]", "B0618"), ('{"schema": "bnnc.tuned/2", "kernels": {}}', "B0618"),
     ('{"schema": "bnnc.tuned/1", "machine": "avr", "kernels": {}}', "B0618"),
     ('{"schema": "bnnc.tuned/1", "machine": "cortex-m0", "kernels": {"conv": 3}}', "B0618")],
)  # fmt: skip
def test_bad_files_are_refused(content: str | None, code: str, tmp_path: Path) -> None:
    file = tmp_path / "tuned.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(BnncError) as caught:
        Backend().emit(network(9), Backend.Options(machine="cortex-m0", tuned=str(file)))
    assert caught.value.diagnostics[0].code == code


def test_without_an_emulator_the_way_to_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.bnnm").write_bytes(dumps(network(9)))
    monkeypatch.setenv("PATH", "")
    done = bnnc("bench", str(tmp_path / "net.bnnm"), "--target", "c", "--machine", "cortex-m55", "-X", "tune")
    assert done.code == 4
    assert "apt install qemu-system-arm" in done.err
    assert "Traceback" not in done.err


def test_only_bench_tunes_and_only_targets_with_kernels() -> None:
    with pytest.raises(BnncError, match="bnnc bench"):
        api.emit(network(9), "c", machine="cortex-m0", tune=True)
    with pytest.raises(BnncError, match="no kernels"):
        api.tune(network(9), "llvm", {}, {"x": np.zeros((1, 2, 4, 3), np.uint8)})
