"""Operators that work along axes: reductions, arg-max, softmax."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bnnc.frontends.onnx.node import Handler, Node
from bnnc.frontends.onnx.problems import batch_problem, malformed, unsupported
from bnnc.frontends.onnx.values import FLOATS, Batch, Shape, Value, known
from bnnc.ir import move, nn
from bnnc.ir.op import Op
from bnnc.ir.types import F32

_WHOLE: dict[str, Callable[..., Any]] = {"sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "prod": np.prod}


def _remaining(value: Value, axes: Sequence[int], keepdims: bool) -> tuple[Shape, Batch | None]:
    """ONNX shape after a reduction, and where the batch stands then."""
    shape = tuple(1 if a in axes else n for a, n in enumerate(value.shape) if keepdims or a not in axes)
    batch = value.batch
    if batch is None or batch.axis is None or keepdims:
        return shape, batch
    return shape, Batch(batch.axis - sum(a < batch.axis for a in axes), batch.before, batch.after)


def _inside(node: Node, value: Value, axes: Sequence[int]) -> list[int]:
    """The sample axes of ONNX axes, none of which may hold the batch."""
    batch = value.batch
    if batch is not None and batch.axis is not None and batch.axis in axes:
        raise batch_problem("reduces over the batch axis")
    return sorted(node.sample_axis(value, axis) for axis in axes)


def reduce(node: Node, x: Value, function: str, axes: Sequence[int], keepdims: bool = True) -> Value:
    """A reduction over ONNX axes."""
    shape, batch = _remaining(x, axes, keepdims)
    if not axes:
        if function in ("l1", "l2"):
            return node.map("abs", x)
        return node.map("mul", x, x) if function == "sum_square" else x
    if x.array is not None and x.dtype not in FLOATS and function in _WHOLE:
        found = _WHOLE[function](x.array, axis=tuple(axes), keepdims=keepdims)
        return known(np.asarray(found).astype(np.int64), x.dtype, derived=x.derived, name=x.name)
    own = _inside(node, x, axes)
    op = nn.Reduce(x=node.whole(x), function=function, axes=tuple(own), keepdims=keepdims, loc=node.loc)
    return node.result(op, shape, batch, x.dtype)


def axes_of(node: Node, x: Value) -> tuple[int, ...] | None:
    """The axes of a reduction node, ascending; None if there is nothing to reduce."""
    given = node.listed("axes", 1, "axes")
    if given:
        return tuple(sorted({node.axis(axis, x.rank) for axis in given}))
    return None if node.integer("noop_with_empty_axes", 0) == 1 else tuple(range(x.rank))


def _reduction(function: str, log: bool = False) -> Handler:
    def handler(node: Node) -> Value:
        x = node.value(0)
        axes = axes_of(node, x)
        if axes is None:
            return x
        y = reduce(node, x, function, axes, node.integer("keepdims", 1) == 1)
        return node.map("log", y) if log else y

    return handler


def argmax(node: Node, x: Value, axis: int, *, keepdims: bool, last: bool = False, smallest: bool = False) -> Value:
    """The index of the largest or smallest element along an ONNX axis."""
    shape, batch = _remaining(x, (axis,), keepdims)
    (own,) = _inside(node, x, (axis,))
    op = nn.ArgMax(x=node.whole(x), axis=own, keepdims=keepdims, last=last, smallest=smallest, loc=node.loc)
    return node.result(op, shape, batch, "int64")


def _arg(smallest: bool) -> Handler:
    def handler(node: Node) -> Value:
        x = node.value(0)
        return argmax(
            node,
            x,
            node.axis(node.integer("axis", 0), x.rank),
            keepdims=node.integer("keepdims", 1) == 1,
            last=node.integer("select_last_index", 0) == 1,
            smallest=smallest,
        )

    return handler


def _running_sum(node: Node) -> Value:
    """CumSum, written out: one addition after the other along the axis."""
    x = node.value(0)
    axis = node.axis(int(node.array(1, "axis").reshape(-1)[0]), x.rank)
    if not 0 < x.shape[axis] <= 256 or node.integer("exclusive", 0):
        raise unsupported("adds up more than 256 elements, or leaves the last one out")
    if x.array is not None:
        backwards = (slice(None),) * axis + (slice(None, None, -1 if node.integer("reverse", 0) else 1),)
        return known(np.cumsum(x.array[backwards], axis)[backwards], x.dtype, derived=x.derived)

    def adding(value: Value, op: Op) -> Op:
        at = node.sample_axis(value, axis)
        order = range(op.type.shape[at])
        sums: list[Op] = []
        for place in reversed(order) if node.integer("reverse", 0) else order:
            one = node.sliced(op, at, place, 1)
            sums.append(nn.Map(function="add", xs=(sums[-1], one), loc=node.loc) if sums else one)
        whole = [
            nn.Map(function="trunc", xs=(one,), loc=node.loc) if one.type.dtype != F32() else one for one in sums[:1]
        ]
        parts = tuple(whole + sums[1:])
        parts = parts[::-1] if node.integer("reverse", 0) else parts
        return move.Concat(xs=parts, axis=at, loc=node.loc) if len(parts) > 1 else parts[0]

    return node.moved(x, adding, ())


def _top(node: Node) -> tuple[Value, ...]:
    x = node.value(0)
    count = node.integer("k", 0) if node.has("k") else int(node.array(1, "count").reshape(-1)[0])
    if count != 1:
        raise unsupported(f"asks for the {count} largest values; bnnc gives the largest one")
    axis = node.axis(node.integer("axis", -1), x.rank)
    smallest = node.integer("largest", 1) == 0
    largest = reduce(node, x, "min" if smallest else "max", (axis,)) if 0 in node.used else x
    index = argmax(node, x, axis, keepdims=True, smallest=smallest) if 1 in node.used else x
    return largest, index


def _softmax(log: bool) -> Handler:
    def handler(node: Node) -> Value:
        x = node.value(0)
        axis = node.axis(node.integer("axis", -1 if node.opset >= 13 else 1), x.rank)
        together = (axis,) if node.opset >= 13 else tuple(range(axis, x.rank))
        if x.batch is not None and x.batch.axis in together:
            raise batch_problem("takes a softmax over the batch axis")
        op = node.whole(x)
        shape = op.type.shape
        at = node.sample_axis(x, axis)
        if len(together) > 1:
            # Before operator set 13 all axes from `axis` on count as one.
            op = node.reshaped(op, (*shape[:at], int(np.prod(shape[at:]))))
        return node.like(x, node.reshaped(nn.Softmax(x=op, axis=at, log=log, loc=node.loc), shape))

    return handler


def _hardmax(node: Node) -> Value:
    x = node.value(0)
    if node.opset < 13 and x.rank != 2:
        raise unsupported("flattens its axes (operator sets before 13)")
    axis = node.axis(node.integer("axis", -1 if node.opset >= 13 else 1), x.rank)
    index = argmax(node, x, axis, keepdims=True)
    places = np.arange(x.shape[axis], dtype=np.float32).reshape(-1, *(1,) * (x.rank - 1 - axis))
    return node.map("equal", index, node.known(places, "float32"), dtype=x.dtype)


def _normalised(node: Node) -> Value:
    """LpNormalization: x divided by its norm along an axis."""
    x, order = node.value(0), node.integer("p", 2)
    if order not in (1, 2):
        raise malformed(f"has norm {order}")
    axis = node.axis(node.integer("axis", -1), x.rank)
    return node.map("div", x, reduce(node, x, f"l{order}", (axis,)))


HANDLERS: dict[str, Handler] = {
    "ReduceSum": _reduction("sum"),
    "ReduceMean": _reduction("mean"),
    "ReduceMax": _reduction("max"),
    "ReduceMin": _reduction("min"),
    "ReduceProd": _reduction("prod"),
    "ReduceL1": _reduction("l1"),
    "ReduceL2": _reduction("l2"),
    "ReduceSumSquare": _reduction("sum_square"),
    "ReduceLogSum": _reduction("sum", log=True),
    "ReduceLogSumExp": _reduction("log_sum_exp"),
    "ArgMax": _arg(smallest=False),
    "ArgMin": _arg(smallest=True),
    "CumSum": _running_sum,
    "TopK": _top,
    "Softmax": _softmax(log=False),
    "LogSoftmax": _softmax(log=True),
    "Hardmax": _hardmax,
    "LpNormalization": _normalised,
}
