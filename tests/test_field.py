"""Blocks of the networks of the field, hand-built: what is provably few-valued is packed, and no bit changes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.field import generated
from benchmarks.field_networks import FIELD
from bnnc import api
from bnnc.backends.llvm import Backend
from bnnc.ir import bit, move, nn
from bnnc.ir.location import Location
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import F32, Bit, Int
from bnnc.passes import pipelines
from bnnc.passes.report import layers
from bnnc.reference.run import run
from tests.shared import ROOT
from tests.strategies import random_inputs

ONES2, PAD2 = (1, 1), (1, 1, 1, 1)


def constant(values: object) -> nn.Constant:
    return nn.Constant(np.asarray(values, np.float32))


def sign(x: Op) -> nn.Map:
    return nn.Map("sign", (x,))


def signs(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return np.where(rng.random(shape) < 0.5, -1.0, 1.0)


def checked(module: Module, inputs: dict[str, np.ndarray], tolerance: float | None = 1e-4) -> Module:
    """The «bit» module: the canonical module, it and native code give the same bits, near the plain module's."""
    plain, meaning = run(module, inputs), run(pipelines.canonical(module), inputs)
    bits = pipelines.optimise(module, require_binary=False)
    exact, native = run(bits, inputs), Backend().load(bits, Backend.Options())(inputs)
    for name, array in meaning.items():
        assert np.array_equal(exact[name], array), f"{name}: a pass changed bits"
        assert np.array_equal(native[name], array), f"{name}: native code differs"
        if tolerance is not None:
            np.testing.assert_allclose(array, plain[name], rtol=tolerance, atol=tolerance)
    return bits


def packed(module: Module) -> list[str]:
    """What is packed, and `float` for what is not."""
    return [f"{f.weights} on {f.input}" if f.packed else "float" for f in layers(module)]


@pytest.mark.parametrize(("low", "high", "planes"), [(-0.47, 0.93, ["±1 on bit"] * 2), (-0.3, 0, ["0/1 on bit"])])
def test_two_values_take_one_plane(low: float, high: float, planes: list[str]) -> None:
    rng = np.random.default_rng(0)
    x = Input("x", Bit(), (40, 5, 5))
    weights = np.where(rng.random((33, 40, 3, 3)) < 0.2, high, low)
    weights[::2] *= -1 if high == 0 else 1  # negative gammas that an exporter fused
    conv = nn.Conv(x, constant(weights), constant(rng.normal(size=33)), ONES2, PAD2, ONES2)
    bits = checked(Module("net", (x,), (Output("y", conv),)), {"x": signs(rng, 3, 40, 5, 5)})
    assert packed(bits) == planes
    assert sum(f.weight_bytes for f in layers(bits)) <= 33 * 40 * 9 / 8 + 50


def test_a_mean_of_many_levels_is_integers_with_one_scale() -> None:
    rng = np.random.default_rng(1)
    x = Input("x", F32(), (6, 16, 16))
    levels = nn.Map("div", (nn.Map("round", (nn.Map("clip", (x, constant(-8), constant(7.9))),)), constant(16)))
    scaled = nn.Map("mul", (levels, constant(0.25)))
    mean = nn.Reduce(scaled, "mean", (1, 2), False)
    module = Module("net", (x,), (Output("y", nn.Dense(mean, constant(signs(rng, 5, 6)), None)),))
    bits = checked(module, {"x": rng.normal(size=(4, 6, 16, 16)) * 6}, 1e-5)
    assert packed(bits) == ["±1 on int<-2048,2048>"]


@pytest.mark.parametrize("kind", ["neighbours", "signed", "mean", "normalised"])
@pytest.mark.parametrize("first", ["layer", "graph"])
def test_products_with_the_matrix_of_a_graph(kind: str, first: str) -> None:
    rng = np.random.default_rng(2)
    matrix = (rng.random((14, 14)) < 0.3).astype(np.float32) + np.eye(14, dtype=np.float32)
    matrix = np.minimum(matrix, 1)
    if kind == "signed":
        matrix *= signs(rng, 14, 14)
    if kind == "mean":
        matrix = matrix / matrix.sum(1, keepdims=True)
    if kind == "normalised":
        matrix = matrix / np.sqrt(matrix.sum(1, keepdims=True)) / np.sqrt(matrix.sum(1))
    x = Input("x", F32(), (14, 9))
    value: Op = sign(x)
    if first == "layer":
        value = nn.MatMul(constant(matrix), nn.Dense(value, constant(signs(rng, 16, 9)), None))
    else:
        value = nn.Dense(nn.MatMul(constant(matrix), value), constant(signs(rng, 16, 9)), constant(rng.normal(size=16)))
    bits = checked(Module("net", (x,), (Output("y", value),)), {"x": rng.normal(size=(4, 14, 9))})
    found = packed(bits)
    assert len(found) == 2
    # A matrix of many values is a float layer, and so is what reads it; nothing else is.
    assert found.count("float") == {"normalised": 1 if first == "layer" else 2}.get(kind, 0)


