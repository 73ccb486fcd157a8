"""Random networks of every spelling: each layer that can be packed is, the bits are kept, ONNX Runtime agrees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bnnc.backends.llvm import Backend
from bnnc.compare import TOLERANCE, Agreement, differs
from bnnc.passes import pipelines
from bnnc.passes.report import layers
from bnnc.reference.run import run
from tests.chains import random_chain
from tests.onnx_models import expected, load, samples

pytest.importorskip("onnxruntime")

BATCH = 7


@pytest.mark.parametrize("seed", range(80))
def test_random_chain(seed: int, tmp_path: Path) -> None:
    made, packed = random_chain(seed)
    module = load(made, tmp_path)
    meaning = pipelines.canonical(module)
    bits = pipelines.optimise(module, require_binary=False)
    found = layers(bits)
    assert sum(layer.packed for layer in found) >= packed, [(layer.name, layer.why) for layer in found]

    inputs = samples(made, BATCH, seed)
    wanted = run(meaning, inputs)
    native = Backend().load(bits, Backend.Options())(inputs)
    for name, array in wanted.items():
        assert not differs(array, run(bits, inputs)[name], None).any()
        assert not differs(array, native[name], None).any()

    agreement = Agreement()
    agreement.add(meaning, inputs, expected(made, inputs), native, TOLERANCE)
    assert agreement.different == 0, agreement.first
    assert agreement.inputs == BATCH
    assert np.isfinite(native[next(iter(native))]).all()
