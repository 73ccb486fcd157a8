"""What falls out of the «bit» level: fewer ops and fewer bytes, and not a bit changed."""

from __future__ import annotations

import numpy as np
import pytest

from bnnc.backends.llvm.host import native_machine
from bnnc.ir import bit, move, nn
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import F32, Bit, Trit
from bnnc.loops.lower.network import lower
from bnnc.loops.machine import Machine, machine_for
from bnnc.passes.duplicates import merge_duplicates
from bnnc.passes.report import layers
from bnnc.reference.run import run
from tests.test_field import ONES2, PAD2, checked, constant, packed, sign, signs

NONE2 = (0, 0, 0, 0)


def at_least(x: Op, limit: float = 0.0) -> nn.Map:
    return nn.Map("where", (nn.Map("greater_equal", (x, constant(limit))), constant(1), constant(-1)))


def norm(x: Op, rng: np.random.Generator) -> nn.BatchNorm:
    channels = x.type.shape[0]
    scale, bias, mean = rng.normal(size=(3, channels))
    return nn.BatchNorm(
        x, constant(scale), constant(bias), constant(mean * 3), constant(rng.random(channels) + 0.1), 1e-5
    )


def test_equal_layers_are_computed_once() -> None:
    rng = np.random.default_rng(0)
    x = Input("x", F32(), (8, 6, 6))
    weights = signs(rng, 12, 8, 3, 3)

    def branch() -> Op:
        return nn.Conv(sign(x), constant(weights), None, ONES2, PAD2, ONES2)

    both = nn.Map("add", (branch(), nn.Map("mul", (branch(), constant(0.5)))))
    module = Module("net", (x,), (Output("y", both),))
    bits = checked(module, {"x": rng.normal(size=(3, 8, 6, 6))})
    assert len(layers(bits)) == 1
    assert sum(isinstance(op, bit.Step) for op in bits.ops()) == 1


def test_only_equal_ops_are_merged() -> None:
    x = Input("x", F32(), (4,))
    one, other = nn.Map("add", (x, constant(0.0))), nn.Map("add", (x, constant(-0.0)))
    clipped = nn.Map("clip", (x, constant(0), constant(1)))
    again = nn.Map("clip", (x, constant(0), constant(1)))
    outputs = tuple(Output(f"y{n}", value) for n, value in enumerate((one, other, clipped, again)))
    module = merge_duplicates(Module("net", (x,), outputs))
    values = [output.value for output in module.outputs]
    assert values[2] is values[3]
    assert values[0] is not values[1]


