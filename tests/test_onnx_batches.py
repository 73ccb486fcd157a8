"""The batch of an ONNX model: baked into constants, moved, merged, dropped; and what cannot be for one sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bnnc.diagnostics import BnncError
from bnnc.frontends.onnx.inputs import stand_in
from bnnc.ir.nn import Constant
from tests.onnx_models import agrees, load, model, node, one

pytest.importorskip("onnxruntime")

F = np.float32
random = np.random.default_rng(3)


def weights(*shape: int) -> np.ndarray:
    return random.normal(size=shape).astype(F)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def refused(made: onnx.ModelProto, folder: Path) -> str:
    with pytest.raises(BnncError) as caught:
        load(made, folder)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.helps
    return f"{diagnostic.code}: {diagnostic.message}"


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_repeated_constant_loses_its_batch(batch: int, tmp_path: Path) -> None:
    """bias.expand_as(x), written out by the exporter."""
    bias = np.broadcast_to(weights(1, 3, 4, 4), (batch, 3, 4, 4)).copy()
    signs = [
        node("Add", ["x", "b"], ["a"]),
        node("GreaterOrEqual", ["a", "zero"], ["c"]),
        node("Neg", ["ones"], ["minus"]),
        node("Where", ["c", "ones", "minus"], ["y"]),
    ]
    constants = {"b": bias, "zero": np.array(0, F), "ones": np.ones((batch, 3, 4, 4), F)}
    module = agrees(model(signs, {"x": ([batch, 3, 4, 4], 1)}, ["y"], constants), tmp_path)
    largest = max(op.values.size for op in module.ops() if isinstance(op, Constant))
    assert largest == 3 * 4 * 4


def test_constant_that_differs_between_samples(tmp_path: Path) -> None:
    made = model([node("Add", ["x", "b"], ["y"], name="sum")], {"x": ([3, 5], 1)}, ["y"], {"b": weights(3, 5)})
    assert refused(made, tmp_path).startswith("B0405: node `sum` (Add) combines the batch with a constant `b`")


@pytest.mark.parametrize("size", ["batch", 1, 4])
def test_shape_tower(size: Any, tmp_path: Path) -> None:
    """x.view(x.size(0), -1) as the legacy exporter writes it, and an expand to x's own shape."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"], axis=0),
        node("Unsqueeze", ["n", "front"], ["u"]),
        node("Concat", ["u", "rest"], ["t"], axis=0),
        node("Expand", ["b", "s"], ["e"]),
        node("Add", ["x", "e"], ["a"]),
        node("Reshape", ["a", "t"], ["y"]),
    ]
    constants = {"zero": np.array(0), "front": ints(0), "rest": ints(-1), "b": weights(3, 1, 1)}
    agrees(model(nodes, {"x": ([size, 3, 2, 4], 1)}, ["y"], constants), tmp_path)


@pytest.mark.parametrize("size", ["batch", 1, 4])
def test_filled_with_the_shape(size: Any, tmp_path: Path) -> None:
    """torch.zeros(x.shape) and torch.ones_like(x), used as an initial state."""
    one_value = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.5])
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("ConstantOfShape", ["s"], ["state"], value=one_value),
        node("Sub", ["x", "state"], ["a"]),
        node("Concat", ["a", "state"], ["y"], axis=1),
    ]
    agrees(model(nodes, {"x": ([size, 5], 1)}, ["y"]), tmp_path)


@pytest.mark.parametrize("size", ["batch", 1, 4])
def test_batch_merged_with_time(size: Any, tmp_path: Path) -> None:
    """Linear layers, batch norm and convolutions over [B*T, …]."""
    nodes = [
        node("Reshape", ["x", "rows"], ["r"]),
        node("Gemm", ["r", "w", "c"], ["g"]),
        node("BatchNormalization", ["g", *"cccv"], ["n"]),
        node("Sign", ["n"], ["s"]),
        node("Reshape", ["s", "back"], ["y"]),
    ]
    back = (size if isinstance(size, int) else -1, 3, 4)
    constants = {"rows": ints(-1, 5), "w": weights(5, 4), "c": weights(4), "v": np.abs(weights(4)), "back": ints(*back)}
    agrees(model(nodes, {"x": ([size, 3, 5], 1)}, ["y"], constants), tmp_path)


@pytest.mark.parametrize("size", ["batch", 1, 2])
def test_images_merged_with_time(size: Any, tmp_path: Path) -> None:
    nodes = [
        node("Reshape", ["x", "rows"], ["r"]),
        node("Conv", ["r", "w"], ["c"]),
        node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2]),
        node("Reshape", ["p", "back"], ["y"]),
    ]
    back = (size if isinstance(size, int) else -1, 3, 4 * 4)
    constants = {"rows": ints(-1, 2, 5, 5), "w": weights(4, 2, 3, 3), "back": ints(*back)}
    agrees(model(nodes, {"x": ([size, 3, 2, 5, 5], 1)}, ["y"], constants), tmp_path)


