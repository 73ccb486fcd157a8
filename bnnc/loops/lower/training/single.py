"""Turns the ops of one module of a training step into tasks for one sample at a time, on one thread."""

from __future__ import annotations

import numpy as np

from bnnc.ir import bit, training
from bnnc.ir.module import Module, Output
from bnnc.ir.move import Concat, Expand, Reshape, Slice, Transpose
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, value_range
from bnnc.loops.builder import Builder
from bnnc.loops.ir import I16, I32, Buffer, Function, Pointer, load
from bnnc.loops.kernels.training import planes, single, single_pick
from bnnc.loops.kernels.training.layouts import packed_rows
from bnnc.loops.lower.training.numbers import NumberTasks
from bnnc.loops.lower.training.phases import ONE, Run, Task
from bnnc.loops.lower.training.samples import is_sign
from bnnc.loops.lower.training.single_values import (
    WIDEST,
    HiddenPlanes,
    Masked,
    Picked,
    RowsOfBits,
    Several,
    SingleHome,
    SumsOfOne,
    TableRow,
    Turned,
    Words,
)
from bnnc.loops.lower.training.tasks import Context
from bnnc.loops.lower.training.values import Chosen, Known, Numbers, OfOne, Table, Value, refused


class SingleTasks(NumberTasks):
    """The tasks of one module, in the order of its ops. `matrices`: where those of the state are."""

    def __init__(
        self, context: Context, matrices: dict[str, SingleHome], module: Module, outputs: tuple[Output, ...]
    ) -> None:
        super().__init__(context, module, None, outputs)
        self.matrices = matrices

    def _home(self, name: str) -> Value:
        return self.matrices[name].value if name in self.matrices else self.homes[name].value

    def write(self, given: dict[str, Value]) -> None:
        """Lowers every op. `given`: where the inputs are that are not of the state."""
        for source in self.module.inputs:
            self.values[source] = given[source.name] if source.name in given else self._home(source.name)
        for op in self.module.ops():
            if op not in self.values:
                self.values[op] = self._lower(op)
        for output in self.outputs:
            home, value = self._home(output.name), self.values[output.value]
            if value == home:
                continue
            if not isinstance(home, Numbers) or not isinstance(value, Numbers | Known):
                raise refused(f"`{output.name}` becomes another tensor")
            self._number(home.buffer, home.length, [output.value], lambda _, n: n)

    def _lower(self, op: Op) -> Value:
        match op:
            case training.Constant():
                return self._constant(op)
            case Transpose() if isinstance(self.values[op.x], RowsOfBits):
                return Turned(self.values[op.x])  # type: ignore[arg-type]
            case training.Product():
                return self._product(op)
            case bit.Step() if isinstance(self.values[op.x], HiddenPlanes):
                return self._take_signs(op)
            case bit.Step() if isinstance(self.values[op.x], Numbers | Known):
                return self._number_step(op)
            case bit.Step():
                return self._step(op)
            case training.Rows() | Reshape() | Expand():
                return self._constants(op)
            case Slice() if len(op.type.shape) == 2:
                return self._cut(op)
            case bit.Add() if len(op.type.shape) == 2:
                return self._added(op)
            case bit.Pool():
                return self._pool(op)
            case Concat() if len(op.type.shape) == 2 and op.axis == 0:
                return Several(tuple(self._of_one(x) for x in op.xs))
            case training.Trigger():
                return self._trigger(op)
            case training.Pick():
                return self._pick(op)
            case training.Update():
                return self._update(op)
            case training.Reinforce():
                return self._reinforce(op)
            case training.Mask():
                return Masked(self._bits_of(op.x), self._words(op.flags))
            case training.Any():
                flags = self._words(op.flags)
                kernel = self._kernel("any_flag", flags.width, lambda name: single.any_flag(name, flags.width))
                return self._flag(kernel, flags.buffer)
            case training.Both():
                kernel = self._kernel("both_flags", (), single.both_flags)
                return self._flag(kernel, self._one(op.a), self._one(op.b))
            case training.Differ():
                raise refused(f"comparison of {op.a.type}")
            case training.Total():
                return self._total(op)
        return self._numbers(op)

    # ------------------------------------------------------------------------------------------------------- operands
    def _of_one(self, op: Op) -> OfOne:
        value = self.values[op]
        if isinstance(value, Chosen):
            value = self.values[op] = self._row_of(value)
        if not isinstance(value, OfOne):
            raise refused(f"`{op.opcode}` of {op.type}")
        return value

    def _bits_of(self, op: Op) -> Words | TableRow:
        value = self._of_one(op)
        if not isinstance(value, Words | TableRow):
            raise refused(f"`{op.opcode}` is not the bits of a sample")
        return value

    def _words(self, op: Op) -> Words:
        value = self.values[op]
        if not isinstance(value, Words):
            raise refused(f"`{op.opcode}` is not the bits of a sample")
        return value

    def _sums_of(self, op: Op) -> SumsOfOne:
        value = self.values[op]
        if not isinstance(value, SumsOfOne):
            raise refused(f"`{op.opcode}` is not a sum a neuron")
        return value

    def _one(self, op: Op) -> Buffer:
        value = self.values[op]
        if not isinstance(value, Numbers) or value.length != 1:
            raise refused(f"`{op.opcode}` is not a number")
        return value.buffer

    def _hidden_planes(self, op: Op) -> HiddenPlanes:
        value = self.values[op]
        if not isinstance(value, HiddenPlanes) or len(self.users[op]) != 1:
            raise refused("hidden weights that are read twice")
        return value

    def _row_of(self, chosen: Chosen) -> TableRow:
        table = self.kernels.constant("rows", packed_rows(chosen.values > 0))
        return TableRow(table, chosen.values.shape[1], chosen.index, len(chosen.values))

    # ---------------------------------------------------------------------------------------------------------- calls
    def _kernel(self, kind: str, key: object, make: object) -> Function:
        return self.kernels.get(kind, key, make)  # type: ignore[arg-type]

    def _call(self, kernel: Function, *arguments: Words | TableRow | Buffer) -> None:
        """A call with these arguments, in order."""

        def emit(b: Builder, run: Run) -> None:
            passed: list[Buffer | Pointer] = []
            for argument in arguments:
                if isinstance(argument, TableRow):
                    number = None if argument.index is None else single.index(load(argument.index, 0), argument.rows)
                    passed.append(argument.pointer(number))
                else:
                    passed.append(argument.buffer if isinstance(argument, Words) else argument)
            b.call(kernel, *passed)

        self.tasks.append(Task(kernel.name, ONE, (), (), emit))

    def _flag(self, kernel: Function, *arguments: Buffer) -> Numbers:
        flag = self.arena.take("flag", I32, 1)
        self._call(kernel, *arguments, flag)
        return Numbers(flag, 1)

    def _room(self, width: int) -> SumsOfOne:
        return SumsOfOne(self.arena.take("sums", I16, single.room(width)), width)

    def _new_words(self, width: int) -> Words:
        return Words(self.arena.take("bits", I32, single.words_of(width)), width)

    # ------------------------------------------------------------------------------------------------------- a sample
    def _product(self, op: training.Product) -> Value:
        x, w = self._of_one(op.x), self.values[op.w]
        if isinstance(x, Masked) and isinstance(w, Turned):
            return self._votes(op, x, w.of)
        if isinstance(w, Table):
            table = self.kernels.constant("classifier", packed_rows(w.values > 0))
            w = RowsOfBits(table, *w.values.shape)
        if not isinstance(w, RowsOfBits) or not isinstance(x, Words | TableRow) or w.width > WIDEST:
            raise refused(f"a product of {op.x.type} and {op.w.type}")
        rows, width = w.rows, w.width
        step = next((user for user in self.users[op] if is_sign(user)), None)
        result, signs = self._room(rows), self._new_words(rows) if step is not None else None
        kernel = self._kernel(
            "product",
            (width, rows, step is not None),
            lambda name: single.product(name, width, rows, step is not None, self.machine),
        )
        self._call(kernel, x, w.buffer, result.buffer, *([signs] if signs else []))
        if signs is not None and step is not None:
            self.values[step] = signs
        return result

    def _votes(self, op: training.Product, x: Masked, w: RowsOfBits) -> Value:
        users = self.users[op]
        if not all(is_sign(user) for user in users) or not isinstance(x.bits, Words | TableRow):
            raise refused(f"a product of {op.x.type} and {op.w.type}")
        result = self._new_words(w.width)
        kernel = self._kernel("votes", (w.rows, w.width), lambda name: single.votes(name, w.rows, w.width))
        listed = self.arena.take("listed", I16, single.room(w.rows))
        self._call(kernel, x.flags, x.bits, w.buffer, listed, result)
        for user in users:
            self.values[user] = result
        return result

    def _step(self, op: bit.Step) -> Value:
        sums = self._sums_of(op.x)
        values = op.values[0].tolist()
        if len(op.thresholds) != 1 or len(set(values)) > 2 or (0 in values and op.dtype == Bit()):
            raise refused(f"a step to {op.dtype}")
        if value_range(op.dtype) not in ((-1, 1), (0, 1)):
            raise refused(f"a step to {op.dtype}")
        pairs = zip(op.thresholds[0].tolist(), values, values[1:], strict=False)
        turns = tuple(threshold for threshold, before, after in pairs if before != after)
        begins = values[0] == value_range(op.dtype)[1]
        result = self._new_words(sums.width)
        kernel = self._kernel(
            "step", (sums.width, turns, begins), lambda name: single.step(name, sums.width, turns, begins)
        )
        self._call(kernel, sums.buffer, result)
        return result

    def _constants(self, op: Op) -> Value:
        """Rows of a table, and what is made of constants before anything runs."""
        if isinstance(op, training.Rows):
            table = self.values[op.table]
            if not isinstance(table, Table):
                raise refused(f"rows of {op.table.type}")
            return Chosen(table.values, self._one(op.index))
        assert isinstance(op, Reshape | Expand)
        x = self.values[op.x]
        if isinstance(x, Table) and len(x.values) == 1:
            return Chosen(np.asarray(x.values), None)
        if not isinstance(x, Chosen) or op.type.shape[0] != 1:
            raise refused(f"`{op.opcode}` of {op.x.type}")
        shape = (len(x.values), *op.type.shape[1:])
        return Chosen(x.values.reshape(shape) if isinstance(op, Reshape) else np.broadcast_to(x.values, shape), x.index)

    def _cut(self, op: Slice) -> Value:
        x = self._words(op.x)
        begin, count = op.starts[1], op.counts[1]
        if op.starts[0] or op.counts[0] != 1 or op.steps != (1, 1):
            raise refused(f"a slice {op.type} of {op.x.type}")
        result = self._new_words(count)
        kernel = self._kernel("cut", (x.width, begin, count), lambda name: single.cut(name, x.width, begin, count))
        self._call(kernel, x, result)
        return result

    def _added(self, op: bit.Add) -> Value:
        lo, hi = value_range(op.type.dtype)
        if lo < -(2**15) or hi >= 2**15:
            raise refused(f"sums of {op.type.dtype}")
        operands = [self._sums_of(x) for x in op.xs]
        width = operands[0].width
        kernel = self._kernel(
            "added", (width, op.coefficients), lambda name: single.added(name, width, op.coefficients)
        )
        result = self._room(width)
        self._call(kernel, *(x.buffer for x in operands), result.buffer)
        return result

    def _pool(self, op: bit.Pool) -> Value:
        x, size, count = self._words(op.x), op.kernel[0], op.type.shape[1]
        plain = op.kernel == op.strides == (size,) and not any(op.pads) and op.function == "sum"
        if not plain or size > WIDEST or count * size > x.width:
            raise refused(f"a pool {op.type} of {op.x.type}")
        kernel = self._kernel(
            "window_sums", (x.width, size, count), lambda name: single.window_sums(name, x.width, size, count)
        )
        result = self._room(count)
        self._call(kernel, x, result.buffer)
        return result

    def _trigger(self, op: training.Trigger) -> Value:
        scores = self._sums_of(op.scores)
        kernel = self._kernel(
            "trigger", (scores.width, op.margin), lambda name: single.trigger(name, scores.width, op.margin)
        )
        return self._flag(kernel, scores.buffer, self._one(op.labels))

    def _pick(self, op: training.Pick) -> Value:
        sums, wanted = self._sums_of(op.sums), self._bits_of(op.wanted)
        width = sums.width
        known = self.values[op.group]
        smallest = known.values[0] if isinstance(known, Known) else value_range(op.group.type.dtype)[0]
        most = -(-width // max(1, min(smallest, width)))
        picked = Picked(self.arena.take("picks", I16, single.room(most)), self.arena.take("count", I32, 1))
        kernel = self._kernel(
            "pick",
            (width, most, op.layer, op.tie, op.zero_right),
            lambda name: single_pick.pick(name, width, most, op.layer, op.tie, op.zero_right),
        )
        group, clock = self._number_buffer(op.group), self._number_buffer(op.clock)
        self._call(kernel, sums.buffer, wanted, self._one(op.active), group, clock, picked.buffer, picked.count)
        return picked

    def _update(self, op: training.Update) -> Value:
        hidden, picks, x = self._hidden_planes(op.hidden), self._of_one(op.picks), self._of_one(op.x)
        lists = picks.parts if isinstance(picks, Several) else (picks,)
        inputs = x.parts if isinstance(x, Several) else (x,)
        for part, bits in zip(lists, inputs, strict=True):
            if not isinstance(part, Picked) or not isinstance(bits, Words | TableRow):
                raise refused(f"an update by {op.picks.type}")
            most = part.buffer.length
            kernel = self._kernel(
                "update", (hidden.layout, most), lambda name, n=most: planes.update(name, hidden.layout, n)
            )
            self._call(kernel, hidden.buffer, bits, part.buffer, part.count)
        return hidden

    # ---------------------------------------------------------------------------------------------------- end of batch
    def _reinforce(self, op: training.Reinforce) -> Value:
        hidden = self._hidden_planes(op.hidden)
        reads = tuple(self._number_buffer(operand) for operand in (op.rate, op.active, op.clock))
        depth = hidden.layout.planes
        keep = self._kernel("limit", (depth, op.bound), lambda name: planes.limit(name, depth, op.bound))
        kernel = self._kernel(
            "reinforce",
            (hidden.layout, op.layer, op.block, op.bound),
            lambda name: planes.reinforce(name, hidden.layout, op.layer, op.block, keep),
        )
        self._call(kernel, *reads, hidden.buffer)
        return hidden

    def _take_signs(self, op: bit.Step) -> Value:
        hidden = self.values[op.x]
        assert isinstance(hidden, HiddenPlanes)
        name = next((o.name for o in self.outputs if o.value is op), "")
        home = self.matrices[name].value if name in self.matrices else None
        if not is_sign(op) or not isinstance(home, RowsOfBits):
            raise refused("signs of hidden weights that are not the state's weights")
        old = next((i for i in self.module.inputs if i.name == name), None)
        for user in self.users[old] if old is not None else ():
            if not (isinstance(user, training.Differ) and op in user.operands):
                raise refused(f"old and new `{name}` are both needed")
        kernel = self._kernel("take_signs", hidden.layout, lambda name: planes.take_signs(name, hidden.layout))
        flips = self.arena.take("flips", I32, 1)
        self._call(kernel, hidden.buffer, home.buffer, flips)
        for user in self.users[op]:
            if isinstance(user, training.Differ) and old in user.operands:
                self.values[user] = Numbers(flips, 1)
        return home


__all__ = ["SingleTasks"]
