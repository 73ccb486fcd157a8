"""The layers of the Verilog library against numpy: sums, steps, tables, arg-max; the documented cycles."""

from __future__ import annotations

import resource

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.verilog import (
    divisors,
    examples,
    needs_iverilog,
    needs_verilator,
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


def bit_layer(
    rng: np.random.Generator,
    inputs: int,
    outputs: int,
    groups: int,
    simd: int,
    pe: int,
    ternary: bool,
    total: bool,
    flags: int,
    stall: int,
    simulator: str = "iverilog",
    vectors: int = 4,
) -> None:
    """A binary or ternary layer on random bits, against numpy."""
    weights = (
        rng.integers(-1, 2, (groups, outputs, inputs)) if ternary else rng.choice([-1, 1], (groups, outputs, inputs))
    )
    x = rng.choice([-1, 1], (vectors, groups, inputs))
    pads = rng.random((vectors, groups, inputs // simd * flags)) < 0.3
    counts = np.repeat(~pads, simd // flags, axis=2) if total and flags else np.ones_like(x, bool)
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
    if flags:
        taps = np.concatenate([(x > 0).reshape(-1, flags, simd // flags), pads.reshape(-1, flags, 1)], 2)
        beats = pack(taps.reshape(-1, simd + flags), 1)
    folds_out = vectors * groups * outputs // pe
    found = simulate(
        "bnnc_mvu_bits",
        {
            "INPUTS": inputs,
            "OUTPUTS": outputs,
            "SIMD": simd,
            "PE": pe,
            "GROUPS": groups,
            "FLAGS": flags,
            "TERNARY": int(ternary),
            "SUM": int(total),
            "ACC_WIDTH": acc,
            "WEIGHTS": "w.mem",
        },
        {"in": (simd + flags, beats)},
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
@given(st.data(), st.integers(1, 3), st.booleans(), st.booleans(), stalls, seeds)
def test_bits(data: st.DataObject, groups: int, ternary: bool, total: bool, stall: int, seed: int) -> None:
    inputs, outputs = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 12))
    simd, pe = data.draw(st.sampled_from(divisors(inputs))), data.draw(st.sampled_from(divisors(outputs)))
    flags = data.draw(st.sampled_from([0, 1, *divisors(simd)]))
    bit_layer(np.random.default_rng(seed), inputs, outputs, groups, simd, pe, ternary, total, flags, stall)


def test_a_wide_binary_layer_takes_the_documented_cycles() -> None:
    rng = np.random.default_rng(0)
    bit_layer(rng, 784, 32, 1, 49, 16, False, False, 0, 0, vectors=5)
    bit_layer(rng, 784, 32, 1, 784, 4, False, True, 1, 0, vectors=5)
    bit_layer(rng, 130, 10, 1, 130, 10, True, True, 0, 0, vectors=20)  # a vector a cycle


@needs_verilator
def test_verilator_computes_the_same() -> None:
    bit_layer(np.random.default_rng(3), 45, 6, 2, 9, 3, True, True, 3, 80, simulator="verilator")


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


def integer_layer(data: st.DataObject, rng: np.random.Generator, in_width: int, weight_width: int, stall: int) -> None:
    """A layer of integers on random numbers, against numpy."""
    groups, vectors, signed = data.draw(st.integers(1, 2)), 4, data.draw(st.integers(0, 1))
    inputs, outputs = data.draw(st.integers(1, 24)), data.draw(st.integers(1, 8))
    simd, pe = data.draw(st.sampled_from(divisors(inputs))), data.draw(st.sampled_from(divisors(outputs)))
    shape = (groups, outputs, inputs)
    weights = rng.choice([-1, 1], shape) if weight_width == 1 else numbers(rng, weight_width, 1, shape)
    x = numbers(rng, in_width, signed, (vectors, groups, inputs))
    expected = (weights[None] * x[:, :, None]).sum(3)
    acc = width_of(int(expected.min()), int(expected.max()), True)
    folds = weights.reshape(groups, outputs // pe, pe, inputs // simd, simd).transpose(0, 1, 3, 2, 4)
    rom = pack((folds > 0 if weight_width == 1 else folds).reshape(-1, pe * simd), weight_width)
    sizes = {"INPUTS": inputs, "OUTPUTS": outputs, "SIMD": simd, "PE": pe, "GROUPS": groups}
    numbers_in = {"IN_WIDTH": in_width, "IN_SIGNED": signed, "WEIGHT_WIDTH": weight_width}
    found = simulate(
        "bnnc_mvu_integers",
        {**sizes, **numbers_in, "ACC_WIDTH": acc, "WEIGHTS": "w.mem"},
        {"in": (simd * in_width, pack(x.reshape(-1, simd), in_width))},
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


def serial_layer(
    rng: np.random.Generator,
    inputs: int,
    outputs: int,
    groups: int,
    simd: int,
    pe: int,
    width: int,
    signed: int,
    stall: int,
    vectors: int = 4,
) -> None:
    """Weights of -1 and 1 on random numbers, bit by bit, against numpy: planes, then sums."""
    weights = rng.choice([-1, 1], (groups, outputs, inputs))
    x = numbers(rng, width, signed, (vectors, groups, inputs))
    x[0] = raw(width, signed)[0]
    expected = (weights[None] * x[:, :, None]).sum(3)
    reach = inputs << width
    acc = width_of(-reach, reach, True)
    folds = weights.reshape(groups, outputs // pe, pe, inputs // simd, simd).transpose(0, 1, 3, 2, 4)
    signs = folds.reshape(-1, simd) > 0
    fields = [word | int((~row).sum()) << simd for word, row in zip(pack(signs, 1), signs, strict=True)]
    field = simd + simd.bit_length()
    rom = [sum(v << (field * i) for i, v in enumerate(fields[at : at + pe])) for at in range(0, len(fields), pe)]
    wrapper = f"""
module layer (input clk, input rst, input [{simd * width - 1}:0] in_data, input in_valid, output in_ready,
              output [{pe * acc - 1}:0] out_data, output out_valid, input out_ready);
  wire [{simd - 1}:0] data;
  wire valid, ready;
  bnnc_planes #(.LANES({simd}), .WIDTH({width})) planes (.clk(clk), .rst(rst), .in_data(in_data), .in_valid(in_valid),
    .in_ready(in_ready), .out_data(data), .out_valid(valid), .out_ready(ready));
  bnnc_mvu_serial #(.INPUTS({inputs}), .OUTPUTS({outputs}), .SIMD({simd}), .PE({pe}), .GROUPS({groups}),
    .IN_WIDTH({width}), .IN_SIGNED({signed}), .ACC_WIDTH({acc}), .WEIGHTS("w.mem")) sums (.clk(clk), .rst(rst),
    .in_data(data), .in_valid(valid), .in_ready(ready), .out_data(out_data), .out_valid(out_valid),
    .out_ready(out_ready));
endmodule
"""
    found = simulate(
        "layer",
        {},
        {"in": (simd * width, pack(x.reshape(-1, simd), width))},
        {"out": (pe * acc, vectors * groups * outputs // pe)},
        {"w.mem": rom},
        stall,
        int(rng.integers(1, 2**31)),
        extra=wrapper,
    )
    assert np.array_equal(unpack(found.beats["out"], pe, acc, True).ravel(), expected.ravel())
    if not stall:
        assert found.interval("out", outputs // pe) == inputs // simd * width * (outputs // pe)


@examples(30)
@given(st.data(), st.integers(1, 9), st.integers(0, 1), st.integers(1, 3), stalls, seeds)
def test_serial(data: st.DataObject, width: int, signed: int, groups: int, stall: int, seed: int) -> None:
    inputs, outputs = data.draw(st.integers(1, 48)), data.draw(st.integers(1, 8))
    simd, pe = data.draw(st.sampled_from(divisors(inputs))), data.draw(st.sampled_from(divisors(outputs)))
    serial_layer(np.random.default_rng(seed), inputs, outputs, groups, simd, pe, width, signed, stall)


def test_a_wide_serial_layer_takes_the_documented_cycles() -> None:
    serial_layer(np.random.default_rng(0), 784, 8, 1, 28, 4, 8, 0, 0)
    serial_layer(np.random.default_rng(1), 240, 4, 1, 240, 4, 3, 1, 0, vectors=12)


@examples(10)
@given(st.data(), st.integers(16, 32), st.integers(12, 26), stalls, seeds)
def test_wide_integers(data: st.DataObject, in_width: int, weight_width: int, stall: int, seed: int) -> None:
    """Fixed point: products of several multipliers."""
    integer_layer(data, np.random.default_rng(seed), in_width, weight_width, stall)


def test_many_lanes_simulate_in_seconds() -> None:
    """480 numbers a cycle: an event for each lane at each level of the tree would take minutes."""
    rng = np.random.default_rng(0)
    x, weights = numbers(rng, 8, 0, (50, 960)), rng.choice([-1, 1], (2, 960))
    rom = pack((weights.reshape(2, 2, 480) > 0).transpose(1, 0, 2).reshape(2, -1), 1)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    found = simulate(
        "bnnc_mvu_integers",
        {"INPUTS": 960, "OUTPUTS": 2, "SIMD": 480, "PE": 2, "ACC_WIDTH": 20, "WEIGHTS": "w.mem"},
        {"in": (480 * 8, pack(x.reshape(-1, 480), 8))},
        {"out": (40, 50)},
        {"w.mem": rom},
    )
    assert np.array_equal(unpack(found.beats["out"], 2, 20, True), x @ weights.T)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 40


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
