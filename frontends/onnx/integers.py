"""Integer layers of quantised models (the QOperator form of ONNX Runtime): whole numbers held in fp32."""

from __future__ import annotations

from bnnc.frontends.onnx.elementwise import cast_to
from bnnc.frontends.onnx.matrices import matmul
from bnnc.frontends.onnx.node import Handler, Node
from bnnc.frontends.onnx.problems import unsupported
from bnnc.frontends.onnx.reshaping import reshape
from bnnc.frontends.onnx.values import INTEGER_RANGES, Value
from bnnc.frontends.onnx.windows import convolve


def _centred(node: Node, value: Value, zero: Value | None, axis: int) -> Value:
    """value - zero as floats; a zero point for every element of `axis`, or one for all."""
    whole = cast_to(node, value, "float32")
    if zero is None or (zero.array is not None and not zero.array.any()):
        return whole
    return node.map("sub", whole, cast_to(node, _along(node, zero, value.rank, axis), "float32"))


def _along(node: Node, parameter: Value, rank: int, axis: int) -> Value:
    """A parameter of one value, or of one value for each element of `axis`, so that it broadcasts."""
    if parameter.rank > 1:
        raise unsupported("has a scale or zero point for every row")
    if parameter.rank == 0 or parameter.shape == (1,):
        return reshape(node, parameter, ())
    return reshape(node, parameter, (parameter.shape[0], *(1,) * (rank - 1 - axis)))


def _requantised(node: Node, total: Value, scales: tuple[Value, Value, Value], zero: Value, axis: int) -> Value:
    """round(total * (a * b / y)) + zero, clipped to the type of the zero point. Its scales: of x, of w, of y."""
    for scale in scales:
        node.finite(scale, "scale")
    factor = node.map("div", node.map("mul", scales[0], scales[1]), scales[2])
    scaled = node.map("round", node.map("mul", total, _along(node, factor, total.rank, axis)))
    low, high = INTEGER_RANGES[zero.dtype]
    shifted = node.map("add", scaled, cast_to(node, reshape(node, zero, ()), "float32"))
    return node.map("clip", shifted, node.scalar(low), node.scalar(high), dtype=zero.dtype)


def _qlinear_conv(node: Node) -> Value:
    x, w = _centred(node, node.value(0), node.value(2), 1), _centred(node, node.value(3), node.value(5), 0)
    bias = node.optional(8)
    total = convolve(node, x, w, None if bias is None else cast_to(node, bias, "float32"))
    return _requantised(node, total, (node.value(1), node.value(4), node.value(6)), node.value(7), 1)


def _qlinear_matmul(node: Node) -> Value:
    a, b = node.value(0), node.value(3)
    total = matmul(node, _centred(node, a, node.value(2), a.rank), _centred(node, b, node.value(5), b.rank - 1))
    return _requantised(node, total, (node.value(1), node.value(4), node.value(6)), node.value(7), total.rank - 1)


def _conv_integer(node: Node) -> Value:
    x, w = _centred(node, node.value(0), node.optional(2), 1), _centred(node, node.value(1), node.optional(3), 0)
    return cast_to(node, convolve(node, x, w, None), "int32")


def _matmul_integer(node: Node) -> Value:
    a, b = node.value(0), node.value(1)
    left = _centred(node, a, node.optional(2), a.rank)
    return cast_to(node, matmul(node, left, _centred(node, b, node.optional(3), b.rank - 1)), "int32")


HANDLERS: dict[str, Handler] = {
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "ConvInteger": _conv_integer,
    "MatMulInteger": _matmul_integer,
}