@pytest.mark.parametrize("size", ["batch", 1, 4])
def test_time_first(size: Any, tmp_path: Path) -> None:
    """The cell of a binary RNN, unrolled: [B, T, F] -> [T, B, F], one step after the other."""
    nodes = [node("Transpose", ["x"], ["t"], perm=[1, 0, 2])]
    state = ""
    for step in range(3):
        nodes.append(node("Gather", ["t", f"i{step}"], [f"x{step}"], axis=0))
        nodes.append(node("MatMul", [f"x{step}", "w"], [f"a{step}"]))
        last = f"a{step}"
        if state:
            nodes.append(node("MatMul", [state, "u"], [f"b{step}"]))
            nodes.append(node("Add", [f"a{step}", f"b{step}"], [f"c{step}"]))
            last = f"c{step}"
        nodes.append(node("Sign", [last], [f"h{step}"]))
        state = f"h{step}"
    nodes.append(node("Unsqueeze", [state, "front"], ["last"]))
    nodes.append(node("Concat", ["t0", "last"], ["y"], axis=0))
    nodes.insert(1, node("MatMul", ["t", "w"], ["t0"]))
    constants: dict[str, Any] = {f"i{step}": np.array(step) for step in range(3)}
    constants |= {"w": weights(5, 4), "u": weights(4, 4), "front": ints(0)}
    agrees(model(nodes, {"x": ([size, 3, 5], 1)}, ["y"], constants), tmp_path)


@pytest.mark.parametrize("size", ["batch", 1, 4])
def test_batch_not_in_front_when_flattened(size: Any, tmp_path: Path) -> None:
    """[T, B, F] -> [T*B, F] and back: the batch merges between the others."""
    number = size if isinstance(size, int) else -1
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("Reshape", ["t", "rows"], ["r"]),
        node("Gemm", ["r", "w"], ["g"]),
        node("Reshape", ["g", "back"], ["s"]),
        node("Transpose", ["s"], ["y"], perm=[1, 0, 2]),
    ]
    constants = {"rows": ints(-1, 5), "w": weights(5, 4), "back": ints(3, number, 4)}
    agrees(model(nodes, {"x": ([size, 3, 5], 1)}, ["y"], constants), tmp_path)


def test_dropped_batch_axis(tmp_path: Path) -> None:
    """A model for one sample may squeeze its batch away and put it back."""
    nodes = [
        node("Squeeze", ["x", "front"], ["a"]),
        node("Transpose", ["a"], ["t"], perm=[1, 2, 0]),
        node("MatMul", ["t", "w"], ["m"]),
        node("Unsqueeze", ["m", "front"], ["u"]),
        node("Conv", ["u", "k"], ["c"]),
        node("Squeeze", ["c"], ["y"]),
    ]
    constants = {"front": ints(0), "w": weights(3, 6), "k": weights(4, 5, 6, 1)}
    agrees(model(nodes, {"x": ([1, 3, 5, 6], 1)}, ["y"], constants), tmp_path)


def test_flattened_to_a_vector(tmp_path: Path) -> None:
    nodes = [
        node("Reshape", ["x", "all"], ["f"]),
        node("MatMul", ["f", "w"], ["m"]),
        node("Sign", ["m"], ["s"]),
        node("Add", ["s", "b"], ["y"]),
    ]
    constants = {"all": ints(-1), "w": weights(30, 4), "b": weights(1, 4)}
    agrees(model(nodes, {"x": ([1, 3, 10], 1)}, ["y"], constants), tmp_path)


