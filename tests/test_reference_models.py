"""The reference reproduces what real networks gave when they were recorded, through the container too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bnnc.frontends.onnx import Frontend
from bnnc.ir.store import dumps, loads
from bnnc.protocols import ImportOptions
from bnnc.reference import run as reference
from tests.shared import SHARED, needs_shared

MODELS = sorted(
    [
        *SHARED.glob("models/nets/*.onnx"),
        *SHARED.glob("models/nets/signzoo/*.onnx"),
        *SHARED.glob("models/zoo/*/*.onnx"),
    ]
)


@needs_shared
@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_recorded_outputs_are_reproduced(path: Path) -> None:
    recorded = path.with_suffix(".npz")
    with np.load(recorded if recorded.exists() else path.with_name("sample.npz")) as file:
        arrays = {name: file[name] for name in file.files}
    module = Frontend().load(path, ImportOptions())
    spare = arrays.get("image", arrays.get("input"))
    inputs = {op.name: arrays.get(f"in_{op.name}", spare) for op in module.inputs}
    assert all(array is not None for array in inputs.values()), list(arrays)
    given = {name: array for name, array in inputs.items() if array is not None}
    found, again = reference.run(module, given), reference.run(loads(dumps(module)), given)
    for output in module.outputs:
        want = arrays.get(f"out_{output.name}", arrays.get("output", arrays.get("scores")))
        assert want is not None, list(arrays)
        value = found[output.name]
        np.testing.assert_array_equal(again[output.name], value)
        np.testing.assert_allclose(value, want.reshape(value.shape), rtol=1e-4, atol=1e-4)
