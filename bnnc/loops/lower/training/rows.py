"""Ops on hidden weights and their signs: each thread has its own rows."""

from __future__ import annotations

from bnnc.ir import bit, training
from bnnc.ir.op import Op
from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I32,
    I64,
)
from bnnc.loops.kernels.training.reinforce import PLACES, reinforce
from bnnc.loops.kernels.training.signs import take_signs
from bnnc.loops.kernels.training.update import Last, can_end, update
from bnnc.loops.lower.training.phases import Run, Task
from bnnc.loops.lower.training.samples import SampleTasks, is_sign
from bnnc.loops.lower.training.values import (
    Flips,
    HiddenWeights,
    Picks,
    Value,
    Weights,
    refused,
)


class RowTasks(SampleTasks):
    """Lowers what works on every row apart."""

    def _hidden(self, op: Op) -> HiddenWeights:
        value = self.values[op]
        if not isinstance(value, HiddenWeights) or len(self.users[op]) != 1:
            raise refused("hidden weights that are read twice")
        return value

    def _update(self, op: training.Update) -> Value:
        hidden, picks, x = self._hidden(op.hidden), self.values[op.picks], self._bits(op.x)
        if not isinstance(picks, Picks) or x.layout.planes != 1 or x.layout.samples != picks.parts * self.batch:
            raise refused(f"an update by {op.picks.type}")
        rows = hidden.layout.rows
        if x.layout.samples * rows >= 2**31:
            raise refused(f"a batch of {x.layout.samples} samples for {rows} neurons")
        heads = self.arena.take("heads", I32, rows)
        links = self.arena.take("links", I32, x.layout.samples * rows)
        end = self.ends.get(hidden.buffer)
        last, more = None, []
        if end is not None and can_end(self.machine):
            home = self.homes[end.weights]
            assert isinstance(home.value, Weights)
            last = Last(end.bound, home.value.layout, home.turned.layout if home.turned else None)
            more = [home.value.buffer, *([home.turned.buffer] if home.turned else []), end.flips]
        kernel = self.kernels.get(
            "update",
            (hidden.layout, x.layout, last, picks.parts),
            lambda name: update(name, hidden.layout, x.layout, last, self.machine, picks.parts),
        )

        def emit(b: Builder, run: Run) -> None:
            passed = (picks.buffer, picks.counts, x.buffer, hidden.buffer, links, heads, hidden.changed, *more)
            b.call(kernel, *passed, run.count, *run.rows[rows])

        # Heads belong to rows, links to picks, and so to rows as well.
        writes = (hidden.buffer, hidden.changed, heads, links, *more)
        self.tasks.append(Task(kernel.name, rows, (picks.buffer, picks.counts, x.buffer), writes, emit))
        return hidden

    def _reinforce(self, op: training.Reinforce) -> Value:
        hidden = self._hidden(op.hidden)
        rows = hidden.layout.rows
        reads = tuple(self._number_buffer(operand) for operand in (op.rate, op.active, op.clock))
        self.scratch.ask(I64, PLACES)
        kernel = self.kernels.get(
            "reinforce",
            (hidden.layout, op.layer, op.block, op.bound),
            lambda name: reinforce(name, hidden.layout, op.layer, op.block, op.bound, self.machine),
        )

        def emit(b: Builder, run: Run) -> None:
            own = self.scratch.of(run.thread, I64)
            b.call(kernel, *reads, hidden.buffer, hidden.changed, own, *run.rows[rows])

        self.tasks.append(Task(kernel.name, rows, (*reads, hidden.changed), (hidden.buffer,), emit))
        return hidden

    def _take_signs(self, op: bit.Step) -> Value:
        hidden = self.values[op.x]
        assert isinstance(hidden, HiddenWeights)
        name = next((o.name for o in self.outputs if o.value is op), "")
        home = self.homes.get(name)
        if not is_sign(op) or home is None or not isinstance(home.value, Weights):
            raise refused("signs of hidden weights that are not the state's weights")
        old = next((i for i in self.module.inputs if i.name == name), None)
        for user in self.users[old] if old is not None else ():
            if not (isinstance(user, training.Differ) and op in user.operands):
                raise refused(f"old and new `{name}` are both needed")
        value, other = home.value, home.turned
        rows = hidden.layout.rows
        end = self.ends.get(hidden.buffer)
        adds = end is not None and can_end(self.machine)
        flips = end.flips if end is not None else self.arena.take("flips", I32, rows)
        kernel = self.kernels.get(
            "take_signs",
            (hidden.layout, value.layout, other.layout if other else None, adds),
            lambda name: take_signs(
                name, hidden.layout, value.layout, other.layout if other else None, adds, self.machine
            ),
        )
        written = [value.buffer, *([other.buffer] if other else [])]

        def emit(b: Builder, run: Run) -> None:
            b.call(kernel, hidden.buffer, *written, hidden.changed, flips, *run.rows[rows])

        self.tasks.append(Task(kernel.name, rows, (hidden.buffer,), (*written, hidden.changed, flips), emit))
        for user in self.users[op]:
            if isinstance(user, training.Differ) and old in user.operands:
                self.values[user] = Flips(flips, rows)
        return value

    def _differ(self, op: training.Differ) -> Value:
        raise refused(f"comparison of {op.a.type}")
