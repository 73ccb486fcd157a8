"""Every op against loops that follow docs/numerics.md word by word, and against onnxruntime where it means the same."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from bnnc.ir import bit, move, nn
from bnnc.ir.module import Input
from bnnc.ir.op import Op
from bnnc.ir.types import F32, Bit, Int, Trit
from bnnc.ir.vocabulary import OPS
from bnnc.reference import nn as meaning
from bnnc.reference import sums
from bnnc.reference.run import MEANINGS, evaluate
from tests.test_reference_numerics import fused

RNG = np.random.default_rng(7)


def float_input(*shape: int) -> Input:
    return Input(name="x", dtype=F32(), shape=shape)


def constant(array: np.ndarray) -> nn.Constant:
    return nn.Constant(values=np.asarray(array, np.float32))


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def compute(op: Op, x: np.ndarray) -> np.ndarray:
    """The op's value where its Input operands are x and its others are constants."""
    return evaluate(op, [x if isinstance(o, Input) else evaluate(o, []) for o in op.operands])


def test_every_op_has_a_meaning_and_a_docstring() -> None:
    assert set(MEANINGS) == set(OPS.values()) - {Input}
    assert all(cls.__doc__ and len(cls.__doc__) > 20 for cls in OPS.values())


def test_every_function_is_in_the_contract() -> None:
    assert set(meaning.ELEMENTWISE) == set(nn.FUNCTIONS)
    text = (Path(__file__).parent.parent / "docs" / "numerics.md").read_text(encoding="utf-8")
    missing = [name for name in nn.FUNCTIONS if f"`nn.{name}`" not in text]
    missing += [cls.code for cls in nn.NN_OPS if cls not in (nn.Map, nn.Constant) and f"`{cls.code}`" not in text]
    assert not missing


def taps_of(size: int, at: int, kernel: int, stride: int, pad: int, dilation: int) -> list[tuple[int, int]]:
    """(tap, index) of one window on one axis, those inside the input only."""
    indices = [(k, at * stride + k * dilation - pad) for k in range(kernel)]
    return [(k, i) for k, i in indices if 0 <= i < size]


