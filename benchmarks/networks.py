"""The networks that the benchmarks time, as ONNX models made here: random weights, so only their speed means anything.

A binary activation is spelled as exporters spell it: `GreaterOrEqual` with a threshold for each channel, `Where` to ±1.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8


class Graph:
    """Collects the nodes and weights of a chain of layers; `value` names what the last of them gives."""

    def __init__(self, shape: Sequence[int], kind: int = TensorProto.FLOAT, seed: int = 0) -> None:
        self.shape = tuple(shape)
        self.kind = kind
        self.value = "x"
        self.random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, np.ndarray] = {}

    def node(self, op: str, *constants: Any, **attributes: Any) -> None:
        """Append op(value, *constants)."""
        name = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, [self.value, *map(self.constant, constants)], [name], **attributes))
        self.value = name

    def constant(self, array: Any) -> str:
        """The name of a constant that is now in the model."""
        name = f"c{len(self._constants)}"
        self._constants[name] = np.asarray(array)
        return name

    def signs(self, *shape: int) -> np.ndarray:
        """Random ±1 of a shape, as float32."""
        return self.random.choice(np.array([-1, 1], np.float32), shape)

    def binarise(self, channels: int, spread: int, axes: int) -> None:
        """±1 by a threshold for each channel, which has `axes` axes behind it."""
        thresholds = self.random.integers(-spread, spread + 1, (channels, *(1,) * axes)).astype(np.float32)
        self.node("GreaterOrEqual", thresholds)
        name = f"v{len(self._nodes)}"
        ones = [self.constant(np.float32(v)) for v in (1, -1)]
        self._nodes.append(helper.make_node("Where", [self.value, *ones], [name]))
        self.value = name

    def model(self, name: str, batch: int | str = "batch") -> onnx.ModelProto:
        """The finished model: `x` of [batch, *shape] in."""
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info("x", self.kind, [batch, *self.shape])],
            [onnx.ValueInfoProto(name=self.value)],
            [numpy_helper.from_array(array, key) for key, array in self._constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def binary_conv(size: int, channels: int, pad: int) -> onnx.ModelProto:
    """Signs of the input, a binary 3x3 convolution that keeps size and channels, a threshold, and a pool to few bits.

    `pad` is the value of the border: 0, or 1. What stands around the convolution keeps it from touching floats.
    """
    graph = Graph((channels, size, size))
    graph.binarise(channels, 0, 2)
    border = [1, 1, 1, 1]
    if pad:
        graph.node("Pad", np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), np.float32(pad))
        border = [0, 0, 0, 0]
    graph.node("Conv", graph.signs(channels, channels, 3, 3), pads=border)
    graph.binarise(channels, 20, 2)
    graph.node("MaxPool", kernel_shape=[size, size])
    return graph.model(f"conv{size}x{size}x{channels}_pad{pad}")


def binary_mlp(widths: Sequence[int]) -> onnx.ModelProto:
    """Signs of the input, then dense layers with ±1 weights and a threshold between every two."""
    graph = Graph(widths[:1])
    graph.binarise(widths[0], 0, 0)
    for number, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        graph.node("MatMul", graph.signs(inputs, outputs))
        if number < len(widths) - 2:
            graph.binarise(outputs, 20, 0)
    return graph.model("mlp" + "_".join(map(str, widths)))


def float_mlp(widths: Sequence[int]) -> onnx.ModelProto:
    """The same shape in fp32, as one would run it today: dense layers with biases, and ReLU between them."""
    graph = Graph(widths[:1])
    for number, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        weights = graph.random.normal(size=(inputs, outputs)).astype(np.float32) / np.float32(np.sqrt(inputs))
        graph.node("Gemm", weights, np.zeros(outputs, np.float32))
        if number < len(widths) - 2:
            graph.node("Relu")
    return graph.model("mlp_float")


def binary_cnn() -> onnx.ModelProto:
    """As large as BNN-PYNQ's CNV: six 3x3 convolutions of 64 to 256 channels, three dense layers, uint8 images in."""
    graph = Graph((3, 32, 32), TensorProto.UINT8)
    graph.node("Cast", to=TensorProto.FLOAT)
    channels = 3
    for number, wide in enumerate((64, 64, 128, 128, 256, 256)):
        graph.node("Conv", graph.signs(wide, channels, 3, 3))
        graph.binarise(wide, 20, 2)
        if number in (1, 3):
            graph.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
        channels = wide
    graph.node("Flatten")
    for inputs, outputs in ((256, 512), (512, 512), (512, 10)):
        graph.node("MatMul", graph.signs(inputs, outputs))
        if outputs != 10:
            graph.binarise(outputs, 20, 0)
    return graph.model("cnn")
