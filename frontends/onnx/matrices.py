"""Matrix products: Gemm and MatMul, with a constant operand as a dense layer."""

from __future__ import annotations

import numpy as np

from bnnc.frontends.onnx.node import Handler, Node
from bnnc.frontends.onnx.problems import SHAPES, Problem, batch_problem, unsupported
from bnnc.frontends.onnx.values import Batch, Shape, Value, known, sample_shape
from bnnc.ir import nn
from bnnc.ir.op import Op


def transposed(node: Node, value: Value) -> Value:
    """A constant with its last two axes swapped."""
    if value.array is not None:
        return known(np.swapaxes(value.array, -1, -2), value.dtype, name=value.name)
    perm = (*range(value.rank - 2), value.rank - 1, value.rank - 2)
    op = node.transposed(node.whole(value), perm)
    return node.result(op, op.type.shape, None, value.dtype)


def product_shape(a: Shape, b: Shape) -> Shape:
    """The shape of a matrix product as numpy.matmul defines it. Raises Problem."""
    if not a or not b:
        raise Problem(SHAPES, "multiplies a matrix by a value without axes")
    left, right = (a if len(a) > 1 else (1, *a)), (b if len(b) > 1 else (*b, 1))
    if left[-1] != right[-2]:
        raise Problem(SHAPES, f"multiplies shapes {list(a)} and {list(b)}, which do not meet")
    try:
        lead = np.broadcast_shapes(left[:-2], right[:-2])
    except ValueError:
        raise Problem(SHAPES, f"multiplies shapes {list(a)} and {list(b)}, which do not broadcast") from None
    return (*lead, *((left[-2],) if len(a) > 1 else ()), *((right[-1],) if len(b) > 1 else ()))


def matmul(node: Node, a: Value, b: Value) -> Value:
    """The product as numpy.matmul defines it."""
    shape = product_shape(a.shape, b.shape)
    for operand in (a, b):
        node.finite(operand, "weights")
    if a.constant and b.constant:
        a = node.batched(a)
    if b.constant and not a.constant and b.rank <= 2:
        return _times_weights(node, a, b, shape)
    if a.constant and not b.constant and a.rank == 2 and b.rank >= 2 and _batch_is_last(b):
        y = dense(node, _last_to_row(node, b), node.whole(a), None)
        return node.result(y, shape, Batch(len(shape) - 1), b.dtype)
    return _general(node, a, b, shape)


def _batch_is_last(value: Value) -> bool:
    return value.rank == 2 and value.batch is not None and value.batch.plain and value.batch.axis == value.rank - 1


def _last_to_row(node: Node, value: Value) -> Op:
    return node.whole(value)


def dense(node: Node, x: Op, w: Op, bias: Op | None) -> Op:
    """Dense on the last axis of an op; w [N, K]."""
    return nn.Dense(x=x, w=w, bias=bias, loc=node.loc)


def _times_weights(node: Node, a: Value, b: Value, shape: Shape) -> Value:
    """[…, K] @ [K, N] (or @ [K]): the last axis must lie within one sample."""
    batch = a.batch
    assert batch is not None
    if batch.axis == a.rank - 1:
        if node.world.n != 1 or batch.merged:
            raise batch_problem("sums over the batch axis")
        a = node.hidden(a)
        batch = a.batch
    columns = b if b.rank == 2 else known(b.array[:, None], b.dtype, name=b.name) if b.array is not None else None
    if columns is None:
        raise unsupported("multiplies by a computed vector")
    op = dense(node, node.whole(a), node.whole(transposed(node, columns)), None)
    own = sample_shape(shape, batch)
    return node.result(node.reshaped(op, own), shape, batch, a.dtype)


def _general(node: Node, a: Value, b: Value, shape: Shape) -> Value:
    """Both operands may come from the input; the batch stands before the last two axes, or is the left's rows."""
    if a.rank < 2 or b.rank < 2:
        raise unsupported("multiplies a computed vector")
    forms = {(_from_right(v), v.batch.before, v.batch.after) for v in (a, b) if v.batch is not None}
    if not forms:
        return node.result(_product(node, node.whole(a), node.whole(b)), shape, None, a.dtype)
    place, before, after = min(forms)
    merged = before * after > 1
    batch = Batch(len(shape) - place, before, after)
    if len(forms) == 1 and place > 2:
        ops = [_without(node, value, batch, place) for value in (a, b)]
        return node.result(_product(node, *ops), shape, batch, a.dtype)
    if len(forms) == 1 and place == 2 and b.constant:
        # The rows of the left operand are the samples: each is a matrix of one row.
        sample = node.whole(a)
        row = sample if merged else node.reshaped(sample, (*sample.type.shape[:-1], 1, sample.type.shape[-1]))
        product = _product(node, row, node.whole(b))
        return node.result(node.reshaped(product, sample_shape(shape, batch)), shape, batch, a.dtype)
    if node.world.n != 1:
        raise batch_problem("multiplies values whose batch axes do not lie on each other")
    a, b = node.hidden(a), node.hidden(b)
    return node.result(_product(node, node.whole(a), node.whole(b)), shape, Batch(None), a.dtype)