def test_symbolic_input_with_the_example_baked_in(tmp_path: Path) -> None:
    """The input says `any batch`; a Reshape inside insists on one sample, as exporters leave it."""
    nodes = [node("Reshape", ["x", "s"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    made = model(nodes, {"x": (["batch", 2, 3], 1)}, ["y"], {"s": ints(1, 6), "w": weights(6, 4)})
    agrees(made, tmp_path, batch=1)


@pytest.mark.parametrize("size", ["batch", 1, 4])
def test_attention_with_heads_merged_into_the_batch(size: Any, tmp_path: Path) -> None:
    """[B, T, H*D] -> [B*H, T, D] twice, their product, and back."""
    number = size if isinstance(size, int) else -1
    nodes = [
        node("Reshape", ["x", "split"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3]),
        node("Reshape", ["b", "heads"], ["q"]),
        node("Transpose", ["q"], ["k"], perm=[0, 2, 1]),
        node("MatMul", ["q", "k"], ["s"]),
        node("Softmax", ["s"], ["p"], axis=-1),
        node("MatMul", ["p", "q"], ["o"]),
        node("Reshape", ["o", "back"], ["y"]),
    ]
    constants = {"split": ints(0, 0, 2, 4), "heads": ints(-1, 3, 4), "back": ints(number, 2, 3, 4)}
    agrees(model(nodes, {"x": ([size, 3, 8], 1)}, ["y"], constants), tmp_path)


@pytest.mark.parametrize("size", ["batch", 1, 4])
def test_zero_state(size: Any, tmp_path: Path) -> None:
    """torch.zeros(x.size(0), 4) through a layer of its own, with more axes on the way."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Concat", ["n", "four"], ["shape"], axis=0),
        node("ConstantOfShape", ["shape"], ["h"]),
        node("MatMul", ["h", "u"], ["a"]),
        node("Add", ["a", "c"], ["b"]),
        node("Unsqueeze", ["b", "zero"], ["d"]),
        node("Exp", ["d"], ["e"]),
        node("Squeeze", ["e", "zero"], ["f"]),
        node("MatMul", ["x", "w"], ["g"]),
        node("Add", ["f", "g"], ["y"]),
    ]
    constants = {"four": ints(4), "u": weights(4, 4), "c": weights(4), "zero": ints(0), "w": weights(5, 4)}
    agrees(model(nodes, {"x": ([size, 5], 1)}, ["y"], constants), tmp_path)


OUTER = [node("Unsqueeze", ["x", "a"], ["u"]), node("Add", ["x", "u"], ["y"])]
GRAM = [node("Transpose", ["x"], ["t"]), node("MatMul", ["t", "x"], ["y"])]
REFUSED = {
    "mean": one("ReduceMean", [4, 3], axes=[0, 1]),
    "softmax": one("Softmax", ["batch", 3], axis=0),
    "argmax": one("ArgMax", ["batch", 3]),
    "join": model([node("Concat", ["x", "x"], ["y"], axis=0)], {"x": ([4, 3], 1)}, ["y"]),
    "outer product": model(OUTER, {"x": ([4, 3], 1)}, ["y"], {"a": ints(1)}),
    "sum over samples": model([node("MatMul", ["w", "x"], ["y"])], {"x": ([4, 3], 1)}, ["y"], {"w": weights(2, 4)}),
    "slice": one("Slice", [4, 3], {"s": ints(0), "e": ints(2)}),
    "pick": one("Gather", [4, 3], {"i": np.array(0)}),
    "padding": one("Pad", [4, 3], {"p": ints(1, 0, 0, 0)}),
    "reshape": one("Reshape", [4, 6], {"s": ints(6, 4)}),
    "repeat": one("Tile", [4, 3], {"r": ints(2, 1)}),
    "Gram matrix": model(GRAM, {"x": ([4, 3], 1)}, ["y"]),
    "Gram matrix of any batch": model(GRAM, {"x": (["batch", 3], 1)}, ["y"]),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_mixes_samples_is_refused(name: str, tmp_path: Path) -> None:
    assert refused(REFUSED[name], tmp_path).startswith("B0405: node ")


def test_the_size_of_the_batch_is_no_number(tmp_path: Path) -> None:
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
        node("Div", ["x", "f"], ["y"]),
    ]
    made = model(nodes, {"x": (["batch", 3], 1)}, ["y"], {"zero": np.array(0)})
    with pytest.raises(BnncError) as caught:
        load(made, tmp_path)
    assert "size of the batch" in caught.value.diagnostics[0].message


def test_other_sizes_are_numbers(tmp_path: Path) -> None:
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "one"], ["n"]),
        node("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
        node("Div", ["x", "f"], ["y"]),
    ]
    agrees(model(nodes, {"x": (["batch", 3], 1)}, ["y"], {"one": np.array(1)}), tmp_path)


def test_stand_in_divides_nothing() -> None:
    from bnnc.frontends.onnx.inputs import Inputs

    made = model([node("Relu", ["x"], ["y"])], {"x": (["batch", 10007], 1)}, ["y"], {"w": np.zeros((1, 20018), F)})
    number = stand_in(made, Inputs((), {"x": (10007,)}, None))
    assert 10007 % number
    assert 20018 % number


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    nodes = [
        node("Add", ["a", "b"], ["sum"]),
        node("Transpose", ["sum"], ["turned"], perm=[2, 0, 1]),
        node("Cast", ["b"], ["whole"], to=TensorProto.INT64),
        node("ReduceMax", ["a"], ["top"], axes=[1, 2], keepdims=0),
    ]
    made = model(nodes, {"a": (["n", 3, 4], 1), "b": (["n", 3, 1], 1)}, ["turned", "whole", "top"])
    module = agrees(made, tmp_path)
    assert [(output.storage, output.batch_axis) for output in module.outputs] == [
        ("float32", 1),
        ("int64", 0),
        ("float32", 0),
    ]


def test_inputs_with_unlike_batches(tmp_path: Path) -> None:
    made = model([node("Add", ["a", "b"], ["y"])], {"a": ([2, 3], 1), "b": ([1, 3], 1)}, ["y"])
    assert refused(made, tmp_path).startswith("B0405: the inputs")
