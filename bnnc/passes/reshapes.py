"""Reshapes sink behind elementwise ops, so that a region is not cut where an exporter flattens or adds an axis."""

from __future__ import annotations

import numpy as np

from bnnc.ir import move, nn
from bnnc.ir.module import Module
from bnnc.ir.op import Op
from bnnc.ir.rewrite import rebuild
from bnnc.passes.canonical import canonicalise


def sink_reshapes(module: Module) -> Module:
    """f(reshape(x)) becomes reshape(f(x)) wherever f's constants can follow; then what is left rises where it must."""
    sunk = canonicalise(rebuild(module, _sink))
    return canonicalise(rebuild(sunk, _rise))


def _sink(op: Op) -> Op:
    if isinstance(op, move.Reshape) and isinstance(op.x, move.Reshape):
        return op.x.x if op.x.x.type.shape == op.shape else move.Reshape(op.x.x, op.shape, loc=op.loc)
    if isinstance(op, nn.MultiThreshold) and isinstance(op.x, move.Reshape):
        inner = op.x.x
        same_channels = inner.type.shape[:1] == op.type.shape[:1] and _same_long_axes(inner.type.shape, op.type.shape)
        if op.thresholds.type.shape[0] == 1 or same_channels:
            return move.Reshape(nn.MultiThreshold(inner, op.thresholds, loc=op.loc), op.type.shape, loc=op.x.loc)
    if not isinstance(op, nn.Map):
        return op
    moving = [x for x in op.xs if not isinstance(x, nn.Constant)]
    shapes = {x.x.type.shape for x in moving if isinstance(x, move.Reshape)}
    if len(shapes) != 1 or not all(isinstance(x, move.Reshape) and x.type.shape == op.type.shape for x in moving):
        return op
    inner_shape = shapes.pop()
    operands = []
    for x in op.xs:
        if isinstance(x, move.Reshape):
            operands.append(x.x)
            continue
        assert isinstance(x, nn.Constant)
        followed = _follow(x, op.type.shape, inner_shape)
        if followed is None:
            return op
        operands.append(followed)
    return move.Reshape(nn.Map(op.function, tuple(operands), loc=op.loc), op.type.shape, loc=moving[0].loc)


def _rise(op: Op) -> Op:
    """reshape(f(x)) with f of one tensor and scalars becomes f(reshape(x)), if a per-element constant waits behind it.

    Only the operand of such an elementwise op is turned: f then joins the region behind the reshape.
    """
    if not isinstance(op, nn.Map):
        return op
    operands = tuple(_raised(x) if isinstance(x, move.Reshape) else x for x in op.xs)
    return nn.Map(op.function, operands, loc=op.loc) if operands != op.xs else op


def _raised(reshape: Op) -> Op:
    assert isinstance(reshape, move.Reshape)
    chain: list[nn.Map] = []
    below = reshape.x
    while isinstance(below, nn.Map):
        moving = [x for x in below.xs if not isinstance(x, nn.Constant)]
        scalar = all(x.type.size == 1 for x in below.xs if isinstance(x, nn.Constant))
        if len(moving) != 1 or not scalar or moving[0].type.shape != below.type.shape:
            break
        chain.append(below)
        below = moving[0]
    if not chain:
        return reshape
    result: Op = move.Reshape(below, reshape.shape, loc=reshape.loc)
    for each in reversed(chain):
        operands = tuple(_as_scalar(x) if isinstance(x, nn.Constant) else result for x in each.xs)
        result = nn.Map(each.function, operands, loc=each.loc)
    return result


def _as_scalar(op: nn.Constant) -> nn.Constant:
    return nn.Constant(op.values.reshape(()), loc=op.loc)


def _follow(constant: nn.Constant, outer: tuple[int, ...], inner: tuple[int, ...]) -> nn.Constant | None:
    """The constant that meets x as `constant` meets reshape(x); None if it would vary in a new way."""
    if constant.values.size == 1:
        return _as_scalar(constant)
    if not _same_long_axes(outer, inner):
        return None
    aligned = (1,) * (len(outer) - constant.values.ndim) + constant.values.shape
    long = iter([size for size, full in zip(aligned, outer, strict=True) if full > 1])
    shape = tuple(next(long) if full > 1 else 1 for full in inner)
    return nn.Constant(np.asarray(constant.values).reshape(shape), loc=constant.loc)


def _same_long_axes(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether two shapes differ only in axes of length 1."""
    return [n for n in a if n > 1] == [n for n in b if n > 1]
