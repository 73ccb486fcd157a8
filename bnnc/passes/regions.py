"""Regions: the elementwise ops between one source tensor and a root, as a function that can be evaluated per channel.

This is what replaces pattern matching. Whatever spelling of batch norm, shift, PReLU, scale and sign a model uses,
the ops between an accumulator and its quantiser are a function of one number per channel, and can simply be run.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnc.ir import nn
from bnnc.ir.op import Op
from bnnc.reference.nn import ELEMENTWISE


@dataclass(frozen=True, eq=False)
class Region:
    """The ops from `source` (not part of it) to `root`, operands first; per-channel constants only."""

    source: Op
    root: Op
    ops: tuple[Op, ...]

    def evaluate(self, points: np.ndarray, channels: np.ndarray) -> np.ndarray:
        """root's fp32 value where the source is points: any shape; `channels` (same shape) says of which channel."""
        values: dict[Op, np.ndarray] = {self.source: points.astype(np.float32)}

        def operand(op: Op) -> np.ndarray:
            if isinstance(op, nn.Constant):
                row = op.values.reshape(-1)
                return row[channels] if row.size > 1 else row[:1]
            return values[op]

        with np.errstate(all="ignore"):
            for op in self.ops:
                if isinstance(op, nn.MultiThreshold):
                    values[op] = _count(op, values[op.x], channels)
                else:
                    assert isinstance(op, nn.Map)
                    values[op] = ELEMENTWISE[op.function](*(operand(x) for x in op.xs))
        return np.broadcast_to(values[self.root], points.shape)

    def steps_only_up_or_down(self) -> bool:
        """Whether the region is, in every channel, monotone in the source: a chain of such ops."""
        seen = {self.source}
        for op in self.ops:
            moving = [position for position, x in enumerate(op.operands) if x in seen]
            if len(moving) != 1 or not _monotone(op, moving[0]):
                return False
            seen.add(op)
        return True


def _count(op: nn.MultiThreshold, x: np.ndarray, channels: np.ndarray) -> np.ndarray:
    assert isinstance(op.thresholds, nn.Constant)
    table = op.thresholds.values
    count = np.zeros(x.shape, np.float32)
    for column in range(table.shape[1]):
        limit = table[channels, column] if table.shape[0] > 1 else table[0, column]
        count += (x >= limit).astype(np.float32)
    return count


_RISING_OR_FALLING = {
    **dict.fromkeys(("neg", "sign", "floor", "ceil", "round", "trunc", "half", "relu"), (0,)),
    **dict.fromkeys(("add", "sub", "min", "max"), (0, 1)),
    **dict.fromkeys(("greater", "greater_equal", "less", "less_equal"), (0, 1)),
    "mul": (0, 1),
    "div": (0,),
    "clip": (0,),
    "prelu": (0,),
    "where": (0,),
}


def _monotone(op: Op, moving: int) -> bool:
    """Whether `op` is monotone in operand number `moving`, the others fixed (each channel for itself)."""
    if isinstance(op, nn.MultiThreshold):
        return moving == 0
    if not isinstance(op, nn.Map) or moving not in _RISING_OR_FALLING.get(op.function, ()):
        return False
    if op.function == "prelu":
        slope = op.xs[1]
        return isinstance(slope, nn.Constant) and bool((slope.values >= 0).all())
    if op.function == "where":  # a condition that is 0 or 1 picks one of two constants
        condition = op.xs[0]
        return isinstance(condition, nn.Map) and condition.function in (
            "greater",
            "greater_equal",
            "less",
            "less_equal",
        )
    return True


class Regions:
    """Finds regions of a graph; remembers the source of every op."""

    def __init__(self) -> None:
        self._sources: dict[Op, Op | None] = {}

    def source(self, root: Op) -> Op | None:
        """The one tensor that `root` is an elementwise function of, root itself if none; None: a constant."""
        for op in _unknown(root, self._sources):
            self._sources[op] = self._find(op)
        return self._sources[root]

    def _find(self, op: Op) -> Op | None:
        if isinstance(op, nn.Constant):
            return None
        if not isinstance(op, nn.Map | nn.MultiThreshold):
            return op
        sources = {self._sources[x] for x in op.operands} - {None}
        if not sources:
            return None
        first = next(iter(sources))
        assert first is not None
        # Rows of thresholds are channels, whatever the rank of the tensor.
        constants = () if isinstance(op, nn.MultiThreshold) else (x for x in op.operands if isinstance(x, nn.Constant))
        fits = op.type.shape == first.type.shape and all(_per_channel(x, len(op.type.shape)) for x in constants)
        return first if len(sources) == 1 and fits and all(_dynamic(x, self._sources) for x in op.operands) else op

    def region(self, root: Op) -> Region | None:
        """The region that ends in `root`, or None if root is no function of a single other tensor."""
        source = self.source(root)
        if source is None or source is root:
            return None
        return Region(source, root, self._inside(root, source))

    def _inside(self, root: Op, source: Op) -> tuple[Op, ...]:
        """The ops from source (not part of it) to root, operands first."""
        order: dict[Op, None] = {}
        stack = [(root, False)]
        while stack:
            op, ready = stack.pop()
            if ready:
                order[op] = None
            elif op not in order and op is not source and self.source(op) is source:
                stack.append((op, True))
                stack.extend((x, False) for x in reversed(op.operands))
        return tuple(order)


def _dynamic(op: Op, sources: dict[Op, Op | None]) -> bool:
    """A constant operand must be a literal one: expressions of constants are folded before this."""
    return sources[op] is not None or isinstance(op, nn.Constant)


def _unknown(root: Op, known: dict[Op, Op | None]) -> list[Op]:
    """The ops below root that are not known yet, operands first."""
    order: list[Op] = []
    seen: set[Op] = set()
    stack: list[tuple[Op, bool]] = [(root, False)]
    while stack:
        op, ready = stack.pop()
        if op in known or op in seen:
            continue
        if ready:
            seen.add(op)
            order.append(op)
        else:
            stack.append((op, True))
            stack.extend((x, False) for x in op.operands)
    return order


def _per_channel(constant: nn.Constant, rank: int) -> bool:
    """Whether a constant, broadcast to `rank` axes, varies along axis 0 only."""
    shape = constant.values.shape
    if constant.values.size == 1:
        return True
    return len(shape) == rank and all(n == 1 for n in shape[1:])
