"""Every fixed-point op: its definition in Python integers, and the same bits from the reference and native code."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnnc.backends.llvm import Backend
from bnnc.ir import bit, fixed, move, nn
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op, TypeRuleError
from bnnc.ir.parse import parse_module
from bnnc.ir.syntax import digest
from bnnc.ir.text import print_module
from bnnc.ir.types import F32, U8, Bit, DType, Fix, Int
from bnnc.ir.verify import verify
from bnnc.reference.run import run, values

LOWEST, HIGHEST = -(2**31), 2**31 - 1
ANY = Int(LOWEST, HIGHEST)
WIDE = [LOWEST, HIGHEST, LOWEST + 1, 0, -1, 1, 2**30, -(2**30)]


def stream(name: str, shape: tuple[int, ...], bits: int) -> tuple[Input, Op]:
    """An input of raw numbers, and the same numbers as fix with so many fractional bits."""
    x = Input(name, ANY, shape)
    one = np.ones((1, 1), np.int32)
    # offset 0, slope 1, shift 0: the number itself, now with a point
    return x, fixed.Map(x, np.zeros((1, 0), np.int32), one, np.zeros((1, 1), np.int64), 0, Fix(32 - bits, bits))


def raw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of every size, the ends of the range among them."""
    numbers = rng.integers(LOWEST, HIGHEST, shape, endpoint=True) >> rng.integers(0, 32, shape)
    return np.where(rng.random(shape) < 0.1, rng.choice(WIDE, shape), numbers)


def settle(value: int, shift: int) -> int:
    """The rounding rule, in Python's integers."""
    moved = (value + (1 << shift >> 1)) >> shift if shift >= 0 else value << -shift
    return max(LOWEST, min(HIGHEST, moved))


def agree(op: Op, inputs: dict[Input, np.ndarray]) -> np.ndarray:
    """The raw numbers of op, after native code gave the same bits and the text form the same module."""
    module = Module("net", tuple(inputs), (Output("y", op, "float64"),))
    verify(module)
    arrays = {x.name: array for x, array in inputs.items()}
    expected = values(module, arrays)[op]
    found = Backend().load(module, Backend.Options())(arrays)["y"]
    assert np.array_equal(run(module, arrays)["y"], found)
    dtype = op.type.dtype
    if isinstance(dtype, Fix):
        assert np.array_equal(np.ldexp(expected.astype(np.float64), -dtype.fraction), found)
    text, kept = print_module(module), {}
    for each in module.ops():
        for value in each.attributes().values():
            if isinstance(value, np.ndarray):
                kept[digest(value)] = value
    assert print_module(parse_module(text, kept)) == text
    return expected


SETTINGS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
BITS = st.integers(0, 31)
SEED = st.integers(0, 2**31)
SHAPE = st.sampled_from([(5,), (16,), (37,), (3, 4), (17, 2, 3), (32, 1, 2)])


@SETTINGS
@given(SHAPE, BITS, BITS, st.integers(0, 3), st.integers(0, 40), SEED, st.booleans())
def test_maps(shape: tuple[int, ...], f: int, g: int, knots: int, shift: int, seed: int, per_channel: bool) -> None:
    rng = np.random.default_rng(seed)
    rows = shape[0] if per_channel else 1
    thresholds = np.sort(raw(rng, (rows, knots)), axis=1).astype(np.int32)
    slopes = (raw(rng, (rows, knots + 1)) >> int(rng.integers(0, 31))).astype(np.int32)
    offsets = rng.integers(-(2**61), 2**61, (rows, knots + 1)) >> int(rng.integers(0, 60))
    x, stored = stream("x", shape, f)
    op = fixed.Map(stored, thresholds, slopes, offsets, shift, Fix(32 - g, g))
    given_ = raw(rng, (2, *shape))
    found = agree(op, {x: given_})
    for index in np.ndindex(*given_.shape):
        row = index[1] % rows
        n = int((thresholds[row] <= given_[index]).sum())
        wanted = settle(int(slopes[row, n]) * int(given_[index]) + int(offsets[row, n]), shift)
        assert found[index] == wanted


