"""Quantisers: QONNX, Brevitas (BipolarQuant, Quant, Trunc), FINN (MultiThreshold), QuantizeLinear and its inverse."""

from __future__ import annotations

import numpy as np

from bnnc.frontends.onnx.elementwise import cast_to
from bnnc.frontends.onnx.node import Handler, Node
from bnnc.frontends.onnx.problems import SHAPES, Problem, malformed, unsupported
from bnnc.frontends.onnx.reshaping import reshape
from bnnc.frontends.onnx.tensors import ELEMENT_TYPES
from bnnc.frontends.onnx.values import INTEGER_RANGES, Value
from bnnc.ir import nn

DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general", "finn", "qonnx")
_LAYOUTS = {2: "NC", 3: "NWC", 4: "NCHW"}


def _signs(node: Node, x: Value) -> Value:
    """+1 where x >= 0, else -1."""
    positive = node.map("greater_equal", x, node.scalar(0), dtype="bool")
    return node.map("where", positive, node.scalar(1), node.scalar(-1), dtype=x.dtype)


def _bipolar(node: Node) -> Value:
    x, scale = node.value(0), node.value(1)
    node.finite(x, "weights")
    node.finite(scale, "scale")
    y = _signs(node, x)
    unit = scale.array is not None and bool((scale.array == 1).all()) and scale.array.size == 1
    return reshape(node, y, x.shape) if unit else node.map("mul", y, scale, dtype=x.dtype)


def _rounded(node: Node, x: Value, mode: str) -> Value:
    """x rounded by a QONNX rounding mode."""
    simple = {"ROUND": "round", "HALF_EVEN": "round", "CEIL": "ceil", "FLOOR": "floor"}
    simple |= {"DOWN": "trunc", "ROUND_TO_ZERO": "trunc"}
    if mode in simple:
        return node.map(simple[mode], x)
    size = node.map("abs", x)
    if mode == "UP":
        size = node.map("ceil", size)
    elif mode == "HALF_UP":
        size = node.map("floor", node.chain(size, ("add", 0.5)))
    elif mode == "HALF_DOWN":
        size = node.map("ceil", node.chain(size, ("sub", 0.5)))
    else:
        raise unsupported(f"rounds by `{mode}`")
    return node.map("mul", node.map("sign", x), size)


def _limits(node: Node, bits: np.ndarray) -> tuple[Value, Value]:
    """The smallest and largest integer of `bits` (possibly broken) bits, as QONNX defines them."""
    signed, narrow = node.integer("signed", 1) == 1, node.integer("narrow", 0) == 1
    if bits.size == 0 or float(bits.min()) < 1 or float(bits.max()) > 32:
        raise malformed("has a bit width outside 1 to 32")
    width = bits.astype(np.float64)
    if signed:
        low, high = -(2 ** (width - 1)) + narrow, 2 ** (width - 1) - 1
    else:
        low, high = 0 * width, 2**width - 1 - narrow
    return node.known(low.astype(np.float32), "float32"), node.known(high.astype(np.float32), "float32")


def _mode(node: Node, default: str) -> str:
    return node.text("rounding_mode", default).upper()


def _shifted(node: Node, x: Value, function: str, offset: Value) -> Value:
    """x plus or minus a zero point, left out where that is known to be 0."""
    if offset.array is not None and not offset.array.any() and _stays(x, offset):
        return x
    return node.map(function, x, offset, dtype=x.dtype)


def _stays(x: Value, other: Value) -> bool:
    """Whether broadcasting against `other` leaves the shape of x."""
    try:
        return np.broadcast_shapes(x.shape, other.shape) == x.shape
    except ValueError:
        return False


def _quant(node: Node) -> Value:
    x, scale, zero, bits = node.value(0), node.value(1), node.value(2), node.array(3, "bit width")
    for value, what in ((x, "weights"), (scale, "scale"), (zero, "zero point")):
        node.finite(value, what)
    y = _shifted(node, node.map("div", x, scale, dtype=x.dtype), "add", zero)
    if bits.size == 1 and float(bits.reshape(())) == 1 and node.integer("signed", 1) == 1:
        y = _signs(node, y)
    else:
        low, high = _limits(node, bits)
        y = _rounded(node, node.map("clip", y, low, high, dtype=x.dtype), _mode(node, "ROUND"))
    return node.map("mul", _shifted(node, y, "sub", zero), scale, dtype=x.dtype)


