"""The benchmarks: their networks are what they say, they judge rightly, and they do without what is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks import accuracy, cold, fixtures, main_job, networks, process, speed
from bnnc import api
from bnnc.passes.report import layers
from tests.onnx_models import expected, samples
from tests.shared import SHARED, needs_shared

NETS = SHARED / "models" / "nets"


@pytest.mark.parametrize("pad", [0, 1])
def test_the_binary_convolution_is_packed_and_right(pad: int, tmp_path: Path) -> None:
    model = networks.binary_conv(8, 32, pad)
    onnx.save(model, tmp_path / "conv.onnx")
    network = api.compile(tmp_path / "conv.onnx")
    assert [fact.packed for fact in layers(api.optimise(network.module))] == [True]
    inputs = samples(model, 3)
    (wanted,) = expected(model, inputs).values()
    (found,) = network.run(inputs).values()
    assert np.array_equal(found, wanted)


def test_the_cnn_is_packed_from_its_first_layer_on(tmp_path: Path) -> None:
    onnx.save(networks.binary_cnn(), tmp_path / "cnn.onnx")
    facts = layers(api.optimise(api.load(tmp_path / "cnn.onnx")))
    assert [fact.packed for fact in facts] == [True] * 9
    assert 55_000_000 < sum(fact.macs for fact in facts) < 65_000_000  # CNV has 59 million


def test_a_case_measures_everything_it_names(tmp_path: Path) -> None:
    onnx.save(networks.binary_mlp((64, 32, 10)), tmp_path / "mlp.onnx")
    onnx.save(networks.float_mlp((64, 32, 10)), tmp_path / "float.onnx")
    case = speed.whole("mlp", tmp_path / "mlp.onnx", 2, {"fp32": tmp_path / "float.onnx"})
    rates = speed.measure([], [case], 2)
    assert len(rates) == 2
    assert min(rates) > 1e9
    assert {who: len(found) for who, found in case.seconds.items()} == {"native": 2, "python": 2, "fp32": 2}
    native, call = case.median("native"), case.median("python")
    assert native is not None
    assert call is not None
    assert 0 < native < call


def test_the_cost_of_a_process_is_its_own() -> None:
    """The memory is that of the command, whatever the process that asks holds."""
    ballast = np.ones(40_000_000)
    command = [
        sys.executable,
        "-I",
        process.__file__,
        sys.executable,
        "-S",
        "-c",
        "print('hello'); x = b'1' * 50_000_000",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    cost = json.loads(done.stdout)
    assert "hello" in done.stderr
    assert 50e6 < cost["peak_bytes"] < 150e6 < ballast.nbytes
    assert 0 < cost["cpu_seconds"] < 10
    assert subprocess.run([*command[:3], sys.executable, "-c", "exit(3)"], check=False).returncode == 3


def test_without_fixtures_the_tables_are_left_out_and_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    assert main_job.main(["--shared", str(tmp_path), "--only", "pass", "--json", str(out)]) == 0
    assert "left out" in capsys.readouterr().out
    assert json.loads(out.read_text())["demands"][0]["holds"] is None


def test_a_missed_demand_is_named_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models" / "nets").mkdir(parents=True)
    (tmp_path / "models" / "nets" / "broken.onnx").write_bytes(b"")
    assert main_job.main(["--shared", str(tmp_path), "--only", "pass"]) == 1
    assert "0 of 1; not broken" in capsys.readouterr().out


@needs_shared
def test_a_wrong_recorded_output_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "mlp_fsign_legacy13"
    good = fixtures.row(name, NETS / f"{name}.onnx")
    assert (good.fault, good.packed, good.floats, good.inputs, good.near) == ("", 3, 0, 16, 16)
    inputs, outputs = fixtures.recorded(NETS / f"{name}.onnx")
    wrong = {key: array + np.float32(0.01) for key, array in outputs.items()}
    monkeypatch.setattr(fixtures, "recorded", lambda path: (inputs, wrong))
    assert "recorded outputs" in fixtures.row(name, NETS / f"{name}.onnx").fault


@needs_shared
def test_accuracy_is_that_of_the_command() -> None:
    path = next(path for path in accuracy.found_in(SHARED) if path.stem == "finn_tfc_multithreshold")
    row = accuracy.row(path, SHARED / "data")
    assert (row.ours, row.images, row.fault) == (0.9296, 10_000, "")


@pytest.mark.parametrize(
    ("least", "cpu", "load", "holds"),
    [(1.5, 1.2, 9.0, True), (2.5, 1.2, 0.1, False), (2.5, 1.2, 9999.0, None), (2.5, 2.4, 9999.0, False)],
)
def test_a_busy_machine_excuses_waiting_but_not_work(
    least: float, cpu: float, load: float, holds: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (load, load, load))
    assert main_job._quick(cold.Cost("net", 1, least, least, cpu, 1)).holds is holds
