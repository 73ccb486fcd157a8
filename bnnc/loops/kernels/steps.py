"""Steps inside elementwise kernels: thresholds and levels as numbers, or as tables with a row of channels for each."""

from __future__ import annotations

import numpy as np

from bnnc.ir import bit, fixed, nn
from bnnc.ir.op import Op
from bnnc.ir.types import F32, is_integer, value_range
from bnnc.loops import ir as loop
from bnnc.loops.builder import Builder
from bnnc.loops.ir import I32, I64, Convert, Expression, constant, constant_buffer, load, select, splat, vector_of

UNROLLED_STEPS = 8  # more thresholds than this become a loop, or a table where the domain is small
LARGEST_TABLE = 1 << 16


def looked_up(op: Op) -> bool:
    """Whether a step is read from a table with an entry for every integer of its domain, or a function from one."""
    if isinstance(op, fixed.Table):
        return True
    if not isinstance(op, bit.Step) or op.thresholds.shape[1] <= UNROLLED_STEPS or not is_integer(op.x.type.dtype):
        return False
    lo, hi = value_range(op.x.type.dtype)
    return (hi - lo + 1) * len(op.thresholds) <= LARGEST_TABLE


class Tables:
    """The constants of one kernel that differ from channel to channel, and the steps that they are for."""

    def __init__(self, b: Builder, name: str) -> None:
        self.b, self.name = b, name
        self._made: dict[str, loop.Buffer] = {}

    def table(self, name: str, values: np.ndarray) -> loop.Buffer:
        """A constant [rows of channels] made once for the kernel."""
        if name not in self._made:
            self._made[name] = constant_buffer(f"{self.name}_{name}", np.ascontiguousarray(values))
        return self._made[name]

    def row(self, row: np.ndarray, name: str, channel: Expression, of: loop.Type) -> Expression:
        """One number per channel, of those from `channel` on: an immediate where all are the same."""
        if (row == row[0]).all():
            return constant(row[0].item(), of)
        return self._loaded(self.table(name, row), constant(0, I64), len(row), channel, of)

    def step(self, op: bit.Step, x: Expression, channel: Expression, number: int) -> Expression:
        """The step of x, channels from `channel` on; `number` tells the tables of this op from those of others."""
        if looked_up(op):
            return self._looked_up(op, x, channel, number)
        count = op.thresholds.shape[1]
        of = vector_of(loop.F32 if isinstance(op.dtype, F32) else I32, x.type.lanes)
        lowest = self.row(op.values[:, 0], f"values{number}_0", channel, of)
        if count <= UNROLLED_STEPS:
            value = lowest
            for n in range(count):
                limit = self.row(op.thresholds[:, n], f"threshold{number}_{n}", channel, x.type)
                value = select(x >= limit, self.row(op.values[:, n + 1], f"values{number}_{n + 1}", channel, of), value)
            return value
        rows = len(op.thresholds)
        limits = self.table(f"threshold{number}", op.thresholds.T)
        levels = self.table(f"values{number}", op.values.T)
        result = self.b.variable("level", lowest)
        with self.b.loop(count, "n") as position:
            limit = self._loaded(limits, position * rows, rows, channel, x.type)
            level = self._loaded(levels, (position + 1) * rows, rows, channel, of)
            self.b.assign(result, select(x >= limit, level, result))
        return result

    def count(self, op: nn.MultiThreshold, x: Expression, channel: Expression, number: int) -> Expression:
        """How many thresholds x reaches, as f32."""
        assert isinstance(op.thresholds, nn.Constant)
        table = op.thresholds.values
        limits = self.table(f"threshold{number}", table.T)
        count = self.b.variable("count", constant(0.0, x.type))
        with self.b.loop(table.shape[1], "n") as n:
            limit = self._loaded(limits, n * len(table), len(table), channel, x.type)
            self.b.assign(count, count + select(x >= limit, constant(1.0, x.type), constant(0.0, x.type)))
        return count

    def _looked_up(self, op: bit.Step, x: Expression, channel: Expression, number: int) -> Expression:
        lo, hi = value_range(op.x.type.dtype)
        domain = np.arange(lo, hi + 1)
        entries = np.stack(
            [v[np.searchsorted(t, domain, side="right")] for t, v in zip(op.thresholds, op.values, strict=True)]
        )
        table = self.table(f"table{number}", entries)
        index = Convert("sext", x, I64) - lo
        if len(op.thresholds) > 1:
            index = index + channel * len(domain)
        return load(table, index)

    def _loaded(
        self, table: loop.Buffer, start: Expression, rows: int, channel: Expression, of: loop.Type
    ) -> Expression:
        if rows == 1:
            return splat(load(table, start), of)
        return load(table, start + channel, of)


__all__ = ["UNROLLED_STEPS", "Tables", "looked_up"]
