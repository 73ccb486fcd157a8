"""Permutations of channels cost nothing: they join the weights of the layer behind them, or of the one before."""

from __future__ import annotations

from dataclasses import replace as with_fields

import numpy as np

from bnnc.ir import bit, move
from bnnc.ir.module import Module
from bnnc.ir.op import Op
from bnnc.ir.rewrite import replace

ROUNDS = 16


def fold_permutations(module: Module) -> Module:
    """Permutations of channels sink behind steps and pools of bits, and end in weights."""
    for _ in range(ROUNDS):
        users = module.users()
        results = {output.value for output in module.outputs}
        alone = {op for op, readers in users.items() if len(readers) == 1 and op not in results}
        changed = {op: new for op in users if (new := _folded(op, alone)) is not None}
        if not changed:
            break
        module = replace(module, changed)
    return module


def _folded(op: Op, alone: set[Op]) -> Op | None:
    """op without the permutation that it reads, or that it is; None if nothing is gained."""
    if isinstance(op, move.Gather):
        # Bits that a layer makes are made in the new order.
        return _made_in_order(op.x, op, alone) if _back(op) is not None else None
    if not isinstance(op, bit.Conv | bit.Dense | bit.Step | bit.Pool) or not isinstance(op.x, move.Gather):
        return None
    gather = op.x
    back = _back(gather)
    if back is None:
        return None
    if isinstance(op, bit.Conv | bit.Dense):
        if isinstance(op, bit.Conv) and op.groups > 1:
            return None
        return with_fields(op, x=gather.x, weights=np.ascontiguousarray(op.weights[:, back]))
    if gather not in alone or _made_in_order(gather.x, gather, alone) is not None:
        return None
    return move.Gather(_turned(op, gather.x, back), gather.indices, 0, loc=gather.loc)


def _turned(op: bit.Step | bit.Pool, x: Op, order: np.ndarray) -> Op:
    """op on x, its tables in another order of channels."""
    if isinstance(op, bit.Pool):
        return with_fields(op, x=x, smallest=None if op.smallest is None else op.smallest[order])
    if len(op.thresholds) == 1:
        return with_fields(op, x=x)
    return with_fields(op, x=x, thresholds=op.thresholds[order], values=op.values[order])


def _made_in_order(x: Op, gather: move.Gather, alone: set[Op]) -> Op | None:
    """gather(x) where x is pools and steps of a layer that nothing else reads: its filters in the new order."""
    if x not in alone:
        return None
    order = gather.indices
    if isinstance(x, bit.Step | bit.Pool):
        below = _made_in_order(x.x, gather, alone)
        return None if below is None else _turned(x, below, order)
    if isinstance(x, bit.Dense) or (isinstance(x, bit.Conv) and x.groups == 1):
        return with_fields(x, weights=np.ascontiguousarray(x.weights[order]))
    return None


def _back(gather: move.Gather) -> np.ndarray | None:
    """The order that undoes a permutation of channels; None if the gather is none."""
    size = gather.x.type.shape[0] if gather.x.type.shape else 0
    if gather.axis != 0 or gather.indices.size != size or np.unique(gather.indices).size != size:
        return None
    return np.argsort(gather.indices)
