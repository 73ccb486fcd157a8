"""Operators of the domain com.microsoft that ONNX Runtime writes into the models it has optimised."""

from __future__ import annotations

from collections.abc import Callable

from bnnc.frontends.onnx.activations import gelu, swish
from bnnc.frontends.onnx.elementwise import clip
from bnnc.frontends.onnx.matrices import gemm, matmul, transposed
from bnnc.frontends.onnx.node import Handler, Node
from bnnc.frontends.onnx.problems import unsupported
from bnnc.frontends.onnx.reshaping import transpose
from bnnc.frontends.onnx.values import Value
from bnnc.frontends.onnx.windows import convolve

DOMAIN = "com.microsoft"
BLOCKED_DOMAIN = "com.microsoft.nchwc"


def _activated(node: Node, y: Value, parameters: tuple[float, ...]) -> Value:
    """y after the node's fused activation."""
    name = node.text("activation", "")
    first, second = (*parameters, 0.0, 0.0)[:2]
    known: dict[str, Callable[[], Value]] = {
        "": lambda: y,
        "Relu": lambda: node.map("relu", y),
        "Tanh": lambda: node.map("tanh", y),
        "Sigmoid": lambda: node.map("sigmoid", y),
        "LeakyRelu": lambda: node.map("prelu", y, node.scalar(first if parameters else 0.01)),
        "Clip": lambda: clip(node, y, node.scalar(first), node.scalar(second)),
        "HardSigmoid": lambda: clip(
            node, node.chain(y, ("mul", first), ("add", second)), node.scalar(0), node.scalar(1)
        ),
    }
    if name not in known:
        raise unsupported(f"has the fused activation `{name}`")
    return known[name]()


def _fused_conv(node: Node) -> Value:
    y = convolve(node, node.value(0), node.value(1), node.optional(2))
    added = node.optional(3)
    if added is not None:
        y = node.map("add", y, added)
    found = node.attributes.get("activation_params")
    return _activated(node, y, tuple(found.floats) if found is not None else ())


def _fused_gemm(node: Node) -> Value:
    parameters = [
        node.number(f"activation_{name}", 0.0) for name in ("alpha", "beta") if node.has(f"activation_{name}")
    ]
    return _activated(node, gemm(node), tuple(parameters))


def _fused_matmul(node: Node) -> Value:
    a, b = node.value(0), node.value(1)
    a, b = (
        _rows_after_batch(node, value) if node.integer(flag, 0) else value
        for value, flag in ((a, "transBatchA"), (b, "transBatchB"))
    )
    a, b = (_turned(node, value) if node.integer(flag, 0) else value for value, flag in ((a, "transA"), (b, "transB")))
    y = matmul(node, a, b)
    alpha = node.number("alpha", 1.0)
    return y if alpha == 1 else node.chain(y, ("mul", alpha))


def _turned(node: Node, value: Value) -> Value:
    if value.constant:
        return transposed(node, value)
    return transpose(node, value, (*range(value.rank - 2), value.rank - 1, value.rank - 2))


def _rows_after_batch(node: Node, value: Value) -> Value:
    """[M, …, K] as […, M, K]."""
    return transpose(node, value, (*range(1, value.rank - 1), 0, value.rank - 1))


def _bias_gelu(node: Node) -> Value:
    return gelu(node, node.map("add", node.value(0), node.value(1)), tanh=False)


def _fast_gelu(node: Node) -> Value:
    x, bias = node.value(0), node.optional(1)
    return gelu(node, x if bias is None else node.map("add", x, bias), tanh=True)


HANDLERS: dict[str, Handler] = {
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_gemm,
    "FusedMatMul": _fused_matmul,
    "Gelu": lambda node: gelu(node, node.value(0), tanh=False),
    "BiasGelu": _bias_gelu,
    "FastGelu": _fast_gelu,
    "QuickGelu": lambda node: swish(node, node.value(0), node.number("alpha", 1.702)),
}