def shuffled(x: Op, groups: int) -> Op:
    """As exporters write it."""
    channels, *rest = x.type.shape
    split = move.Reshape(x, (groups, channels // groups, *rest))
    turned = move.Transpose(split, (1, 0, *range(2, len(rest) + 2)))
    return move.Reshape(turned, x.type.shape)


@pytest.mark.parametrize("where", ["before", "behind", "sums", "pooled"])
@pytest.mark.parametrize("groups", [1, 4])
def test_a_channel_shuffle_of_bits_is_free(where: str, groups: int) -> None:
    """`groups` of the layer that reads the shuffled bits: with groups, the layer before makes them in order."""
    rng = np.random.default_rng(1)
    x = Input("x", Bit(), (8, 8, 8))
    first: Op = nn.Conv(x, constant(signs(rng, 24, 8, 3, 3)), None, ONES2, PAD2, ONES2)
    if where == "sums":
        first = shuffled(first, 3)
    made: Op = at_least(norm(first, rng))
    if where == "pooled":
        made = nn.Pool(made, "max", (2, 2), (2, 2), NONE2, ONES2)
    if where == "behind":
        made = sign(norm(shuffled(made, 3), rng))
    elif where != "sums":
        made = shuffled(made, 3)
    second = nn.Conv(made, constant(signs(rng, 16, 24 // groups, 3, 3)), None, ONES2, PAD2, ONES2, groups)
    bits = checked(Module("net", (x,), (Output("y", second),)), {"x": signs(rng, 3, 8, 8, 8)})
    assert not any(isinstance(op, move.MOVES) for op in bits.ops())


def test_a_shuffle_that_others_read_stays_for_them() -> None:
    rng = np.random.default_rng(2)
    x = Input("x", F32(), (12, 5, 5))
    mixed = shuffled(at_least(x), 4)
    second = nn.Conv(mixed, constant(signs(rng, 6, 12, 3, 3)), None, ONES2, PAD2, ONES2)
    module = Module("net", (x,), (Output("y", second), Output("mixed", mixed)))
    checked(module, {"x": rng.normal(size=(3, 12, 5, 5))})


@pytest.mark.parametrize("padding", ["none", "zeros", "ones"])
@pytest.mark.parametrize("pool", [False, True])
def test_channels_that_never_change_go_away(padding: str, pool: bool) -> None:
    rng = np.random.default_rng(3)
    x = Input("x", Bit(), (8, 8, 8))
    total = nn.Conv(x, constant(signs(rng, 40, 8, 3, 3)), None, ONES2, NONE2, ONES2)
    scale = rng.normal(size=40)
    scale[[3, 20, 39]] = 0
    bias = np.where(scale == 0, 1.0, rng.normal(size=40))
    still = nn.BatchNorm(
        total, constant(scale), constant(bias), constant(rng.normal(size=40)), constant(np.ones(40)), 0.0
    )
    made: Op = at_least(still, 1e-3)
    if pool:
        made = nn.Pool(made, "max", (2, 2), (2, 2), NONE2, ONES2)
    pads = NONE2
    if padding == "zeros":
        pads = PAD2
    elif padding == "ones":
        made = move.Pad(made, (0, 1, 1, 0, 1, 1), 1.0)
    second = nn.Conv(made, constant(signs(rng, 33, 40, 3, 3)), None, ONES2, pads, ONES2)
    module = Module("net", (x,), (Output("y", at_least(norm(second, rng))),))
    bits = checked(module, {"x": signs(rng, 5, 8, 8, 8)})
    # Zeros around a channel of ones show, so it stays.
    kept = 40 if padding == "zeros" else 37
    assert [op.weights.shape[:2] for op in bits.ops() if isinstance(op, bit.Conv)] == [(kept, 8), (33, kept)]


def test_channels_that_nobody_reads_go_away() -> None:
    rng = np.random.default_rng(4)
    x = Input("x", Bit(), (30,))
    first = at_least(nn.Dense(x, constant(signs(rng, 20, 30)), constant(rng.normal(size=20))))
    weights = signs(rng, 10, 20) * (rng.random((10, 20)) < 0.7)
    weights[:, 7] = 0
    last = nn.Dense(first, constant(weights), constant(rng.normal(size=10)))
    module = Module("net", (x,), (Output("y", at_least(last)),))
    bits = checked(module, {"x": signs(rng, 9, 30)})
    assert [op.weights.shape for op in bits.ops() if isinstance(op, bit.Dense)] == [(19, 30), (10, 19)]


def test_a_tensor_of_trits_for_one_dead_channel_becomes_bits() -> None:
    rng = np.random.default_rng(5)
    x = Input("x", Bit(), (31,))
    scale = np.ones(20)
    scale[4] = 0
    dense = nn.Dense(x, constant(signs(rng, 20, 31)), None)
    first = sign(nn.BatchNorm(dense, constant(scale), constant(scale * 0), constant(scale * 0), constant(scale), 1.0))
    module = Module("net", (x,), (Output("y", at_least(nn.Dense(first, constant(signs(rng, 9, 20)), None))),))
    bits = checked(module, {"x": signs(rng, 9, 31)})
    assert not any(isinstance(op.type.dtype, Trit) for op in bits.ops())
    assert packed(bits) == ["±1 on bit", "±1 on bit"]


def test_what_an_output_shows_is_kept() -> None:
    rng = np.random.default_rng(6)
    x = Input("x", Bit(), (16,))
    first = at_least(nn.Dense(x, constant(signs(rng, 8, 16)), constant([100.0] + [0] * 7)))
    second = at_least(nn.Dense(first, constant(signs(rng, 5, 8)), None))
    module = Module("net", (x,), (Output("first", first), Output("y", second)))
    inputs = {"x": signs(rng, 9, 16)}
    bits = checked(module, inputs)
    assert run(bits, inputs)["first"].shape == (9, 8)


def test_a_recurrent_net_keeps_one_copy_of_its_weights() -> None:
    rng = np.random.default_rng(7)
    weights = signs(rng, 64, 64)

    def unrolled(times: int) -> Module:
        x = Input("x", Bit(), (64,))
        value: Op = x
        for _ in range(times):
            value = at_least(nn.Dense(value, constant(weights), None), 0.5)
        return Module("net", (x,), (Output("y", value),))

    inputs = {"x": signs(rng, 9, 64)}
    few, many = (lower(checked(unrolled(times), inputs), native_machine()) for times in (2, 9))
    assert few.weight_bytes == many.weight_bytes
    assert len(many.calls) > len(few.calls)


@pytest.mark.parametrize("functions", [("min", "max"), ("floor", "ceil")])
def test_different_kernels_without_names_stay_different(functions: tuple[str, str]) -> None:
    x = Input("x", F32(), (5,))
    operands = (x, constant(0.5)) if functions[0] == "min" else (x,)
    outputs = tuple(Output(f"y{n}", nn.Map(name, operands)) for n, name in enumerate(functions))
    checked(Module("net", (x,), outputs), {"x": np.random.default_rng(8).normal(size=(3, 5))})


@pytest.mark.parametrize("channels", [32, 37, 64, 70])
@pytest.mark.parametrize("spelling", ["bit", "trit", "codes", "knee"])
def test_a_stream_and_its_bits_are_written_together(channels: int, spelling: str) -> None:
    rng = np.random.default_rng(9)
    x = Input("x", F32(), (channels, 6, 7))
    z = Input("z", F32(), (channels, 6, 7))
    stream = nn.Map("add", (nn.Map("prelu", (x, constant(0.3))), z))
    shifted = nn.Map("mul", (stream, constant(rng.normal(size=(channels, 1, 1)))))
    made: Op = {
        "bit": at_least(shifted),
        "trit": sign(shifted),
        "knee": sign(nn.Map("add", (nn.Map("prelu", (shifted, constant(-0.5))), constant(-0.2)))),
        "codes": nn.Map("round", (nn.Map("clip", (shifted, constant(0), constant(3))),)),
    }[spelling]
    conv = nn.Conv(made, constant(signs(rng, 40, channels, 3, 3)), None, ONES2, PAD2, ONES2)
    narrow = nn.Conv(stream, constant(rng.normal(size=(40, channels, 1, 1))), None, ONES2, NONE2, ONES2)
    module = Module("net", (x, z), (Output("y", nn.Map("add", (conv, narrow))),))
    bits = checked(module, {name: rng.normal(size=(3, channels, 6, 7)) for name in ("x", "z")})
    vectors = lower(bits, machine_for("x86-64-v3"))
    written = [op for op in bits.ops() if isinstance(op, bit.Step)]
    assert len(written) == 1
    assert any(call.op is written[0] for call in lower(bits, Machine("small", "", "", vector_bits=0)).calls)
    assert not any(call.op is written[0] and "halo" not in call.function for call in vectors.calls)
