"""One small network for each paper of the field, as ONNX models made here: its blocks as exporters write them.

Weights are random, with the quirks of real files: negative and zero gammas, negative slopes, broadcasts of biases.
Layers whose name begins with `binary` must be packed; all others may stay float.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
ONES, PADS = [1, 1], [1, 1, 1, 1]

Quantiser = Callable[["Net", str], str]


class Net:
    """A graph under construction; every method that adds nodes gives the name of what the last of them makes."""

    def __init__(self, name: str, *shape: int, seed: int = 0) -> None:
        self.name, self.shape = name, shape
        self.random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, np.ndarray] = {}

    def node(self, op: str, *inputs: Any, name: str = "", **attributes: Any) -> str:
        """One node; inputs are names, or arrays and numbers, which become constants."""
        result = f"v{len(self._nodes)}"
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        self._nodes.append(helper.make_node(op, names, [result], name=name or f"{op}_{len(self._nodes)}", **attributes))
        return result

    def constant(self, value: Any) -> str:
        name = f"c{len(self._constants)}"
        array = np.asarray(value)
        self._constants[name] = array.astype(np.float32) if array.dtype == np.float64 else array
        return name

    def model(self, output: str) -> onnx.ModelProto:
        """The finished model: `x` of [batch, *shape] in."""
        constants = [numpy_helper.from_array(array, key) for key, array in self._constants.items()]
        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *self.shape])
        graph = helper.make_graph(self._nodes, self.name, [given], [onnx.ValueInfoProto(name=output)], constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)

    # -------------------------------------------------------------------------------------------------------- pieces
    def rows(self, channels: int, spread: float = 1.0) -> np.ndarray:
        """A random number for each channel, that broadcasts over images."""
        return self.random.normal(size=(channels, 1, 1)) * spread

    def signs(self, *shape: int) -> np.ndarray:
        return self.random.choice([-1.0, 1.0], shape)

    def conv(self, x: str, weights: np.ndarray, name: str, *, pads: list[int] | None = None, **attributes: Any) -> str:
        attributes.setdefault("strides", ONES)
        around = pads if pads is not None else [side // 2 for side in weights.shape[2:] * 2]
        return self.node("Conv", x, weights, name=name, pads=around, **attributes)

    def binary(self, x: str, channels: tuple[int, int], kernel: int = 3, *, name: str = "binary", **more: Any) -> str:
        """A convolution with ±s weights from `channels[0]` to `channels[1]` channels."""
        groups = more.get("group", 1)
        weights = self.signs(channels[1], channels[0] // groups, kernel, kernel)
        scale = self.random.random((channels[1], 1, 1, 1)) * 0.1 + 0.02
        return self.conv(x, weights * scale, f"{name}_{len(self._nodes)}", **more)

    def norm(self, x: str, channels: int) -> str:
        gamma = self.random.normal(size=channels)
        gamma[min(1, channels - 1)] = 0 if channels > 3 else gamma[0]
        beta, mean = self.random.normal(size=(2, channels)) * 0.5
        return self.node("BatchNormalization", x, gamma, beta, mean, self.random.random(channels) + 0.2)

    def shift(self, x: str, channels: int) -> str:
        return self.node("Add", x, self.rows(channels, 0.3))

    def prelu(self, x: str, channels: int) -> str:
        return self.node("PRelu", x, self.rows(channels, 0.5))

    def sign(self, x: str) -> str:
        return self.node("Sign", x)

    def at_least(self, x: str) -> str:
        return self.node("Where", self.node("GreaterOrEqual", x, np.float32(0)), np.float32(1), np.float32(-1))

    def stem(self, channels: int, stride: int = 2) -> str:
        weights = self.random.normal(size=(channels, self.shape[0], 3, 3)) * 0.3
        return self.norm(self.conv("x", weights, "stem", strides=[stride, stride]), channels)

    def head(self, x: str, channels: int) -> onnx.ModelProto:
        pooled = self.node("Flatten", self.node("GlobalAveragePool", x))
        return self.model(self.node("Gemm", pooled, self.random.normal(size=(channels, 10)), name="head"))

    def half(self, x: str) -> str:
        return self.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])


def ftbnn() -> onnx.ModelProto:
    n = Net("ftbnn", 3, 32, 32)
    x, c = n.stem(32), 32
    bits = n.at_least(n.shift(x, c))
    y = n.norm(n.binary(bits, (c, c), group=4), c)
    positive = n.node("Mul", n.node("Relu", y), n.rows(c))
    negative = n.node("Mul", n.node("Relu", n.node("Neg", y)), n.rows(c))
    x = n.node("Add", x, n.node("Sub", positive, negative))
    split = n.node("Reshape", x, np.array([-1, 4, 8, 16, 16]))
    mixed = n.node("Reshape", n.node("Transpose", split, perm=[0, 2, 1, 3, 4]), np.array([-1, 32, 16, 16]))
    down = n.norm(n.binary(n.at_least(n.half(mixed)), (c, 2 * c), 1), 2 * c)
    y = n.prelu(n.shift(n.norm(n.binary(n.at_least(mixed), (c, 2 * c), strides=[2, 2], group=2), 2 * c), 2 * c), 2 * c)
    y = n.node("Add", y, down)
    # A flexible PReLU that nothing but a sign reads: no, one or two thresholds a channel.
    z = n.prelu(n.norm(n.binary(n.at_least(y), (2 * c, 2 * c)), 2 * c), 2 * c)
    return n.head(n.node("Add", y, n.norm(n.binary(n.at_least(z), (2 * c, 2 * c)), 2 * c)), 2 * c)


def real_to_binary() -> onnx.ModelProto:
    n, c = Net("real_to_binary", 3, 32, 32), 32
    x = n.stem(c)
    normed = n.norm(x, c)
    pooled = n.node("Flatten", n.node("GlobalAveragePool", normed))
    squeezed = n.node("Relu", n.node("Gemm", pooled, n.random.normal(size=(c, 4)), name="gate_in"))
    gate = n.node("Sigmoid", n.node("Gemm", squeezed, n.random.normal(size=(4, c)), name="gate_out"))
    gated = n.node("Mul", n.binary(n.at_least(normed), (c, c)), n.node("Reshape", gate, np.array([-1, c, 1, 1])))
    return n.head(n.node("Add", x, n.prelu(gated, c)), c)


def fracbnn() -> onnx.ModelProto:
    n, c, levels = Net("fracbnn", 3, 16, 16), 32, 15
    scaled = n.node("Round", n.node("Div", n.node("Mul", "x", np.float32(255)), np.float32(16)))
    tall = n.node("Unsqueeze", scaled, np.array([2]))
    above = n.node("Greater", tall, np.arange(levels, dtype=np.float32).reshape(1, 1, levels, 1, 1))
    ones = n.node("Sub", n.node("Mul", n.node("Cast", above, to=TensorProto.FLOAT), np.float32(2)), np.float32(1))
    x = n.norm(n.binary(n.node("Reshape", ones, np.array([-1, 3 * levels, 16, 16])), (3 * levels, c)), c)
    third = np.float32(3)
    clipped = n.node(
        "Div", n.node("Add", n.node("Clip", x, np.float32(-1), np.float32(1)), np.float32(1)), np.float32(2)
    )
    codes = n.node("Div", n.node("Round", n.node("Mul", clipped, third)), third)
    codes = n.node("Sub", n.node("Mul", codes, np.float32(2)), np.float32(1))
    weights = n.signs(c, c, 3, 3)
    high = n.conv(n.node("Mul", n.at_least(codes), np.float32(2 / 3)), weights, "binary_high")
    full = n.conv(codes, weights, "binary_full")
    sharp = n.node("Mul", n.node("Sub", high, n.rows(c, 3)), np.float32(5))
    mask = n.node("Cast", n.node("Greater", n.node("Sigmoid", sharp), np.float32(0.5)), to=TensorProto.FLOAT)
    rest = n.node("Sub", np.float32(1), mask)
    y = n.node("Add", n.node("Mul", rest, high), n.node("Mul", mask, full))
    y = n.shift(n.prelu(n.shift(n.norm(y, c), c), c), c)
    return n.head(n.norm(n.node("Add", x, y), c), c)


def elastic_link() -> onnx.ModelProto:
    n, c = Net("elastic_link", 3, 32, 32), 32
    x = n.node("Relu", n.stem(c))
    groups = n.node("Reshape", x, np.array([-1, 4, 8, 16, 16]))
    squeezed = n.node("ReduceMean", groups, axes=[1], keepdims=0)
    y = n.node("Add", n.binary(n.sign(x), (c, 8), 1), n.node("Mul", squeezed, np.float32(-0.7)))
    y = n.node("Relu", n.norm(y, 8))
    y = n.node("Relu", n.norm(n.node("Add", n.binary(n.sign(y), (8, 8)), n.node("Mul", y, np.float32(0.4))), 8))
    wide = n.node("Mul", n.node("Concat", y, y, y, y, axis=1), np.float32(1.3))
    y = n.norm(n.node("Add", n.binary(n.sign(y), (8, c), 1), wide), c)
    return n.head(n.node("Relu", n.node("Add", x, y)), c)


def distillation() -> onnx.ModelProto:
    n, c = Net("distillation", 3, 32, 32), 32
    x = n.stem(c)
    main = n.norm(n.binary(n.sign(x), (c, c)), c)
    side = n.node("Relu", n.conv(x, n.random.normal(size=(4, c, 1, 1)) * 0.2, "side_squeeze"))
    side = n.conv(side, n.random.normal(size=(4, 1, 3, 3)), "side_interact", group=4)
    side = n.norm(n.conv(side, n.random.normal(size=(c, 4, 1, 1)), "side_expand"), c)
    x = n.node("Clip", n.node("Add", n.node("Add", main, side), x), np.float32(-1), np.float32(1))
    return n.head(n.node("Add", x, n.norm(n.binary(n.sign(x), (c, c)), c)), c)


def rbonn() -> onnx.ModelProto:
    n, c = Net("rbonn", 3, 32, 32), 32
    x = n.stem(c)
    for _ in range(2):
        # `sign(w) * 0.02 * |scale|`, left in the graph as the legacy exporter leaves it
        signs = n.sign(n.constant(n.random.normal(size=(c, c, 3, 3))))
        scale = n.node("Abs", n.constant(n.random.normal(size=(c, 1, 1, 1))))
        weights = n.node("Mul", n.node("Mul", signs, np.float32(0.02)), scale)
        bits = n.sign(n.shift(x, c))
        y = n.node("Conv", bits, weights, name=f"binary_{_}", pads=PADS)
        x = n.shift(n.prelu(n.shift(n.node("Add", n.norm(y, c), x), c), c), c)
    return n.head(x, c)


def reactnet_a() -> onnx.ModelProto:
    n, c = Net("reactnet_a", 3, 32, 32), 32
    x = n.stem(c)
    x = n.node("Add", n.norm(n.binary(n.sign(n.shift(x, c)), (c, c), strides=[2, 2]), c), n.half(x))
    x = n.shift(n.prelu(n.shift(x, c), c), c)
    bits = n.sign(n.shift(x, c))
    halves = [n.node("Add", n.norm(n.binary(bits, (c, c), 1), c), x) for _ in range(2)]
    x = n.node("Concat", *halves, axis=1)
    return n.head(n.shift(n.prelu(n.shift(x, 2 * c), 2 * c), 2 * c), 2 * c)


def sub_bit(index_bits: int) -> onnx.ModelProto:
    n, c = Net(f"sub_bit_{index_bits}", 3, 16, 16), 64
    x = n.stem(c)
    for number in range(2):
        book = n.signs(1 << index_bits, 3, 3)
        weights = book[n.random.integers(0, len(book), (c, c))] * n.random.normal(size=(c, 1, 1, 1))
        x = n.node("Add", n.norm(n.conv(n.sign(x), weights, f"binary_{number}"), c), x)
    return n.head(x, c)


def sbnn(low: float, high: float) -> onnx.ModelProto:
    n, c = Net("sbnn_01" if (low, high) == (0, 1) else "sbnn_ab", 3, 32, 32), 32
    x = n.stem(c)
    for number in range(2):
        weights = np.where(n.random.random((c, c, 3, 3)) < 0.15, high, low)
        x = n.node("Add", n.norm(n.conv(n.sign(n.shift(x, c)), weights, f"binary_{number}"), c), x)
    return n.head(x, c)


def bep() -> onnx.ModelProto:
    n, width, steps = Net("bep", 8, 24), 64, 8
    wx, wh = n.constant(n.signs(24, width)), n.constant(n.signs(width, width))
    bits, state = n.sign("x"), ""
    for time in range(steps):
        now = n.node("Gather", bits, np.array(time), axis=1)
        total = n.node("MatMul", now, wx, name=f"binary_x{time}")
        if state:
            total = n.node("Add", total, n.node("MatMul", state, wh, name=f"binary_h{time}"))
        state = n.sign(total)
    return n.model(n.node("MatMul", state, n.signs(width, 10), name="binary_out"))


def iterative() -> onnx.ModelProto:
    n, c = Net("iterative", 3, 16, 16), 32
    x = n.node("Relu", n.stem(c, 1))
    # Activations of four bits, then ±1 weights on them; a float layer in between.
    for number in range(2):
        codes = n.node("Div", n.node("Round", n.node("Mul", n.node("Clip", x, 0.0, 1.0), 15.0)), 15.0)
        x = n.node("Relu", n.norm(n.binary(codes, (c, c)), c))
        if number == 0:
            x = n.node("Relu", n.norm(n.conv(x, n.random.normal(size=(c, c, 1, 1)) * 0.2, "float_layer"), c))
    return n.head(x, c)


def graph_net(kind: str) -> onnx.ModelProto:
    n, nodes, features = Net(f"graph_{kind}s", 20, 16), 20, 16
    matrix = (n.random.random((nodes, nodes)) < 0.25) + np.eye(nodes)
    matrix = np.minimum(matrix, 1)
    if kind == "mean":
        matrix = matrix / matrix.sum(1, keepdims=True)
    x = "x"
    for number in range(2):
        mixed = n.node("MatMul", matrix, n.at_least(x), name=f"binary_graph_{number}")
        x = n.node("MatMul", mixed, n.signs(features, features), name=f"binary_{number}")
        x = n.node("Add", x, n.random.normal(size=features))
    return n.model(x)


def bireal() -> onnx.ModelProto:
    n, c = Net("bireal", 3, 32, 32), 32
    x = n.stem(c)
    x = n.node("Add", x, n.norm(n.binary(n.sign(x), (c, c)), c))
    side = n.norm(n.conv(n.half(x), n.random.normal(size=(2 * c, c, 1, 1)) * 0.2, "shortcut"), 2 * c)
    x = n.node("Add", side, n.norm(n.binary(n.sign(x), (c, 2 * c), strides=[2, 2]), 2 * c))
    return n.head(x, 2 * c)


def xnor_net() -> onnx.ModelProto:
    n, c = Net("xnor_net", 3, 32, 32), 32
    x = n.node("Relu", n.stem(c))
    for _ in range(2):
        normed = n.norm(x, c)
        mean = n.node("ReduceMean", n.node("Abs", normed), axes=[1], keepdims=1)
        scale = n.node("AveragePool", mean, kernel_shape=[3, 3], pads=PADS, count_include_pad=1)
        x = n.node("Relu", n.node("Mul", n.binary(n.sign(normed), (c, c)), scale))
    return n.head(n.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2]), c)


def binary_alexnet() -> onnx.ModelProto:
    n = Net("binary_alexnet", 3, 67, 67)
    x = n.conv("x", n.signs(32, 3, 11, 11), "first", strides=[4, 4])
    x = n.norm(n.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2]), 32)
    x = n.binary(n.at_least(x), (32, 64), 5)
    x = n.norm(n.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2]), 64)
    flat = n.node("Flatten", n.at_least(x))
    x = n.node("Reshape", n.node("MatMul", flat, n.signs(576, 128), name="binary_fc"), np.array([-1, 128, 1, 1]))
    bits = n.node("Flatten", n.at_least(n.norm(x, 128)))
    return n.model(n.node("Softmax", n.node("MatMul", bits, n.signs(128, 10), name="binary_last"), axis=1))


def quicknet() -> onnx.ModelProto:
    n, c = Net("quicknet", 3, 32, 32), 32
    x = n.stem(c)
    for step in range(2):
        around = n.node("Pad", n.at_least(x), np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.float32(1))
        x = n.node("Add", x, n.norm(n.node("Relu", n.binary(around, (c, c), pads=[0] * 4)), c))
        if step == 0:
            small = n.node("MaxPool", n.node("Relu", x), kernel_shape=[2, 2])
            blur = np.tile(np.outer([1, 2, 1], [1, 2, 1]) / 16, (c, 1, 1, 1))
            small = n.conv(small, blur, "blur", strides=[2, 2], group=c)
            x = n.norm(n.conv(small, n.random.normal(size=(c, c, 1, 1)) * 0.2, "transition"), c)
    return n.head(n.node("Relu", x), c)


def binary_densenet() -> onnx.ModelProto:
    n, c = Net("binary_densenet", 3, 32, 32), 32
    x = n.stem(c)
    for dilation in (1, 2, 4):
        around = [dilation] * 4
        y = n.binary(n.at_least(n.norm(x, c)), (c, 32), dilations=[dilation] * 2, pads=around)
        x, c = n.node("Concat", x, y, axis=1), c + 32
    return n.head(x, c)


def meliusnet() -> onnx.ModelProto:
    n, c = Net("meliusnet", 3, 32, 32), 32
    x = n.stem(c)
    x, c = n.node("Concat", x, n.binary(n.sign(n.norm(x, c)), (c, 32)), axis=1), c + 32
    better = n.binary(n.sign(n.norm(x, c)), (c, 32))
    wide = n.node("Pad", better, np.array([0, c - 32, 0, 0, 0, 0, 0, 0]))
    return n.head(n.node("Add", x, wide), c)


def dorefa() -> onnx.ModelProto:
    n, c = Net("dorefa", 3, 16, 16), 32
    x = n.stem(c, 1)
    for _ in range(2):
        codes = n.node("Div", n.node("Round", n.node("Mul", n.node("Clip", x, 0.0, 1.0), 3.0)), 3.0)
        pooled = n.node("MaxPool", codes, kernel_shape=[2, 2], strides=[2, 2])
        x = n.norm(n.binary(pooled, (c, c)), c)
    return n.head(x, c)


def ternary() -> onnx.ModelProto:
    n, c = Net("ternary", 3, 32, 32), 32
    x = n.stem(c)
    for number in range(2):
        weights = n.random.integers(-1, 2, (c, c, 3, 3)) * (n.random.random((c, 1, 1, 1)) + 0.1)
        x = n.norm(n.conv(n.sign(x), weights, f"binary_{number}"), c)
    return n.head(x, c)


# The paper or network, its model, and the fixtures that show the same.
FIELD: tuple[tuple[str, Callable[[], onnx.ModelProto], tuple[str, ...]], ...] = (
    ("FTBNN", ftbnn, ("ftbnn_group_shuffle_dynamo18",)),
    ("Real-to-Binary", real_to_binary, ("real2binary_se_dynamo18",)),
    ("FracBNN", fracbnn, ("fracbnn_small_legacy17",)),
    ("Elastic-Link", elastic_link, ()),
    ("Distillation-guided residual", distillation, ()),
    ("RBONN", rbonn, ("reactnet_resnet_legacy17",)),
    ("S2-BNN, ReActNet-A", reactnet_a, ("reactneta_small_poly_dynamo18",)),
    ("Sub-bit", lambda: sub_bit(4), ("snn_codebook_dynamo20",)),
    ("Sparse Kernel Selection", lambda: sub_bit(6), ()),
    ("SBNN {a, b}", lambda: sbnn(-0.47, 0.93), ()),
    ("SBNN {0, 1}", lambda: sbnn(0.0, 1.0), ("sbnn_taupi_legacy13",)),
    ("BEP", bep, ()),
    ("Iterative layer binarisation", iterative, ()),
    ("QP-SBGD, sums of neighbours", lambda: graph_net("sum"), ()),
    ("QP-SBGD, means of neighbours", lambda: graph_net("mean"), ()),
    ("Bi-Real", bireal, ("birealnet_poly_detach_legacy13", "larq_birealnet_magaware_opset13")),
    ("XNOR-Net with K map", xnor_net, ("xnornet_alpha_dynamo18",)),
    ("Binary AlexNet", binary_alexnet, ()),
    ("QuickNet", quicknet, ("larq_quicknet_opset13",)),
    ("BinaryDenseNet", binary_densenet, ("binarydensenet_dil_legacy13",)),
    ("MeliusNet", meliusnet, ("meliusnet_dynamo20",)),
    ("DoReFa w1a2", dorefa, ()),
    ("Ternary weights", ternary, ()),
)
