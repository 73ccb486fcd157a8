"""Operators that change the shape and keep the order of elements: here the batch may move, merge or hide."""

from __future__ import annotations

import numpy as np

from bnnc.frontends.onnx.node import Handler, Node
from bnnc.frontends.onnx.problems import SHAPES, TOO_LARGE, Problem, batch_problem, malformed
from bnnc.frontends.onnx.values import Batch, Shape, Value, elements, known, sample_shape

_LARGEST = 2**26


def reshape(node: Node, x: Value, target: Shape) -> Value:
    """x under the ONNX shape `target`, all of whose sizes are known."""
    if elements(target) != elements(x.shape) or (x.array is None and any(n <= 0 for n in target)):
        raise Problem(SHAPES, f"reshapes {list(x.shape)} to {list(target)}")
    if x.array is not None:
        return known(_reshaped(x.array, target), x.dtype, derived=x.derived, name=x.name)
    x = node.batched(x)
    if x.constant:
        return node.result(node.reshaped(node.whole(x), target), target, None, x.dtype)
    batch = _batch_after(node, x, target)
    op = node.reshaped(node.whole(x), sample_shape(target, batch))
    return node.result(op, target, batch, x.dtype)


def _reshaped(array: np.ndarray, target: Shape) -> np.ndarray:
    """Reshape without writing out repeated values where the first axes stay."""
    same = 0
    while same < min(array.ndim, len(target)) and array.shape[same] == target[same]:
        same += 1
    repeated = 0
    while repeated < same and array.strides[repeated] == 0:
        repeated += 1
    core = array[(0,) * repeated]
    if core.size > _LARGEST and not all(core.strides):
        raise Problem(TOO_LARGE, f"writes out a constant of shape {list(array.shape)}")
    return np.broadcast_to(core.reshape(target[repeated:]), target)


