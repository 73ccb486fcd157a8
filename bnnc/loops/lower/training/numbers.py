"""Ops on single numbers: counters, rates, the clock. One thread does them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bnnc.ir import bit, training
from bnnc.ir.move import Concat, Slice
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, value_range
from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I32,
    I64,
    Buffer,
    Convert,
    Expression,
    Reduce,
    binary,
    compare,
    constant,
    load,
    vector_of,
)
from bnnc.loops.kernels.training import numbers
from bnnc.loops.lower.training.phases import ONE, Run, Task
from bnnc.loops.lower.training.tasks import TaskWriter
from bnnc.loops.lower.training.values import (
    Chosen,
    Flips,
    Known,
    Numbers,
    OfOne,
    PerSample,
    Table,
    Value,
    refused,
)


class NumberTasks(TaskWriter):
    """Lowers what works on a few numbers."""

    def _constant(self, op: training.Constant) -> Value:
        if op.dtype == Bit() and op.values.ndim == 2:
            return Table(op.values)
        other = self._more[op]
        assert isinstance(other, training.Constant)
        if op.values.ndim != 1 or other.values.shape != op.values.shape:
            raise refused(f"a constant {op.type}")
        slopes = other.values.astype(np.int64) - op.values
        return Known(tuple(op.values.tolist()), tuple(slopes.tolist()))

    def _numbers(self, op: Op) -> Value:
        """Ops on single numbers."""
        match op:
            case bit.Add():
                terms = op.coefficients

                def add(b: Builder, n: list[Expression]) -> list[Expression]:
                    size = len(n) // len(terms)
                    sums = []
                    for i in range(size):
                        total: Expression = constant(0, I64)
                        for k, factor in enumerate(terms):
                            total = total + n[k * size + i] * factor
                        sums.append(total)
                    return sums

                return self._computed(op, op.xs, add)
            case Concat() if len(op.type.shape) == 1:
                return self._computed(op, op.xs, lambda _, n: n)
            case Slice() if len(op.type.shape) == 1:
                places = [op.starts[0] + i * op.steps[0] for i in range(op.counts[0])]
                return self._computed(op, [op.x], lambda _, n: [n[i] for i in places])
            case training.Rate():
                return self._computed(op, [op.wrong, op.total], lambda b, n: [numbers.rate(b, n[0], n[1], op.factor)])
            case training.Schedule():
                return self._computed(
                    op,
                    [op.correct, op.total, op.progress],
                    lambda b, n: numbers.schedule(b, n[0], n[1], n[2:], op.patience, op.levels),
                )
        raise refused(f"no kernel for `{op.opcode}` of {op.type}")

    def _computed(
        self, op: Op, operands: Sequence[Op], meaning: Callable[[Builder, list[Expression]], list[Expression]]
    ) -> Numbers:
        buffer = self.arena.take("number", I32, op.type.shape[0])
        self._number(buffer, op.type.shape[0], operands, meaning)
        return Numbers(buffer, op.type.shape[0])

    def _number(
        self,
        buffer: Buffer,
        length: int,
        operands: Sequence[Op],
        meaning: Callable[[Builder, list[Expression]], list[Expression]],
    ) -> None:
        """buffer = meaning(all elements of all operands)."""
        values = [self.values[operand] for operand in operands]

        def emit(b: Builder, run: Run) -> None:
            loaded = [b.let(n, "n") for value in values for n in self._elements(value, run)]
            results = [b.let(n, "n") for n in meaning(b, loaded)]
            assert len(results) == length
            for i, result in enumerate(results):
                b.store(buffer, i, Convert("trunc", result, I32))

        reads = tuple(value.buffer for value in values if isinstance(value, Numbers))
        self.tasks.append(Task(ONE, ONE, reads, (buffer,), emit))

    def _elements(self, value: Value, run: Run) -> list[Expression]:
        if isinstance(value, Known):
            missing = run.count - self.batch
            return [constant(n, I64) + missing * slope for n, slope in zip(value.values, value.slopes, strict=True)]
        if not isinstance(value, Numbers):
            raise refused(f"arithmetic on {type(value).__name__}")
        return [Convert("sext", load(value.buffer, i), I64) for i in range(value.length)]

    def _total(self, op: training.Total) -> Numbers:
        base, x = self.values[op.base], self.values[op.x]
        lo, hi = value_range(op.type.dtype)
        home = next(
            (self.homes[o.name].value for o in self.outputs if o.value is op and base == self.homes[o.name].value),
            None,
        )
        # In place where the only reader of the old number is this sum.
        alone = isinstance(home, Numbers) and len(self.users[op.base]) == 1
        result = home.buffer if alone and isinstance(home, Numbers) else self.arena.take("number", I32, 1)
        reads = tuple(v.buffer for v in (base, x) if not isinstance(v, Known | Table | Chosen | OfOne))

        def emit(b: Builder, run: Run) -> None:
            total = b.let(self._elements(base, run)[0], "base") + self._sum(b, run, x)
            total = binary("max", binary("min", total, constant(hi, I64)), constant(lo, I64))
            b.store(result, 0, Convert("trunc", total, I32))

        self.tasks.append(Task(ONE, ONE, reads, (result,), emit))
        return Numbers(result, 1)

    def _sum(self, b: Builder, run: Run, x: Value) -> Expression:
        if isinstance(x, PerSample):
            counted = b.variable("counted", constant(0, I32))
            with b.loop(run.count, "sample", unroll_one=False) as sample:
                b.assign(counted, counted + load(x.buffer, sample))
            return Convert("sext", counted, I64)
        if isinstance(x, Flips):
            lanes = self.machine.lanes
            type_ = vector_of(I32, lanes)
            flips = b.variable("counted", constant(0, type_))
            with b.loop(x.length // lanes, "vector") as vector:
                b.assign(flips, flips + load(x.buffer, vector * lanes, type_))
            added: Expression = Reduce("add", flips) if lanes > 1 else flips
            for row in range(x.length // lanes * lanes, x.length):
                added = added + load(x.buffer, row)
            return Convert("sext", added, I64)
        total: Expression = constant(0, I64)
        for element in self._elements(x, run):
            total = total + element
        return total

    def _number_step(self, op: bit.Step) -> Value:
        if len(op.thresholds) != 1:
            raise refused("thresholds that differ from number to number")
        thresholds, values = op.thresholds[0].tolist(), op.values[0].tolist()

        def meaning(b: Builder, n: list[Expression]) -> list[Expression]:
            results = []
            for number in n:
                result: Expression = constant(values[0], I64)
                for threshold, before, after in zip(thresholds, values, values[1:], strict=False):
                    reached = Convert("zext", compare("ge", number, threshold), I64)
                    result = result + reached * (after - before)
                results.append(result)
            return results

        return self._computed(op, [op.x], meaning)