def _without(node: Node, value: Value, batch: Batch, place: int) -> Op:
    """The sample of an operand; a constant loses the axis at which the other operand has its batch."""
    axis = value.rank - place
    if not value.constant or axis < 0:
        return node.whole(value)
    core = node.core(value)
    if core.type.shape[axis] != 1:
        raise batch_problem(f"multiplies by a constant `{value.name}` that differs between samples")
    op = node.expanded(core, (*value.shape[:axis], 1, *value.shape[axis + 1 :]))
    return op if batch.merged else node.reshaped(op, value.shape[:axis] + value.shape[axis + 1 :])


def _from_right(value: Value) -> int:
    """Where the batch stands, counted from the right; 0 where it has no axis."""
    assert value.batch is not None
    return 0 if value.batch.axis is None else value.rank - value.batch.axis


def _product(node: Node, a: Op, b: Op) -> Op:
    return nn.MatMul(a=a, b=b, loc=node.loc)


def _matmul(node: Node) -> Value:
    return matmul(node, node.value(0), node.value(1))


def gemm(node: Node) -> Value:
    """alpha * A' * B' + beta * C."""
    a, b, c = node.value(0), node.value(1), node.optional(2)
    if a.rank != 2 or b.rank != 2:
        raise Problem(SHAPES, f"needs matrices, but gets shapes {list(a.shape)} and {list(b.shape)}")
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    a = _turned(node, a) if node.integer("transA", 0) else a
    b = _turned(node, b) if node.integer("transB", 0) else b
    shape = product_shape(a.shape, b.shape)
    if c is not None:
        node.finite(c, "bias")
    plain = c is None or alpha == beta == 1
    if plain and c is not None and c.constant and b.constant and a.batch == Batch(0) and _is_row(c, shape):
        for operand in (a, b):
            node.finite(operand, "weights")
        row = node.expanded(node.reshaped(_row(node, c), _row_shape(node, c)), (shape[1],))
        op = dense(node, node.whole(a), node.whole(transposed(node, b)), row)
        return node.result(op, shape, a.batch, a.dtype)
    y = matmul(node, a, b)
    if alpha != 1:
        y = node.chain(y, ("mul", alpha))
    if c is None or beta == 0:
        return y
    return node.map("add", y, c if beta == 1 else node.chain(c, ("mul", beta)))


def _is_row(c: Value, shape: Shape) -> bool:
    """Whether the constant C adds the same row to every sample (it may have been repeated for each)."""
    return c.rank <= 2 and (not c.shape or c.shape[-1] in (1, shape[1])) and (c.rank < 2 or c.shape[0] in (1, shape[0]))


def _row(node: Node, c: Value) -> Op:
    core = node.core(c)
    if c.rank == 2 and core.type.shape[0] != 1:
        raise batch_problem(f"adds a constant `{c.name}` that differs between samples")
    return core


def _row_shape(node: Node, c: Value) -> Shape:
    core = node.core(c).type.shape
    return core[1:] if len(core) == 2 else core


def _turned(node: Node, value: Value) -> Value:
    """A matrix transposed; the batch may be either axis."""
    if value.constant:
        return transposed(node, value)
    shape, batch = (value.shape[1], value.shape[0]), value.batch
    assert batch is not None
    if batch.plain:
        assert batch.axis is not None
        assert value.op is not None
        return node.result(value.op, shape, Batch(1 - batch.axis), value.dtype)
    op = node.transposed(node.whole(value), (1, 0))
    moved = batch if batch.axis is None else Batch(1 - batch.axis, batch.before, batch.after)
    return node.result(op, shape, moved, value.dtype)


HANDLERS: dict[str, Handler] = {"MatMul": _matmul, "Gemm": gemm}