def _batch_after(node: Node, x: Value, target: Shape) -> Batch:
    """Where the batch stands after a reshape: its place in row-major order does not change."""
    batch, n = x.batch, node.world.n
    assert batch is not None
    before = 1 if batch.axis is None else elements(x.shape[: batch.axis]) * batch.before
    outer = 1
    for axis, size in enumerate(target):
        if outer == before and size == n:
            return Batch(axis)
        outer *= size
    if n == 1:
        return Batch(None)
    outer = 1
    for axis, size in enumerate(target):
        if outer <= before < outer * size:
            if before % outer == 0 and size % (before // outer * n) == 0:
                inner = before // outer
                return Batch(axis, inner, size // (inner * n))
            break
        outer *= size
    raise batch_problem(f"reshapes {list(x.shape)} to {list(target)}, which tears the batch apart")


def _reshape(node: Node) -> Value:
    x = node.value(0)
    wanted = node.integers("shape") or node.whole_numbers(1, "shape")
    if wanted is None:
        raise malformed("lacks its shape")
    keep_zero = node.integer("allowzero", 0) == 1
    if any(n == 0 and (keep_zero or i >= x.rank) for i, n in enumerate(wanted)) or any(n < -1 for n in wanted):
        raise Problem(SHAPES, f"reshapes {list(x.shape)} to {list(wanted)}")
    sizes = [x.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    if sizes.count(-1) > 1:
        raise malformed(f"reshapes to {list(wanted)} with more than one open size")
    if -1 in sizes:
        rest = elements(tuple(n for n in sizes if n != -1))
        if rest == 0 or elements(x.shape) % rest:
            raise Problem(SHAPES, f"reshapes {list(x.shape)} to {list(wanted)}")
        sizes[sizes.index(-1)] = elements(x.shape) // rest
    return reshape(node, x, tuple(sizes))


def _flatten(node: Node) -> Value:
    x = node.value(0)
    axis = node.integer("axis", 1)
    if not -x.rank <= axis <= x.rank:
        raise Problem(SHAPES, f"flattens at axis {axis} of a value of shape {list(x.shape)}")
    axis = axis + x.rank if axis < 0 else axis
    return reshape(node, x, (elements(x.shape[:axis]), elements(x.shape[axis:])))


def _squeeze(node: Node) -> Value:
    x = node.value(0)
    given = node.listed("axes", 1, "axes")
    axes = {a for a, n in enumerate(x.shape) if n == 1} if given is None else {node.axis(a, x.rank) for a in given}
    if any(x.shape[axis] != 1 for axis in axes):
        raise Problem(SHAPES, f"squeezes axes {sorted(axes)} of a value of shape {list(x.shape)}")
    target = tuple(n for a, n in enumerate(x.shape) if a not in axes)
    batch = x.batch
    if batch is None:
        return reshape(node, x, target)
    if batch.axis is not None and batch.axis in axes:
        x = node.hidden(x)
        after: Batch = Batch(None)
    elif batch.axis is None:
        after = batch
    else:
        after = Batch(batch.axis - sum(a < batch.axis for a in axes), batch.before, batch.after)
    return node.result(node.reshaped(node.whole(x), sample_shape(target, after)), target, after, x.dtype)


def _unsqueeze(node: Node) -> Value:
    x = node.value(0)
    given = node.listed("axes", 1, "axes")
    if given is None:
        raise malformed("lacks its axes")
    rank = x.rank + len(given)
    axes = {node.axis(a, rank) for a in given}
    if len(axes) != len(given):
        raise malformed(f"inserts an axis twice: {list(given)}")
    rest = iter(x.shape)
    target = tuple(1 if axis in axes else next(rest) for axis in range(rank))
    batch = x.batch
    if batch is None:
        return reshape(node, x, target)
    if batch.axis is None:
        after = Batch(0) if 0 in axes else batch
    else:
        kept = [axis for axis in range(rank) if axis not in axes]
        after = Batch(kept[batch.axis], batch.before, batch.after)
    return node.result(node.reshaped(node.whole(x), sample_shape(target, after)), target, after, x.dtype)


def transpose(node: Node, x: Value, perm: Shape) -> Value:
    """x with its ONNX axes permuted."""
    if sorted(perm) != list(range(x.rank)):
        raise Problem(SHAPES, f"transposes a value of shape {list(x.shape)} by {list(perm)}")
    target = tuple(x.shape[axis] for axis in perm)
    if x.array is not None:
        return known(np.transpose(x.array, perm), x.dtype, derived=x.derived, name=x.name)
    batch = x.batch
    if batch is None:
        return node.result(node.transposed(node.core(x), perm), target, None, x.dtype)
    if batch.axis is None:
        return node.result(node.transposed(node.whole(x), perm), target, batch, x.dtype)
    after = Batch(perm.index(batch.axis), batch.before, batch.after)
    order = perm if batch.merged else [node.sample_axis(x, axis) for axis in perm if axis != batch.axis]
    return node.result(node.transposed(node.whole(x), order), target, after, x.dtype)


def _transpose(node: Node) -> Value:
    x = node.value(0)
    return transpose(node, x, node.integers("perm") or tuple(reversed(range(x.rank))))


def _shape(node: Node) -> Value:
    x = node.value(0)
    start, end = node.integer("start", 0), node.integer("end", x.rank)
    sizes = x.shape[slice(*(max(0, min(i + x.rank if i < 0 else i, x.rank)) for i in (start, end)))]
    return node.known(np.array(sizes, np.int64), "int64", derived=True)


def _size(node: Node) -> Value:
    return node.known(np.int64(elements(node.value(0).shape)), "int64", derived=True)


def _identity(node: Node) -> Value:
    return node.value(0)


def _dropout(node: Node) -> Value:
    training = node.optional_array(2, "training mode")
    if training is not None and bool(training.any()):
        raise malformed("is in training mode; export the model with model.eval()")
    if node.used - {0}:
        raise malformed("gives its mask, which only training has")
    return node.value(0)


def _depth_to_space(node: Node) -> Value:
    x, block = node.value(0), node.integer("blocksize", 0)
    if x.rank != 4 or block < 1 or x.shape[1] % (block * block):
        raise Problem(SHAPES, f"cannot move depth to space in blocks of {block} for shape {list(x.shape)}")
    n, c, h, w = x.shape
    if node.text("mode", "DCR") == "CRD":
        split, order = (n, c // block**2, block, block, h, w), (0, 1, 4, 2, 5, 3)
    else:
        split, order = (n, block, block, c // block**2, h, w), (0, 3, 4, 1, 5, 2)
    parts = transpose(node, reshape(node, x, split), order)
    return reshape(node, parts, (n, c // block**2, h * block, w * block))


def _space_to_depth(node: Node) -> Value:
    x, block = node.value(0), node.integer("blocksize", 0)
    if x.rank != 4 or block < 1 or x.shape[2] % block or x.shape[3] % block:
        raise Problem(SHAPES, f"cannot move space to depth in blocks of {block} for shape {list(x.shape)}")
    n, c, h, w = x.shape
    parts = reshape(node, x, (n, c, h // block, block, w // block, block))
    return reshape(node, transpose(node, parts, (0, 3, 5, 1, 2, 4)), (n, c * block**2, h // block, w // block))


HANDLERS: dict[str, Handler] = {
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Shape": _shape,
    "Size": _size,
    "Identity": _identity,
    "Dropout": _dropout,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}
