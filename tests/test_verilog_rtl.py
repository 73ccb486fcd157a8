"""The streams of the Verilog library: FIFOs, widths, forks, windows, pools, reorderings, as numpy has them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verilog import (
    Pair,
    examples,
    needs_iverilog,
    numbers,
    pack,
    raw,
    seeds,
    simulate,
    stalls,
    unpack,
    width_of,
)

pytestmark = needs_iverilog


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


def wide_beats(
    x: np.ndarray, lanes: int, kernel: Pair, stride: Pair, dilation: Pair, pad: Pair, out: Pair, value: int
) -> tuple[np.ndarray, np.ndarray]:
    """Windows of x [samples, H, W, C] in the order of bnnc_window_wide: [beats, taps, lanes] and pad [beats, taps]."""
    chunks, taps = x.shape[3] // lanes, kernel[0] * kernel[1]
    found, pads = window_beats(x, lanes, chunks, kernel, stride, dilation, pad, out, value)
    return found.reshape(-1, taps, lanes), pads.reshape(-1, taps)


@examples(40)
@given(st.data(), st.integers(1, 5), st.integers(1, 3), st.integers(1, 4), st.booleans(), stalls, seeds)
def test_wide_window(
    data: st.DataObject, width: int, lanes: int, chunks: int, flag: bool, stall: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)

    def pair(low: int, high: int) -> Pair:
        return data.draw(st.integers(low, high)), data.draw(st.integers(low, high))

    size, kernel, stride, dilation = pair(1, 9), pair(1, 4), pair(1, 3), pair(1, 2)
    span = [(kernel[i] - 1) * dilation[i] for i in range(2)]
    pad = (data.draw(st.integers(0, min(2, span[0]))), data.draw(st.integers(0, min(2, span[1]))))
    after = pair(0, 2)
    room = [size[i] + pad[i] + after[i] - span[i] - 1 for i in range(2)]
    if min(room) < 0:
        return
    out = (room[0] // stride[0] + 1, room[1] // stride[1] + 1)
    if out[0] > 1 and (out[1] - 1) * stride[1] >= stride[0] * size[1]:
        return
    taps, field = kernel[0] * kernel[1], lanes * width + flag
    channels, samples, value = lanes * chunks, 4, int(rng.integers(0, 2**width))
    x = numbers(rng, width, 0, (samples, *size, channels))
    expected, pads = wide_beats(x, lanes, kernel, stride, dilation, pad, out, value)
    names = ("HEIGHT", "COLUMNS", "KERNEL_H", "KERNEL_W", "STRIDE_H", "STRIDE_W", "DILATION_H", "DILATION_W")
    more = ("PAD_TOP", "PAD_LEFT", "OUT_HEIGHT", "OUT_COLUMNS")
    shape = dict(zip(names + more, (*size, *kernel, *stride, *dilation, *pad, *out), strict=True))
    fixed = {"WIDTH": width, "LANES": lanes, "CHANNELS": channels, "PAD_VALUE": value, "FLAG": int(flag)}
    found = simulate(
        "bnnc_window_wide",
        {**fixed, **shape},
        {"in": (lanes * width, pack(x.reshape(-1, lanes), width))},
        {"out": (taps * field, len(expected))},
        stall=stall,
        seed=seed,
    )
    fields = unpack(found.beats["out"], taps, field)
    assert np.array_equal(fields >> (lanes * width), pads & flag)
    elements = [pack(row, width) for row in expected]
    assert np.array_equal(fields & ((1 << (lanes * width)) - 1), elements)


@pytest.mark.parametrize(("kernel", "stride", "pad"), [(3, 1, 1), (3, 1, 0), (2, 2, 0), (5, 1, 2), (3, 2, 1)])
def test_whole_windows_keep_up_with_the_pixels(kernel: int, stride: int, pad: int) -> None:
    """A pixel a cycle, and behind a sample what its last window reaches below it."""
    x = numbers(np.random.default_rng(0), 8, 0, (5, 12, 12, 1))
    out = (12 + 2 * pad - kernel) // stride + 1
    sizes = {"HEIGHT": 12, "COLUMNS": 12, "KERNEL_H": kernel, "KERNEL_W": kernel, "STRIDE_H": stride}
    sizes |= {"STRIDE_W": stride, "PAD_TOP": pad, "PAD_LEFT": pad, "OUT_HEIGHT": out, "OUT_COLUMNS": out}
    found = simulate(
        "bnnc_window_wide",
        {"WIDTH": 8, "LANES": 1, "CHANNELS": 1, **sizes},
        {"in": (8, x.ravel().tolist())},
        {"out": (9 * kernel**2, 5 * out * out)},
    )
    below = max((out - 1) * stride + kernel - pad - 12, 0)
    assert found.interval("out", out * out) == 144 + below * 13


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


@examples(15)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 9), stalls, seeds)
def test_reorder(before: int, after: int, width: int, stall: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    index = rng.integers(0, before, after, endpoint=True)
    fill = int(rng.integers(0, 2**width))
    x = numbers(rng, width, 0, (8, before))
    expected = np.concatenate([x, np.full((8, 1), fill)], 1)[:, index]
    found = simulate(
        "bnnc_reorder",
        {"WIDTH": width, "IN_BEATS": before, "OUT_BEATS": after, "INDEX": "i.mem", "FILL": fill},
        {"in": (width, x.ravel().tolist())},
        {"out": (width, 8 * after)},
        {"i.mem": index.tolist()},
        stall,
        seed,
    )
    assert found.beats["out"] == expected.ravel().tolist()
    if not stall:
        assert found.interval("out", after) <= max(before, after) + 3


@examples(10)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 9), stalls, seeds)
def test_concat(a_beats: int, b_beats: int, width: int, stall: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = numbers(rng, width, 0, (10, a_beats)), numbers(rng, width, 0, (10, b_beats))
    found = simulate(
        "bnnc_concat",
        {"WIDTH": width, "A_BEATS": a_beats, "B_BEATS": b_beats},
        {"a": (width, a.ravel().tolist()), "b": (width, b.ravel().tolist())},
        {"out": (width, 10 * (a_beats + b_beats))},
        stall=stall,
        seed=seed,
    )
    assert found.beats["out"] == np.concatenate([a, b], 1).ravel().tolist()
    if not stall:
        assert found.interval("out", 1) == 1


@examples(10)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 9), stalls, seeds)
def test_repeat(beats: int, times: int, width: int, stall: int, seed: int) -> None:
    x = numbers(np.random.default_rng(seed), width, 0, (8, 1, beats))
    found = simulate(
        "bnnc_repeat",
        {"WIDTH": width, "BEATS": beats, "TIMES": times},
        {"in": (width, x.ravel().tolist())},
        {"out": (width, 8 * beats * times)},
        stall=stall,
        seed=seed,
    )
    assert found.beats["out"] == np.repeat(x, times, axis=1).ravel().tolist()
    if not stall:
        assert found.interval("out", 1) == 1


@pytest.mark.parametrize("beats", [1, 2, 7])
@pytest.mark.parametrize("stall", [0, 120])
def test_constant(beats: int, stall: int) -> None:
    """It never ends: a wrapper lets as many beats through as there are in three samples."""
    table = list(range(3, 3 + beats))
    wrapper = f"""
module thrice (input clk, input rst, output [7:0] out_data, output out_valid, input out_ready);
  reg [7:0] left;
  wire valid;
  assign out_valid = valid && left != 0;
  bnnc_constant #(.WIDTH(8), .BEATS({beats}), .TABLE("t.mem")) constant (.clk(clk), .rst(rst), .out_data(out_data),
    .out_valid(valid), .out_ready(out_ready && left != 0));
  always @(posedge clk) if (rst) left <= {3 * beats}; else if (out_valid && out_ready) left <= left - 1;
endmodule
"""
    found = simulate("thrice", {}, {}, {"out": (8, 3 * beats)}, {"t.mem": table}, stall, 5, extra=wrapper)
    assert found.beats["out"] == table * 3
    if not stall:
        assert found.interval("out", 1) == 1