@SETTINGS
@given(SHAPE, st.lists(BITS, min_size=1, max_size=3), BITS, SEED)
def test_sums(shape: tuple[int, ...], points: list[int], g: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    made = [stream(f"x{i}", shape, f) for i, f in enumerate(points)]
    signs = tuple(int(s) for s in rng.choice([-1, 1], len(points)))
    if sum(2 ** (31 + max(g, *points) - f) for f in points) + 2**40 > 2**63:
        with pytest.raises(TypeRuleError, match="64 bits"):
            fixed.Add((*(s for _, s in made), *(s for _, s in made)), signs * 2, Fix(32 - g, g))
        return
    op = fixed.Add(tuple(s for _, s in made), signs, Fix(32 - g, g))
    inputs = {x: raw(rng, (2, *shape)) for x, _ in made}
    found = agree(op, inputs)
    top = max(g, *points)
    for index in np.ndindex(*found.shape):
        terms = zip(signs, points, inputs.values(), strict=True)
        total = sum(s * (int(a[index]) << (top - f)) for s, f, a in terms)
        assert found[index] == settle(total, top - g)


@SETTINGS
@given(SHAPE, BITS, BITS, BITS, SEED, st.sampled_from(["same", "channel", "one", "bits"]))
def test_products(shape: tuple[int, ...], f: int, g: int, h: int, seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    x, a = stream("a", shape, f)
    inputs = {x: raw(rng, (2, *shape))}
    b: Op
    if kind == "bits":
        b, g = Input("b", Bit(), shape), 0
        inputs[b] = rng.choice([-1, 1], (2, *shape))
    else:
        other = {"same": shape, "channel": (shape[0], *(1,) * (len(shape) - 1)), "one": (1,) * len(shape)}[kind]
        y, b = stream("b", other, g)
        inputs[y] = raw(rng, (2, *other))
    if f + g < h and kind != "bits":  # shifted to the left, where there is no room
        return
    op = fixed.Mul(a, b, Fix(32 - h, h))
    found = agree(op, inputs)
    left, right = (np.broadcast_to(array, found.shape) for array in inputs.values())
    for index in np.ndindex(*found.shape):
        assert found[index] == settle(int(left[index]) * int(right[index]), f + g - h)


@SETTINGS
@given(SHAPE, BITS, BITS, st.integers(0, 30), st.integers(2, 70), SEED)
def test_tables(shape: tuple[int, ...], f: int, g: int, step: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = raw(rng, (count,)).astype(np.int32)
    first = int(raw(rng, ()))
    x, stored = stream("x", shape, f)
    op = fixed.Table(stored, table, first, step, Fix(32 - g, g))
    given_ = raw(rng, (2, *shape))
    found = agree(op, {x: given_})
    for index in np.ndindex(*given_.shape):
        place = min(max(int(given_[index]) - first, 0), ((count - 1) << step) - 1)
        i = place >> step
        rise = (int(table[i + 1]) - int(table[i])) * (place - (i << step))
        assert found[index] == int(table[i]) + ((rise + (1 << step >> 1)) >> step)


@SETTINGS
@given(BITS, SEED)
def test_encoding_and_decoding(f: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = Input("x", F32(), (40,))
    exponents = np.exp2(rng.integers(-40, 40, (3, 40)))
    given_ = (rng.standard_normal((3, 40)) * exponents).astype(np.float32)
    given_[0, :9] = [0, -0.0, 0.5, -0.5, 1e30, -1e30, 1e-40, -1e-40, 2.0**-f / 2]
    given_[1, :3] = [-(2.0**-f) / 2, 3 * 2.0**-f / 2, -3 * 2.0**-f / 2]
    coded = fixed.Encode(x, Fix(32 - f, f))
    found = agree(coded, {x: given_})
    for index in np.ndindex(*given_.shape):
        exact = float(given_[index]) * 2.0**f
        halved = 2 * exact  # exact, and floor((2 v + 1) / 2) rounds halves up
        wanted = (math.floor(halved) + 1) // 2 if abs(exact) < 2**40 else (2**40 if exact > 0 else -(2**40))
        assert found[index] == max(LOWEST, min(HIGHEST, wanted))
    number, stored = stream("q", (40,), f)
    numbers = raw(rng, (3, 40))
    decoded = agree(fixed.Decode(stored), {number: numbers})
    assert np.array_equal(decoded, numbers.astype(np.float32) * np.float32(2.0**-f))


@SETTINGS
@given(
    channels=st.tuples(st.integers(1, 9), st.integers(1, 20)),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    pad=st.tuples(*[st.integers(0, 2)] * 4),
    groups=st.sampled_from([1, 1, 2, 16]),
    dtype=st.sampled_from([Fix(12, 20), U8, Bit(), Int(-300, 300)]),
    shift=st.integers(0, 34),
    seed=SEED,
)
def test_convolutions(
    channels: tuple[int, int],
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: int,
    dilation: int,
    pad: tuple[int, int, int, int],
    groups: int,
    dtype: DType,
    shift: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    for axis in (0, 1):
        if size[axis] + pad[axis] + pad[axis + 2] < dilation * (kernel[axis] - 1) + 1:
            return
    depth = 1 if groups == 16 else channels[0]
    outputs = (1 if groups == 16 else channels[1]) * groups
    shape = (depth * groups, *size)
    top = 2**31 // (depth * kernel[0] * kernel[1]) - 1
    weights = (rng.integers(-top, top, (outputs, depth, *kernel)) >> rng.integers(0, 30)).astype(np.int32)
    bias = rng.integers(-(2**60), 2**60, outputs) >> int(rng.integers(0, 60))
    x: Op
    if isinstance(dtype, Fix):
        source, x = stream("x", shape, dtype.fraction)
        given_ = raw(rng, (2, *shape))
    else:
        source = x = Input("x", dtype, shape)
        lo, hi = (-1, 1) if dtype == Bit() else (dtype.lo, dtype.hi)  # type: ignore[union-attr]
        given_ = rng.choice([-1, 1], (2, *shape)) if dtype == Bit() else rng.integers(lo, hi + 1, (2, *shape))
    op = fixed.Conv(x, weights, bias, (stride, stride), pad, (dilation, dilation), groups, shift, Fix(8, 24))
    found = agree(op, {source: given_})
    padded = np.pad(given_.astype(object), ((0, 0), (0, 0), (pad[0], pad[2]), (pad[1], pad[3])))
    per_group = outputs // groups
    for index in np.ndindex(*found.shape):
        sample, o, y, z = index
        total = int(bias[o])
        for c in range(depth):
            for ky in range(kernel[0]):
                for kx in range(kernel[1]):
                    at = padded[
                        sample, o // per_group * depth + c, y * stride + ky * dilation, z * stride + kx * dilation
                    ]
                    total += int(weights[o, c, ky, kx]) * int(at)
        assert found[index] == settle(total, shift)


@SETTINGS
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 34), SEED)
def test_dense_layers(inputs: int, outputs: int, shift: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    top = 2**30 // inputs
    weights = rng.integers(-top, top + 1, (outputs, inputs)).astype(np.int32)
    bias = rng.integers(-(2**60), 2**60, outputs)
    x, stored = stream("x", (inputs,), 20)
    given_ = raw(rng, (2, inputs))
    found = agree(fixed.Dense(stored, weights, bias, shift, Fix(8, 24)), {x: given_})
    for sample, o in np.ndindex(*found.shape):
        total = sum(int(w) * int(v) for w, v in zip(weights[o], given_[sample], strict=True)) + int(bias[o])
        assert found[sample, o] == settle(total, shift)


@SETTINGS
@given(
    st.integers(1, 20),
    st.tuples(st.integers(2, 7), st.integers(2, 7)),
    st.integers(1, 3),
    st.integers(1, 2),
    st.booleans(),
    st.integers(0, 30),
    SEED,
)
def test_pools(
    channels: int, size: tuple[int, int], kernel: int, stride: int, ceil: bool, shift: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    if kernel > min(size):
        return
    pad = kernel // 2
    factor = int(rng.integers(-(2**27), 2**27))
    window: dict[str, Any] = {
        "kernel": (kernel, kernel),
        "strides": (stride, stride),
        "pads": (pad,) * 4,
        "dilations": (1, 1),
        "ceil_mode": ceil,
    }
    x, stored = stream("x", (channels, *size), 16)
    given_ = raw(rng, (2, channels, *size))
    found = agree(fixed.Pool(stored, factor=factor, shift=shift, dtype=Fix(10, 22), **window), {x: given_})
    largest = agree(bit.Pool(stored, "max", **window), {x: given_})
    joins: list[tuple[np.ndarray, Callable[[list[int]], int]]] = [
        (found, lambda v: settle(factor * sum(v), shift)),
        (largest, lambda v: max([LOWEST, *v])),
    ]
    for array, join in joins:
        for sample, c, y, z in np.ndindex(*array.shape):
            rows = range(max(0, y * stride - pad), min(size[0], y * stride - pad + kernel))
            columns = range(max(0, z * stride - pad), min(size[1], z * stride - pad + kernel))
            assert array[sample, c, y, z] == join([int(given_[sample, c, i, j]) for i in rows for j in columns])


@SETTINGS
@given(SHAPE, st.integers(0, 12), SEED)
def test_decisions_moves_and_the_largest(shape: tuple[int, ...], count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, stored = stream("x", shape, 20)
    given_ = raw(rng, (2, *shape))
    limits = np.sort(raw(rng, (shape[0], count)), axis=1).astype(np.int32)
    levels = rng.integers(-1, 2, (shape[0], count + 1)).astype(np.int32)
    found = agree(bit.Step(stored, limits, levels, Int(-1, 1)), {x: given_})
    for index in np.ndindex(*given_.shape):
        n = int((limits[index[1]] <= given_[index]).sum())
        assert found[index] == levels[index[1], n]
    results = raw(rng, (shape[0], count + 1)).astype(np.int32)
    agree(bit.Step(stored, limits, results, Fix(4, 28)), {x: given_})
    assert np.array_equal(agree(nn.ArgMax(stored, 0), {x: given_}), given_.argmax(1))
    twice = agree(move.Concat((stored, move.Gather(stored, np.arange(shape[0])[::-1].copy(), 0)), 0), {x: given_})
    assert np.array_equal(twice, np.concatenate([given_, given_[:, ::-1]], 1))
    for value in (0.0, -1.5):
        padded = agree(move.Pad(stored, (1,) * (2 * len(shape)), value), {x: given_})
        assert padded[0, 0].reshape(-1)[0] == value * 2**20
    flat = move.Reshape(stored, (math.prod(shape),))
    assert np.array_equal(agree(flat, {x: given_}), given_.reshape(2, -1))


def test_constants_are_read_where_they_stand() -> None:
    rng = np.random.default_rng(0)
    x, stored = stream("x", (5, 3, 4), 20)
    given_ = raw(rng, (2, 5, 3, 4))
    for shape in [(5, 3, 4), (5, 1, 1), (1, 3, 4), (1,)]:
        constant = fixed.Constant(raw(rng, shape).astype(np.int32), Fix(12, 20))
        found = agree(fixed.Add((stored, constant), (1, -1), Fix(12, 20)), {x: given_})
        assert np.array_equal(found, np.clip(given_ - constant.values, LOWEST, HIGHEST))
    moved = move.Gather(fixed.Constant(raw(rng, (5, 2, 1)).astype(np.int32), Fix(12, 20)), np.array([0, 1, 0]), 1)
    agree(fixed.Add((stored, moved), (1, 1), Fix(12, 20)), {x: given_})


@pytest.mark.parametrize("wrong", [Fix(16, 15), Fix(0, 32), Fix(33, -1), F32()])
def test_formats_that_do_not_exist_are_refused(wrong: DType) -> None:
    with pytest.raises(TypeRuleError, match="i \\+ f = 32"):
        fixed.Encode(Input("x", F32(), (3,)), wrong)


def test_sums_that_could_leave_64_bits_are_refused() -> None:
    _, stored = stream("x", (3,), 0)
    slope, offset = np.array([[2**31 - 1]], np.int32), np.array([[2**62 + 2**40]], np.int64)
    with pytest.raises(TypeRuleError, match="64 bits"):
        fixed.Map(stored, np.zeros((1, 0), np.int32), slope, offset, 0, Fix(2, 30))
    weights = np.full((1, 3), 2**31 - 1, np.int32)
    with pytest.raises(TypeRuleError, match="64 bits"):
        fixed.Dense(stored, weights, np.zeros(1, np.int64), 0, Fix(2, 30))