def test_products_with_a_constant_on_the_left_of_many_rows() -> None:
    rng = np.random.default_rng(3)
    x = Input("x", Bit(), (3, 7, 5))
    product = nn.MatMul(constant(signs(rng, 4, 7)), x)
    bits = checked(Module("net", (x,), (Output("y", product),)), {"x": signs(rng, 2, 3, 7, 5)}, 0)
    assert packed(bits) == ["±1 on bit"]
    assert not any(isinstance(op, nn.MatMul) for op in bits.ops())


def test_a_recurrent_cell_over_time_is_bits_with_ties() -> None:
    rng = np.random.default_rng(4)
    x = Input("x", F32(), (6, 12))
    wx, wh, wo = signs(rng, 20, 12), signs(rng, 20, 20), signs(rng, 5, 20)
    steps = sign(x)
    state: Op | None = None
    for time in range(6):
        now = move.Reshape(move.Slice(steps, (time, 0), (1, 12), (1, 1)), (12,))
        total: Op = nn.Dense(now, constant(wx), None)
        if state is not None:
            total = nn.Map("add", (total, nn.Dense(state, constant(wh), None)))
        state = sign(total)
    assert state is not None
    module = Module("net", (x,), (Output("y", nn.Dense(state, constant(wo), None)),))
    inputs = {"x": rng.normal(size=(30, 6, 12))}
    bits = checked(module, inputs, 0)
    assert "float" not in packed(bits)
    assert any(isinstance(op, bit.Add) for op in bits.ops())
    assert isinstance(bits.outputs[0].value.type.dtype, Int)


def test_a_filter_of_zeros_costs_no_mask_where_another_filter_has_one_zero() -> None:
    rng = np.random.default_rng(5)
    x = Input("x", Bit(), (40, 5, 5))
    weights = signs(rng, 70, 40, 3, 3) * 0.25
    weights[2], weights[60, 7, 1, 1] = 0, 0
    conv = nn.Conv(x, constant(weights), constant(rng.normal(size=70)), ONES2, PAD2, ONES2)
    bits = checked(Module("net", (x,), (Output("y", conv),)), {"x": signs(rng, 3, 40, 5, 5)})
    (layer,) = (op for op in bits.ops() if isinstance(op, bit.Conv))
    assert int((layer.weights == 0).sum()) == 1


def chain(spoiled: str) -> Module:
    """Three binary dense layers, the second without its sign, or with latent or with plain float weights."""
    rng = np.random.default_rng(6)
    x = Input("x", F32(), (40,))
    first = nn.Dense(sign(x), constant(signs(rng, 30, 40)), None, loc=Location("first"))
    scaled = nn.Map("mul", (first, constant(rng.random(30) / 9)))
    clipped = nn.Map("clip", (scaled, constant(-1), constant(1)))
    made: dict[str, Op] = {"clip": clipped, "relu": nn.Map("relu", (scaled,))}
    latent = np.clip(rng.normal(size=(20, 30)), -1, 1)
    weights = {"latent": latent, "float": rng.normal(size=(20, 30))}.get(spoiled, signs(rng, 20, 30))
    second = nn.Dense(made.get(spoiled, sign(clipped)), constant(weights), None, loc=Location("second"))
    third = nn.Dense(sign(second), constant(signs(rng, 10, 20)), None, loc=Location("third"))
    return Module("net", (x,), (Output("y", third),))


@pytest.mark.parametrize(
    ("spoiled", "code", "words"),
    [
        ("none", None, None),
        ("clip", "B0411", "its input is float"),
        ("relu", None, "a Sign in front of it, as `first` has, would make it binary"),
        ("latent", "B0415", "a Sign on its weights would make all of it so"),
        ("float", None, "a Sign on its weights would make all of it so"),
    ],
)
def test_layers_that_are_float_by_mistake_are_named(spoiled: str, code: str | None, words: str | None) -> None:
    bits = pipelines.optimise(chain(spoiled))
    assert [(n.code, n.loc.name) for n in bits.notes if n.kind == "warning"] == ([(code, "second")] if code else [])
    reasons = {fact.name: fact.why for fact in layers(bits)}
    assert {name for name, why in reasons.items() if why} == ({"second"} if words else set())
    if words:
        assert words in str(reasons["second"])


@pytest.mark.parametrize(("paper", "make", "_"), FIELD, ids=[paper for paper, _, _ in FIELD])
def test_networks_of_the_field(paper: str, make: Callable[[], onnx.ModelProto], _: object) -> None:
    row = generated(paper, make(), 4)
    assert row.fault == ""
    assert row.packed > 0
    assert row.equal == row.inputs == 4


NETWORKS = sorted((ROOT / "examples" / "networks").glob("*.bnn"))


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_networks_of_the_field_as_source(path: Path) -> None:
    module = api.load(path)
    bits = api.optimise(module)
    found = layers(bits)
    assert any(fact.packed for fact in found)
    # In a net as source, layers are float only where it says so.
    source = path.read_text(encoding="utf-8")
    named = [fact.name for fact in found if not fact.packed]
    assert all(re.search(rf"\b{name}: [^-]*weights=f32", source) for name in named), named
    inputs = random_inputs(module, 0, 3)
    expected = run(module, inputs)
    for target in (run(bits, inputs), Backend().load(bits, Backend.Options())(inputs)):
        for name, array in expected.items():
            assert np.array_equal(target[name], array)


def test_every_network_has_its_source() -> None:
    assert len(NETWORKS) >= 18
