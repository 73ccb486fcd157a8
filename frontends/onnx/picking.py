"""Operators that pick, join, pad or repeat elements along axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bnnc.frontends.onnx.node import Handler, Node
from bnnc.frontends.onnx.problems import SHAPES, TOO_LARGE, Problem, batch_problem, malformed, unsupported
from bnnc.frontends.onnx.reshaping import reshape
from bnnc.frontends.onnx.values import Batch, Shape, Value, elements, known, sample_shape, shrink
from bnnc.ir import move, nn
from bnnc.ir.op import Op
from bnnc.ir.types import F32

_LARGEST = 2**25


def picked(node: Node, x: Value, axis: int, start: int, count: int, step: int) -> Value:
    """Elements start, start + step, … of an ONNX axis."""
    if count < 1 and x.array is None:
        raise Problem(SHAPES, f"leaves nothing of axis {axis} of a value of shape {list(x.shape)}")
    if (start, count, step) == (0, x.shape[axis], 1):
        return x
    if x.array is not None:
        index = (slice(None),) * axis + (start + step * np.arange(count),)
        return _known_like(x, x.array[index] if x.array.strides[axis] else _repeated(x.array, axis, count))
    return node.moved(x, lambda v, op: node.sliced(op, node.sample_axis(v, axis), start, count, step), (axis,))


def _repeated(array: np.ndarray, axis: int, count: int) -> np.ndarray:
    """A view of an array that repeats along `axis`, with another length there."""
    return np.broadcast_to(shrink(array), (*array.shape[:axis], count, *array.shape[axis + 1 :]))


def _known_like(x: Value, array: np.ndarray) -> Value:
    return known(array, x.dtype, derived=x.derived, name=x.name)


def _slice(node: Node) -> Value:
    x = node.value(0)
    starts, ends = node.listed("starts", 1, "starts"), node.listed("ends", 2, "ends")
    if starts is None or ends is None or len(starts) != len(ends):
        raise malformed("lacks its starts and ends")
    axes = node.listed("axes", 3, "axes") or tuple(range(len(starts)))
    steps = node.whole_numbers(4, "steps") or (1,) * len(starts)
    if not len(axes) == len(steps) == len(starts) or 0 in steps:
        raise malformed("has starts, ends, axes and steps that do not fit")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = node.axis(axis, x.rank)
        chosen = range(*slice(start, _end(end, step, x.shape[axis]), step).indices(x.shape[axis]))
        x = picked(node, x, axis, chosen.start, len(chosen), step)
    return x


def _end(end: int, step: int, size: int) -> int | None:
    """ONNX counts an end below -size as `before the first element`; Python needs None for that."""
    return None if step < 0 and end < -size else end


def _split(node: Node) -> tuple[Value, ...]:
    x = node.value(0)
    axis = node.axis(node.integer("axis", 0), x.rank)
    sizes, count = node.listed("split", 1, "split"), max(node.used) + 1
    if sizes is None:
        count = node.integer("num_outputs", node.outputs)
        each = math.ceil(x.shape[axis] / count) if count > 0 else 0
        sizes = (each,) * (count - 1) + (x.shape[axis] - each * (count - 1),)
    if sum(sizes) != x.shape[axis] or any(n < 1 for n in sizes) or len(sizes) < count:
        raise Problem(SHAPES, f"splits axis {axis} of a value of shape {list(x.shape)} into {list(sizes)}")
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(picked(node, x, axis, start, n, 1) for start, n in zip(starts, sizes, strict=True))


def gathered(node: Node, x: Value, axis: int, indices: np.ndarray) -> Value:
    """The elements `indices` (one axis, from 0) of an ONNX axis."""
    size = x.shape[axis]
    if indices.size == 0 or int(indices.min()) < 0 or int(indices.max()) >= size:
        raise Problem(SHAPES, f"takes an index that axis {axis} of a value of shape {list(x.shape)} does not have")
    if x.array is not None:
        if elements(shrink(x.array).shape) // max(size, 1) * indices.size > _LARGEST:
            raise Problem(TOO_LARGE, "picks too many constants")
        return _known_like(
            x, np.take(x.array, indices, axis) if x.array.strides[axis] else _repeated(x.array, axis, indices.size)
        )
    steps = np.diff(indices)
    if indices.size == 1 or (bool((steps == steps[0]).all()) and steps[0] != 0):
        step = int(steps[0]) if indices.size > 1 else 1
        return picked(node, x, axis, int(indices[0]), indices.size, step)
    return node.moved(
        x,
        lambda v, op: move.Gather(x=op, indices=indices.astype(np.int64), axis=node.sample_axis(v, axis), loc=node.loc),
        (axis,),
    )


def _gather(node: Node) -> Value:
    x = node.value(0)
    axis = node.axis(node.integer("axis", 0), x.rank)
    wanted = node.array(1, "indices")
    if wanted.dtype != np.int64:
        raise malformed("has indices that are not integers")
    indices = np.where(wanted < 0, wanted + x.shape[axis], wanted).reshape(-1)
    picked = gathered(node, x, axis, indices)
    if wanted.ndim == 1:
        return picked
    target = (*x.shape[:axis], *wanted.shape, *x.shape[axis + 1 :])
    batch = picked.batch
    if batch is None or batch.axis is None or batch.axis == axis:
        return reshape(node, picked, target)
    after = Batch(batch.axis + (wanted.ndim - 1) * (batch.axis > axis), batch.before, batch.after)
    return node.result(node.reshaped(node.whole(picked), sample_shape(target, after)), target, after, x.dtype)


def _gather_nd(node: Node) -> Value:
    """Lists of indices into the first axis (x[[2, 0, 1]]); deeper ones are left out."""
    x, wanted = node.value(0), node.array(1, "indices")
    if (
        wanted.dtype != np.int64
        or wanted.ndim != 2
        or wanted.shape[1] != 1
        or node.integer("batch_dims", 0)
        or not x.rank
    ):
        raise unsupported("picks by more than a list of indices into the first axis")
    return gathered(node, x, 0, np.where(wanted < 0, wanted + x.shape[0], wanted).reshape(-1))


def _concat(node: Node) -> Value:
    values = [node.value(i) for i in range(len(node.inputs))]
    rank = values[0].rank
    axis = node.axis(node.integer("axis", 1), rank)
    rest = {value.shape[:axis] + value.shape[axis + 1 :] for value in values}
    if len({value.rank for value in values}) != 1 or len(rest) != 1:
        raise Problem(SHAPES, f"joins shapes {', '.join(str(list(v.shape)) for v in values)} along axis {axis}")
    shape = (*values[0].shape[:axis], sum(v.shape[axis] for v in values), *values[0].shape[axis + 1 :])
    dtype = values[0].dtype
    if all(value.array is not None for value in values):
        return _joined(values, axis, shape, dtype)
    ops, batch = node.align(values)
    if batch is not None and batch.axis == axis:
        raise batch_problem("joins values along the batch axis")
    whole = []
    for value, op in zip(values, ops, strict=True):
        whole.append(node.expanded(op, sample_shape(value.shape, batch)))
    if len({op.type.dtype for op in whole}) > 1:
        whole = [
            op if isinstance(op.type.dtype, F32) else nn.Map(function="trunc", xs=(op,), loc=node.loc) for op in whole
        ]
    at = axis - 1 if batch is not None and batch.plain and batch.axis is not None and axis > batch.axis else axis
    joined = whole[0] if len(whole) == 1 else move.Concat(xs=tuple(whole), axis=at, loc=node.loc)
    return node.result(joined, shape, batch, dtype)


def _joined(values: Sequence[Value], axis: int, shape: Shape, dtype: str) -> Value:
    """Known constants joined; axes along which all of them repeat are not written out."""
    arrays = [value.array for value in values if value.array is not None]
    common = [a != axis and all(array.strides[a] == 0 for array in arrays) for a in range(len(shape))]
    cores = [array[tuple(slice(0, 1) if cut else slice(None) for cut in common)] for array in arrays]
    if sum(core.size for core in cores) > _LARGEST:
        raise Problem(TOO_LARGE, f"joins constants to shape {list(shape)}")
    joined = np.broadcast_to(np.concatenate(cores, axis), shape)
    return known(joined, dtype, derived=any(value.derived for value in values), name=values[0].name)


def pad(node: Node, x: Value, pads: Sequence[int], number: float, mode: str) -> Value:
    """x with padding (all begins, then all ends, for the ONNX axes); negative padding cuts."""
    rank = x.rank
    if x.array is not None and mode == "constant":
        widths = [(max(pads[a], 0), max(pads[rank + a], 0)) for a in range(rank)]
        if elements(tuple(n + sum(w) for n, w in zip(x.shape, widths, strict=True))) > _LARGEST:
            raise Problem(TOO_LARGE, "pads a constant to too many elements")
        kept = x.array.dtype.type(number)
        x = _known_like(x, np.pad(x.array, widths, constant_values=kept))
    elif any(n > 0 for n in pads):
        x = _padded(node, x, [max(n, 0) for n in pads], number, mode)
    for axis in range(rank):
        cut, rest = max(-pads[axis], 0), max(-pads[rank + axis], 0)
        x = picked(node, x, axis, cut, x.shape[axis] - cut - rest, 1)
    return x


def _padded(node: Node, x: Value, pads: list[int], number: float, mode: str) -> Value:
    axes = [axis for axis in range(x.rank) if pads[axis] or pads[x.rank + axis]]
    if mode == "wrap":
        for axis in axes:
            places = np.arange(-pads[axis], x.shape[axis] + pads[x.rank + axis]) % x.shape[axis]
            x = gathered(node, x, axis, places)
        return x

    def padding(value: Value, op: Op) -> Op:
        rank = len(op.type.shape)
        own = [0] * (2 * rank)
        for axis in axes:
            at = node.sample_axis(value, axis)
            own[at], own[rank + at] = pads[axis], pads[value.rank + axis]
        if mode == "constant" and not isinstance(op.type.dtype, F32) and number != int(number):
            op = nn.Map(function="trunc", xs=(op,), loc=node.loc)
        return move.Pad(x=op, pads=tuple(own), value=float(number), mode=mode, loc=node.loc)

    return node.moved(x, padding, axes)


def _pad(node: Node) -> Value:
    x = node.value(0)
    pads = node.listed("pads", 1, "padding")
    if pads is None:
        raise malformed("lacks its padding")
    mode = node.text("mode", "constant")
    if mode not in ("constant", "edge", "reflect", "wrap"):
        raise unsupported(f"pads by mode `{mode}`")
    number = node.number("value", 0.0)
    filling = node.optional_array(2, "padding value")
    if filling is not None and filling.size == 1:
        number = float(filling.reshape(()))
    axes = node.whole_numbers(3, "axes")
    if axes is not None:
        own = [node.axis(axis, x.rank) for axis in axes]
        if len(pads) != 2 * len(own):
            raise malformed(f"has {len(pads)} paddings for {len(own)} axes")
        spread = [0] * (2 * x.rank)
        for i, axis in enumerate(own):
            spread[axis], spread[x.rank + axis] = pads[i], pads[len(own) + i]
        pads = tuple(spread)
    if len(pads) != 2 * x.rank:
        raise malformed(f"has {len(pads)} paddings for a value of shape {list(x.shape)}")
    return pad(node, x, pads, number, mode)


def _expand(node: Node) -> Value:
    x = node.value(0)
    wanted = node.whole_numbers(1, "shape") or ()
    if any(n < 1 for n in wanted):
        raise Problem(SHAPES, f"expands {list(x.shape)} to {list(wanted)}")
    try:
        shape = np.broadcast_shapes(x.shape, wanted)
    except ValueError:
        raise Problem(SHAPES, f"expands {list(x.shape)} to {list(wanted)}") from None
    return expanded(node, x, shape)


def expanded(node: Node, x: Value, shape: Shape) -> Value:
    """x repeated to an ONNX shape; a constant is only said to be repeated."""
    if x.array is not None:
        return _known_like(x, np.broadcast_to(x.array, shape))
    if x.batch is None:
        op = node.core(x)
        return Value(x.dtype, shape, None, node.reshaped(op, (1,) * (len(shape) - x.rank) + op.type.shape))
    batch = x.batch
    if batch.axis is None:
        return node.result(node.whole(x), shape, batch, x.dtype)
    after = Batch(batch.axis + len(shape) - x.rank, batch.before, batch.after)
    if shape[after.axis or 0] != x.shape[batch.axis]:
        raise batch_problem("repeats the batch")
    return node.result(node.whole(x), shape, after, x.dtype)


def _tile(node: Node) -> Value:
    x = node.value(0)
    repeats = node.whole_numbers(1, "repeats")
    if repeats is None or len(repeats) != x.rank or any(n < 1 for n in repeats):
        raise Problem(SHAPES, f"tiles a value of shape {list(x.shape)} by {list(repeats or ())}")
    for axis, count in enumerate(repeats):
        if count == 1:
            continue
        size = x.shape[axis]
        if size == 1 and not (x.batch is not None and x.batch.axis == axis):
            x = expanded(node, x, (*x.shape[:axis], count, *x.shape[axis + 1 :]))
        elif size * count > _LARGEST:
            raise Problem(TOO_LARGE, f"tiles axis {axis} {count} times")
        else:
            x = gathered(node, x, axis, np.tile(np.arange(size), count))
    return x


def _constant_of_shape(node: Node) -> Value:
    sizes = node.whole_numbers(0, "shape") or ()
    if any(n < 1 for n in sizes):
        raise Problem(SHAPES, f"makes a constant of shape {list(sizes)}")
    filling = node.tensor("value")
    if filling is None:
        return node.known(np.broadcast_to(np.float32(0), sizes), "float32")
    if filling.array is None or filling.array.size != 1:
        raise malformed("has a value that is not a single number")
    return node.known(np.broadcast_to(filling.array.reshape(()), sizes), filling.dtype)


def _range(node: Node) -> Value:
    start, limit, delta = (node.array(i, "bounds").reshape(()) for i in range(3))
    count = math.ceil((limit - start) / delta) if delta else 0
    if not 0 < count <= _LARGEST:
        raise Problem(SHAPES, f"makes a range of {count} numbers")
    derived = any(value is not None and value.derived for value in node.inputs)
    return node.known(start + delta * np.arange(count, dtype=start.dtype), node.value(0).dtype, derived=derived)


HANDLERS: dict[str, Handler] = {
    "Slice": _slice,
    "Split": _split,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Concat": _concat,
    "Pad": _pad,
    "Expand": _expand,
    "Tile": _tile,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
}
