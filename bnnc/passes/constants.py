"""Constants: evaluate what depends on constants alone, and undo broadcasts that an exporter wrote out in full."""

from __future__ import annotations

import numpy as np

from bnnc.ir import move, nn
from bnnc.ir.module import Module
from bnnc.ir.op import Op
from bnnc.ir.rewrite import rebuild
from bnnc.reference.run import evaluate

LARGEST = 1 << 28  # elements; a constant above this is left as an expression


def fold_constants(module: Module) -> Module:
    """Replace every op whose operands are all constants by its value, computed by the reference."""

    def change(op: Op) -> Op:
        if isinstance(op, nn.Constant) or not op.operands or op.type.size > LARGEST:
            return op
        if not all(isinstance(x, nn.Constant) for x in op.operands):
            return op
        with np.errstate(all="ignore"):
            value = evaluate(op, [x.values[None] for x in op.operands if isinstance(x, nn.Constant)])[0]
        return nn.Constant(value.astype(np.float32), loc=op.loc)

    return rebuild(module, change)


def compress_constants(module: Module) -> Module:
    """Make constants, and expanded tensors, of elementwise ops as small as broadcasting allows."""

    def change(op: Op) -> Op:
        if not isinstance(op, nn.Map) or len(op.xs) < 2:
            return op
        operands = list(op.xs)
        for position, operand in enumerate(operands):
            smaller = _smallest(operand)
            if smaller is operand:
                continue
            trial = (*operands[:position], smaller, *operands[position + 1 :])
            if nn.broadcast([x.type.shape for x in trial]) == op.type.shape:
                operands[position] = smaller
        return nn.Map(op.function, tuple(operands), loc=op.loc) if tuple(operands) != op.xs else op

    return rebuild(module, change)


def _smallest(op: Op) -> Op:
    """A tensor that broadcasts to op, with every repeated axis at length 1."""
    if isinstance(op, move.Expand):
        return op.x
    if not isinstance(op, nn.Constant):
        return op
    values = op.values
    for axis in range(values.ndim):
        if values.shape[axis] > 1:
            first = values.take([0], axis=axis)
            if values.strides[axis] == 0 or (values == first).all():
                values = first
    if values.size == 1:
        values = values.reshape(())
    return op if values.shape == op.values.shape else nn.Constant(np.array(values), loc=op.loc)
