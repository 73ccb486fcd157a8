"""Activation functions that are formulas of several «nn» functions."""

from __future__ import annotations

import math

from bnnc.frontends.onnx.node import Handler, Node
from bnnc.frontends.onnx.values import Value


def _leaky_relu(node: Node) -> Value:
    x = node.value(0)
    return node.map("prelu", x, node.scalar(node.number("alpha", 0.01)), dtype=x.dtype)


def _thresholded_relu(node: Node) -> Value:
    x = node.value(0)
    above = node.map("greater", x, node.scalar(node.number("alpha", 1.0)), dtype="bool")
    return node.map("where", above, x, node.scalar(0), dtype=x.dtype)


def _below_zero(node: Node, x: Value, rate: float) -> Value:
    """exp(min(x, 0) / rate) - 1: the part of an exponential unit that only negative x have."""
    low = node.chain(x, ("min", 0))
    scaled = low if rate == 1 else node.chain(low, ("div", rate))
    return node.chain(node.map("exp", scaled), ("sub", 1))


def _elu(node: Node) -> Value:
    x = node.value(0)
    low = node.chain(_below_zero(node, x, 1), ("mul", node.number("alpha", 1.0)))
    return node.map("add", node.map("relu", x), low)


def _selu(node: Node) -> Value:
    x = node.value(0)
    alpha, gamma = node.number("alpha", 1.6732632423543772), node.number("gamma", 1.0507009873554805)
    low = node.chain(_below_zero(node, x, 1), ("mul", alpha))
    return node.chain(node.map("add", node.map("relu", x), low), ("mul", gamma))


def _celu(node: Node) -> Value:
    x, alpha = node.value(0), node.number("alpha", 1.0)
    return node.map("add", node.map("relu", x), node.chain(_below_zero(node, x, alpha), ("mul", alpha)))


def _between(node: Node, x: Value) -> Value:
    return node.map("clip", x, node.scalar(0), node.scalar(1), dtype=x.dtype)


def _hard_sigmoid(node: Node) -> Value:
    alpha, beta = node.number("alpha", 0.2), node.number("beta", 0.5)
    return _between(node, node.chain(node.value(0), ("mul", alpha), ("add", beta)))


def _hard_swish(node: Node) -> Value:
    x = node.value(0)
    return node.map("mul", x, _between(node, node.chain(x, ("mul", 1 / 6), ("add", 0.5))))


def softplus(node: Node, x: Value) -> Value:
    """log(1 + exp(x)), written so that exp never overflows."""
    falling = node.map("exp", node.map("neg", node.map("abs", x)))
    return node.map("add", node.map("relu", x), node.map("log", node.chain(falling, ("add", 1))))


def _softplus(node: Node) -> Value:
    return softplus(node, node.value(0))


def _softsign(node: Node) -> Value:
    x = node.value(0)
    return node.map("div", x, node.chain(node.map("abs", x), ("add", 1)))


def gelu(node: Node, x: Value, tanh: bool) -> Value:
    """x * (1 + erf(x / sqrt(2))) / 2, or its approximation by tanh."""
    if tanh:
        cube = node.map("mul", node.map("mul", x, x), x)
        inner = node.map("add", x, node.chain(cube, ("mul", 0.044715)))
        bend = node.map("tanh", node.chain(inner, ("mul", math.sqrt(2 / math.pi))))
    else:
        bend = node.map("erf", node.chain(x, ("mul", math.sqrt(0.5))))
    return node.map("mul", node.chain(x, ("mul", 0.5)), node.chain(bend, ("add", 1)))


def _gelu(node: Node) -> Value:
    return gelu(node, node.value(0), node.text("approximate", "none") == "tanh")


def _mish(node: Node) -> Value:
    x = node.value(0)
    return node.map("mul", x, node.map("tanh", softplus(node, x)))


def swish(node: Node, x: Value, alpha: float) -> Value:
    """x * sigmoid(alpha * x)."""
    inner = x if alpha == 1 else node.chain(x, ("mul", alpha))
    return node.map("mul", x, node.map("sigmoid", inner))


def _swish(node: Node) -> Value:
    return swish(node, node.value(0), node.number("alpha", 1.0))


def _shrink(node: Node) -> Value:
    x, bias, bound = node.value(0), node.number("bias", 0.0), node.number("lambd", 0.5)
    low = node.map("less", x, node.scalar(-bound), dtype="bool")
    high = node.map("greater", x, node.scalar(bound), dtype="bool")
    inner = node.map("where", high, node.chain(x, ("sub", bias)), node.scalar(0), dtype=x.dtype)
    return node.map("where", low, node.chain(x, ("add", bias)), inner, dtype=x.dtype)


HANDLERS: dict[str, Handler] = {
    "LeakyRelu": _leaky_relu,
    "ThresholdedRelu": _thresholded_relu,
    "Elu": _elu,
    "Selu": _selu,
    "Celu": _celu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Softplus": _softplus,
    "Softsign": _softsign,
    "Gelu": _gelu,
    "Mish": _mish,
    "Swish": _swish,
    "Shrink": _shrink,
}
