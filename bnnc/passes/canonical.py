"""One spelling for each thing: what exporters write in many ways is written in one way, with the same values."""

from __future__ import annotations

import math

import numpy as np

from bnnc.ir import move, nn
from bnnc.ir.module import Module
from bnnc.ir.op import Op
from bnnc.ir.rewrite import rebuild
from bnnc.passes.values import Finite, ValueSets, Whole, listed
from bnnc.reference.nn import ELEMENTWISE


def canonicalise(module: Module) -> Module:
    """Batch norm as subtract, multiply, add; pools for reductions over an image; no identities, no detach residue."""
    sets = ValueSets()

    def change(op: Op) -> Op:
        match op:
            case nn.BatchNorm():
                return batch_norm_as_maps(op)
            case nn.Map():
                return _map(op, sets)
            case nn.Reduce(function="sum" | "mean" | "max") if (
                op.axes == tuple(range(1, len(op.x.type.shape))) and op.axes
            ):
                return _global_pool(op)
            case nn.Pool(function="average") if not op.ceil_mode and (op.count_include_pad or not any(op.pads)):
                return _average(op)
            case nn.Dense() if len(op.x.type.shape) > 1:
                return _dense_of_many(op)
            case nn.MatMul() if isinstance(op.b, nn.Constant) and op.b.values.ndim == 2:
                return change(nn.Dense(op.a, nn.Constant(op.b.values.T), None, loc=op.loc))
            case nn.MatMul() if isinstance(op.a, nn.Constant) and op.a.values.ndim == 2 and len(op.type.shape) < 4:
                return _mixed_rows(op, op.a.values)
            case nn.Conv():
                return _padded_conv(op)
            case (
                move.Reshape()
                | move.Transpose()
                | move.Slice()
                | move.Concat()
                | move.Pad()
                | move.Expand()
                | move.Gather()
            ):
                return _move(op)
        return op

    return rebuild(module, change)


def per_channel(values: np.ndarray, rank: int) -> nn.Constant:
    """[C] as a constant that broadcasts along axis 0 of `rank` axes."""
    return nn.Constant(np.asarray(values, np.float32).reshape(-1, *(1,) * (rank - 1)))


def batch_norm_as_maps(op: nn.BatchNorm) -> Op:
    """(x - mean) * (scale / sqrt(variance + epsilon)) + bias, in the roundings of docs/numerics.md."""
    epsilon = nn.Constant(np.array(op.epsilon, np.float32))
    deviation = nn.Map("sqrt", (nn.Map("add", (op.variance, epsilon)),))
    gain = nn.Map("div", (op.scale, deviation))
    rank = len(op.type.shape)
    mean, gain_row, bias = (_along_channels(p, rank) for p in (op.mean, gain, op.bias))
    centred = nn.Map("sub", (op.x, mean), loc=op.loc)
    return nn.Map("add", (nn.Map("mul", (centred, gain_row), loc=op.loc), bias), loc=op.loc)


def _along_channels(op: Op, rank: int) -> Op:
    """[C] as a tensor that broadcasts along axis 0; a constant stays one."""
    known = _value(op)
    return per_channel(known, rank) if known is not None else move.Reshape(op, (*op.type.shape, *(1,) * (rank - 1)))


def _value(op: Op) -> np.ndarray | None:
    """What an expression of constants comes to."""
    if isinstance(op, nn.Constant):
        return op.values
    if not isinstance(op, nn.Map):
        return None
    operands = [_value(x) for x in op.xs]
    known = [x for x in operands if x is not None]
    with np.errstate(all="ignore"):
        return ELEMENTWISE[op.function](*known) if len(known) == len(operands) else None


def _map(op: nn.Map, sets: ValueSets) -> Op:
    first, second = (op.xs + (None,))[:2]
    if op.function in ("add", "sub") and _is_all(second, 0) and first is not None and first.type == op.type:
        return first
    if op.function == "add" and _is_all(first, 0) and second is not None and second.type == op.type:
        return second
    if op.function in ("mul", "div") and _is_all(second, 1) and first is not None and first.type == op.type:
        return first
    if op.function == "mul" and _is_all(first, 1) and second is not None and second.type == op.type:
        return second
    if op.function == "add":
        for a, b in ((op.xs[0], op.xs[1]), (op.xs[1], op.xs[0])):
            # `sign(x).detach() - f(x).detach() + f(x)`: a straight-through estimator that survived the export. The sum
            # is the quantised value again, exactly for ±1 (|f(x)| < 2^24) and up to one rounding otherwise.
            if (
                isinstance(a, nn.Map)
                and a.function == "sub"
                and a.xs[1] is b
                and _few(sets, a.xs[0])
                and a.xs[0].type == op.type
            ):
                return a.xs[0]
    return op


def _few(sets: ValueSets, op: Op) -> bool:
    """Whether op is a quantised value: a constant, or one of at most 256 values."""
    if isinstance(op, nn.Constant):
        return True
    values = sets.of(op)
    members = listed(values) if isinstance(values, Finite | Whole) else None
    return members is not None and members.size <= 256


def _is_all(op: Op | None, value: float) -> bool:
    return isinstance(op, nn.Constant) and bool((op.values == value).all())


