"""Every operator the ONNX frontend reads, in each spelling of the operator sets, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from tests.onnx_models import agrees, model, node, one

pytest.importorskip("onnxruntime")

F = np.float32
random = np.random.default_rng(7)
IMAGE = ["batch", 3, 6, 7]
FLAT = ["batch", 5]


def weights(*shape: int) -> np.ndarray:
    return random.normal(size=shape).astype(F)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


CASES: dict[str, onnx.ModelProto] = {}


def case(name: str, made: onnx.ModelProto) -> None:
    assert name not in CASES, name
    CASES[name] = made


UNARY = (
    "Neg Abs Sign Floor Ceil Round Exp Sigmoid Tanh Erf Relu Softplus Softsign Elu Selu Celu HardSigmoid "
    "HardSwish LeakyRelu ThresholdedRelu Mish Shrink Identity Reciprocal IsNaN IsInf LogSoftmax"
)
for op_type in UNARY.split():
    case(op_type, one(op_type, FLAT, opset=18))
case("LeakyRelu alpha", one("LeakyRelu", FLAT, alpha=0.3))
case("Elu alpha", one("Elu", FLAT, alpha=0.3))
case("Celu alpha", one("Celu", FLAT, alpha=0.3))
case("Shrink bias", one("Shrink", FLAT, bias=0.2, lambd=0.7))
case("Gelu", one("Gelu", FLAT, opset=20))
case("Gelu tanh", one("Gelu", FLAT, opset=20, approximate="tanh"))
case("IsInf positive", one("IsInf", FLAT, detect_negative=0))
case("Sqrt", model([node("Abs", ["x"], ["a"]), node("Sqrt", ["a"], ["y"])], {"x": (FLAT, 1)}, ["y"]))
case("Log", model([node("Exp", ["x"], ["a"]), node("Log", ["a"], ["y"])], {"x": (FLAT, 1)}, ["y"]))
for op_type in ["Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "Mean", "PRelu"]:
    case(f"{op_type} row", one(op_type, FLAT, {"b": weights(5)}))
for op_type in ["Add", "Sub", "Mul", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"]:
    case(f"{op_type} scalar", one(op_type, FLAT, {"b": np.array(0.5, F)}))
    case(f"{op_type} rank 4", one(op_type, FLAT, {"b": weights(2, 1, 1, 5)}))
    twice = [node("Mul", ["x", "two"], ["a"]), node(op_type, ["a", "x"], ["y"])]
    case(f"{op_type} both", model(twice, {"x": (FLAT, 1)}, ["y"], {"two": np.array(1.5, F)}))
for exponent in (2.0, 0.5, 3.0, -1.0, 1.7):
    steps = [node("Abs", ["x"], ["a"]), node("Pow", ["a", "e"], ["y"])]
    case(f"Pow {exponent}", model(steps, {"x": (FLAT, 1)}, ["y"], {"e": np.array(exponent, F)}))
case("Pow of integers", one("Pow", FLAT, {"e": np.array(2, np.int64)}))
case("Mod fmod", one("Mod", FLAT, {"b": np.array(0.7, F)}, fmod=1))
case("Max of three", one("Max", FLAT, {"a": weights(5), "b": weights(1, 5)}))
case("PRelu channels", one("PRelu", IMAGE, {"s": weights(3, 1, 1)}))
case("Where", one("Where", FLAT, {"a": weights(5), "b": np.array(-1, F)}, kind=TensorProto.BOOL))
for op_type in ["And", "Or", "Xor"]:
    case(op_type, one(op_type, FLAT, {"b": np.array([1, 0, 1, 0, 1], np.bool_)}, kind=TensorProto.BOOL))
case("Not", one("Not", FLAT, kind=TensorProto.BOOL))

# Integers at run time.
for kind, name in ((TensorProto.INT32, "int32"), (TensorProto.INT64, "int64")):
    dtype = np.dtype(name)
    for op_type in ["Add", "Sub", "Mul", "Div", "Mod"]:
        case(f"{op_type} {name}", one(op_type, FLAT, {"b": np.array([3, -3, 7, 1, -2], dtype)}, kind=kind))
    case(f"Mod fmod {name}", one("Mod", FLAT, {"b": np.array([3, -3, 7, 1, -2], dtype)}, kind=kind, fmod=1))
for kind, name in ((TensorProto.UINT8, "uint8"), (TensorProto.INT8, "int8")):
    steps = [
        node("Cast", ["x"], ["a"], to=TensorProto.INT32),
        node("Mul", ["a", "three"], ["b"]),
        node("Cast", ["b"], ["c"], to=kind),
        node("Cast", ["c"], ["y"], to=TensorProto.FLOAT),
    ]
    case(f"Cast wraps {name}", model(steps, {"x": (FLAT, kind)}, ["y"], {"three": np.array(3, np.int32)}))
for target in ("INT32", "INT64", "FLOAT16", "DOUBLE", "BOOL"):
    case(f"Cast {target}", one("Cast", FLAT, to=getattr(TensorProto, target)))
case("Cast bool to float", one("Cast", FLAT, kind=TensorProto.BOOL, to=TensorProto.FLOAT))
case("CastLike", one("CastLike", FLAT, {"b": np.array([1], np.int32)}))

# Clip, Dropout.
case("Clip 6", one("Clip", FLAT, opset=9, min=-0.5, max=0.7))
case("Clip 6 max", one("Clip", FLAT, opset=9, max=0.7))
case("Clip 11", one("Clip", FLAT, {"low": np.array(-1, F), "high": np.array(1, F)}, opset=11))
case("Clip 13 low", one("Clip", FLAT, {"low": np.array(-1, F)}, opset=13))
clip = [node("Clip", ["x", "", "high"], ["y"])]
case("Clip 13 high", model(clip, {"x": (FLAT, 1)}, ["y"], {"high": np.array(0.5, F)}, 13))
case("Dropout 10", one("Dropout", FLAT, opset=10, ratio=0.4))
case("Dropout 13", one("Dropout", FLAT, {"ratio": np.array(0.4, F)}, opset=13))

# Convolutions and pools.
case("Conv", one("Conv", IMAGE, {"w": weights(4, 3, 3, 3)}))
case("Conv bias", one("Conv", IMAGE, {"w": weights(4, 3, 3, 3), "b": weights(4)}, pads=[1, 0, 2, 1], strides=[2, 1]))
case("Conv dilated", one("Conv", IMAGE, {"w": weights(4, 3, 2, 2)}, dilations=[2, 3]))
case("Conv groups", one("Conv", ["batch", 4, 5, 5], {"w": weights(6, 2, 3, 3)}, group=2))
case("Conv depthwise", one("Conv", ["batch", 4, 5, 5], {"w": weights(4, 1, 3, 3)}, group=4, pads=[1, 1, 1, 1]))
case("Conv 1-D", one("Conv", ["batch", 3, 9], {"w": weights(4, 3, 4)}, strides=[2], pads=[1, 2]))
case("Conv 3-D", one("Conv", ["batch", 2, 4, 5, 4], {"w": weights(3, 2, 2, 3, 2)}, pads=[0, 1, 0, 0, 1, 1]))
for mode in ("SAME_UPPER", "SAME_LOWER", "VALID"):
    case(f"Conv {mode}", one("Conv", IMAGE, {"w": weights(4, 3, 4, 3)}, auto_pad=mode, strides=[2, 2]))
    case(f"MaxPool {mode}", one("MaxPool", IMAGE, kernel_shape=[3, 2], auto_pad=mode, strides=[2, 2]))
    case(f"AveragePool {mode}", one("AveragePool", IMAGE, kernel_shape=[3, 2], auto_pad=mode, strides=[2, 2]))
case("ConvTranspose", one("ConvTranspose", IMAGE, {"w": weights(3, 4, 3, 3), "b": weights(4)}, strides=[2, 2]))
case(
    "ConvTranspose pads",
    one(
        "ConvTranspose",
        ["batch", 4, 5, 4],
        {"w": weights(4, 3, 3, 2)},
        strides=[2, 3],
        pads=[1, 0, 1, 1],
        output_padding=[1, 0],
        dilations=[2, 1],
        group=2,
    ),
)
case("MaxPool", one("MaxPool", IMAGE, kernel_shape=[2, 2], strides=[2, 2]))
case("MaxPool ceil", one("MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, pads=[1, 1, 1, 1]))
case("MaxPool dilated", one("MaxPool", IMAGE, kernel_shape=[2, 2], dilations=[2, 3]))
case("MaxPool 1-D", one("MaxPool", ["batch", 3, 9], kernel_shape=[3], strides=[2]))
case("AveragePool", one("AveragePool", IMAGE, kernel_shape=[2, 3], strides=[2, 1]))
case("AveragePool pads", one("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
case("AveragePool pads count", one("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1))
case("AveragePool ceil", one("AveragePool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, opset=19))
case("GlobalAveragePool", one("GlobalAveragePool", IMAGE))
case("GlobalMaxPool", one("GlobalMaxPool", IMAGE))

# Matrices.
case("MatMul", one("MatMul", FLAT, {"w": weights(5, 4)}))
case("MatMul rank 3", one("MatMul", ["batch", 3, 5], {"w": weights(5, 4)}))
case("MatMul rank 4", one("MatMul", ["batch", 2, 3, 5], {"w": weights(5, 4)}))
case("MatMul vector", one("MatMul", FLAT, {"w": weights(5)}))
case("MatMul stacked", one("MatMul", ["batch", 2, 3, 5], {"w": weights(2, 5, 4)}))
case("MatMul rows of a stack", one("MatMul", FLAT, {"w": weights(2, 5, 4)}))
case("MatMul one in front", one("MatMul", ["batch", 3, 5], {"w": weights(1, 5, 4)}))
left = [node("MatMul", ["w", "x"], ["y"])]
case("MatMul left constant", model(left, {"x": (["batch", 5, 3], 1)}, ["y"], {"w": weights(4, 5)}))
turned = [node("Transpose", ["x"], ["t"], perm=[1, 0]), node("MatMul", ["w", "t"], ["a"])]
turned.append(node("Transpose", ["a"], ["y"], perm=[1, 0]))
case("MatMul columns are samples", model(turned, {"x": (FLAT, 1)}, ["y"], {"w": weights(4, 5)}))
square = [node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), node("MatMul", ["x", "t"], ["y"])]
case("MatMul of two values", model(square, {"x": (["batch", 3, 5], 1)}, ["y"]))
case("Gemm", one("Gemm", FLAT, {"w": weights(5, 4), "c": weights(4)}))
case("Gemm transB", one("Gemm", FLAT, {"w": weights(4, 5), "c": weights(1, 4)}, transB=1))
case("Gemm no bias", one("Gemm", FLAT, {"w": weights(5, 4)}, opset=13))
case("Gemm scaled", one("Gemm", FLAT, {"w": weights(5, 4), "c": weights(4)}, alpha=0.5, beta=2.0))
case("Gemm scalar bias", one("Gemm", FLAT, {"w": weights(5, 4), "c": np.array(1.5, F)}))
case("Gemm repeated bias", one("Gemm", [3, 5], {"w": weights(5, 4), "c": np.tile(weights(1, 4), (3, 1))}))
gemm = [node("Transpose", ["x"], ["t"]), node("Gemm", ["t", "w"], ["y"], transA=1)]
case("Gemm transA", model(gemm, {"x": (FLAT, 1)}, ["y"], {"w": weights(5, 4)}))

# Normalisation.
norm = {name: np.abs(weights(3)) for name in ("s", "b", "m", "v")}
for opset in (9, 14, 15):
    case(f"BatchNormalization {opset}", one("BatchNormalization", IMAGE, norm, opset=opset, epsilon=1e-3))
case("BatchNormalization flat", one("BatchNormalization", ["batch", 3], norm))
case("BatchNormalization 1-D", one("BatchNormalization", ["batch", 3, 8], norm))
case("InstanceNormalization", one("InstanceNormalization", IMAGE, {"s": weights(3), "b": weights(3)}))
case("LayerNormalization", one("LayerNormalization", IMAGE, {"s": weights(7), "b": weights(7)}))
case("LayerNormalization axis", one("LayerNormalization", IMAGE, {"s": weights(6, 7)}, axis=2))
six = ["batch", 6, 4, 4]
case(
    "GroupNormalization 18", one("GroupNormalization", six, {"s": weights(2), "b": weights(2)}, opset=18, num_groups=2)
)
case(
    "GroupNormalization 21", one("GroupNormalization", six, {"s": weights(6), "b": weights(6)}, opset=21, num_groups=2)
)
case("LpNormalization", one("LpNormalization", IMAGE, axis=1))
case("LpNormalization 1", one("LpNormalization", IMAGE, axis=-1, p=1))

# Reductions.
for op_type in [
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
    "ReduceLogSumExp",
]:
    case(f"{op_type} attribute", one(op_type, IMAGE, opset=11, axes=[2, 3], keepdims=0))
    case(f"{op_type} input", one(op_type, IMAGE, {"axes": ints(-1)}, opset=18))
case("ReduceSum 13", one("ReduceSum", IMAGE, {"axes": ints(1, 3)}, opset=13, keepdims=0))
case("ReduceMean no-op", one("ReduceMean", IMAGE, opset=18, noop_with_empty_axes=1))
case(
    "ReduceLogSum",
    model([node("Exp", ["x"], ["a"]), node("ReduceLogSum", ["a"], ["y"], axes=[1])], {"x": (IMAGE, 1)}, ["y"]),
)
case("ArgMax", one("ArgMax", FLAT, axis=1))
case("ArgMax last", one("ArgMax", FLAT, axis=-1, keepdims=0, select_last_index=1))
case("ArgMin", one("ArgMin", IMAGE, axis=2, keepdims=0))
case("TopK", one("TopK", FLAT, {"k": ints(1)}, outputs=["v", "i"]))
top = [node("TopK", ["x", "k"], ["v", "i"], largest=0)]
case("TopK index", model(top, {"x": (FLAT, 1)}, ["i"], {"k": ints(1)}))
case("Softmax 11", one("Softmax", IMAGE, opset=11))
case("Softmax 11 axis 2", one("Softmax", IMAGE, opset=11, axis=2))
case("Softmax 13", one("Softmax", IMAGE, opset=13, axis=1))
case("LogSoftmax 11", one("LogSoftmax", IMAGE, opset=11, axis=1))
case("Hardmax", one("Hardmax", IMAGE, axis=1))

# Shapes.
case("Reshape", one("Reshape", IMAGE, {"s": ints(-1, 126)}))
case("Reshape zero", one("Reshape", IMAGE, {"s": ints(0, 3, -1)}))
case("Reshape baked", one("Reshape", [4, 3, 6, 7], {"s": ints(4, 126)}))
case("Reshape baked, batch as other sizes", one("Reshape", [3, 3, 3, 7], {"s": ints(3, 7, 3, 3)}))
case("Flatten", one("Flatten", IMAGE))
case("Flatten -3", one("Flatten", IMAGE, axis=-3))
case("Flatten keeps the batch merged", one("Flatten", IMAGE, axis=2))
case("Squeeze attribute", one("Squeeze", ["batch", 1, 5, 1], opset=11, axes=[1, -1]))
case("Squeeze input", one("Squeeze", ["batch", 1, 5, 1], {"a": ints(3)}, opset=13))
case("Squeeze all", one("Squeeze", ["batch", 1, 5, 1], opset=13))
case("Unsqueeze attribute", one("Unsqueeze", FLAT, opset=11, axes=[0, 3]))
case("Unsqueeze input", one("Unsqueeze", FLAT, {"a": ints(1, -1)}, opset=13))
case("Transpose", one("Transpose", IMAGE, perm=[0, 2, 3, 1]))
case("Transpose moves the batch", one("Transpose", IMAGE, perm=[2, 3, 0, 1]))
case("Transpose reverses", one("Transpose", IMAGE))
case("Concat", one("Concat", [3, 3, 6, 7], {"b": np.tile(weights(1, 2, 6, 7), (3, 1, 1, 1))}, axis=1))
join = [node("Relu", ["x"], ["a"]), node("Concat", ["a", "x", "a"], ["y"], axis=-2)]
case("Concat of values", model(join, {"x": (IMAGE, 1)}, ["y"]))
for opset, parts in ((11, {"split": [1, 2]}), (13, {"s": ints(1, 2)})):
    given: Any = {k: v for k, v in parts.items() if k == "s"}
    own: Any = {k: v for k, v in parts.items() if k == "split"}
    case(
        f"Split {opset}",
        one(
            "Split",
            IMAGE,
            given,
            opset=opset,
            axis=1,
            outputs=["y", "z"],
            **own,
        ),
    )
case("Split even", one("Split", ["batch", 6], opset=13, axis=1, outputs=["a", "b", "c"]))
case("Split 18", one("Split", ["batch", 7], opset=18, axis=1, num_outputs=3, outputs=["a", "b", "c"]))
case("Slice attribute", one("Slice", IMAGE, opset=9, starts=[1, -3], ends=[3, 100], axes=[1, 3]))
case("Slice input", one("Slice", IMAGE, {"s": ints(1, 0), "e": ints(100, -1), "a": ints(2, 3), "t": ints(2, 1)}))
case("Slice backwards", one("Slice", IMAGE, {"s": ints(-1, 4), "e": ints(-100, 0), "a": ints(3, 2), "t": ints(-1, -2)}))
case("Slice whole batch", one("Slice", IMAGE, {"s": ints(0, 1), "e": ints(2**62, 3)}))
case("Gather scalar", one("Gather", IMAGE, {"i": np.array(-1)}, axis=2))
case("Gather list", one("Gather", IMAGE, {"i": ints(2, 0, 0, 1)}, axis=1))
case("Gather matrix", one("Gather", IMAGE, {"i": np.array([[2, 0], [0, 1]])}, axis=1))
case("Pad 2", one("Pad", IMAGE, opset=9, pads=[0, 1, 0, 2, 0, 0, 3, 1], value=1.5))
case("Pad 11", one("Pad", IMAGE, {"p": ints(0, 0, 1, 2, 0, 1, 0, 0), "v": np.array(-1, F)}, opset=11))
case("Pad cuts", one("Pad", IMAGE, {"p": ints(0, 0, 1, -2, 0, 0, -1, -1)}, opset=13))
case("Pad axes", one("Pad", IMAGE, {"p": ints(1, 2, 0, 1), "v": np.array(1, F), "a": ints(-1, 2)}, opset=18))
for mode in ("edge", "reflect"):
    case(f"Pad {mode}", one("Pad", IMAGE, {"p": ints(0, 0, 1, 2, 0, 0, 2, 1)}, mode=mode))
case("Expand", one("Expand", ["batch", 3, 1, 1], {"s": ints(1, 3, 4, 5)}))
case("Expand in front", one("Expand", FLAT, {"s": ints(2, 1, 5)}))
case("Tile", one("Tile", ["batch", 3, 1, 2], {"r": ints(1, 2, 3, 2)}))
case("DepthToSpace", one("DepthToSpace", ["batch", 8, 2, 3], blocksize=2))
case("DepthToSpace CRD", one("DepthToSpace", ["batch", 8, 2, 3], blocksize=2, mode="CRD"))
case("SpaceToDepth", one("SpaceToDepth", ["batch", 2, 4, 6], blocksize=2))
case("Upsample 9", one("Upsample", IMAGE, {"s": np.array([1, 1, 2, 3], F)}, opset=9))
case("Resize 10", one("Resize", IMAGE, {"s": np.array([1, 1, 2, 1.5], F)}, opset=10))
for place in ("asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"):
    for nearest in ("floor", "round_prefer_floor", "ceil", "round_prefer_ceil"):
        resize = [node("Resize", ["x", "", "s"], ["y"], coordinate_transformation_mode=place, nearest_mode=nearest)]
        scales = {"s": np.array([1, 1, 2, 0.6], F)}
        case(f"Resize {place} {nearest}", model(resize, {"x": (IMAGE, 1)}, ["y"], scales))
sizes = [
    node("Shape", ["x"], ["a"]),
    node("Slice", ["a", "zero", "two"], ["b"]),
    node("Concat", ["b", "hw"], ["c"], axis=0),
]
sizes.append(node("Resize", ["x", "", "", "c"], ["y"], mode="nearest"))
case("Resize sizes", model(sizes, {"x": (IMAGE, 1)}, ["y"], {"zero": ints(0), "two": ints(2), "hw": ints(12, 21)}))

# Products by labels, running sums, lists of indices.
for equation, shape in (
    ("bchw,oc->bohw", (4, 3)),
    ("bchw,hk->bckw", (6, 2)),
    ("bchw,c", (3,)),
    ("bchw,chw->b", (3, 6, 7)),
):
    case(f"Einsum {equation}", model([node("Einsum", ["x", "w"], ["y"], equation=equation)], {"x": (IMAGE, 1)}, ["y"],
                                     {"w": weights(*shape)}))  # fmt: skip
for equation in ("bij,bkj->bik", "bij,bij->bi", "bij,bkl->bikl"):
    case(
        f"Einsum {equation}",
        model([node("Einsum", ["x", "x"], ["y"], equation=equation)], {"x": (["batch", 3, 5], 1)}, ["y"]),
    )
case("Einsum of one", one("Einsum", IMAGE, equation="bchw->bwc"))
case("CumSum", one("CumSum", IMAGE, {"a": np.array(2)}))
case("CumSum reverse", one("CumSum", IMAGE, {"a": np.array(-1)}, reverse=1))
front = [node("Transpose", ["x"], ["t"], perm=[1, 0, 2, 3]), node("GatherND", ["t", "i"], ["y"])]
case("GatherND", model(front, {"x": (IMAGE, 1)}, ["y"], {"i": np.array([[2], [0], [1], [-1]])}))
case("Pad wrap", one("Pad", IMAGE, {"p": ints(0, 0, 1, 2, 0, 0, 0, 1)}, opset=19, mode="wrap"))

# Quantisers of standard ONNX.
scale, zero = np.array(0.25, F), np.array(3, np.uint8)
quantise = [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["y"])]
case("QuantizeLinear", model(quantise, {"x": (FLAT, 1)}, ["q", "y"], {"s": scale, "z": zero}, 13))
channels = {"s": np.array([0.1, 0.5, 0.25], F), "z": np.array([0, -3, 5], np.int8)}
quantise = [
    node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=1),
    node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=1),
]
case("QuantizeLinear channels", model(quantise, {"x": (IMAGE, 1)}, ["y"], channels, 13))
stored = [node("DequantizeLinear", ["q", "s"], ["w"], axis=0), node("Conv", ["x", "w"], ["y"])]
kernels = {"q": random.integers(-128, 128, (3, 3, 2, 2)).astype(np.int8), "s": channels["s"]}
case("DequantizeLinear weights", model(stored, {"x": (IMAGE, 1)}, ["y"], kernels, 13))

eight = random.integers(-128, 128, (4, 3, 3, 3)).astype(np.int8)
chain = [
    node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
    node("QLinearConv", ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["c"], pads=[1, 1, 1, 1]),
    node("DequantizeLinear", ["c", "ys", "yz"], ["y"]),
]
quantised = {
    "xs": np.array(0.05, F),
    "xz": np.array(120, np.uint8),
    "w": eight,
    "ws": np.array([0.01, 0.02, 0.05, 0.01], F),
    "wz": np.zeros(4, np.int8),
    "ys": np.array(0.2, F),
    "yz": np.array(100, np.uint8),
    "b": random.integers(-1000, 1000, 4).astype(np.int32),
}
case("QLinearConv", model(chain, {"x": (IMAGE, 1)}, ["c", "y"], quantised))
chain = [
    node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
    node("QLinearMatMul", ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz"], ["y"]),
]
product = {**quantised, "w": eight.reshape(-1)[:20].reshape(5, 4), "ws": np.array(0.01, F), "wz": np.array(3, np.int8)}
del product["b"]
case("QLinearMatMul", model(chain, {"x": (FLAT, 1)}, ["y"], product))
whole = {"w": eight, "xz": np.array(3, np.uint8)}
case("ConvInteger", one("ConvInteger", IMAGE, whole, kind=TensorProto.UINT8, pads=[1, 0, 1, 0]))
whole = {"w": eight.reshape(-1)[:20].reshape(5, 4), "xz": np.array(3, np.uint8)}
case("MatMulInteger", one("MatMulInteger", FLAT, whole, kind=TensorProto.UINT8))
case("LRN", one("LRN", ["batch", 6, 3, 3], size=3, alpha=0.1, bias=1.5))

# What ONNX Runtime's own optimiser leaves.
MS = {"domain": "com.microsoft"}
fused = [node("FusedConv", ["x", "w", "b"], ["y"], activation="Relu", pads=[1, 1, 1, 1], **MS)]
case("FusedConv", model(fused, {"x": (IMAGE, 1)}, ["y"], {"w": weights(4, 3, 3, 3), "b": weights(4)}))
fused = [node("FusedConv", ["x", "w"], ["y"], activation="Clip", activation_params=[-1.0, 1.0], **MS)]
case("FusedConv clip", model(fused, {"x": (IMAGE, 1)}, ["y"], {"w": weights(4, 3, 3, 3)}))
fused = [node("FusedGemm", ["x", "w", "c"], ["y"], activation="LeakyRelu", activation_alpha=0.2, transB=1, **MS)]
case("FusedGemm", model(fused, {"x": (FLAT, 1)}, ["y"], {"w": weights(4, 5), "c": weights(4)}))
fused = [node("FusedMatMul", ["x", "w"], ["y"], alpha=0.5, transB=1, **MS)]
case("FusedMatMul", model(fused, {"x": (["batch", 3, 5], 1)}, ["y"], {"w": weights(4, 5)}))
turn = {"transBatchA": 1, "transBatchB": 1, "transB": 1}
fused = [node("Transpose", ["x"], ["t"], perm=[1, 0, 2]), node("FusedMatMul", ["t", "t"], ["y"], **turn, **MS)]
case("FusedMatMul of batches", model(fused, {"x": (["batch", 3, 5], 1)}, ["y"]))
case("QuickGelu", model([node("QuickGelu", ["x"], ["y"], **MS)], {"x": (FLAT, 1)}, ["y"]))


@pytest.mark.parametrize("name", CASES)
def test_operator(name: str, tmp_path: Path) -> None:
    agrees(CASES[name], tmp_path)


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 21, 23])
def test_a_network_in_every_operator_set(opset: int, tmp_path: Path) -> None:
    """The same network as each operator set spells it."""
    squeeze: dict[str, Any] = {"axes": [2, 3]} if opset < 13 else {}
    mean = {"axes": [2, 3]} if opset < 18 else {}
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["a", "s", "b", "m", "v"], ["c"]),
        node("Sign", ["c"], ["d"]),
        node("MaxPool", ["d"], ["e"], kernel_shape=[2, 2], strides=[2, 2]),
        node("ReduceMean", ["e", *([] if mean else ["hw"])], ["f"], **mean),
        node("Squeeze", ["f", *([] if squeeze else ["hw"])], ["g"], **squeeze),
        node("Gemm", ["g", "l", "k"], ["y"], transB=1),
    ]
    constants = {"w": np.sign(weights(4, 3, 3, 3)), "l": weights(5, 4), "k": weights(5), "hw": ints(2, 3)}
    constants |= {name: np.abs(weights(4)) for name in "sbmv"}
    used = {name for entry in nodes for name in entry.input}
    constants = {name: values for name, values in constants.items() if name in used}
    agrees(model(nodes, {"x": (["batch", 3, 6, 6], 1)}, ["y"], constants, opset), tmp_path, tolerance=1e-4)
