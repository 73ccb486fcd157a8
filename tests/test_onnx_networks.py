"""The ONNX frontend on real exports: recorded outputs are met, for the recorded batch and for others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bnnc.frontends.onnx import Frontend
from bnnc.ir.module import Module
from bnnc.protocols import ImportOptions
from bnnc.reference.run import run
from tests.shared import SHARED, needs_shared

NETS = SHARED / "models" / "nets"
ZOO = SHARED / "models" / "zoo"
FILES = sorted((*NETS.glob("*.onnx"), *NETS.glob("signzoo/*.onnx")))
TRAINED = sorted(ZOO.glob("*/*.onnx"))
MOST = 16

pytestmark = needs_shared


def load(path: Path) -> Module:
    return Frontend().load(path, ImportOptions())


def recorded(path: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Inputs and reference outputs, by name."""
    with np.load(path.with_suffix(".npz")) as stored:
        inputs = {name[3:]: stored[name] for name in stored.files if name.startswith("in_")}
        outputs = {name[4:]: stored[name] for name in stored.files if name.startswith("out_")}
    return inputs, outputs


def close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, atol=1e-4 * scale, rtol=1e-4)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_recorded_outputs(path: Path) -> None:
    module = load(path)
    inputs, outputs = recorded(path)
    some = {name: array[:MOST] for name, array in inputs.items()}
    found = run(module, some)
    assert found.keys() == outputs.keys()
    exact = "dyadic" in path.stem
    for name, expected in outputs.items():
        if exact:
            np.testing.assert_array_equal(found[name], expected[:MOST])
        else:
            close(found[name], expected[:MOST])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_any_batch(path: Path) -> None:
    module = load(path)
    inputs, _ = recorded(path)
    some = {name: array[:2] for name, array in inputs.items()}
    both = run(module, some)
    one = run(module, {name: array[:1] for name, array in some.items()})
    doubled = run(module, {name: np.concatenate([array, array]) for name, array in some.items()})
    for name, rows in both.items():
        np.testing.assert_array_equal(one[name], rows[:1])
        np.testing.assert_array_equal(doubled[name], np.concatenate([rows, rows]))


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_trained_networks(path: Path) -> None:
    module = load(path)
    info = json.loads((path.parent / "info.json").read_text())
    with np.load(path.parent / "sample.npz") as stored:
        sample = {name: stored[name] for name in stored.files}
    (entry,) = module.inputs
    images = sample["image"][:8]
    found = run(module, {entry.name: images.reshape(-1, *entry.shape)})
    (output,) = found.values()
    expected = sample["scores"] if "scores" in sample else sample["output"]
    expected = expected[:8].reshape(output.shape)
    assert info
    if path.stem.startswith("bnnpynq"):
        np.testing.assert_array_equal(output, expected)
    else:
        close(output, expected.astype(output.dtype))
    if output.shape[-1] == 10:
        np.testing.assert_array_equal(output.reshape(8, -1).argmax(1), expected.reshape(8, -1).argmax(1))