def _global_pool(op: nn.Reduce) -> Op:
    spatial = op.x.type.shape[1:]
    ones = (1,) * len(spatial)
    function = "max" if op.function == "max" else "sum"
    pooled: Op = nn.Pool(op.x, function, spatial, ones, (0,) * (2 * len(spatial)), ones, loc=op.loc)
    if op.function == "mean":
        pooled = _divided(pooled, math.prod(spatial))
    return pooled if op.keepdims else move.Reshape(pooled, op.type.shape, loc=op.loc)


def _average(op: nn.Pool) -> Op:
    """An average with one count everywhere is a sum and one division (docs/numerics.md: the same roundings)."""
    total = nn.Pool(op.x, "sum", op.kernel, op.strides, op.pads, op.dilations, loc=op.loc)
    return _divided(total, math.prod(op.kernel))


def _divided(op: Op, count: int) -> Op:
    return nn.Map("div", (op, nn.Constant(np.array(count, np.float32))), loc=op.loc) if count != 1 else op


def _dense_of_many(op: nn.Dense) -> Op:
    """A dense layer on the last axis of several is a 1x1 convolution with that axis as its channels."""
    if not isinstance(op.w, nn.Constant):
        return op
    if len(op.x.type.shape) > 3:
        flat = move.Reshape(op.x, (op.x.type.size // op.x.type.shape[-1], op.x.type.shape[-1]), loc=op.loc)
        rows = _dense_of_many(nn.Dense(flat, op.w, op.bias, loc=op.loc))
        return move.Reshape(rows, op.type.shape, loc=op.loc)
    rank = len(op.x.type.shape)
    forth = (rank - 1, *range(rank - 1))
    back = (*range(1, rank), 0)
    ones = (1,) * (rank - 1)
    kernel = nn.Constant(op.w.values.reshape(*op.w.values.shape, *ones))
    channels_first = move.Transpose(op.x, forth, loc=op.loc)
    conv = nn.Conv(channels_first, kernel, op.bias, ones, (0,) * (2 * (rank - 1)), ones, loc=op.loc)
    return move.Transpose(conv, back, loc=op.loc)


def _mixed_rows(op: nn.MatMul, mixing: np.ndarray) -> Op:
    """A @ x with a constant A (the adjacency of a graph, say) is a 1x1 convolution with x's rows as channels."""
    rows = op.b if len(op.b.type.shape) == 2 else move.Transpose(op.b, (1, 0, 2), loc=op.loc)
    ones = (1,) * (len(rows.type.shape) - 1)
    kernel = nn.Constant(mixing.reshape(*mixing.shape, *ones))
    conv = nn.Conv(rows, kernel, None, ones, (0,) * (2 * len(ones)), ones, loc=op.loc)
    return conv if rows is op.b else move.Transpose(conv, (1, 0, 2), loc=op.loc)


def _padded_conv(op: nn.Conv) -> Op:
    """Zero padding in a node of its own joins the convolution."""
    pad = op.x
    if not isinstance(pad, move.Pad) or pad.mode != "constant" or pad.value != 0:
        return op
    rank = len(pad.type.shape)
    if pad.pads[0] or pad.pads[rank]:
        return op
    extra = (*pad.pads[1:rank], *pad.pads[rank + 1 :])
    pads = tuple(a + b for a, b in zip(op.pads, extra, strict=True))
    return nn.Conv(pad.x, op.w, op.bias, op.strides, pads, op.dilations, op.groups, loc=op.loc)


def _move(op: Op) -> Op:
    x = op.operands[0]
    match op:
        case move.Reshape(x=move.Transpose(x=move.Reshape(x=inner) as split, perm=perm)) if (
            inner.type.shape == op.shape
        ):
            order = _channel_order(inner, split.shape, perm)
            return op if order is None else move.Gather(inner, order, 0, loc=op.loc)
        case move.Reshape(x=move.Reshape(x=inner)) if inner.type.shape != op.shape:
            return move.Reshape(inner, op.shape, loc=op.loc)
        case move.Reshape(x=move.Reshape(x=inner)):
            return inner
        case move.Transpose(x=move.Transpose(x=inner, perm=first)):
            perm = tuple(first[axis] for axis in op.perm)
            return inner if perm == tuple(range(len(perm))) else move.Transpose(inner, perm, loc=op.loc)
        case move.Transpose() if _order_of_long_axes(x, op.perm):
            return _move(move.Reshape(x, op.type.shape, loc=op.loc))
        case move.Gather() if op.indices.tolist() == list(range(x.type.shape[op.axis])):
            return x
        case move.Slice() if op.type == x.type and all(step == 1 for step in op.steps):
            return x
        case move.Pad() if not any(op.pads):
            return x
        case move.Reshape() | move.Expand() if op.type == x.type:
            return x
        case move.Concat() if len(op.xs) == 1:
            return x
    return op


def _channel_order(x: Op, split: tuple[int, ...], perm: tuple[int, ...]) -> np.ndarray | None:
    """A channel shuffle (channels split into groups, transposed, joined) as an order of the channels."""
    behind = len(x.type.shape) - 1
    parts = len(split) - behind
    if parts < 1 or split[parts:] != x.type.shape[1:] or perm[parts:] != tuple(range(parts, len(split))):
        return None
    return np.arange(x.type.shape[0]).reshape(split[:parts]).transpose(perm[:parts]).reshape(-1)


def _order_of_long_axes(x: Op, perm: tuple[int, ...]) -> bool:
    """Whether a transpose leaves the axes longer than 1 in their order, so that no element moves in memory."""
    long = [axis for axis in perm if x.type.shape[axis] > 1]
    return long == sorted(long)
