"""The Verilog library against numpy: random parameters, random data, random pauses on both sides, full throughput."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.verilog import needs_iverilog, needs_verilator, pack, simulate, unpack

pytestmark = needs_iverilog
seeds = st.integers(0, 2**31)
stalls = st.sampled_from([0, 80, 200])
Pair = tuple[int, int]


def examples(count: int) -> settings:
    """So many random cases."""
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


def width_of(low: int, high: int, signed: bool) -> int:
    """The fewest bits that hold low..high."""
    return max(max(-low - 1, high, 0).bit_length() + 1 if signed else high.bit_length(), 1)


def raw(width: int, signed: int) -> tuple[int, int]:
    """Smallest and largest number of so many bits."""
    return (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)


def numbers(rng: np.random.Generator, width: int, signed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Random numbers of so many bits, their ends among them."""
    low, high = raw(width, signed)
    found = rng.integers(low, high, shape, endpoint=True)
    ends = rng.random(shape)
    return np.asarray(np.where(ends < 0.05, low, np.where(ends > 0.95, high, found)))


@examples(10)
@given(st.integers(1, 70), st.integers(1, 20), stalls, seeds)
def test_fifo(width: int, depth: int, stall: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    beats = [int.from_bytes(rng.bytes(9), "little") >> (72 - width) for _ in range(100)]
    found = simulate(
        "bnnc_fifo",
        {"WIDTH": width, "DEPTH": depth},
        {"in": (width, beats)},
        {"out": (width, 100)},
        stall=stall,
        seed=seed,
    )
    assert found.beats["out"] == beats
    if not stall:
        assert found.interval("out", 1) == 1


@pytest.mark.parametrize("depth", [1, 2, 3, 7, 16])
def test_a_fifo_holds_its_depth(depth: int) -> None:
    """What goes in while nothing comes out: the input's counter when the output never becomes ready."""
    wrapper = f"""
module held (input clk, input rst, input [7:0] in_data, input in_valid, output in_ready,
             output [7:0] out_data, output out_valid, input out_ready);
  reg [7:0] taken;
  reg [7:0] wait_;
  wire stuck_valid;
  wire [7:0] unused;
  bnnc_fifo #(.WIDTH(8), .DEPTH({depth})) fifo (.clk(clk), .rst(rst), .in_data(in_data), .in_valid(in_valid),
    .in_ready(in_ready), .out_data(unused), .out_valid(stuck_valid), .out_ready(1'b0));
  always @(posedge clk) if (rst) begin taken <= 0; wait_ <= 0; end
    else begin wait_ <= wait_ + (wait_ != 101); if (in_valid && in_ready) taken <= taken + 1; end
  assign out_data = taken;
  assign out_valid = wait_ == 100;
endmodule
"""
    found = simulate("held", {}, {"in": (8, list(range(60)))}, {"out": (8, 1)}, extra=wrapper)
    held = found.beats["out"][0]
    assert depth <= held <= depth + 1


@examples(12)
@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 9), st.booleans(), stalls, seeds)
def test_width(width: int, lanes: int, factor: int, widen: bool, stall: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    few, many = lanes, lanes * factor
    before, after = (few, many) if widen else (many, few)
    elements = numbers(rng, width, 0, (many * 20,))
    found = simulate(
        "bnnc_width",
        {"WIDTH": width, "IN": before, "OUT": after},
        {"in": (before * width, pack(elements.reshape(-1, before), width))},
        {"out": (after * width, many * 20 // after)},
        stall=stall,
        seed=seed,
    )
    assert np.array_equal(unpack(found.beats["out"], after, width).ravel(), elements)
    if not stall:
        assert found.interval("out", many // after) == factor


def bit_layer(
    rng: np.random.Generator,
    inputs: int,
    outputs: int,
    groups: int,
    simd: int,
    pe: int,
    ternary: bool,
    total: bool,
    flag: bool,
    stall: int,
    simulator: str = "iverilog",
    vectors: int = 4,
) -> None:
    """A binary or ternary layer on random bits, against numpy."""
    weights = (
        rng.integers(-1, 2, (groups, outputs, inputs)) if ternary else rng.choice([-1, 1], (groups, outputs, inputs))
    )
    x = rng.choice([-1, 1], (vectors, groups, inputs))
    pads = (rng.random((vectors, groups, inputs // simd)) < 0.3) & flag
    counts = np.repeat(~pads, simd, axis=2) if total else np.ones_like(x, bool)
    products = weights[None] * x[:, :, None]
    expected = (products * counts[:, :, None]).sum(3) if total else (products == 1).sum(3)
    acc = width_of(int(expected.min()), int(expected.max()), total)
    if total or not ternary:  # as wide as every sum that can occur
        acc = width_of(-inputs if total else 0, inputs, total)

    folds = weights.reshape(groups, outputs // pe, pe, inputs // simd, simd).transpose(0, 1, 3, 2, 4)
    signs = (folds > 0) | ((folds == 0) & (rng.random(folds.shape) < 0.5))
    field, count_width = simd, simd.bit_length()
    words = [[sum(int(b) << i for i, b in enumerate(lane)) for lane in word] for word in signs.reshape(-1, pe, simd)]
    if ternary:
        field = 2 * simd + count_width
        used = folds.reshape(-1, pe, simd) != 0
        words = [
            [
                sign | sum(int(b) << i for i, b in enumerate(bits)) << simd | int(bits.sum()) << (2 * simd)
                for sign, bits in zip(row, masks, strict=True)
            ]
            for row, masks in zip(words, used, strict=True)
        ]
    rom = [sum(v << (field * p) for p, v in enumerate(row)) for row in words]
    beats = pack((x > 0).reshape(-1, simd), 1)
    if flag:
        beats = [b | int(pad) << simd for b, pad in zip(beats, pads.ravel(), strict=True)]
    folds_out = vectors * groups * outputs // pe
    found = simulate(
        "bnnc_mvu_bits",
        {
            "INPUTS": inputs,
            "OUTPUTS": outputs,
            "SIMD": simd,
            "PE": pe,
            "GROUPS": groups,
            "FLAG": int(flag),
            "TERNARY": int(ternary),
            "SUM": int(total),
            "ACC_WIDTH": acc,
            "WEIGHTS": "w.mem",
        },
        {"in": (simd + flag, beats)},
        {"out": (pe * acc, folds_out)},
        {"w.mem": rom},
        stall,
        int(rng.integers(1, 2**31)),
        simulator,
    )
    assert np.array_equal(unpack(found.beats["out"], pe, acc, total).ravel(), expected.ravel())
    if not stall:
        assert found.interval("out", outputs // pe) == inputs // simd * (outputs // pe)


@examples(40)
@given(st.data(), st.integers(1, 3), st.booleans(), st.booleans(), st.booleans(), stalls, seeds)
def test_bits(data: st.DataObject, groups: int, ternary: bool, total: bool, flag: bool, stall: int, seed: int) -> None:
    inputs, outputs = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 12))
    simd, pe = data.draw(st.sampled_from(divisors(inputs))), data.draw(st.sampled_from(divisors(outputs)))
    bit_layer(np.random.default_rng(seed), inputs, outputs, groups, simd, pe, ternary, total, flag, stall)


def test_a_wide_binary_layer_takes_the_documented_cycles() -> None:
    rng = np.random.default_rng(0)
    bit_layer(rng, 784, 32, 1, 49, 16, False, False, False, 0, vectors=5)
    bit_layer(rng, 784, 32, 1, 784, 4, False, True, True, 0, vectors=5)
    bit_layer(rng, 130, 10, 1, 130, 10, True, True, False, 0, vectors=20)  # a vector a cycle


@needs_verilator
def test_verilator_computes_the_same() -> None:
    bit_layer(np.random.default_rng(3), 45, 6, 2, 9, 3, True, True, True, 80, simulator="verilator")


@examples(15)
@given(
    st.integers(1, 4), st.integers(1, 12), st.integers(0, 1), st.integers(1, 6), st.integers(1, 5),
    st.integers(1, 5), stalls, seeds,
)  # fmt: skip
def test_step(
    lanes: int, in_width: int, signed: int, out_width: int, chunks: int, count: int, stall: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    channels, pixels = lanes * chunks, 12
    thresholds = np.sort(numbers(rng, in_width, signed, (channels, count)), axis=1)
    values = numbers(rng, out_width, 0, (channels, count + 1))
    x = numbers(rng, in_width, signed, (pixels, channels))
    reached = (x[:, :, None] >= thresholds[None]).sum(2)
    expected = np.take_along_axis(values, reached.T, 1).T
    field = count * in_width + (count + 1) * out_width
    fields = [
        low | high << (count * in_width)
        for low, high in zip(pack(thresholds, in_width), pack(values, out_width), strict=True)
    ]
    table = [sum(v << (field * i) for i, v in enumerate(fields[c : c + lanes])) for c in range(0, channels, lanes)]
    found = simulate(
        "bnnc_step",
        {
            "LANES": lanes,
            "IN_WIDTH": in_width,
            "IN_SIGNED": signed,
            "OUT_WIDTH": out_width,
            "CHUNKS": chunks,
            "COUNT": count,
            "TABLE": "t.mem",
        },
        {"in": (lanes * in_width, pack(x.reshape(-1, lanes), in_width))},
        {"out": (lanes * out_width, pixels * chunks)},
        {"t.mem": table},
        stall,
        seed,
    )
    assert np.array_equal(unpack(found.beats["out"], lanes, out_width).reshape(pixels, channels), expected)
    if not stall:
        assert found.interval("out", 1) == 1


@examples(12)
@given(st.integers(1, 6), st.integers(0, 1), st.integers(1, 13), st.integers(1, 5), stalls, seeds)
def test_argmax(width: int, signed: int, lanes: int, beats: int, stall: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = lanes * beats
    x = numbers(rng, width, signed, (20, count))
    index_width = max((count - 1).bit_length(), 1)
    found = simulate(
        "bnnc_argmax",
        {"WIDTH": width, "SIGNED": signed, "COUNT": count, "LANES": lanes},
        {"in": (lanes * width, pack(x.reshape(-1, lanes), width))},
        {"out": (index_width, 20)},
        stall=stall,
        seed=seed,
    )
    assert found.beats["out"] == x.argmax(1).tolist()
    if not stall:
        assert found.interval("out", 1) == beats


def window_beats(
    x: np.ndarray, lanes: int, groups: int, kernel: Pair, stride: Pair, dilation: Pair, pad: Pair, out: Pair, value: int
) -> tuple[np.ndarray, np.ndarray]:
    """Windows of x [samples, H, W, C] in the order of bnnc_window: lanes [beats, lanes] and pad [beats]."""
    samples, height, columns, channels = x.shape
    last = [(out[i] - 1) * stride[i] + (kernel[i] - 1) * dilation[i] - pad[i] + 1 for i in range(2)]
    after = [max(last[0] - height, 0), max(last[1] - columns, 0)]
    margins = ((0, 0), (pad[0], after[0]), (pad[1], after[1]), (0, 0))
    wide = np.pad(x, margins, constant_values=value)
    outside = np.pad(np.zeros(x.shape[:3] + (1,), bool), margins, constant_values=True)
    taps, pads = [], []
    size = channels // groups
    for oy, ox, g, ky, kx in np.ndindex(out[0], out[1], groups, *kernel):
        y, z = oy * stride[0] + ky * dilation[0], ox * stride[1] + kx * dilation[1]
        taps.append(wide[:, y, z, g * size : (g + 1) * size].reshape(samples, -1, lanes))
        pads.append(np.repeat(outside[:, y, z], size // lanes, axis=1))
    return np.concatenate(taps, 1).reshape(-1, lanes), np.concatenate(pads, 1).ravel()


@examples(40)
@given(st.data(), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), stalls, seeds)
def test_window(data: st.DataObject, width: int, lanes: int, groups: int, chunks: int, stall: int, seed: int) -> None:
    rng = np.random.default_rng(seed)

    def pair(low: int, high: int) -> Pair:
        return data.draw(st.integers(low, high)), data.draw(st.integers(low, high))

    size, kernel, stride, dilation, pad = pair(1, 9), pair(1, 4), pair(1, 3), pair(1, 2), pair(0, 2)
    after = pair(0, 2)
    room = [size[i] + pad[i] + after[i] - (kernel[i] - 1) * dilation[i] - 1 for i in range(2)]
    if min(room) < 0:
        return
    out = (room[0] // stride[0] + 1, room[1] // stride[1] + 1)
    channels, samples, value = lanes * groups * chunks, 4, int(rng.integers(0, 2**width))
    x = numbers(rng, width, 0, (samples, *size, channels))
    taps, pads = window_beats(x, lanes, groups, kernel, stride, dilation, pad, out, value)
    names = ("HEIGHT", "COLUMNS", "KERNEL_H", "KERNEL_W", "STRIDE_H", "STRIDE_W", "DILATION_H", "DILATION_W")
    more = ("PAD_TOP", "PAD_LEFT", "OUT_HEIGHT", "OUT_COLUMNS")
    shape = dict(zip(names + more, (*size, *kernel, *stride, *dilation, *pad, *out), strict=True))
    fixed = {"WIDTH": width, "LANES": lanes, "CHANNELS": channels, "GROUPS": groups, "PAD_VALUE": value}
    found = simulate(
        "bnnc_window",
        {**fixed, **shape},
        {"in": (lanes * width, pack(x.reshape(-1, lanes), width))},
        {"out": (lanes * width + 1, len(taps))},
        stall=stall,
        seed=seed,
    )
    beats = found.beats["out"]
    assert [beat >> (lanes * width) for beat in beats] == pads.astype(int).tolist()
    assert np.array_equal(unpack(beats, lanes, width), taps)


@pytest.mark.parametrize(("kernel", "stride", "pad"), [(3, 1, 1), (3, 1, 0), (2, 2, 0), (5, 1, 2), (1, 1, 0)])
def test_windows_come_without_a_gap(kernel: int, stride: int, pad: int) -> None:
    """A beat a cycle once it runs, where a window has at least as many beats as come in for it."""
    rng = np.random.default_rng(0)
    x = numbers(rng, 3, 0, (5, 12, 12, 2))
    out = (12 + 2 * pad - kernel) // stride + 1
    taps, _ = window_beats(x, 2, 1, (kernel, kernel), (stride, stride), (1, 1), (pad, pad), (out, out), 0)
    sizes = {
        "HEIGHT": 12,
        "COLUMNS": 12,
        "KERNEL_H": kernel,
        "KERNEL_W": kernel,
        "STRIDE_H": stride,
        "STRIDE_W": stride,
    }
    found = simulate(
        "bnnc_window",
        {"WIDTH": 3, "LANES": 2, "CHANNELS": 2, "PAD_TOP": pad, "PAD_LEFT": pad, "OUT_HEIGHT": out, "OUT_COLUMNS": out}
        | sizes,
        {"in": (6, pack(x.reshape(-1, 2), 3))},
        {"out": (7, len(taps))},
    )
    assert np.array_equal(unpack(found.beats["out"], 2, 3), taps)
    per_sample = len(taps) // 5
    assert found.interval("out", per_sample) <= max(per_sample, 144) * 1.02


@examples(25)
@given(
    st.integers(1, 3), st.integers(1, 7), st.integers(0, 1), st.integers(1, 6), st.integers(0, 2), st.integers(1, 3),
    st.sampled_from(["none", "all", "some"]), stalls, seeds,
)  # fmt: skip
def test_pool(
    lanes: int, width: int, signed: int, taps: int, function: int, chunks: int, smallest: str, stall: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pixels = 10
    x = numbers(rng, width, signed, (pixels, chunks, taps, lanes))
    pads = rng.random((pixels, chunks, taps)) < 0.3
    pads[:, :, int(rng.integers(0, taps))] = False
    factor, offset = (int(v) for v in rng.integers(-3, 4, 2))
    low, high = raw(width, signed)
    flags = rng.random((chunks, lanes)) < {"none": 0.0, "all": 1.0, "some": 0.5}[smallest]
    if function == 2:
        terms = np.where(pads[..., None], 0, factor * x + offset)
        expected = terms.sum(2)
        reach = taps * max(abs(factor * low + offset), abs(factor * high + offset))
        out_width = width_of(-reach, reach, True)
    else:
        outside = pads[..., None]
        largest = np.where(outside, low - 1, x).max(2)
        least = np.where(outside, high + 1, x).min(2)
        expected = least if function == 1 else np.where(flags, least, largest)
        out_width = width
    beats = [
        lane | int(pad) << (lanes * width)
        for lane, pad in zip(pack(x.reshape(-1, lanes), width), pads.ravel(), strict=True)
    ]
    parameters: dict[str, int | str] = {
        "LANES": lanes,
        "IN_WIDTH": width,
        "SIGNED": signed,
        "OUT_WIDTH": out_width,
        "TAPS": taps,
        "FUNCTION": function,
        "CHUNKS": chunks,
    }
    if function == 2:
        parameters |= {"FACTOR": factor, "OFFSET": offset}
    elif function == 0:
        parameters["SMALLEST"] = sum(int(flag) << i for i, flag in enumerate(flags.ravel()))
    found = simulate(
        "bnnc_pool",
        parameters,
        {"in": (lanes * width + 1, beats)},
        {"out": (lanes * out_width, pixels * chunks)},
        stall=stall,
        seed=seed,
    )
    result = unpack(found.beats["out"], lanes, out_width, bool(signed or function == 2))
    assert np.array_equal(result, expected.reshape(-1, lanes))
    if not stall:
        assert found.interval("out", 1) == taps


def integer_layer(data: st.DataObject, rng: np.random.Generator, in_width: int, weight_width: int, stall: int) -> None:
    """A layer of integers on random numbers, against numpy."""
    groups, vectors, signed = data.draw(st.integers(1, 2)), 4, data.draw(st.integers(0, 1))
    inputs, outputs, flag = data.draw(st.integers(1, 24)), data.draw(st.integers(1, 8)), data.draw(st.booleans())
    simd, pe = data.draw(st.sampled_from(divisors(inputs))), data.draw(st.sampled_from(divisors(outputs)))
    shape = (groups, outputs, inputs)
    weights = rng.choice([-1, 1], shape) if weight_width == 1 else numbers(rng, weight_width, 1, shape)
    x = numbers(rng, in_width, signed, (vectors, groups, inputs))
    pads = (rng.random((vectors, groups, inputs // simd)) < 0.3) & flag
    expected = (weights[None] * (x * ~np.repeat(pads, simd, axis=2))[:, :, None]).sum(3)
    acc = width_of(int(expected.min()), int(expected.max()), True)
    folds = weights.reshape(groups, outputs // pe, pe, inputs // simd, simd).transpose(0, 1, 3, 2, 4)
    rom = pack((folds > 0 if weight_width == 1 else folds).reshape(-1, pe * simd), weight_width)
    lanes = zip(pack(x.reshape(-1, simd), in_width), pads.ravel(), strict=True)
    sizes = {"INPUTS": inputs, "OUTPUTS": outputs, "SIMD": simd, "PE": pe, "GROUPS": groups, "FLAG": int(flag)}
    numbers_in = {"IN_WIDTH": in_width, "IN_SIGNED": signed, "WEIGHT_WIDTH": weight_width}
    found = simulate(
        "bnnc_mvu_integers",
        {**sizes, **numbers_in, "ACC_WIDTH": acc, "WEIGHTS": "w.mem"},
        {"in": (simd * in_width + flag, [lane | int(pad) << (simd * in_width) for lane, pad in lanes])},
        {"out": (pe * acc, vectors * groups * outputs // pe)},
        {"w.mem": rom},
        stall,
        int(rng.integers(1, 2**31)),
    )
    assert np.array_equal(unpack(found.beats["out"], pe, acc, True).ravel(), expected.ravel())
    if not stall:
        assert found.interval("out", outputs // pe) == inputs // simd * (outputs // pe)


@examples(30)
@given(st.data(), st.integers(1, 9), st.sampled_from([1, 1, 2, 3, 8]), stalls, seeds)
def test_integers(data: st.DataObject, in_width: int, weight_width: int, stall: int, seed: int) -> None:
    integer_layer(data, np.random.default_rng(seed), in_width, weight_width, stall)


@examples(10)
@given(st.data(), st.integers(16, 32), st.integers(12, 26), stalls, seeds)
def test_wide_integers(data: st.DataObject, in_width: int, weight_width: int, stall: int, seed: int) -> None:
    """Fixed point: products of several multipliers."""
    integer_layer(data, np.random.default_rng(seed), in_width, weight_width, stall)


@examples(15)
@given(
    st.integers(1, 3), st.integers(1, 8), st.integers(0, 1), st.integers(1, 9), st.integers(1, 4), st.integers(0, 1),
    stalls, seeds,
)  # fmt: skip
def test_lookup(
    lanes: int, in_width: int, signed: int, out_width: int, chunks: int, shared: int, stall: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    chunks = 1 if shared else chunks
    low = int(rng.integers(*raw(in_width, signed), endpoint=True))
    size = int(rng.integers(1, raw(in_width, signed)[1] - low, endpoint=True)) if low < raw(in_width, signed)[1] else 1
    table = numbers(rng, out_width, 0, (chunks, size, 1 if shared else lanes))
    x = rng.integers(low, low + size, (20, chunks, lanes))
    expected = table[np.arange(chunks)[:, None], x - low, 0 if shared else np.arange(lanes)]
    found = simulate(
        "bnnc_lookup",
        {"LANES": lanes, "IN_WIDTH": in_width, "IN_SIGNED": signed, "OUT_WIDTH": out_width, "SHARED": shared}
        | {"LOW": low, "SIZE": size, "CHUNKS": chunks, "TABLE": "t.mem"},
        {"in": (lanes * in_width, pack(x.reshape(-1, lanes), in_width))},
        {"out": (lanes * out_width, 20 * chunks)},
        {"t.mem": pack(table.reshape(-1, table.shape[2]), out_width)},
        stall,
        seed,
    )
    assert np.array_equal(unpack(found.beats["out"], lanes, out_width), expected.reshape(-1, lanes))
    if not stall:
        assert found.interval("out", 1) == 1


@examples(15)
@given(
    st.integers(1, 3), st.integers(1, 32), st.integers(0, 1), st.integers(1, 32), st.integers(1, 40), st.integers(1, 4),
    stalls, seeds,
)  # fmt: skip
def test_affine(
    lanes: int, in_width: int, signed: int, factor_width: int, out_width: int, chunks: int, stall: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    factors = numbers(rng, factor_width, 1, (chunks, lanes)).astype(object)
    offsets = numbers(rng, out_width, 1, (chunks, lanes)).astype(object)
    x = numbers(rng, in_width, signed, (20, chunks, lanes)).astype(object)
    mask = (1 << out_width) - 1
    expected = (x * factors + offsets) & mask
    fields = (factors & ((1 << factor_width) - 1)) | ((offsets & mask) << factor_width)
    found = simulate(
        "bnnc_affine",
        {"LANES": lanes, "IN_WIDTH": in_width, "IN_SIGNED": signed, "FACTOR_WIDTH": factor_width}
        | {"OUT_WIDTH": out_width, "CHUNKS": chunks, "TABLE": "t.mem"},
        {"in": (lanes * in_width, pack(x.reshape(-1, lanes), in_width))},
        {"out": (lanes * out_width, 20 * chunks)},
        {"t.mem": pack(fields, factor_width + out_width)},
        stall,
        seed,
    )
    assert found.beats["out"] == pack(expected.reshape(-1, lanes), out_width)
    if not stall:
        assert found.interval("out", 1) == 1


@examples(15)
@given(st.data(), st.integers(1, 3), st.integers(1, 40), stalls, seeds)
def test_add(data: st.DataObject, lanes: int, out_width: int, stall: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parameters = {"LANES": lanes, "OUT_WIDTH": out_width, "CONSTANT": int(rng.integers(-(2**31), 2**31))}
    total = np.full((20, lanes), parameters["CONSTANT"], object)
    inputs = {}
    for name in ("a", "b"):
        width, signed = data.draw(st.integers(1, 9)), data.draw(st.integers(0, 1))
        factor = int(rng.choice([1, 2, -1, 3, -(2**31), 2**31 - 1]))
        x = numbers(rng, width, signed, (20, lanes)).astype(object)
        total += factor * x
        inputs[name] = (lanes * width, pack(x, width))
        upper = name.upper()
        parameters |= {f"{upper}_WIDTH": width, f"{upper}_SIGNED": signed, f"{upper}_FACTOR": factor}
    found = simulate("bnnc_add", parameters, inputs, {"out": (lanes * out_width, 20)}, stall=stall, seed=seed)
    assert found.beats["out"] == pack(total, out_width)
    if not stall:
        assert found.interval("out", 1) == 1


@examples(10)
@given(st.integers(1, 40), st.integers(1, 4), stalls, seeds)
def test_fork(width: int, copies: int, stall: int, seed: int) -> None:
    """A wrapper gives every copy a port of its own; their readers pause independently."""
    names = [f"out{i}" for i in range(copies)]
    ports = "".join(f", output [{width - 1}:0] {n}_data, output {n}_valid, input {n}_ready" for n in names)
    every = {part: ", ".join(f"{n}_{part}" for n in reversed(names)) for part in ("valid", "ready")}
    wrapper = f"""
module forked (input clk, input rst, input [{width - 1}:0] in_data, input in_valid, output in_ready{ports});
  wire [{width - 1}:0] data;
  bnnc_fork #(.WIDTH({width}), .COPIES({copies})) fork_ (.clk(clk), .rst(rst), .in_data(in_data), .in_valid(in_valid),
    .in_ready(in_ready), .out_data(data), .out_valid({{{every["valid"]}}}), .out_ready({{{every["ready"]}}}));
  {"".join(f"assign {n}_data = data;" for n in names)}
endmodule
"""
    beats = [v & ((1 << width) - 1) for v in np.random.default_rng(seed).integers(0, 2**40, 40).tolist()]
    outputs = dict.fromkeys(names, (width, 40))
    found = simulate("forked", {}, {"in": (width, beats)}, outputs, stall=stall, seed=seed, extra=wrapper)
    for name in names:
        assert found.beats[name] == beats
        if not stall:
            assert found.interval(name, 1) == 1
