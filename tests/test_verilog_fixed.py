"""Fixed-point engines of the Verilog library against Python's integers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.verilog import examples, needs_iverilog, numbers, pack, seeds, simulate, stalls, unpack

pytestmark = needs_iverilog


def settled(values: np.ndarray, shift: int) -> np.ndarray:
    """`settle` of fixed point on Python integers."""
    moved = [(int(v) + (1 << shift >> 1)) >> shift if shift >= 0 else int(v) << -shift for v in values.ravel()]
    return np.array([min(max(v, -(2**31)), 2**31 - 1) for v in moved], np.int64).reshape(values.shape)


def fixed_stream(found: list[int], lanes: int, expected: np.ndarray) -> bool:
    return np.array_equal(unpack(found, lanes, 32, True), expected.reshape(-1, lanes))


@examples(15)
@given(st.integers(1, 2), st.integers(0, 1), st.integers(-8, 40), st.integers(1, 3), st.booleans(), stalls, seeds)
def test_fix_settle(lanes: int, signed: int, shift: int, chunks: int, has_bias: bool, stall: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    in_width = int(rng.integers(1, 45))
    factor = int(rng.choice([1, 5, -77777, 2**31 - 1])) if in_width < 31 else 1
    bias_width = int(rng.integers(1, 48)) if has_bias else 0
    biases = numbers(rng, bias_width, 1, (chunks, lanes)).astype(object) if has_bias else np.zeros((1, 1), object)
    x = numbers(rng, in_width, signed, (12, chunks, lanes)).astype(object)
    expected = settled(x * factor + biases, shift)
    found = simulate(
        "bnnc_fix_settle",
        {"LANES": lanes, "IN_WIDTH": in_width, "IN_SIGNED": signed, "FACTOR": factor, "BIAS_WIDTH": bias_width}
        | {"CHUNKS": chunks, "TABLE": "t.mem", "SUM_WIDTH": 64, "SHIFT": shift},
        {"in": (lanes * in_width, pack(x.reshape(-1, lanes), in_width))},
        {"out": (lanes * 32, 12 * chunks)},
        {"t.mem": pack(biases, bias_width)} if has_bias else {},
        stall,
        seed,
    )
    assert fixed_stream(found.beats["out"], lanes, expected)
    if not stall:
        assert found.interval("out", 1) == 1


@examples(15)
@given(st.integers(1, 2), st.integers(0, 1), st.integers(0, 3), st.integers(1, 3), st.integers(0, 24), stalls, seeds)
def test_fix_lines(lanes: int, signed: int, count: int, chunks: int, shift: int, stall: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    in_width = int(rng.integers(1, 33 - (not signed)))
    slope_width, offset_width = (int(width) for width in rng.integers(2, 32, 2))
    thresholds = np.sort(numbers(rng, min(in_width + 1, 32), 1, (chunks, lanes, count)), axis=2)
    slopes = numbers(rng, slope_width, 1, (chunks, lanes, count + 1)).astype(object)
    offsets = numbers(rng, offset_width, 1, (chunks, lanes, count + 1)).astype(object)
    x = numbers(rng, in_width, signed, (12, chunks, lanes))
    n = (x[..., None] >= thresholds).sum(3)
    place = (np.arange(chunks)[:, None], np.arange(lanes), n)
    expected = settled(slopes[place] * x.astype(object) + offsets[place], shift)
    parts = [(thresholds, 32), (slopes, slope_width), (offsets, offset_width)]
    words = [0] * chunks
    at = 0
    for lane in range(lanes):
        for values, width in parts:
            for k in range(values.shape[2]):
                for c in range(chunks):
                    words[c] |= (int(values[c, lane, k]) & ((1 << width) - 1)) << at
                at += width
    found = simulate(
        "bnnc_fix_lines",
        {"LANES": lanes, "IN_WIDTH": in_width, "IN_SIGNED": signed, "COUNT": count, "SLOPE_WIDTH": slope_width}
        | {"OFFSET_WIDTH": offset_width, "CHUNKS": chunks, "TABLE": "t.mem", "SHIFT": shift},
        {"in": (lanes * in_width, pack(x.reshape(-1, lanes), in_width))},
        {"out": (lanes * 32, 12 * chunks)},
        {"t.mem": words},
        stall,
        seed,
    )
    assert fixed_stream(found.beats["out"], lanes, expected)
    if not stall:
        assert found.interval("out", 1) == 1


@examples(20)
@given(st.data(), st.sampled_from(["bnnc_fix_add", "bnnc_fix_mul"]), st.integers(1, 2), stalls, seeds)
def test_fix_of_two_streams(data: st.DataObject, module: str, lanes: int, stall: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    add = module == "bnnc_fix_add"
    parameters = {"LANES": lanes, "SHIFT": data.draw(st.integers(-4, 31))}
    operands, inputs = [], {}
    for name in ("a", "b"):
        width, signed = data.draw(st.integers(1, 32)), data.draw(st.integers(0, 1))
        left, negative = data.draw(st.integers(0, 20)), data.draw(st.booleans())
        x = numbers(rng, width, signed, (15, lanes)).astype(object)
        operands.append((-1) ** negative * (x << left) if add else x)
        inputs[name] = (lanes * width, pack(x, width))
        parameters |= {f"{name.upper()}_WIDTH": width, f"{name.upper()}_SIGNED": signed}
        if add:
            parameters |= {f"{name.upper()}_SHIFT": left, f"{name.upper()}_NEGATIVE": int(negative)}
    total = operands[0] + operands[1] if add else operands[0] * operands[1]
    found = simulate(module, parameters, inputs, {"out": (lanes * 32, 15)}, stall=stall, seed=seed)
    assert fixed_stream(found.beats["out"], lanes, settled(total, parameters["SHIFT"]))
    if not stall:
        assert found.interval("out", 1) == 1


@examples(15)
@given(st.integers(1, 2), st.integers(2, 32), st.integers(0, 1), st.integers(0, 30), st.integers(1, 9), stalls, seeds)
def test_fix_table(lanes: int, in_width: int, signed: int, step: int, count: int, stall: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    if in_width == 32:
        signed = 1
    values = [int(v) for v in numbers(rng, 32, 1, (count + 1,))]
    first = int(numbers(rng, min(in_width, 32), 1, (1,))[0])
    x = numbers(rng, in_width, signed, (15, lanes))
    place = np.clip(x - first, 0, (count << step) - 1)
    index, rest = place >> step, place & ((1 << step) - 1)
    rise = [b - a for a, b in pairwise(values)]
    half = 1 << step >> 1
    expected = [values[i] + ((rise[i] * int(r) + half) >> step) for i, r in zip(index.flat, rest.flat, strict=True)]
    words = [(a & (2**32 - 1)) | (r & (2**33 - 1)) << 32 for a, r in zip(values, rise, strict=False)]
    found = simulate(
        "bnnc_fix_table",
        {"LANES": lanes, "IN_WIDTH": in_width, "IN_SIGNED": signed, "FIRST": first, "STEP": step, "COUNT": count}
        | {"TABLE": "t.mem"},
        {"in": (lanes * in_width, pack(x, in_width))},
        {"out": (lanes * 32, 15)},
        {"t.mem": words},
        stall,
        seed,
    )
    assert fixed_stream(found.beats["out"], lanes, np.array(expected))
    if not stall:
        assert found.interval("out", 1) == 1
