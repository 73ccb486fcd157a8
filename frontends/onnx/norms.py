"""Normalisation layers: batch norm as one op, the others as their formulas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bnnc.frontends.onnx.node import Handler, Node
from bnnc.frontends.onnx.picking import pad, picked
from bnnc.frontends.onnx.problems import NOT_FINITE, SHAPES, Problem, unsupported
from bnnc.frontends.onnx.reductions import reduce
from bnnc.frontends.onnx.reshaping import reshape
from bnnc.frontends.onnx.values import Value
from bnnc.ir import nn


def _batch_norm(node: Node) -> Value:
    x = node.value(0)
    if x.rank < 2:
        raise Problem(SHAPES, f"needs a value [N, C, …], not one of shape {list(x.shape)}")
    if node.integer("training_mode", 0) == 1 or (node.opset < 14 and node.used - {0}):
        raise unsupported("is in training mode; export the model with model.eval()")
    if node.integer("spatial", 1) != 1:
        raise unsupported("keeps statistics for every position")
    parameters = []
    for index, what in enumerate(("scale", "bias", "mean", "variance"), start=1):
        value = node.value(index)
        if not value.constant:
            raise unsupported(f"has a {what} that is computed from the input")
        node.finite(value, what)
        parameters.append(node.whole(value))
    epsilon = node.number("epsilon", 1e-5)
    known = node.value(4).array
    if known is not None and not bool((known.astype(np.float32) + np.float32(epsilon) > 0).all()):
        raise Problem(NOT_FINITE, "has a variance that is not above 0", helps=("check the training, and export again",))
    scale, bias, mean, variance = parameters
    at = node.sample_axis(x, 1)
    op = node.whole(x)
    rank = len(op.type.shape)
    forth = [at, *(axis for axis in range(rank) if axis != at)]
    back = [forth.index(axis) for axis in range(rank)]
    norm = nn.BatchNorm(
        x=node.transposed(op, forth),
        scale=scale,
        bias=bias,
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        loc=node.loc,
    )
    return node.like(x, node.transposed(norm, back))


def _standardised(node: Node, x: Value, axes: Sequence[int], epsilon: float) -> Value:
    """(x - mean) / sqrt(variance + epsilon), statistics over ONNX axes."""
    centred = node.map("sub", x, reduce(node, x, "mean", axes))
    variance = reduce(node, node.map("mul", centred, centred), "mean", axes)
    return node.map("div", centred, node.map("sqrt", node.chain(variance, ("add", epsilon))))


def _per_channel(node: Node, value: Value, rank: int) -> Value:
    """[C] so that it broadcasts along axis 1 of a value with `rank` axes."""
    if value.rank != 1:
        raise Problem(SHAPES, f"needs a list of values, one a channel, not shape {list(value.shape)}")
    return reshape(node, value, (value.shape[0], *(1,) * (rank - 2)))


def _instance_norm(node: Node) -> Value:
    x = node.value(0)
    if x.rank < 3:
        raise Problem(SHAPES, f"needs a value [N, C, …], not one of shape {list(x.shape)}")
    y = _standardised(node, x, range(2, x.rank), node.number("epsilon", 1e-5))
    y = node.map("mul", y, _per_channel(node, node.value(1), x.rank))
    return node.map("add", y, _per_channel(node, node.value(2), x.rank))


def _layer_norm(node: Node) -> Value:
    x, scale, bias = node.value(0), node.value(1), node.optional(2)
    if node.used - {0}:
        raise unsupported("gives its mean and deviation")
    axis = node.axis(node.integer("axis", -1), x.rank)
    y = _standardised(node, x, range(axis, x.rank), node.number("epsilon", 1e-5))
    y = node.map("mul", y, scale, dtype=x.dtype)
    return y if bias is None else node.map("add", y, bias, dtype=x.dtype)


def _rms_norm(node: Node) -> Value:
    x, scale = node.value(0), node.value(1)
    axes = range(node.axis(node.integer("axis", -1), x.rank), x.rank)
    square = reduce(node, node.map("mul", x, x), "mean", axes)
    root = node.map("sqrt", node.chain(square, ("add", node.number("epsilon", 1e-5))))
    return node.map("mul", node.map("div", x, root), scale, dtype=x.dtype)


def _group_norm(node: Node) -> Value:
    x, scale, bias = node.value(0), node.value(1), node.value(2)
    groups = node.integer("num_groups", 0)
    if x.rank < 3 or groups < 1 or x.shape[1] % groups:
        raise Problem(SHAPES, f"has {groups} groups for a value of shape {list(x.shape)}")
    each = x.shape[1] // groups
    parts = reshape(node, x, (x.shape[0], groups, each, *x.shape[2:]))
    y = _standardised(node, parts, range(2, parts.rank), node.number("epsilon", 1e-5))
    if scale.shape == (groups,) and groups != x.shape[1]:
        # Operator set 18: one scale a group.
        y = node.map("mul", y, _per_channel(node, scale, parts.rank))
        return reshape(node, node.map("add", y, _per_channel(node, bias, parts.rank)), x.shape)
    y = node.map("mul", reshape(node, y, x.shape), _per_channel(node, scale, x.rank))
    return node.map("add", y, _per_channel(node, bias, x.rank))


def _mean_variance(node: Node) -> Value:
    x = node.value(0)
    axes = sorted({node.axis(axis, x.rank) for axis in node.integers("axes") or (0, 2, 3)})
    centred = node.map("sub", x, reduce(node, x, "mean", axes))
    variance = reduce(node, node.map("mul", centred, centred), "mean", axes)
    return node.map("div", centred, node.chain(node.map("sqrt", variance), ("add", 1e-9)))


def _local_response(node: Node) -> Value:
    """LRN: x / (bias + alpha / size * (sum of the squares of `size` neighbouring channels)) ^ beta."""
    x, size = node.value(0), node.integer("size", 0)
    if x.rank < 3 or not 0 < size <= 64:
        raise Problem(SHAPES, f"sums over {size} channels of a value of shape {list(x.shape)}")
    square = node.map("mul", x, x)
    before = (size - 1) // 2
    around = [0] * (2 * x.rank)
    around[1], around[x.rank + 1] = before, size - 1 - before
    wide = pad(node, square, around, 0.0, "constant")
    total = picked(node, wide, 1, 0, x.shape[1], 1)
    for shift in range(1, size):
        total = node.map("add", total, picked(node, wide, 1, shift, x.shape[1], 1))
    bias, share = node.number("bias", 1.0), node.number("alpha", 1e-4) / size
    base = node.chain(total, ("mul", share), ("add", bias))
    return node.map("div", x, node.chain(base, ("pow", node.number("beta", 0.75))))


HANDLERS: dict[str, Handler] = {
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "RMSNormalization": _rms_norm,
    "GroupNormalization": _group_norm,
    "MeanVarianceNormalization": _mean_variance,
    "LRN": _local_response,
}
