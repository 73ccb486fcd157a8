"""What a model file may hold besides plain nodes: branches, functions, types, pixel maps, quantisers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bnnc.diagnostics import BnncError
from bnnc.ir.module import Module, PixelMap
from bnnc.ir.nn import Constant, Dense, Map
from bnnc.ir.types import F32, U8, Int
from bnnc.protocols import ImportOptions
from bnnc.reference.run import run
from tests.onnx_models import agrees, load, model, node, one

pytest.importorskip("onnxruntime")

F = np.float32
random = np.random.default_rng(11)
QONNX = {"domain": "qonnx.custom_op.general"}


def weights(*shape: int) -> np.ndarray:
    return random.normal(size=shape).astype(F)


def code_of(made: onnx.ModelProto, folder: Path, options: ImportOptions | None = None) -> str:
    with pytest.raises(BnncError) as caught:
        load(made, folder, options)
    assert all(diagnostic.helps for diagnostic in caught.value.diagnostics)
    return caught.value.diagnostics[0].code


# ---- names ----


def test_names_and_places(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["a"], name="/fc1/MatMul"), node("Sign", ["a"], ["y"])]
    made = model(nodes, {"x": (["n", 4], 1)}, ["y"], {"w": weights(4, 3)})
    made.producer_name = "pytorch"
    module = load(made, tmp_path)
    places = {op.opcode: op.loc for op in module.ops()}
    assert places["nn.dense"].name == "/fc1/MatMul"
    assert places["nn.sign"].name == "Sign_y"
    assert places["nn.constant"].name == "w"
    assert {place.file for place in places.values()} == {"model.onnx"}
    assert dict(module.facts) == {"source": "model.onnx", "opset": "17", "producer": "pytorch"}


def test_nodes_may_stand_in_any_order(tmp_path: Path) -> None:
    nodes = [node("Sign", ["b"], ["y"]), node("Add", ["a", "x"], ["b"]), node("Neg", ["a"], ["c"])]
    nodes += [node("Abs", ["x"], ["a"]), node("Mul", ["c", "b"], ["z"])]
    module = load(model(nodes, {"x": (["n", 4], 1)}, ["y", "z"]), tmp_path)
    x = np.array([[1, -2, 0, 3]], F)
    found = run(module, {"x": x})
    np.testing.assert_array_equal(found["y"], np.sign(np.abs(x) + x))
    np.testing.assert_array_equal(found["z"], -np.abs(x) * (np.abs(x) + x))


@pytest.mark.parametrize(("stem", "name"), [("a-b.c", "a_b_c"), ("3x3", "net_3x3"), ("ÄÖ", "model"), ("_x_", "x")])
def test_module_name(stem: str, name: str, tmp_path: Path) -> None:
    from bnnc.frontends.onnx.graph import module_name

    assert module_name(stem) == name


def test_dead_nodes_do_not_matter(tmp_path: Path) -> None:
    nodes = [node("Nothing", ["x"], ["a"], domain="my.ops"), node("Relu", ["x"], ["y"])]
    assert len(load(model(nodes, {"x": (["n", 4], 1)}, ["y"]), tmp_path).ops()) == 2


def test_a_constant_is_made_once(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("MatMul", ["a", "w"], ["y"])]
    module = load(model(nodes, {"x": (["n", 4], 1)}, ["y"], {"w": weights(4, 4)}), tmp_path)
    kept = [op for op in module.ops() if isinstance(op, Constant)]
    assert len({op.values.tobytes() for op in kept}) == 1


def test_weights_that_are_also_inputs(tmp_path: Path) -> None:
    made = model([node("MatMul", ["x", "w"], ["y"])], {"x": (["n", 4], 1)}, ["y"], {"w": weights(4, 3)})
    made.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3]))
    assert [entry.name for entry in load(made, tmp_path).inputs] == ["x"]


# ---- control flow and functions ----


def _branches(condition: onnx.NodeProto, extra: dict[str, Any]) -> onnx.ModelProto:
    def branch(name: str, op_type: str) -> onnx.GraphProto:
        inner = [node(op_type, ["x"], ["inner"]), node("Mul", ["inner", "two"], [name])]
        return helper.make_graph(inner, name, [], [onnx.ValueInfoProto(name=name)])

    choose = node("If", ["c"], ["y"], then_branch=branch("t", "Relu"), else_branch=branch("e", "Neg"))
    return model([condition, choose], {"x": (["n", 3], 1)}, ["y"], {"two": np.array(2, F), **extra})


@pytest.mark.parametrize("rank", [2, 5])
def test_if_with_a_known_condition(rank: int, tmp_path: Path) -> None:
    condition = node("Equal", ["rank", "wanted"], ["c"])
    made = _branches(condition, {"rank": np.array(2), "wanted": np.array(rank)})
    opcodes = [op.opcode for op in load(made, tmp_path).ops()]
    assert ("nn.relu" in opcodes) == (rank == 2)
    assert ("nn.neg" in opcodes) == (rank != 2)


def test_if_on_data_is_refused(tmp_path: Path) -> None:
    sum_of = [node("ReduceSum", ["x"], ["s"], keepdims=0), node("Greater", ["s", "two"], ["c"])]
    made = _branches(sum_of[1], {})
    made.graph.node.insert(0, node("Gather", ["x", "zero"], ["s"], axis=1))
    made.graph.initializer.append(numpy_helper.from_array(np.array(0), "zero"))
    assert code_of(made, tmp_path) == "B0401"


def test_functions_of_the_model(tmp_path: Path) -> None:
    inner = [node("LeakyRelu", ["p"], ["q"]), node("Twice", ["q"], ["r"], domain="my")]
    slope = onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    inner[0].attribute.append(slope)
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]
    bent = helper.make_function("my", "Bent", ["p", "left_out"], ["r"], inner, versions, ["slope"])
    twice = helper.make_function("my", "Twice", ["p"], ["q"], [node("Add", ["p", "p"], ["q"])], versions)
    calls = [
        node("Bent", ["x"], ["a"], domain="my", slope=0.5),
        node("Bent", ["a", ""], ["y"], domain="my", slope=0.25),
    ]
    made = model(calls, {"x": (["n", 3], 1)}, ["y"], functions=[bent, twice])
    agrees(made, tmp_path)


def test_function_that_calls_itself(tmp_path: Path) -> None:
    versions = [helper.make_opsetid("my", 1)]
    again = helper.make_function("my", "F", ["p"], ["q"], [node("F", ["p"], ["q"], domain="my")], versions)
    made = model([node("F", ["x"], ["y"], domain="my")], {"x": (["n", 3], 1)}, ["y"], functions=[again])
    assert code_of(made, tmp_path) == "B0408"


# ---- types ----


def test_half_precision_network(tmp_path: Path) -> None:
    half = np.float16
    nodes = [
        node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        node("MatMul", ["h", "w"], ["a"]),
        node("GreaterOrEqual", ["a", "t"], ["b"]),
        node("Where", ["b", "up", "down"], ["c"]),
        node("MatMul", ["c", "v"], ["y"]),
    ]
    constants = {
        "w": np.sign(weights(8, 6)).astype(half),
        "t": np.round(weights(6)).astype(half),
        "up": np.array(1, half),
        "down": np.array(-1, half),
        "v": np.sign(weights(6, 3)).astype(half),
    }
    module = agrees(model(nodes, {"x": (["n", 8], 1)}, ["y"], constants), tmp_path, tolerance=1e-3)
    assert [output.storage for output in module.outputs] == ["float16"]
    assert any(op.opcode == "nn.half" for op in module.ops())


def test_double_and_bfloat_weights(tmp_path: Path) -> None:
    made = model([node("MatMul", ["x", "w"], ["y"])], {"x": (["n", 4], 11)}, ["y"], {"w": weights(4, 3).astype(float)})
    assert agrees(made, tmp_path, tolerance=1e-5).outputs[0].storage == "float64"
    brain = helper.make_tensor("w", TensorProto.BFLOAT16, [2, 2], [1.0, -2.5, 0.5, 3.0])
    made = model([node("Cast", ["w"], ["f"], to=1), node("MatMul", ["x", "f"], ["y"])], {"x": (["n", 2], 1)}, ["y"])
    made.graph.initializer.append(brain)
    found = run(load(made, tmp_path), {"x": np.array([[1, 0], [0, 1]], F)})
    np.testing.assert_array_equal(found["y"], np.array([[1, -2.5], [0.5, 3]], F))


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (TensorProto.UINT8, U8),
        (TensorProto.INT8, Int(-128, 127)),
        (TensorProto.BOOL, Int(0, 1)),
        (TensorProto.INT16, Int(-32768, 32767)),
        (TensorProto.INT64, Int(-(2**24), 2**24)),
        (TensorProto.FLOAT16, F32()),
    ],
)
def test_input_types(kind: int, dtype: Any, tmp_path: Path) -> None:
    module = load(one("Cast", ["n", 3], kind=kind, to=TensorProto.FLOAT), tmp_path)
    assert module.inputs[0].type.dtype == dtype
    assert [note.code for note in module.notes] == (["B0412"] if kind == TensorProto.INT64 else [])


def test_an_output_that_repeats_for_every_sample(tmp_path: Path) -> None:
    nodes = [node("Shape", ["x"], ["s"]), node("ConstantOfShape", ["s"], ["y"]), node("Neg", ["x"], ["z"])]
    module = load(model(nodes, {"x": (["n", 3], 1)}, ["y", "z"]), tmp_path)
    assert run(module, {"x": np.ones((5, 3), F)})["y"].shape == (5, 3)


def test_integers_and_floats_joined(tmp_path: Path) -> None:
    nodes = [node("Cast", ["x"], ["f"], to=1), node("Concat", ["f", "c"], ["y"], axis=1)]
    made = model(nodes, {"x": ([2, 3], TensorProto.UINT8)}, ["y"], {"c": np.full((2, 1), 0.5, F)})
    agrees(made, tmp_path)


# ---- what the user says about the inputs ----


def test_shape_option(tmp_path: Path) -> None:
    nodes = [node("Flatten", ["x"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    made = model(nodes, {"x": (["n", 3, "h", "v"], 1)}, ["y"], {"w": weights(48, 2)})
    assert code_of(made, tmp_path) == "B0404"
    for batch in (1, 7):
        module = load(made, tmp_path, ImportOptions(shapes={"x": (batch, 3, 4, 4)}))
        assert module.inputs[0].shape == (3, 4, 4)
    assert load(made, tmp_path, ImportOptions(shapes={"": (1, 3, 4, 4)})).inputs[0].shape == (3, 4, 4)
    assert code_of(made, tmp_path, ImportOptions(shapes={"x": (1, 5, 4, 4)})) == "B0410"
    assert code_of(made, tmp_path, ImportOptions(shapes={"x": (1, 3, 4)})) == "B0410"
    assert code_of(made, tmp_path, ImportOptions(shapes={"z": (1, 3, 4, 4)})) == "B0410"
    assert code_of(made, tmp_path, ImportOptions(shapes={"x": (1, 3, 5, 4)})) == "B0301"


def _pixels(made: onnx.ModelProto, folder: Path, *numbers: Any) -> Module:
    return load(made, folder, ImportOptions(pixels={"x": numbers}))


def test_pixels(tmp_path: Path) -> None:
    pixels = random.integers(0, 256, (5, 3, 2, 2)).astype(np.uint8)
    scale, mean, std = 1 / 255, (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
    module = _pixels(one("Identity", ["n", 3, 2, 2]), tmp_path, scale, mean, std)
    assert module.inputs[0].type.dtype == U8
    assert module.pixels == (PixelMap("x", scale, mean, std),)
    by_hand = pixels.astype(F) * F(scale) - np.array(mean, F).reshape(3, 1, 1)
    by_hand = by_hand / np.array(std, F).reshape(3, 1, 1)
    np.testing.assert_array_equal(run(module, {"x": pixels})["y"], by_hand)


def test_pixels_channels_last(tmp_path: Path) -> None:
    module = _pixels(one("Identity", ["n", 4, 5, 3]), tmp_path, 1.0, (1.0, 2.0, 3.0), (1.0,))
    found = run(module, {"x": np.zeros((1, 4, 5, 3), np.uint8)})["y"]
    np.testing.assert_array_equal(found, np.broadcast_to(np.array([-1, -2, -3], F), found.shape))


def test_pixels_leave_out_what_changes_nothing(tmp_path: Path) -> None:
    module = _pixels(one("Identity", ["n", 3]), tmp_path, 0.5, (0.0,), (1.0, 1.0, 1.0))
    assert [op.opcode for op in module.ops() if isinstance(op, Map)] == ["nn.mul"]


def test_pixels_that_do_not_fit(tmp_path: Path) -> None:
    made = one("Identity", ["n", 3, 2, 2])
    for name, numbers in (("z", (1.0, (0.0,), (1.0,))), ("x", (1.0, (0.0,) * 5, (1.0,))), ("x", (1.0, (0.0,), (0.0,)))):
        assert code_of(made, tmp_path, ImportOptions(pixels={name: numbers})) == "B0410"
    already = one("Cast", ["n", 3], kind=TensorProto.UINT8, to=1)
    assert code_of(already, tmp_path, ImportOptions(pixels={"x": (1.0, (0.0,), (1.0,))})) == "B0410"


# ---- quantisers ----


def _quantised(
    x: np.ndarray, folder: Path, op_type: str, constants: dict[str, Any], version: int = 1, **more: Any
) -> np.ndarray:
    made = model(
        [node(op_type, ["x", *constants], ["y"], **{**QONNX, **more})], {"x": (["n", x.shape[1]], 1)}, ["y"], constants
    )
    for entry in made.opset_import:
        entry.version = version if entry.domain else entry.version
    return run(load(made, folder), {"x": x})["y"]


def _rounding(mode: str, x: np.ndarray) -> np.ndarray:
    found = {
        "ROUND": np.round(x),
        "CEIL": np.ceil(x),
        "FLOOR": np.floor(x),
        "UP": np.sign(x) * np.ceil(np.abs(x)),
        "DOWN": np.fix(x),
        "ROUND_TO_ZERO": np.fix(x),
        "HALF_UP": np.sign(x) * np.floor(np.abs(x) + F(0.5)),
        "HALF_DOWN": np.sign(x) * np.ceil(np.abs(x) - F(0.5)),
    }
    return np.asarray(found[mode], F)


MODES = ["ROUND", "CEIL", "FLOOR", "UP", "DOWN", "ROUND_TO_ZERO", "HALF_UP", "HALF_DOWN"]
POINTS = np.concatenate([np.arange(-20, 20) / 4, random.normal(size=40) * 3]).astype(F).reshape(1, -1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("signed", "narrow", "bits"), [(1, 0, 3), (1, 1, 2), (0, 0, 2), (0, 1, 4), (0, 0, 1)])
def test_quant(mode: str, signed: int, narrow: int, bits: int, tmp_path: Path) -> None:
    """QONNX: scale, shift, clamp, then round, and back."""
    constants = {"s": np.array(0.5, F), "z": np.array(1, F), "b": np.array(bits, F)}
    found = _quantised(POINTS, tmp_path, "Quant", constants, signed=signed, narrow=narrow, rounding_mode=mode)
    low = -(2 ** (bits - 1)) + narrow if signed else 0
    high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
    by_hand = (_rounding(mode, np.clip(POINTS / F(0.5) + F(1), low, high)) - F(1)) * F(0.5)
    np.testing.assert_array_equal(found, by_hand)


def test_one_bit_quant_is_bipolar(tmp_path: Path) -> None:
    constants = {"s": np.array(0.5, F), "z": np.array(0, F), "b": np.array(1, F)}
    found = _quantised(POINTS, tmp_path, "IntQuant", constants, signed=1, narrow=1)
    np.testing.assert_array_equal(found, np.where(POINTS >= 0, F(0.5), F(-0.5)))
    old = _quantised(POINTS, tmp_path, "Quant", constants, signed=1, narrow=1, domain="onnx.brevitas")
    np.testing.assert_array_equal(found, old)


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_bipolar_quant(scale: float, tmp_path: Path) -> None:
    found = _quantised(POINTS, tmp_path, "BipolarQuant", {"s": np.array(scale, F)})
    np.testing.assert_array_equal(found, np.where(POINTS >= 0, F(scale), F(-scale)))


def test_trunc(tmp_path: Path) -> None:
    whole = np.arange(-64, 64).astype(F).reshape(1, -1) / 4
    first = {"s": np.array(0.25, F), "z": np.array(0, F), "i": np.array(8, F), "o": np.array(5, F)}
    found = _quantised(whole, tmp_path, "Trunc", first, rounding_mode="FLOOR")
    np.testing.assert_array_equal(found, np.floor(np.round(whole / F(0.25)) / 8) * F(0.25))
    second = {
        "s": np.array(0.25, F),
        "z": np.array(0, F),
        "i": np.array(8, F),
        "t": np.array(1, F),
        "o": np.array(4, F),
    }
    found = _quantised(whole, tmp_path, "Trunc", second, version=2, rounding_mode="ROUND", signed=1, narrow=0)
    np.testing.assert_array_equal(found, np.round(np.clip(np.round(whole / F(0.25)) / 4, -8, 7)))


@pytest.mark.parametrize(("shape", "layout"), [([3], "NC"), ([3, 4, 4], "NCHW"), ([4, 4, 3], "NHWC"), ([4, 3], "")])
def test_multi_threshold(shape: list[int], layout: str, tmp_path: Path) -> None:
    table = np.sort(weights(3, 5), axis=1)
    more = {"data_layout": layout} if layout else {}
    act = node("MultiThreshold", ["x", "t"], ["y"], out_scale=2.0, out_bias=-1.0, out_dtype="INT4", **QONNX, **more)
    made = model([act], {"x": (["n", *shape], 1)}, ["y"], {"t": table})
    x = weights(2, *shape)
    channel = 1 if layout in ("NC", "NCHW") else len(shape)
    moved = np.moveaxis(x, channel, -1)
    counted = (moved[..., None] >= table).sum(-1).astype(F) * F(2) - F(1)
    np.testing.assert_array_equal(run(load(made, tmp_path), {"x": x})["y"], np.moveaxis(counted, -1, channel))


def test_quantised_weights(tmp_path: Path) -> None:
    """A quantiser over an initialiser stays in the graph for the passes to fold."""
    nodes = [node("BipolarQuant", ["w", "s"], ["q"], **QONNX), node("MatMul", ["x", "q"], ["y"])]
    kernel = weights(6, 3)
    module = load(model(nodes, {"x": (["n", 6], 1)}, ["y"], {"w": kernel, "s": np.array(0.5, F)}), tmp_path)
    assert any(isinstance(op, Dense) for op in module.ops())
    x = np.sign(weights(4, 6))
    np.testing.assert_allclose(run(module, {"x": x})["y"], x @ np.where(kernel >= 0, F(0.5), F(-0.5)), rtol=1e-6)


def test_every_operator_is_documented() -> None:
    from bnnc.frontends.onnx.graph import operators

    text = (Path(__file__).resolve().parent.parent / "docs" / "onnx.md").read_text(encoding="utf-8")
    listed = set(text.split("## Operators")[1].replace(";", " ").split())
    assert operators() <= listed
