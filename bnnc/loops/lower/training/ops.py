"""Turns the ops of one module of a training step into tasks: one kernel an op, results in the state's own memory."""

from __future__ import annotations

from bnnc.ir import bit, training
from bnnc.ir.module import Input
from bnnc.ir.move import Concat, Expand, Reshape, Slice, Transpose
from bnnc.ir.op import Op
from bnnc.loops.lower.training.rows import RowTasks
from bnnc.loops.lower.training.values import (
    HiddenWeights,
    Known,
    Numbers,
    Value,
    Weights,
    refused,
)


class ModuleTasks(RowTasks):
    """The tasks of one module."""

    def write(self, given: dict[str, Value]) -> None:
        """Lowers every op. `given`: where the inputs are that are not of the state."""
        module, homes = self.module, self.homes
        for source in module.inputs:
            self.values[source] = given[source.name] if source.name in given else homes[source.name].value
        for op in module.ops():
            if op not in self.values:
                self.values[op] = self._lower(op)
        self._finish()

    def _finish(self) -> None:
        """What is not in its home yet goes there, after everything that reads the old value."""
        for output in self.outputs:
            home, value = self.homes[output.name], self.values[output.value]
            if value == home.value:
                continue
            if not isinstance(home.value, Numbers) or not isinstance(value, Numbers | Known):
                raise refused(f"`{output.name}` becomes another tensor")
            self._number(home.value.buffer, home.value.length, [output.value], lambda _, n: n)

    def _lower(self, op: Op) -> Value:
        match op:
            case training.Constant():
                return self._constant(op)
            case Transpose() if isinstance(op.x, Input) and isinstance(self.values[op.x], Weights):
                other = self.homes[op.x.name].turned
                assert other is not None
                return other
            case training.Product():
                return self._product(op)
            case bit.Step() if isinstance(self.values[op.x], HiddenWeights):
                return self._take_signs(op)
            case bit.Step() if isinstance(self.values[op.x], Numbers | Known):
                return self._number_step(op)
            case bit.Step():
                return self._step(op)
            case training.Rows():
                return self._rows(op)
            case Reshape() | Expand():
                return self._moved(op)
            case Slice() if len(op.type.shape) == 2:
                return self._cut(op)
            case bit.Add() if len(op.type.shape) == 2:
                return self._added(op)
            case bit.Pool():
                return self._pool(op)
            case Concat() if len(op.type.shape) == 2 and op.axis == 0:
                return self._joined(op)
            case training.Trigger():
                return self._trigger(op)
            case training.Pick():
                return self._pick(op)
            case training.Update():
                return self._update(op)
            case training.Reinforce():
                return self._reinforce(op)
            case training.Mask():
                return self._mask(op)
            case training.Any():
                return self._any(op)
            case training.Both():
                return self._both(op)
            case training.Differ():
                return self._differ(op)
            case training.Total():
                return self._total(op)
        return self._numbers(op)
