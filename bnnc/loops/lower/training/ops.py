"""Turns the ops of one module of a training step into tasks: one kernel an op, results in the state's own memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from bnnc.ir import bit, training
from bnnc.ir.module import Input, Module, Output, topological
from bnnc.ir.move import Concat, Slice, Transpose
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, value_range
from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I16,
    I32,
    I64,
    Buffer,
    Convert,
    Expression,
    Function,
    Pointer,
    Reduce,
    Scalar,
    binary,
    compare,
    constant,
    constant_buffer,
    load,
    vector_of,
)
from bnnc.loops.kernels.training import bits, numbers
from bnnc.loops.kernels.training.layouts import BatchBits, BatchSums, packed_rows, signs_layout
from bnnc.loops.kernels.training.pick import pick, scratch_length
from bnnc.loops.kernels.training.product import can_sign, product
from bnnc.loops.kernels.training.reinforce import PLACES, reinforce
from bnnc.loops.kernels.training.signs import take_signs
from bnnc.loops.kernels.training.trigger import trigger
from bnnc.loops.kernels.training.update import Last, can_end, update
from bnnc.loops.lower.training.phases import ONE, SAMPLES, Run, Task
from bnnc.loops.lower.training.values import (
    Arena,
    Bits,
    End,
    Flips,
    HiddenWeights,
    Home,
    Known,
    Numbers,
    PerSample,
    Picks,
    Scratch,
    Sums,
    Table,
    Value,
    Weights,
    refused,
)
from bnnc.loops.machine import Machine

MOST_THREADS = 64
"""Threads that may share a step: each has scratch memory of its own."""


class Kernels:
    """The functions and constants of the program; equal ones are made once."""

    def __init__(self) -> None:
        self.functions: dict[Hashable, Function] = {}
        self.constants: dict[Hashable, Buffer] = {}

    def get(self, kind: str, key: Hashable, make: Callable[[str], Function]) -> Function:
        """The function of that kind for that key; `make` gets its name."""
        known = self.functions.get((kind, key))
        if known is None:
            number = sum(other[0] == kind for other in self.functions)  # type: ignore[index]
            known = self.functions[kind, key] = make(f"{kind}_{number}")
        return known

    def constant(self, kind: str, array: np.ndarray) -> Buffer:
        """A constant with this content."""
        key = (kind, array.shape, array.tobytes())
        if key not in self.constants:
            self.constants[key] = constant_buffer(f"constant_{kind}_{len(self.constants)}", array)
        return self.constants[key]


class ModuleTasks:
    """The tasks of one module, in order.

    `again`: the same module for one sample more, which shows what depends on their number; None for a module without
    samples. `outputs`: those that become the state. `ends`: what becomes of hidden weights whose last update in a batch
    is in this module. `scratch`: memory that every thread has of its own.
    """

    def __init__(
        self,
        module: Module,
        again: Module | None,
        batch: int,
        homes: dict[str, Home],
        given: dict[str, Value],
        arena: Arena,
        kernels: Kernels,
        machine: Machine,
        scratch: Scratch,
        outputs: tuple[Output, ...],
        ends: dict[Buffer, End],
    ) -> None:
        self.batch, self.homes, self.arena, self.ends = batch, homes, arena, ends
        self.inputs, self.outputs = module.inputs, outputs
        self.kernels, self.machine, self.scratch = kernels, machine, scratch
        self.tasks: list[Task] = []
        self.values: dict[Op, Value] = {}
        self.users = module.users()
        self._more = dict(zip(module.ops(), (again or module).ops(), strict=True))
        for source in module.inputs:
            self.values[source] = given[source.name] if source.name in given else homes[source.name].value
        for op in module.ops():
            if op not in self.values:
                self.values[op] = self._lower(op)
        self._finish()

    # --------------------------------------------------------------------------------------------------- outputs
    def _finish(self) -> None:
        """What is not in its home yet goes there, after everything that reads the old value."""
        for output in self.outputs:
            home, value = self.homes[output.name], self.values[output.value]
            if value == home.value:
                continue
            if not isinstance(home.value, Numbers) or not isinstance(value, Numbers | Known):
                raise refused(f"`{output.name}` becomes another tensor")
            self._number(home.value.buffer, home.value.length, [output.value], lambda _, n: n)

    # ------------------------------------------------------------------------------------------------------- ops
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
            case bit.Step():
                return self._step(op)
            case training.Rows():
                return self._rows(op)
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
                flags = self._bits(op.flags)
                kernel = self.kernels.get("any", flags.layout, lambda name: bits.any_flag(name, flags.layout))
                return self._per_sample(kernel, [flags.buffer])
            case training.Both():
                return self._both(op)
            case training.Differ():
                return self._differ(op)
            case training.Total():
                return self._total(op)
        return self._numbers(op)

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

    # --------------------------------------------------------------------------------------------- single numbers
    def _constant(self, op: training.Constant) -> Value:
        if op.dtype == Bit() and op.values.ndim == 2:
            return Table(op.values)
        other = self._more[op]
        assert isinstance(other, training.Constant)
        if op.values.ndim != 1 or other.values.shape != op.values.shape:
            raise refused(f"a constant {op.type}")
        slopes = other.values.astype(np.int64) - op.values
        return Known(tuple(op.values.tolist()), tuple(slopes.tolist()))

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
        reads = tuple(v.buffer for v in (base, x) if not isinstance(v, Known | Table))

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

    # ------------------------------------------------------------------------------------------------- samples
    def _samples(
        self,
        kernel: Function,
        reads: Sequence[Buffer],
        writes: Sequence[Buffer],
        own: Scalar | None = None,
        passed: Sequence[Buffer] | None = None,
    ) -> None:
        """A call for the samples of each thread; with scratch memory of elements `own`; `passed`: what stands for the
        buffers that are read."""

        def emit(b: Builder, run: Run) -> None:
            arguments: list[Buffer | Pointer | Expression] = [*(passed or reads)]
            if own is not None:
                arguments.append(self.scratch.of(run.thread, own))
            b.call(kernel, *arguments, *writes, run.first, run.last)

        self.tasks.append(Task(kernel.name, SAMPLES, tuple(reads), tuple(writes), emit))

    def _per_sample(self, kernel: Function, reads: Sequence[Buffer]) -> PerSample:
        flags = self.arena.take("flags", I32, self.batch)
        self._samples(kernel, reads, [flags])
        return PerSample(flags)

    def _new_bits(self, width: int, planes: int = 1) -> Bits:
        layout = BatchBits(self.batch, width, planes)
        return Bits(self.arena.take("bits", I32, layout.length), layout)

    def _bits(self, op: Op) -> Bits:
        value = self.values[op]
        if not isinstance(value, Bits):
            raise refused(f"`{op.opcode}` is not the bits of samples")
        return value

    def _sums(self, op: Op) -> Sums:
        value = self.values[op]
        if not isinstance(value, Sums):
            raise refused(f"`{op.opcode}` is not a sum a neuron")
        return value

    def _flags(self, op: Op) -> Buffer:
        value = self.values[op]
        if not isinstance(value, PerSample):
            raise refused(f"`{op.opcode}` is not a number a sample")
        return value.buffer

    def _product(self, op: training.Product) -> Value:
        x, w = self._bits(op.x), self.values[op.w]
        if isinstance(w, Table):
            layout = signs_layout(len(w.values), w.values.shape[1], self.machine)
            w = Weights(self.kernels.constant("classifier", layout.pack(w.values)), layout)
        if not isinstance(w, Weights) or x.layout.width > 2**15 - 1:
            raise refused(f"a product of {op.x.type} and {op.w.type}")
        weights = w.layout
        sums = BatchSums(self.batch, weights.rows)
        result = Sums(self.arena.take("sums", I16, sums.length), sums)
        # The signs come with the sums where somebody wants them.
        step = next((user for user in self.users[op] if _is_sign(user)), None)
        signs = self._new_bits(weights.rows) if step is not None and can_sign(self.machine) else None
        layout_of_signs = signs.layout if signs else None
        guard = self._guard(op)
        kernel = self.kernels.get(
            "product",
            (x.layout, weights, sums, layout_of_signs, guard is None),
            lambda name: product(name, x.layout, weights, sums, layout_of_signs, guard is not None, self.machine),
        )
        if signs is not None and step is not None:
            self.values[step] = signs
        reads, passed = [x.buffer, w.buffer], [x.units(weights.element), w.buffer]
        if guard is not None:
            self.scratch.ask(I64, self.batch)
            reads.append(self._flags(guard))
            passed.append(self._flags(guard))
        writes = [result.buffer, *([signs.buffer] if signs else [])]
        self._samples(kernel, reads, writes, I64 if guard is not None else None, passed)
        return result

    def _guard(self, op: Op) -> Op | None:
        """Flags of samples, if the others' values of this op are never looked at: a pick looks at active ones only.

        None if there are none, or none that can be known before.
        """
        actives: list[Op] = []
        waiting, seen = [op], {op}
        while waiting:
            for user in self.users[waiting.pop()]:
                if isinstance(user, training.Pick) and user.active not in seen:
                    actives.append(user.active)
                elif isinstance(user, bit.Step | training.Mask | training.Product) and user not in seen:
                    seen.add(user)
                    waiting.append(user)
                elif user not in seen:
                    return None
        if any(output.value in seen for output in self.outputs):
            return None
        first, *others = actives or [op]
        if first is op or not all(_implies(other, first) for other in others):
            return None
        return first if self._known(first, seen) else None

    def _known(self, flags: Op, later: set[Op]) -> bool:
        """Lowers what gives these flags, unless it needs one of the ops to come."""
        from_here = topological([flags])
        if any(op in later for op in from_here):
            return False
        for op in from_here:
            if op not in self.values:
                self.values[op] = self._lower(op)
        return True

    def _step(self, op: bit.Step) -> Value:
        x = self.values[op.x]
        if isinstance(x, HiddenWeights):
            return self._take_signs(op, x)
        if len(op.thresholds) != 1:
            raise refused("thresholds that differ from sample to sample")
        thresholds, values = op.thresholds[0].tolist(), op.values[0].tolist()
        if isinstance(x, Numbers | Known):

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
        sums = self._sums(op.x)
        high = value_range(op.dtype)[1]
        if value_range(op.dtype) not in ((-1, 1), (0, 1)) or (0 in values and op.dtype == Bit()):
            raise refused(f"a step to {op.dtype}")
        turns = tuple(t for t, before, after in zip(thresholds, values, values[1:], strict=False) if before != after)
        begins = values[0] == high
        if len(set(values)) > 2:
            raise refused(f"a step to {op.dtype}")
        result = self._new_bits(sums.layout.width)
        kernel = self.kernels.get(
            "step",
            (sums.layout, turns, begins),
            lambda name: bits.step(name, sums.layout, result.layout, turns, begins, self.machine),
        )
        self._samples(kernel, [sums.buffer], [result.buffer])
        return result

    def _rows(self, op: training.Rows) -> Value:
        table, index = self.values[op.table], self._flags(op.index)
        if not isinstance(table, Table):
            raise refused(f"rows of {op.table.type}")
        constant_rows = self.kernels.constant("rows", packed_rows(table.values > 0))
        result = self._new_bits(table.values.shape[1])
        kernel = self.kernels.get(
            "rows",
            (constant_rows, result.layout),
            lambda name: bits.table_rows(name, constant_rows, len(table.values), result.layout),
        )
        self._samples(kernel, [index], [result.buffer])
        return result

    def _trigger(self, op: training.Trigger) -> Value:
        scores, labels = self._sums(op.scores), self._flags(op.labels)
        kernel = self.kernels.get(
            "trigger",
            (scores.layout, op.margin),
            lambda name: trigger(name, scores.layout, op.margin, self.machine),
        )
        return self._per_sample(kernel, [scores.buffer, labels])

    def _mask(self, op: training.Mask) -> Value:
        x, flags = self._bits(op.x), self._bits(op.flags)
        if x.layout.planes != 1 or flags.layout.planes != 1:
            raise refused("a mask of trits")
        result = self._new_bits(x.layout.width, 2)
        kernel = self.kernels.get(
            "mask", (x.layout, flags.layout), lambda name: bits.masked(name, x.layout, flags.layout, result.layout)
        )
        self._samples(kernel, [x.buffer, flags.buffer], [result.buffer])
        return result

    def _both(self, op: training.Both) -> Value:
        kernel = self.kernels.get("both", self.batch, lambda name: bits.both_flags(name, self.batch))
        return self._per_sample(kernel, [self._flags(op.a), self._flags(op.b)])

    def _pick(self, op: training.Pick) -> Value:
        sums, wanted = self._sums(op.sums), self._bits(op.wanted)
        group, clock = self._number_buffer(op.group), self._number_buffer(op.clock)
        neurons = sums.layout.width
        picks = self.arena.take("picks", I32, self.batch * neurons)
        counts = self.arena.take("counts", I32, self.batch)
        self.scratch.ask(I16, scratch_length(sums.layout, self.machine))
        kernel = self.kernels.get(
            "pick",
            (sums.layout, wanted.layout, op.layer, op.tie, op.zero_right),
            lambda name: pick(name, sums.layout, wanted.layout, op.layer, op.tie, op.zero_right, self.machine),
        )
        reads = [sums.buffer, wanted.buffer, self._flags(op.active), group, clock]
        self._samples(kernel, reads, [picks, counts], I16)
        return Picks(picks, counts, neurons)

    def _number_buffer(self, op: Op) -> Buffer:
        value = self.values[op]
        if isinstance(value, Known) and not any(value.slopes):
            return self.kernels.constant("numbers", np.array(value.values, np.int32))
        if not isinstance(value, Numbers):
            raise refused(f"`{op.opcode}` is not a number")
        return value.buffer

    # ---------------------------------------------------------------------------------------------------- rows
    def _hidden(self, op: Op) -> HiddenWeights:
        value = self.values[op]
        if not isinstance(value, HiddenWeights) or len(self.users[op]) != 1:
            raise refused("hidden weights that are read twice")
        return value

    def _update(self, op: training.Update) -> Value:
        hidden, picks, x = self._hidden(op.hidden), self.values[op.picks], self._bits(op.x)
        if not isinstance(picks, Picks) or x.layout.planes != 1:
            raise refused(f"an update by {op.picks.type}")
        rows = hidden.layout.rows
        heads = self.arena.take("heads", I32, rows)
        links = self.arena.take("links", I32, self.batch * rows)
        end = self.ends.get(hidden.buffer)
        last, more = None, []
        if end is not None and can_end(self.machine):
            home = self.homes[end.weights]
            assert isinstance(home.value, Weights)
            last = Last(end.bound, home.value.layout, home.turned.layout if home.turned else None)
            more = [home.value.buffer, *([home.turned.buffer] if home.turned else []), end.flips]
        kernel = self.kernels.get(
            "update",
            (hidden.layout, x.layout, last),
            lambda name: update(name, hidden.layout, x.layout, last, self.machine),
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

    def _take_signs(self, op: bit.Step, hidden: HiddenWeights) -> Value:
        name = next((o.name for o in self.outputs if o.value is op), "")
        home = self.homes.get(name)
        if not _is_sign(op) or home is None or not isinstance(home.value, Weights):
            raise refused("signs of hidden weights that are not the state's weights")
        old = next((i for i in self.inputs if i.name == name), None)
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


def _implies(flags: Op, wanted: Op) -> bool:
    """Whether a sample with the one flag has the other as well."""
    while flags is not wanted and isinstance(flags, training.Both):
        flags = flags.a
    return flags is wanted


def _is_sign(op: Op) -> bool:
    """Whether a step gives +1 for numbers >= 0, else -1."""
    return (
        isinstance(op, bit.Step)
        and op.dtype == Bit()
        and op.thresholds.tolist() == [[0]]
        and op.values.tolist() == [[-1, 1]]
    )


__all__ = ["MOST_THREADS", "Kernels", "ModuleTasks"]
