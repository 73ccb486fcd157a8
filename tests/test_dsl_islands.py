"""Float arithmetic before a step: it is evaluated on every integer, and the step reads the integers themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from bnnc import api
from bnnc.ir import bit, nn
from bnnc.ir.module import Module
from bnnc.ir.verify import verify
from bnnc.passes.islands import fold_islands
from bnnc.reference.run import run
from tests.strategies import modules, random_inputs


def load(folder: Path, chain: str) -> Module:
    path = folder / "net.bnn"
    path.write_text(f"net a {{ weights random(3)  input x: u8[2, 6, 6] -> {chain} }}", encoding="utf-8")
    return api.load(path)


@pytest.mark.parametrize(
    "chain",
    [
        "conv(5, 3x3) -> norm -> sign",
        "conv(5, 3x3) -> norm -> ternary(1/2)",
        "conv(5, 3x3) -> mul(0.1) -> prelu(0.25) -> add(-3) -> codes(2, every=4, start=-6)",
        "flatten -> dense(7, weights=int<-99,99>) -> norm -> clip(-1, 1) -> round -> step(trit, [-0.5, 0.5])",
        "conv(5, 3x3) -> abs -> sqrt -> step(f32, [3, 9.5], [0.5, 0, 7])",
        "conv(5, 3x3) -> norm -> neg -> sign -> conv(2, 3x3) -> norm -> sign",
    ],
)
def test_what_stands_before_a_step_joins_it(chain: str, tmp_path: Path) -> None:
    module = load(tmp_path, chain)
    folded = api.optimise(module)
    assert not any(isinstance(op, nn.Map | nn.BatchNorm | bit.Decode) for op in folded.ops())
    inputs = random_inputs(module, 0, 40)
    assert np.array_equal(run(module, inputs)["y"], run(folded, inputs)["y"])


def test_what_is_no_function_of_integers_stays(tmp_path: Path) -> None:
    module = load(tmp_path, "conv(5, 3x3) -> avgpool(2x2) -> mul(0.1) -> sign")
    assert any(isinstance(op, nn.Pool) for op in api.optimise(module).ops())
    module = load(tmp_path, "conv(5, 3x3) -> sign")
    assert fold_islands(module) is module


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(modules(most=12))
def test_any_module_computes_the_same_afterwards(module: Module) -> None:
    folded = fold_islands(module)
    verify(folded)
    inputs = random_inputs(module, 0, 4)
    expected, found = run(module, inputs), run(folded, inputs)
    for name, array in expected.items():
        assert np.array_equal(found[name], array, equal_nan=True)