WINDOWS: list[dict[str, Any]] = [
    {"size": (6,), "kernel": (3,), "strides": (2,), "pads": (1, 1), "dilations": (2,)},
    {"size": (5, 4), "kernel": (3, 2), "strides": (1, 2), "pads": (1, 0, 2, 1), "dilations": (1, 1)},
    {"size": (5, 5), "kernel": (2, 2), "strides": (2, 3), "pads": (0, 1, 1, 1), "dilations": (2, 1)},
    {"size": (3, 4, 3), "kernel": (2, 3, 1), "strides": (1, 1, 2), "pads": (1, 1, 0, 0, 1, 0), "dilations": (1, 1, 1)},
]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("window", WINDOWS)
def test_conv_is_a_chain_of_fused_steps(window: dict[str, Any], groups: int) -> None:
    size, kernel, rank = window["size"], window["kernel"], len(window["size"])
    geometry = {name: window[name] for name in ("strides", "pads", "dilations")}
    x, w, b = normal(2, 4, *size), normal(6, 4 // groups, *kernel), normal(6)
    op = nn.Conv(x=float_input(4, *size), w=constant(w), bias=constant(b), **geometry, groups=groups)
    y = compute(op, x)
    for n, o in itertools.product(range(2), range(6)):
        for position in itertools.product(*map(range, op.type.shape[1:])):
            axes = [
                taps_of(
                    size[a], position[a], kernel[a], window["strides"][a], window["pads"][a], window["dilations"][a]
                )
                for a in range(rank)
            ]
            total = 0.0
            for c in range(4 // groups):
                for choice in itertools.product(*axes):
                    tap, index = tuple(t for t, _ in choice), tuple(i for _, i in choice)
                    channel = o // (6 // groups) * (4 // groups) + c
                    total = fused(float(w[(o, c, *tap)]), float(x[(n, channel, *index)]), total)
            assert y[(n, o, *position)] == np.float32(total) + b[o]


@pytest.mark.parametrize("pad_value", [-1, 0, 1])
@pytest.mark.parametrize("window", WINDOWS)
def test_bit_conv_is_the_integer_sum(window: dict[str, Any], pad_value: int) -> None:
    size, kernel, rank, pads = window["size"], window["kernel"], len(window["size"]), window["pads"]
    x = RNG.integers(-1, 2, (2, 4, *size))
    weights = RNG.integers(-300, 301, (6, 2, *kernel)).astype(np.int16)
    geometry = {name: window[name] for name in ("strides", "pads", "dilations")}
    source = Input(name="x", dtype=Trit(), shape=(4, *size))
    op = bit.Conv(x=source, weights=weights, **geometry, groups=2, pad_value=pad_value)
    widths = [(0, 0), (0, 0), *((pads[a], pads[rank + a]) for a in range(rank))]
    padded = np.pad(x, widths, constant_values=pad_value)
    y = compute(op, x)
    for o, position in itertools.product(range(6), itertools.product(*map(range, op.type.shape[1:]))):
        place: Any = tuple(
            slice(p * s, p * s + d * (k - 1) + 1, d)
            for p, s, d, k in zip(position, window["strides"], window["dilations"], kernel, strict=True)
        )
        reading: Any = (slice(None), slice(2 * (o // 3), 2 * (o // 3) + 2), *place)
        patch = padded[reading]
        want = (patch * weights[o].astype(np.int64)).reshape(2, -1).sum(1)
        place = (slice(None), o, *position)
        np.testing.assert_array_equal(y[place], want)


def test_the_shortcuts_of_sums_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole numbers by matrix product, ±1 by multiply and add: both must equal the chain of fused steps."""
    whole, signs, floats = RNG.integers(-9, 10, (3, 2, 5, 5)), RNG.choice([-1, 0, 1], (3, 2, 5, 5)), normal(3, 2, 5, 5)
    geometry: dict[str, Any] = {"strides": (1, 1), "pads": (1, 1, 1, 1), "dilations": (1, 1)}
    weights = [RNG.integers(-3, 4, (4, 2, 3, 3)), RNG.choice([-1, 1], (4, 2, 3, 3)), normal(4, 2, 3, 3)]
    cases = [(x.astype(np.float32), constant(w)) for x in (whole, signs, floats) for w in weights]
    ops = [nn.Conv(x=float_input(2, 5, 5), w=w, bias=None, **geometry) for _, w in cases]
    short = [compute(op, x) for op, (x, _) in zip(ops, cases, strict=True)]
    flat = [(x.reshape(-1, 5), nn.Dense(x=float_input(5), w=constant(RNG.choice([-1, 2], (3, 5))), bias=None))
            for x, _ in cases]  # fmt: skip
    short_dense = [compute(op, x) for x, op in flat]
    monkeypatch.setattr(sums, "is_whole", lambda values: False)
    for op, (x, _), y in zip(ops, cases, short, strict=True):
        np.testing.assert_array_equal(compute(op, x).view(np.int32), y.view(np.int32))
    for (x, dense), y in zip(flat, short_dense, strict=True):
        np.testing.assert_array_equal(compute(dense, x).view(np.int32), y.view(np.int32))


def test_dense_and_matmul_are_chains_of_fused_steps() -> None:
    x, w, b = normal(3, 2, 7), normal(4, 7), normal(4)
    y = compute(nn.Dense(x=float_input(2, 7), w=constant(w), bias=constant(b)), x)
    z = compute(nn.MatMul(a=float_input(2, 7), b=constant(w.T)), x)
    for n, row, o in itertools.product(range(3), range(2), range(4)):
        total = 0.0
        for k in range(7):
            total = fused(float(w[o, k]), float(x[n, row, k]), total)
        assert z[n, row, o] == np.float32(total)
        assert y[n, row, o] == np.float32(total) + b[o]


def test_wide_integer_sums_are_exact() -> None:
    lo, hi = -(2**20), 2**20
    x = RNG.integers(lo, hi + 1, (2, 300))
    weights = RNG.integers(-30000, 30001, (3, 300)).astype(np.int16)
    y = compute(bit.Dense(x=Input(name="x", dtype=Int(lo, hi), shape=(300,)), weights=weights), x)
    assert y.dtype == np.int64
    assert y.tolist() == [[sum(int(a) * int(b) for a, b in zip(row, w, strict=True)) for w in weights] for row in x]


def test_batch_norm_rounds_every_step() -> None:
    x, values = normal(4, 3, 2), [normal(3), normal(3), normal(3), np.abs(normal(3))]
    operands: dict[str, Any] = dict(zip(("scale", "bias", "mean", "variance"), map(constant, values), strict=True))
    y = compute(nn.BatchNorm(x=float_input(3, 2), **operands, epsilon=1e-3), x)
    f = np.float32
    for n, c, i in itertools.product(range(4), range(3), range(2)):
        scale, bias, mean, variance = (f(v[c]) for v in values)
        gain = f(scale / f(np.sqrt(f(variance + f(1e-3)))))
        assert y[n, c, i] == f(f(f(x[n, c, i] - mean) * gain) + bias)


def test_sums_ascend() -> None:
    x = normal(2, 3, 4, 5)
    total = np.zeros((2, 3), np.float32)
    for i, j in itertools.product(range(4), range(5)):
        total = total + x[:, :, i, j]
    source = float_input(3, 4, 5)
    np.testing.assert_array_equal(compute(nn.Reduce(x=source, function="sum", axes=(1, 2), keepdims=False), x), total)
    mean = compute(nn.Reduce(x=source, function="mean", axes=(1, 2), keepdims=False), x)
    np.testing.assert_array_equal(mean, total / np.float32(20))
    whole = nn.Pool(x=source, function="average", kernel=(4, 5), strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1))
    np.testing.assert_array_equal(compute(whole, x)[:, :, 0, 0], total / np.float32(20))


def test_step_counts_thresholds() -> None:
    thresholds = np.sort(RNG.integers(-6, 7, (3, 12)), axis=1).astype(np.int32)
    values = RNG.integers(-5, 6, (3, 13)).astype(np.int32)
    x = RNG.integers(-8, 9, (4, 3, 5))
    for count in (12, 3):  # above and below the number where the method changes
        op = bit.Step(
            x=Input(name="x", dtype=Int(-8, 8), shape=(3, 5)),
            thresholds=thresholds[:, :count],
            values=values[:, : count + 1],
            dtype=Int(-5, 5),
        )
        y = compute(op, x)
        for n, c, i in itertools.product(range(4), range(3), range(5)):
            passed = sum(int(t) <= x[n, c, i] for t in thresholds[c, :count])
            assert y[n, c, i] == values[c, passed]


@pytest.mark.parametrize("count", [2, 20])
def test_step_of_nan_passes_no_threshold(count: int) -> None:
    thresholds = np.sort(normal(1, count), axis=1)
    op = bit.Step(x=float_input(2), thresholds=thresholds, values=normal(1, count + 1), dtype=F32())
    y = compute(op, np.array([[np.nan, np.inf]], np.float32))
    assert y[0].tolist() == [op.values[0, 0], op.values[0, -1]]


def test_pool_of_bits_is_or_and_and() -> None:
    x = RNG.choice([-1, 1], (3, 2, 4))
    source = Input(name="x", dtype=Bit(), shape=(2, 4))
    geometry: dict[str, Any] = {"kernel": (2,), "strides": (2,), "pads": (1, 1), "dilations": (1,)}
    windows = [[0], [1, 2], [3]]
    largest = compute(bit.Pool(x=source, function="max", **geometry), x)
    smallest = compute(bit.Pool(x=source, function="min", **geometry), x)
    total = compute(bit.Pool(x=source, function="sum", **geometry), x)
    mixed = compute(bit.Pool(x=source, function="max", **geometry, smallest=np.array([True, False])), x)
    for i, window in enumerate(windows):
        np.testing.assert_array_equal(largest[:, :, i], np.where((x[:, :, window] == 1).any(2), 1, -1))
        np.testing.assert_array_equal(smallest[:, :, i], np.where((x[:, :, window] == 1).all(2), 1, -1))
        np.testing.assert_array_equal(total[:, :, i], x[:, :, window].sum(2))
    np.testing.assert_array_equal(mixed[:, 0], smallest[:, 0])
    np.testing.assert_array_equal(mixed[:, 1], largest[:, 1])


def test_slice_takes_every_step_both_ways() -> None:
    x = np.arange(24).reshape(1, 4, 6)
    source = Input(name="x", dtype=Int(0, 23), shape=(4, 6))
    y = compute(move.Slice(x=source, starts=(3, 1), counts=(2, 2), steps=(-2, 3)), x)
    assert y.tolist() == [[[x[0, 3, 1], x[0, 3, 4]], [x[0, 1, 1], x[0, 1, 4]]]]


# --- onnxruntime ------------------------------------------------------------------------------------------------------


def by_onnxruntime(operator: str, x: np.ndarray, inputs: tuple[np.ndarray, ...] = (), **attributes: Any) -> np.ndarray:
    names = [f"c{i}" for i in range(len(inputs))]
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", *names], ["y"], **attributes)],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(value, name) for value, name in zip(inputs, names, strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


POOLS = [
    {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1), "dilations": (1, 1)},
    {"kernel": (3, 2), "strides": (2, 3), "pads": (1, 0, 1, 1), "dilations": (1, 1)},
    {"kernel": (2, 2), "strides": (2, 2), "pads": (0, 0, 1, 1), "dilations": (1, 1)},
    {"kernel": (2, 3), "strides": (3, 2), "pads": (0, 1, 0, 0), "dilations": (2, 1)},
]


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("window", POOLS)
@pytest.mark.parametrize("function", ["max", "average", "average with padding"])
def test_pools_agree_with_onnxruntime(function: str, window: dict[str, Any], ceil_mode: bool) -> None:
    x = normal(2, 3, 8, 7)
    name, _, include = function.partition(" ")
    op = nn.Pool(x=float_input(3, 8, 7), function=name, **window, ceil_mode=ceil_mode, count_include_pad=bool(include))
    attributes = {"kernel_shape": window["kernel"], "ceil_mode": int(ceil_mode)}
    attributes |= {key: window[key] for key in ("strides", "pads", "dilations")}
    if name == "average":
        attributes["count_include_pad"] = int(bool(include))
    want = by_onnxruntime("MaxPool" if name == "max" else "AveragePool", x, **attributes)
    np.testing.assert_allclose(compute(op, x), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("groups", [1, 3])
def test_conv_agrees_with_onnxruntime(groups: int) -> None:
    x, w, b = normal(2, 6, 9, 8), normal(6, 6 // groups, 3, 2), normal(6)
    window: dict[str, Any] = {"strides": (2, 1), "pads": (1, 0, 2, 1), "dilations": (1, 2)}
    op = nn.Conv(x=float_input(6, 9, 8), w=constant(w), bias=constant(b), **window, groups=groups)
    want = by_onnxruntime("Conv", x, (w, b), **window, group=groups)
    np.testing.assert_allclose(compute(op, x), want, rtol=1e-5, atol=1e-5)


REDUCERS = {
    "sum": "ReduceSum",
    "mean": "ReduceMean",
    "max": "ReduceMax",
    "min": "ReduceMin",
    "prod": "ReduceProd",
    "l1": "ReduceL1",
    "l2": "ReduceL2",
    "sum_square": "ReduceSumSquare",
    "log_sum_exp": "ReduceLogSumExp",
}


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("function", nn.REDUCTIONS)
def test_reductions_agree_with_onnxruntime(function: str, keepdims: bool) -> None:
    x = normal(2, 3, 4, 5)
    op = nn.Reduce(x=float_input(3, 4, 5), function=function, axes=(0, 2), keepdims=keepdims)
    want = by_onnxruntime(REDUCERS[function], x, (np.array([1, 3]),), keepdims=int(keepdims))
    np.testing.assert_allclose(compute(op, x), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("smallest", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_argmax_agrees_with_onnxruntime(last: bool, smallest: bool) -> None:
    x = RNG.integers(-2, 3, (4, 3, 6)).astype(np.float32)  # many ties
    op = nn.ArgMax(x=float_input(3, 6), axis=1, last=last, smallest=smallest)
    operator = "ArgMin" if smallest else "ArgMax"
    want = by_onnxruntime(operator, x, axis=2, keepdims=0, select_last_index=int(last))
    np.testing.assert_array_equal(compute(op, x), want)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_pad_agrees_with_onnxruntime(mode: str) -> None:
    x = normal(2, 3, 4)
    op = move.Pad(x=float_input(3, 4), pads=(1, 2, 0, 3), value=1.0, mode=mode)
    want = by_onnxruntime("Pad", x, (np.array([0, 1, 2, 0, 0, 3]), np.array(1, np.float32)), mode=mode)
    np.testing.assert_array_equal(compute(op, x), want)


@pytest.mark.parametrize("log", [False, True])
def test_softmax_agrees_with_onnxruntime(log: bool) -> None:
    x = normal(2, 3, 9) * 8
    op = nn.Softmax(x=float_input(3, 9), axis=1, log=log)
    want = by_onnxruntime("LogSoftmax" if log else "Softmax", x, axis=2)
    np.testing.assert_allclose(compute(op, x), want, rtol=1e-5, atol=1e-6)


UNARY = {
    "neg": "Neg", "abs": "Abs", "sign": "Sign", "floor": "Floor", "ceil": "Ceil", "round": "Round", "sqrt": "Sqrt",
    "reciprocal": "Reciprocal", "exp": "Exp", "log": "Log", "sigmoid": "Sigmoid", "tanh": "Tanh", "erf": "Erf",
    "relu": "Relu",
}  # fmt: skip


@pytest.mark.parametrize("function", UNARY)
def test_unary_functions_agree_with_onnxruntime(function: str) -> None:
    x = np.concatenate([normal(40) * 4, np.arange(-3, 3.5, 0.5, dtype=np.float32)])[None]
    if function in ("sqrt", "log"):
        x = np.abs(x) + np.float32(1e-3)
    op = nn.Map(function=function, xs=(float_input(x.shape[1]),))
    np.testing.assert_allclose(compute(op, x), by_onnxruntime(UNARY[function], x), rtol=1e-5, atol=1e-6)


BINARY = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "min": "Min", "max": "Max", "prelu": "PRelu"}


@pytest.mark.parametrize("function", BINARY)
def test_binary_functions_agree_with_onnxruntime(function: str) -> None:
    x, other = normal(2, 3, 4), normal(3, 1)
    op = nn.Map(function=function, xs=(float_input(3, 4), constant(other)))
    np.testing.assert_array_equal(compute(op, x), by_onnxruntime(BINARY[function], x, (other,)))


def test_elementwise_operands_are_aligned_by_sample_shape() -> None:
    """[4] meets [3, 4] on its last axis for every sample; the batch is never broadcast against a sample axis."""
    x, y = Input(name="x", dtype=F32(), shape=(4,)), Input(name="y", dtype=F32(), shape=(3, 4))
    a, b = normal(4, 4), normal(4, 3, 4)
    total = evaluate(nn.Map(function="add", xs=(x, y)), [a, b])
    assert total.shape == (4, 3, 4)
    np.testing.assert_array_equal(total[1, 2], a[1] + b[1, 2])


def test_truth_and_comparisons() -> None:
    a, b = np.array([[0.0, -0.0, 2.0, np.nan]], np.float32), np.array([[0.0, 3.0, 2.0, 0.0]], np.float32)
    table = {
        "equal": [1, 0, 1, 0],
        "less": [0, 1, 0, 0],
        "greater_equal": [1, 0, 1, 0],
        "and": [0, 0, 1, 0],
        "or": [0, 1, 1, 1],
        "xor": [0, 1, 0, 1],
    }
    source = float_input(4)
    for function, want in table.items():
        assert evaluate(nn.Map(function=function, xs=(source, source)), [a, b])[0].tolist() == want, function
    assert math.copysign(1, float(evaluate(nn.Map(function="relu", xs=(source,)), [a])[0, 1])) == 1
