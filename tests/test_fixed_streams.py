"""Fixed-point streams of real networks: the same decisions as fp32, the same bits everywhere, no float in between."""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest

from bnnc import api
from bnnc.backends.llvm import Backend
from bnnc.checking import classes
from bnnc.data.seeded import seeded
from bnnc.diagnostics import BnncError
from bnnc.ir import bit, fixed, move, nn
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import F32, U8, Bit, Fix, is_integer
from bnnc.loops.lower.network import lower
from bnnc.loops.machine import MACHINES
from bnnc.passes import pipelines
from bnnc.passes.fixed_streams import fix_streams, stream_facts
from bnnc.passes.options import PassOptions
from bnnc.reference.loop import run_program
from bnnc.reference.run import run, values
from tests.cli import bnnc
from tests.shared import SHARED, needs_shared

NETS = SHARED / "models" / "nets"
# Every network of the fixtures that carries real numbers between binary layers.
STREAMS = [
    "binarydensenet_dil_legacy13",
    "birealnet_clean_dynamo18",
    "birealnet_onnxsim_dynamo18",
    "birealnet_poly_detach_legacy13",
    "fracbnn_small_legacy17",
    "ftbnn_group_shuffle_dynamo18",
    "larq_birealnet_magaware_opset13",
    "larq_quicknet_opset13",
    "meliusnet_dynamo20",
    "reactnet_resnet_legacy17",
    "reactneta_small_poly_dynamo18",
    "real2binary_se_dynamo18",
    "sbnn_taupi_legacy13",
    "snn_codebook_dynamo20",
    "xnornet_alpha_dynamo18",
]
FIXED = PassOptions(stream="fixed")
IMAGENET = (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@functools.cache
def imported(name: str, pixels: bool = False) -> Module:
    return api.load(NETS / f"{name}.onnx", pixels={"": IMAGENET} if pixels else None)


def decisions(plain: Module, other: Module) -> list[tuple[Op, Op]]:
    """The steps on real numbers that both modules have."""
    steps = [op for op in other.ops() if isinstance(op, bit.Step)]
    found: list[tuple[Op, Op]] = []
    for op in plain.ops():
        if isinstance(op, bit.Step):
            same = next(o for o in steps if (o.loc, o.type) == (op.loc, op.type))
            steps.remove(same)
            if op.x.type.dtype == F32() and is_integer(op.dtype):
                found.append((op, same))
    return found


def agreement(plain: Module, other: Module, samples: int) -> tuple[float, int]:
    """(share of equal decisions, samples with the same class)."""
    equal = total = right = 0
    for start in range(0, samples, 8):
        inputs = seeded(plain, 8, 7, start)
        one, two = values(plain, inputs), values(other, inputs)
        for a, b in decisions(plain, other):
            equal, total = equal + int((one[a] == two[b]).sum()), total + one[a].size
        left, right_ = classes(plain, run(plain, inputs)), classes(other, run(other, inputs))
        assert left is not None
        assert right_ is not None
        right += int((left == right_).sum())
    return equal / max(total, 1), right


def bits_agree(module: Module, count: int = 5) -> None:
    inputs = seeded(module, count, 3)
    found = Backend().load(module, Backend.Options())(inputs)
    for name, expected in run(module, inputs).items():
        assert np.array_equal(found[name], expected), name


@needs_shared
@pytest.mark.parametrize("name", STREAMS)
def test_fixed_streams_decide_as_floats_do(name: str) -> None:
    plain = api.optimise(imported(name))
    module = api.optimise(imported(name), options=FIXED)
    share, right = agreement(plain, module, 16)
    assert share >= 0.999
    assert right == 16
    bits_agree(module)
    assert dict(module.facts)["stream"] == "fixed"
    # Floats stand before the streams only (what float inputs alone decide), or are the scores' softmax.
    for op in module.ops():
        if isinstance(op, fixed.Decode):
            assert all(isinstance(user, nn.Softmax) for user in module.users()[op]), op.loc


@needs_shared
@pytest.mark.parametrize("name", STREAMS)
def test_networks_on_pixels_need_no_float_at_all(name: str) -> None:
    module = api.optimise(imported(name, True), options=PassOptions(stream="fixed", stem="int"))
    scores = module.outputs[0].value
    if isinstance(scores, nn.Softmax):  # its exponentials are floats: what they read is not
        decoded = scores.x
        assert isinstance(decoded, fixed.Decode)
        module = Module(module.name, module.inputs, (Output("y", decoded.x),), facts=module.facts)
    assert not [op for op in module.ops() if op.type.dtype == F32()]
    (text,) = (content.decode() for content in Backend().emit(module, Backend.Options()).files.values())
    code = "\n".join(line for line in text.split("\n") if not line.startswith(";"))
    assert not re.search(r"\b(float|double|f(add|sub|mul|div|cmp)|[su]itofp|fpto[su]i)\b|\.f32", code)
    bits_agree(module)


@needs_shared
def test_what_each_tensor_is_and_can_be_is_known() -> None:
    module = api.optimise(imported("birealnet_clean_dynamo18"), options=FIXED)
    rows = stream_facts(module)
    formats = {op.type.dtype for op in module.ops() if op.opcode.startswith("fix.") and op.type.dtype != F32()}
    assert {Fix(row.whole, row.fraction) for row in rows} == formats
    for row in rows:
        largest = 2.0 ** (row.whole - 1) - 2.0**-row.fraction
        assert row.seen is not None
        assert row.saturates == (row.bound > largest)
        # A bit to spare beyond what was seen, unless even the worst case needs less.
        assert largest >= min(row.bound, 2 * row.seen) - 2.0**-row.fraction
    assert next(row for row in rows if row.op == "fix.encode").bound == np.inf  # a float input has no worst case


@needs_shared
def test_a_possible_saturation_is_an_error_if_so_asked() -> None:
    with pytest.raises(BnncError) as caught:
        api.optimise(imported("birealnet_clean_dynamo18"), options=PassOptions("fixed", strict_range=True))
    assert {d.code for d in caught.value.diagnostics} == {"B0702"}
    assert "could saturate" in caught.value.diagnostics[0].message
    done = bnnc("compile", NETS / "birealnet_clean_dynamo18.onnx", "--stream", "fixed", "--strict-range", "--json")
    assert done.code != 0
    assert "B0702" in done.codes


def small(scale: float = 0.37) -> Module:
    """Two binary layers with a residual between them."""
    rng = np.random.default_rng(0)

    def signs(*shape: int) -> nn.Constant:
        return nn.Constant(rng.choice([-1.0, 1.0], shape).astype(np.float32))

    x = Input("x", Bit(), (24,))
    first = nn.Map("mul", (nn.Dense(x, signs(24, 24), None), nn.Constant(np.array(scale, np.float32))))
    stream = nn.Map("add", (first, nn.Map("mul", (x, nn.Constant(np.array(0.5, np.float32))))))
    second = nn.Dense(nn.Map("sign", (stream,)), signs(6, 24), None)
    return Module("net", (x,), (Output("y", nn.Map("mul", (second, nn.Constant(np.array(0.1, np.float32))))),))


def test_where_no_worst_case_leaves_its_format_strict_ranges_hold() -> None:
    plain = pipelines.optimise(small())
    # With nothing observed, formats hold the worst case.
    module = fix_streams(plain, PassOptions(stream="fixed", strict_range=True))
    assert not [row for row in stream_facts(module) if row.saturates]
    bits_agree(module)


def plain_weights(module: Module) -> np.ndarray:
    """The weights of the first layer: each row, as an input, gives the largest sum there is."""
    return next(op.weights for op in module.ops() if isinstance(op, bit.Dense)).astype(np.int32)


def test_streams_saturate_alike_everywhere() -> None:
    """Ranges observed on tame samples, then the worst ones: clamped, and equal on every target."""
    plain = pipelines.optimise(small())
    rng = np.random.default_rng(1)
    wild = {"x": rng.choice([-1, 1], (500, 24)).astype(np.int32)}
    sums = next(array for op, array in values(plain, wild).items() if isinstance(op, bit.Dense))
    calmest = int(np.abs(sums).max(1).argmin())
    tame = {"x": wild["x"][calmest : calmest + 1]}
    wild["x"] = np.concatenate([wild["x"], np.sign(plain_weights(plain))])
    module = fix_streams(plain, PassOptions(stream="fixed", inputs=tame))
    assert any(row.saturates for row in stream_facts(module))
    held = values(module, wild)
    clamped = [op for op in held if isinstance(op.type.dtype, Fix) and (held[op] == 2**31 - 1).any()]
    assert clamped
    found = Backend().load(module, Backend.Options())(wild)
    assert np.array_equal(found["y"], run(module, wild)["y"])


FUNCTIONS = [
    ("relu", ()),
    ("abs", ()),
    ("neg", ()),
    ("sigmoid", ()),
    ("tanh", ()),
    ("clip", (-0.4, 0.9)),
    ("prelu", (-0.3,)),
    ("max", (0.25,)),
    ("min", (0.25,)),
    ("div", (3.0,)),
]


@pytest.mark.parametrize(("function", "constants"), FUNCTIONS)
@pytest.mark.parametrize("of", ["stream", "sums", "two"])
def test_every_function_on_a_stream(function: str, constants: tuple[float, ...], of: str) -> None:
    rng = np.random.default_rng(0)
    x = Input("x", Bit(), (6, 5, 5))
    weights = nn.Constant(rng.choice([-1.0, 1.0], (8, 6, 3, 3)).astype(np.float32))
    sums: Op = nn.Conv(x, weights, None, (1, 1), (1, 1, 1, 1), (1, 1))
    gain = nn.Constant(rng.normal(0, 0.1, (8, 1, 1)).astype(np.float32))
    value: Op = nn.Map("mul", (sums, gain))
    other = nn.Constant(rng.normal(0, 1, (8, 5, 5)).astype(np.float32))
    if of != "sums":
        value = nn.Map("add", (value, other))
    given = [nn.Constant(np.full((8, 1, 1), c, np.float32)) for c in constants]
    if of == "two" and len(given) == 1 and function != "div":
        given = [nn.Map("mul", (value, other))]  # type: ignore[list-item]
    y = nn.Map(function, (value, *given))
    plain = pipelines.optimise(Module("net", (x,), (Output("y", y),)), require_binary=False)
    inputs = {"x": rng.choice([-1, 1], (3, 6, 5, 5))}
    module = fix_streams(plain, PassOptions(stream="fixed", inputs=inputs))
    assert isinstance(module.outputs[0].value.type.dtype, Fix)
    assert not [op for op in module.ops() if op.type.dtype == F32()]
    error = np.abs(run(module, inputs)["y"] - run(plain, inputs)["y"]).max()
    largest = max(1.0, np.abs(run(plain, inputs)["y"]).max())
    assert error < largest * (2.5e-6 if function in ("sigmoid", "tanh") else 1e-6)
    found = Backend().load(module, Backend.Options())(inputs)
    assert np.array_equal(found["y"], run(module, inputs)["y"])


def stream_of(x: Op, channels: int) -> Op:
    rng = np.random.default_rng(5)
    weights = nn.Constant(rng.choice([-1.0, 1.0], (channels, x.type.shape[0], 3, 3)).astype(np.float32))
    sums: Op = nn.Conv(x, weights, None, (1, 1), (1, 1, 1, 1), (1, 1))
    return nn.Map("mul", (sums, nn.Constant(rng.normal(0, 0.1, (channels, 1, 1)).astype(np.float32))))


@pytest.mark.parametrize("kind", ["average", "padded average", "sum", "max", "channel mean", "gate", "concat", "pad"])
def test_what_joins_elements_of_a_stream(kind: str) -> None:
    x = Input("x", Bit(), (6, 7, 5))
    value = stream_of(x, 8)
    window = {"kernel": (3, 2), "strides": (2, 1), "dilations": (1, 1)}
    y: Op
    match kind:
        case "average":
            y = nn.Pool(value, "average", pads=(0, 0, 0, 0), **window)  # type: ignore[arg-type]
        case "padded average":
            y = nn.Pool(value, "average", pads=(1, 1, 1, 0), ceil_mode=True, **window)  # type: ignore[arg-type]
        case "sum" | "max":
            y = nn.Pool(value, kind, pads=(1, 0, 1, 1), **window)  # type: ignore[arg-type]
        case "channel mean":
            y = nn.Reduce(nn.Map("abs", (value,)), "mean", (0,), True)
        case "gate":
            mean = nn.Pool(value, "average", (7, 5), (1, 1), (0, 0, 0, 0), (1, 1))
            y = nn.Map("mul", (value, nn.Map("sigmoid", (mean,))))
        case "concat":
            y = move.Concat((value, nn.Map("relu", (value,))), 0)
        case _:
            y = move.Pad(value, (0, 1, 1, 0, 1, 1), -0.5)
    plain = pipelines.optimise(Module("net", (x,), (Output("y", y),)), require_binary=False)
    rng = np.random.default_rng(0)
    inputs = {"x": rng.choice([-1, 1], (3, 6, 7, 5))}
    module = fix_streams(plain, PassOptions(stream="fixed", inputs=inputs))
    assert not [op for op in module.ops() if op.type.dtype == F32()]
    assert np.abs(run(module, inputs)["y"] - run(plain, inputs)["y"]).max() < 2e-6
    found = Backend().load(module, Backend.Options())(inputs)
    assert np.array_equal(found["y"], run(module, inputs)["y"])


@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 1, 1, 1), (2, 0, 1, 3)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize("groups", [1, 3])
def test_integer_stems_are_within_their_bound(
    pads: tuple[int, int, int, int], strides: tuple[int, int], groups: int
) -> None:
    rng = np.random.default_rng(2)
    x = Input("x", U8, (3, 11, 13))
    mean, std = ([[[0.485]], [[0.456]], [[0.406]]], [[[0.229]], [[0.224]], [[0.225]]])
    real: Op = nn.Map("mul", (x, nn.Constant(np.array(1 / 255, np.float32))))
    real = nn.Map("sub", (real, nn.Constant(np.array(mean, np.float32))))
    real = nn.Map("div", (real, nn.Constant(np.array(std, np.float32))))
    weights = rng.normal(0, 0.3, (6, 3 // groups, 3, 3)).astype(np.float32)
    weights[1] = 0
    bias = nn.Constant(rng.normal(0, 1, 6).astype(np.float32))
    conv = nn.Conv(real, nn.Constant(weights), bias, strides, pads, (1, 1), groups)
    plain = pipelines.optimise(Module("net", (x,), (Output("y", conv),)), require_binary=False)
    module = fix_streams(plain, PassOptions(stem="int"))
    (layer,) = [op for op in module.ops() if isinstance(op, bit.Conv)]
    assert layer.weights.dtype == np.int16
    bound = float(module.notes[-1].text.split()[-1])
    inputs = seeded(module, 6, 0)
    inputs["x"][0], inputs["x"][1] = 0, 255
    # What makes the sums of filter 0 largest and smallest, inside the image.
    tile = np.resize(weights[0] > 0, (1, *weights[0].shape[:1], 3, 3))
    for place, lit in ((2, tile), (3, ~tile)):
        inputs["x"][place] = np.tile(np.resize(lit, (3, 3, 3)), (1, 4, 5))[:, :11, :13] * np.uint8(255)
    error = np.abs(run(module, inputs)["y"] - run(plain, inputs)["y"]).max()
    assert error <= bound + 5e-6
    assert bound < 2e-3
    bits_agree(module)


def test_without_pixels_there_is_no_integer_stem() -> None:
    x = Input("x", F32(), (3, 5, 5))
    conv = nn.Conv(x, nn.Constant(np.ones((2, 3, 3, 3), np.float32) / 3), None, (1, 1), (0, 0, 0, 0), (1, 1))
    plain = pipelines.optimise(Module("net", (x,), (Output("y", conv),)), require_binary=False)
    module = fix_streams(plain, PassOptions(stem="int"))
    assert [note.code for note in module.notes if note.kind == "warning"] == ["B0414"]


@needs_shared
def test_a_step_on_a_stem_reads_the_sums_themselves() -> None:
    """Where nothing else reads them, scaled sums need not exist."""
    module = api.optimise(imported("cnv_poolafter_dynamo18", True), options=PassOptions(stem="int"))
    (stem, *_) = [op for op in module.ops() if isinstance(op, bit.Conv)]
    assert [type(user) for user in module.users()[stem]] == [bit.Step]


@needs_shared
def test_options_reach_every_command(tmp_path: object) -> None:
    net = NETS / "birealnet_clean_dynamo18.onnx"
    options = ("--stream", "fixed", "--stem", "int", "--pixels", "1/255,0.5,0.25")
    done = bnnc("check", net, *options, "--check", "5", "--json")
    assert done.code == 0, done.err
    assert done.json["check"]["equal"] == 5
    shown = bnnc("show", net, *options)
    assert 'fact "stream" "fixed"' in shown.out
    assert 'fact "stem" "int"' in shown.out
    compiled = bnnc("compile", net, *options, "--dry-run", "-v")
    assert "16-bit weights" in compiled.err
    assert "fix<" in compiled.err
    passes = bnnc("check", net, *options, "--check", "4", "--each-pass", "--json")
    assert passes.code == 0
    assert passes.json["passes"][-1]["name"] == "streams"


@pytest.mark.parametrize("name", ["generic", "x86-64", "x86-64-v3", "icelake", "aarch64"])
def test_every_machine_computes_the_same(name: str) -> None:
    """The loops for other machines, interpreted: vectors of any width, or none."""
    plain = pipelines.optimise(small())
    module = fix_streams(plain, PassOptions(stream="fixed"))
    x = seeded(module, 3, 1)
    lowered = lower(module, next(machine for machine in MACHINES if machine.name == name))
    (found,) = run_program(lowered.program, [x["x"].astype(np.int8)], 3)
    (stream,) = [output.value.type.dtype for output in module.outputs]
    assert isinstance(stream, Fix)
    assert np.array_equal(np.ldexp(found.astype(np.float64), -stream.fraction), values_of(module, x))


def values_of(module: Module, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The first output as one row of exact numbers."""
    output = module.outputs[0].value
    assert isinstance(output.type.dtype, Fix)
    return np.ldexp(values(module, inputs)[output].astype(np.float64), -output.type.dtype.fraction).reshape(-1)


def test_an_optimised_module_takes_no_other_choice() -> None:
    bits = api.optimise(small())
    with pytest.raises(BnncError) as caught:
        api.optimise(bits, options=FIXED)
    assert caught.value.diagnostics[0].code == "B0107"
    fixed_ = api.optimise(small(), options=FIXED)
    assert api.optimise(fixed_, options=FIXED) is fixed_
