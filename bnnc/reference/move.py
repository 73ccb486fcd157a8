"""The meaning of the ops that only move elements. Arrays have the batch as axis 0 (length 1 for constants)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bnnc.ir import move
from bnnc.ir.op import Op
from bnnc.ir.types import Fix

Operands = Sequence[np.ndarray]


def reshape(op: move.Reshape, operands: Operands) -> np.ndarray:
    return operands[0].reshape(operands[0].shape[0], *op.shape)


def transpose(op: move.Transpose, operands: Operands) -> np.ndarray:
    return operands[0].transpose(0, *(axis + 1 for axis in op.perm))


def expand(op: move.Expand, operands: Operands) -> np.ndarray:
    x = operands[0]
    new_axes = (1,) * (len(op.shape) - (x.ndim - 1))
    return np.broadcast_to(x.reshape(x.shape[0], *new_axes, *x.shape[1:]), (x.shape[0], *op.shape))


def concat(op: move.Concat, operands: Operands) -> np.ndarray:
    batch = np.broadcast_shapes(*(x.shape[:1] for x in operands))
    return np.concatenate([np.broadcast_to(x, (*batch, *x.shape[1:])) for x in operands], axis=op.axis + 1)


def cut(op: move.Slice, operands: Operands) -> np.ndarray:
    x = operands[0]
    for axis, (start, count, step) in enumerate(zip(op.starts, op.counts, op.steps, strict=True)):
        x = (
            np.take(x, start + step * np.arange(count), axis=axis + 1)
            if step < 0
            else _ahead(x, axis, start, count, step)
        )
    return x


def _ahead(x: np.ndarray, axis: int, start: int, count: int, step: int) -> np.ndarray:
    return x[(slice(None),) * (axis + 1) + (slice(start, start + (count - 1) * step + 1, step),)]


def pad(op: move.Pad, operands: Operands) -> np.ndarray:
    rank = len(op.pads) // 2
    widths = [(0, 0), *((op.pads[axis], op.pads[rank + axis]) for axis in range(rank))]
    if op.mode == "constant":
        dtype = op.type.dtype
        value = op.value * 2.0**dtype.fraction if isinstance(dtype, Fix) else op.value
        return np.pad(operands[0], widths, constant_values=operands[0].dtype.type(value))
    mode: Any = op.mode
    return np.pad(operands[0], widths, mode=mode)


def gather(op: move.Gather, operands: Operands) -> np.ndarray:
    return np.take(operands[0], op.indices, axis=op.axis + 1)


MEANINGS: dict[type[Op], Callable[[Any, Operands], np.ndarray]] = {
    move.Reshape: reshape,
    move.Transpose: transpose,
    move.Expand: expand,
    move.Concat: concat,
    move.Slice: cut,
    move.Pad: pad,
    move.Gather: gather,
}
