"""Elementwise operators: arithmetic, comparisons, logic, casts, and functions that are one «nn» function each."""

from __future__ import annotations

import math

import numpy as np

from bnnc.frontends.onnx import constants
from bnnc.frontends.onnx.node import Handler, Node
from bnnc.frontends.onnx.problems import malformed, unsupported
from bnnc.frontends.onnx.tensors import element_type
from bnnc.frontends.onnx.values import FLOATS, INTEGER_RANGES, Value

_NARROW = ("int4", "uint4", "int8", "uint8", "int16", "uint16")


def _unary(function: str) -> Handler:
    def handler(node: Node) -> Value:
        x = node.value(0)
        if x.dtype in INTEGER_RANGES and function in ("floor", "ceil", "round", "trunc"):
            return x
        return _kept(node, node.map(function, x))

    return handler


def _kept(node: Node, value: Value) -> Value:
    """An integer result that wraps around as its narrow type does (ONNX leaves overflow open; runtimes wrap)."""
    if value.constant or value.dtype not in _NARROW:
        return value
    low, high = INTEGER_RANGES[value.dtype]
    shifted = node.chain(value, ("sub", low), ("mod", high - low + 1))
    return node.chain(shifted, ("add", low))


def _arithmetic(function: str) -> Handler:
    def handler(node: Node) -> Value:
        return _kept(node, node.map(function, node.value(0), node.value(1), dtype=node.value(0).dtype))

    return handler


def _divide(node: Node) -> Value:
    a, b = node.value(0), node.value(1)
    quotient = node.map("div", a, b)
    if a.dtype in INTEGER_RANGES and quotient.array is None:
        return node.map("trunc", quotient)
    return quotient


def _modulo(node: Node) -> Value:
    a, b = node.value(0), node.value(1)
    truncating = node.integer("fmod", 0) == 1
    if a.dtype in FLOATS and not truncating:
        raise malformed("takes Mod of floats without fmod=1")
    return node.map("fmod" if truncating else "mod", a, b)


def _power(node: Node) -> Value:
    return node.map("pow", node.value(0), node.value(1), dtype=node.value(0).dtype)


def _comparison(function: str) -> Handler:
    def handler(node: Node) -> Value:
        return node.map(function, node.value(0), node.value(1), dtype="bool")

    return handler


def _not(node: Node) -> Value:
    return node.map("not", node.value(0), dtype="bool")


def _variadic(function: str) -> Handler:
    def handler(node: Node) -> Value:
        total = node.value(0)
        for index in range(1, len(node.inputs)):
            total = node.map(function, total, node.value(index))
        return total

    return handler


def _mean(node: Node) -> Value:
    total = _variadic("add")(node)
    assert isinstance(total, Value)
    return node.chain(total, ("div", len(node.inputs)))


def _where(node: Node) -> Value:
    return node.map("where", node.value(0), node.value(1), node.value(2))


def clip(node: Node, x: Value, low: Value | None, high: Value | None) -> Value:
    """min(max(x, low), high), each bound left out where it is None."""
    if low is not None and high is not None:
        return node.map("clip", x, low, high, dtype=x.dtype)
    if low is not None:
        return node.map("max", x, low, dtype=x.dtype)
    if high is not None:
        return node.map("min", x, high, dtype=x.dtype)
    return x


def _clip(node: Node) -> Value:
    x = node.value(0)
    if node.opset >= 11:
        return clip(node, x, node.optional(1), node.optional(2))
    largest = float(np.finfo(np.float32).max)
    low, high = node.number("min", -largest), node.number("max", largest)
    return clip(
        node,
        x,
        node.scalar(low) if low > -largest else None,
        node.scalar(high) if high < largest else None,
    )


def _prelu(node: Node) -> Value:
    x, slope = node.value(0), node.value(1)
    node.finite(slope, "slope")
    return node.map("prelu", x, slope, dtype=x.dtype)


def _is_nan(node: Node) -> Value:
    x = node.value(0)
    return node.map("not", node.map("equal", x, x, dtype="bool"), dtype="bool")


def _is_infinite(node: Node) -> Value:
    x = node.value(0)
    positive, negative = node.integer("detect_positive", 1), node.integer("detect_negative", 1)
    if positive and negative:
        return node.map("equal", node.map("abs", x), node.scalar(math.inf), dtype="bool")
    if not positive and not negative:
        raise unsupported("detects neither infinity")
    return node.map("equal", x, node.scalar(math.inf if positive else -math.inf), dtype="bool")


def cast_to(node: Node, x: Value, dtype: str) -> Value:
    """x under another ONNX element type: integers truncate, narrow ones wrap, float16 rounds, the rest stays."""
    if x.dtype == dtype:
        return x
    if x.array is not None:
        return constants.cast(x, dtype)
    if dtype == "bool":
        return node.map("not", node.map("not", x, dtype="bool"), dtype="bool")
    if dtype in INTEGER_RANGES:
        from_float = x.dtype in FLOATS
        whole = node.map("trunc", x, dtype=dtype) if from_float else _renamed(x, dtype)
        fits = x.dtype == "bool" or (x.dtype in INTEGER_RANGES and _inside(x.dtype, dtype))
        return whole if fits or from_float else _kept(node, whole)
    if dtype == "float16" and x.dtype != "bool":
        return node.map("half", x, dtype=dtype)
    return _renamed(x, dtype)


def _inside(small: str, large: str) -> bool:
    (low, high), (lowest, highest) = INTEGER_RANGES[small], INTEGER_RANGES[large]
    return lowest <= low and high <= highest


def _renamed(x: Value, dtype: str) -> Value:
    return Value(dtype, x.shape, x.batch, x.op, x.array, x.derived, x.name)


def _cast(node: Node) -> Value:
    return cast_to(node, node.value(0), element_type(node.integer("to", 0)))


def _cast_like(node: Node) -> Value:
    return cast_to(node, node.value(0), node.value(1).dtype)


HANDLERS: dict[str, Handler] = {
    **{
        name: _unary(name.lower())
        for name in ("Neg", "Abs", "Sign", "Floor", "Ceil", "Round", "Sqrt", "Reciprocal", "Exp", "Log")
    },
    **{name: _unary(name.lower()) for name in ("Sigmoid", "Tanh", "Erf", "Relu")},
    **{name: _arithmetic(name.lower()) for name in ("Add", "Sub", "Mul")},
    **{name: _comparison(name.lower()) for name in ("Equal", "Greater", "Less", "And", "Or", "Xor")},
    "GreaterOrEqual": _comparison("greater_equal"),
    "LessOrEqual": _comparison("less_equal"),
    "Div": _divide,
    "Mod": _modulo,
    "Pow": _power,
    "Not": _not,
    "Min": _variadic("min"),
    "Max": _variadic("max"),
    "Sum": _variadic("add"),
    "Mean": _mean,
    "Where": _where,
    "Clip": _clip,
    "PRelu": _prelu,
    "IsNaN": _is_nan,
    "IsInf": _is_infinite,
    "Cast": _cast,
    "CastLike": _cast_like,
}