def _trunc(node: Node) -> Value:
    """Trunc of QONNX: version 1 drops low bits, version 2 has an output scale and clamps."""
    x, scale, zero = node.value(0), node.value(1), node.value(2)
    y = node.map("round", _shifted(node, node.map("div", x, scale, dtype=x.dtype), "add", zero))
    if node.optional(5) is None:
        dropped = node.array(3, "input bit width").astype(np.float64) - node.array(4, "output bit width")
        y = node.map("div", y, node.known((2.0**dropped).astype(np.float32), "float32"), dtype=x.dtype)
        y = _rounded(node, y, _mode(node, "FLOOR"))
        return node.map("mul", _shifted(node, y, "sub", zero), scale, dtype=x.dtype)
    coarse = node.array(4, "output scale").astype(np.float64)
    with np.errstate(all="ignore"):
        factor = 2.0 ** np.rint(np.log2(coarse / node.array(1, "scale")))
    if not np.isfinite(factor).all():
        raise malformed("has scales whose ratio is not a power of two")
    steps = node.known(factor.astype(np.float32), "float32")
    low, high = _limits(node, node.array(5, "output bit width"))
    y = node.map("clip", node.map("div", y, steps, dtype=x.dtype), low, high, dtype=x.dtype)
    y = _rounded(node, y, _mode(node, "FLOOR"))
    offset = node.map("div", zero, steps, dtype="float32")
    return node.map("mul", _shifted(node, y, "sub", offset), node.value(4), dtype=x.dtype)


def _multi_threshold(node: Node) -> Value:
    x, table = node.value(0), node.value(1)
    if not table.constant or table.rank != 2:
        raise unsupported("has thresholds that are not a constant matrix")
    if table.array is not None and bool(np.isnan(table.array).any()):
        node.finite(table, "thresholds")
    layout = node.text("data_layout", "") or _LAYOUTS.get(x.rank, "")
    channels = node.axis(layout.index("C") if "C" in layout else 1, x.rank)
    op = node.whole(x)
    at = node.sample_axis(x, channels)
    if table.shape[0] not in (1, x.shape[channels]):
        raise Problem(SHAPES, f"has {table.shape[0]} rows of thresholds for {x.shape[channels]} channels")
    rank = len(op.type.shape)
    forth = [at, *(axis for axis in range(rank) if axis != at)]
    thresholds = node.whole(table)
    if table.array is not None and bool((np.diff(table.array, axis=1) < 0).any()):
        # The count of thresholds below x does not depend on their order; the op wants them ascending.
        thresholds = node.whole(node.known(np.sort(table.array, axis=1), "float32"))
    counted = nn.MultiThreshold(x=node.transposed(op, forth), thresholds=thresholds, loc=node.loc)
    y = node.like(x, node.transposed(counted, [forth.index(axis) for axis in range(rank)]), "float32")
    scale, bias = node.number("out_scale", 1.0), node.number("out_bias", 0.0)
    if scale != 1:
        y = node.chain(y, ("mul", scale))
    return node.chain(y, ("add", bias)) if bias != 0 else y


def _along(node: Node, x: Value, parameter: Value) -> Value:
    """A scale or zero point so that it broadcasts: one number, or one for each element of `axis`."""
    if node.integer("block_size", 0):
        raise unsupported("quantises in blocks")
    if parameter.rank == 0 or (parameter.rank == 1 and parameter.shape[0] == 1):
        return reshape(node, parameter, ()) if parameter.rank else parameter
    axis = node.axis(node.integer("axis", 1), x.rank)
    if parameter.rank != 1 or parameter.shape[0] != x.shape[axis]:
        raise Problem(SHAPES, f"has scales of shape {list(parameter.shape)} for a value of shape {list(x.shape)}")
    return reshape(node, parameter, (parameter.shape[0], *(1,) * (x.rank - 1 - axis)))


def _quantize(node: Node) -> Value:
    x, scale, zero = node.value(0), node.value(1), node.optional(2)
    node.finite(x, "weights")
    node.finite(scale, "scale")
    asked = ELEMENT_TYPES.get(node.integer("output_dtype", 0))
    dtype = zero.dtype if zero is not None else asked or "uint8"
    if dtype not in INTEGER_RANGES:
        raise unsupported(f"quantises to {dtype}")
    low, high = INTEGER_RANGES[dtype]
    y = node.map("round", node.map("div", x, _along(node, x, scale), dtype="float32"))
    if zero is not None:
        y = _shifted(node, y, "add", _along(node, x, zero))
    return node.map("clip", y, node.scalar(low), node.scalar(high), dtype=dtype)


def _dequantize(node: Node) -> Value:
    x, scale, zero = node.value(0), node.value(1), node.optional(2)
    node.finite(scale, "scale")
    y = cast_to(node, x, "float32")
    if zero is not None:
        y = _shifted(node, y, "sub", cast_to(node, _along(node, x, zero), "float32"))
    return node.map("mul", y, _along(node, x, scale), dtype=scale.dtype)


HANDLERS: dict[str, Handler] = {"QuantizeLinear": _quantize, "DequantizeLinear": _dequantize}
QONNX_HANDLERS: dict[str, Handler] = {
    "BipolarQuant": _bipolar,
    "Quant": _quant,
    "IntQuant": _quant,
    "Trunc": _trunc,
    "MultiThreshold": _multi_threshold,
}
