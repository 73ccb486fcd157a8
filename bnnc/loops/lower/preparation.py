"""Preparation: float ops in the forms that have kernels, with the same roundings."""

from __future__ import annotations

import numpy as np

from bnnc.ir import bit, fixed, move, nn
from bnnc.ir.op import Op
from bnnc.ir.types import is_integer
from bnnc.passes.canonical import batch_norm_as_maps


def prepared(op: Op) -> Op:
    """Float ops that are no map take f32 (integers are decoded); batch norms are maps, many dense rows a product."""
    if isinstance(op, nn.Map | fixed.Add | fixed.Mul):
        shape = op.type.shape
        op = op.with_operands(lambda x: _aligned(x, len(shape)))
        return op.with_operands(lambda x: _spread(x, shape)) if len(shape) > 3 else op
    if not op.opcode.startswith("nn.") or isinstance(op, nn.ArgMax | nn.MultiThreshold):
        return op
    op = op.with_operands(lambda x: bit.Decode(x, loc=x.loc) if is_integer(x.type.dtype) else x)
    if isinstance(op, nn.BatchNorm):
        return batch_norm_as_maps(op)
    if isinstance(op, nn.Dense) and not _is_layer(op):
        return _product(op)
    return op


def _is_layer(op: nn.Dense) -> bool:
    fixed = isinstance(op.w, nn.Constant) and (op.bias is None or isinstance(op.bias, nn.Constant))
    return fixed and len(op.x.type.shape) == 1


def _product(op: nn.Dense) -> Op:
    """x @ w.T + bias: the same fused sums in the same order, the bias last."""
    rows = op.x if len(op.x.type.shape) > 1 else move.Reshape(op.x, (1, *op.x.type.shape), loc=op.loc)
    product: Op = nn.MatMul(rows, move.Transpose(op.w, (1, 0), loc=op.loc), loc=op.loc)
    if op.bias is not None:
        product = prepared(nn.Map("add", (product, op.bias), loc=op.loc))
    return product if product.type.shape == op.type.shape else move.Reshape(product, op.type.shape, loc=op.loc)


def _aligned(x: Op, rank: int) -> Op:
    """Layouts know an axis by its number, so an operand of fewer axes gets those that broadcasting gives it."""
    missing = rank - len(x.type.shape)
    if not missing or x.type.size == 1 or isinstance(x, nn.Constant | fixed.Constant):
        return x
    return move.Reshape(x, (1,) * missing + x.type.shape, loc=x.loc)


def _spread(x: Op, shape: tuple[int, ...]) -> Op:
    """Layouts take the axes from the third on as one, so an operand repeats along all of them or none."""
    aligned = (1,) * (len(shape) - len(x.type.shape)) + x.type.shape
    if aligned[2:] == shape[2:] or all(n == 1 for n in aligned[2:]):
        return x
    full = (*aligned[:2], *shape[2:])
    if isinstance(x, nn.Constant):
        return nn.Constant(np.broadcast_to(x.values.reshape(aligned), full), loc=x.loc)
    if isinstance(x, fixed.Constant):
        return fixed.Constant(np.broadcast_to(x.values.reshape(aligned), full), x.dtype, loc=x.loc)
    return move.Expand(x, full, loc=x.loc)
