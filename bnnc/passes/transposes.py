"""Channels first everywhere: transposes around channels-last layers (tf2onnx, dense over sequences) cancel out.

First they sink through elementwise ops towards the outputs, where most meet their inverse; then what is left
between an input and the first layer rises to the input.
"""

from __future__ import annotations

import numpy as np

from bnnc.ir import move, nn
from bnnc.ir.module import Input, Module
from bnnc.ir.op import Op
from bnnc.ir.rewrite import rebuild
from bnnc.passes.canonical import canonicalise

ROUNDS = 64


def cancel_transposes(module: Module) -> Module:
    """Move transposes until nothing changes (at most ROUNDS times)."""
    for move_one in (_sink, _rise):
        for _ in range(ROUNDS):
            moved = canonicalise(rebuild(module, move_one))
            if _signature(moved) == _signature(module):
                break
            module = moved
    return module


def _signature(module: Module) -> list[tuple[str, tuple[int, ...]]]:
    return [(op.opcode, op.type.shape) for op in module.ops()]


def _inverse(perm: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(axis) for axis in np.argsort(perm))


def _sink(op: Op) -> Op:
    match op:
        case nn.Map():
            return _sink_through_map(op)
        case move.Pad(x=move.Transpose(x=x, perm=perm)):
            rank, back = len(perm), _inverse(perm)
            pads = (*(op.pads[back[a]] for a in range(rank)), *(op.pads[rank + back[a]] for a in range(rank)))
            return move.Transpose(move.Pad(x, pads, op.value, op.mode, loc=op.loc), perm, loc=op.loc)
        case move.Concat() if all(isinstance(x, move.Transpose) for x in op.xs):
            perms = {x.perm for x in op.xs if isinstance(x, move.Transpose)}
            if len(perms) == 1:
                perm = perms.pop()
                inner = tuple(x.operands[0] for x in op.xs)
                return move.Transpose(move.Concat(inner, perm[op.axis], loc=op.loc), perm, loc=op.loc)
        case nn.Reduce(x=move.Transpose(x=x, perm=perm)):
            axes = tuple(sorted(perm[axis] for axis in op.axes))
            reduced = nn.Reduce(x, op.function, axes, op.keepdims, loc=op.loc)
            kept = list(perm) if op.keepdims else [axis for axis in perm if axis not in axes]
            order = np.argsort(np.argsort(kept))
            return move.Transpose(reduced, tuple(int(a) for a in order), loc=op.loc) if len(kept) > 1 else reduced
        case nn.Softmax(x=move.Transpose(x=x, perm=perm)):
            return move.Transpose(nn.Softmax(x, perm[op.axis], op.log, loc=op.loc), perm, loc=op.loc)
        case nn.ArgMax(x=move.Transpose(x=x, perm=perm)) if not op.keepdims and len(perm) == 1:
            return nn.ArgMax(x, perm[op.axis], op.keepdims, op.last, op.smallest, loc=op.loc)
        case nn.Dense(x=move.Reshape(x=move.Transpose(x=x, perm=perm) as turned), w=nn.Constant(values=weights)):
            if len(op.x.type.shape) == 1:
                columns = weights.reshape(-1, *turned.type.shape).transpose(0, *(1 + a for a in _inverse(perm)))
                flat = move.Reshape(x, op.x.type.shape, loc=op.x.loc)
                return nn.Dense(flat, nn.Constant(columns.reshape(weights.shape)), op.bias, loc=op.loc)
    return op


def _sink_through_map(op: nn.Map) -> Op:
    perms = {x.perm for x in op.xs if isinstance(x, move.Transpose)}
    moving = [x for x in op.xs if not isinstance(x, nn.Constant)]
    if len(perms) != 1 or not all(isinstance(x, move.Transpose) for x in moving):
        return op
    perm = perms.pop()
    if len(perm) != len(op.type.shape):
        return op
    operands = tuple(x.operands[0] if isinstance(x, move.Transpose) else _turned(x, _inverse(perm)) for x in op.xs)
    return move.Transpose(nn.Map(op.function, operands, loc=op.loc), perm, loc=op.loc)


def _turned(op: Op, perm: tuple[int, ...]) -> Op:
    """A constant operand, seen through a transpose of the tensor it meets."""
    assert isinstance(op, nn.Constant)
    if op.values.size == 1:
        return op
    full = op.values.reshape((1,) * (len(perm) - op.values.ndim) + op.values.shape)
    return nn.Constant(full.transpose(perm), loc=op.loc)


def _rise(op: Op) -> Op:
    """Transpose(f(x)) becomes f(Transpose(x)) where f is elementwise in x alone, a padding, or x is an input."""
    if not isinstance(op, move.Transpose):
        return op
    below = op.x
    match below:
        case nn.Map():
            moving = [x for x in below.xs if not isinstance(x, nn.Constant)]
            if all(_from_input(x) and len(x.type.shape) == len(op.perm) for x in moving):
                operands = tuple(
                    _turned(x, op.perm) if isinstance(x, nn.Constant) else _rise(move.Transpose(x, op.perm, loc=op.loc))
                    for x in below.xs
                )
                return nn.Map(below.function, operands, loc=below.loc)
        case move.Pad() if _from_input(below.x):
            rank = len(op.perm)
            pads = (*(below.pads[a] for a in op.perm), *(below.pads[rank + a] for a in op.perm))
            return move.Pad(
                _rise(move.Transpose(below.x, op.perm, loc=op.loc)), pads, below.value, below.mode, loc=below.loc
            )
    return op


def _from_input(op: Op) -> bool:
    """Whether nothing but elementwise ops and paddings lie between op and one input."""
    while not isinstance(op, Input):
        moving = [x for x in op.operands if not isinstance(x, nn.Constant)]
        if not isinstance(op, nn.Map | move.Pad) or len({id(x) for x in moving}) != 1:
            return False
        op = moving[0]
    return True
