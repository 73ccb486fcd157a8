"""Chains: what maps with constants, and moves, make of one integer tensor; evaluated, not recognised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bnnc.ir import bit, move, nn
from bnnc.ir.op import Op
from bnnc.ir.types import is_integer, value_range
from bnnc.reference.run import evaluate

MOST_ELEMENTS = 1 << 26  # evaluated at once


@dataclass(frozen=True, eq=False)
class Chain:
    """`ops` lead from the integer tensor `source` to the last of them, each reading the one before and constants."""

    source: Op
    ops: tuple[Op, ...]

    def at(self, point: int) -> np.ndarray:
        """The result where every element of the source is `point`: float32, the shape of the last op."""
        value = np.full((1, *self.source.type.shape), point, np.int32)
        previous = self.source
        for op in self.ops:
            value = evaluate(op, [x.values[None] if isinstance(x, nn.Constant) else value for x in op.operands])
            previous = op
        return np.broadcast_to(value[0], previous.type.shape)

    def moved(self, new: Mapping[Op, Op]) -> Op:
        """The source as the moves of the chain place it, without its maps."""
        result = new[self.source]
        for op in self.ops:
            if not isinstance(op, nn.Map | bit.Decode):
                result = op.with_operands(lambda _, made=result: made)  # type: ignore[misc]
        return result

    def steps(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Thresholds int32 and values float32 of the chain, a row a channel, by evaluation on every integer; None if
        it differs within a channel, or there is too much to evaluate."""
        low, high = value_range(self.source.type.dtype)
        last = self.ops[-1] if self.ops else self.source
        if not last.type.shape or (high - low + 1) * last.type.size > MOST_ELEMENTS:
            return None
        table = np.stack([self.at(point).reshape(last.type.shape[0], -1) for point in range(low, high + 1)])
        if not np.isfinite(table).all() or (table != table[:, :, :1]).any():
            return None
        rows = table[:, :, 0].T
        changes = np.flatnonzero((rows[:, 1:] != rows[:, :-1]).any(0)) + 1
        thresholds = np.broadcast_to((low + changes).astype(np.int32), (len(rows), changes.size))
        return thresholds, np.concatenate([rows[:, :1], rows[:, changes]], axis=1)


def chain_of(op: Op) -> Chain | None:
    """The chain that ends in op, or None if none does."""
    inside: list[Op] = []
    current = op
    while not is_integer(current.type.dtype):
        moving = [x for x in current.operands if not isinstance(x, nn.Constant)]
        fits = isinstance(current, nn.Map | bit.Decode | move.Reshape | move.Transpose | move.Slice | move.Gather)
        if not fits or len(moving) != 1:
            return None
        inside.append(current)
        current = moving[0]
    return Chain(current, tuple(reversed(inside)))
