"""Ops on samples: each thread has its own of the batch, and does all of these on them."""

from __future__ import annotations

from functools import partial

import numpy as np

from bnnc.ir import bit, training
from bnnc.ir.module import topological
from bnnc.ir.move import Concat, Expand, Reshape, Slice
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, value_range
from bnnc.loops.ir import (
    I16,
    I32,
    I64,
)
from bnnc.loops.kernels.training import bits
from bnnc.loops.kernels.training.layouts import BatchBits, BatchSums, signs_layout
from bnnc.loops.kernels.training.pick import joined_picks, pick, scratch_length
from bnnc.loops.kernels.training.product import can_sign, product
from bnnc.loops.kernels.training.sums import added, window_sums
from bnnc.loops.kernels.training.trigger import trigger
from bnnc.loops.lower.training.numbers import NumberTasks
from bnnc.loops.lower.training.values import (
    Bits,
    Chosen,
    Picks,
    Sums,
    Table,
    Value,
    Weights,
    refused,
)


class SampleTasks(NumberTasks):
    """Lowers what works on every sample apart."""

    def _lower(self, op: Op) -> Value:
        raise NotImplementedError

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
        step = next((user for user in self.users[op] if is_sign(user)), None)
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
        if len(op.thresholds) != 1:
            raise refused("thresholds that differ from sample to sample")
        thresholds, values = op.thresholds[0].tolist(), op.values[0].tolist()
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
        table = self.values[op.table]
        if not isinstance(table, Table):
            raise refused(f"rows of {op.table.type}")
        return Chosen(table.values, self._flags(op.index))

    def _moved(self, op: Reshape | Expand) -> Value:
        """Only the samples of a constant can be reshaped: the constant is, before anything runs."""
        x = self.values[op.x]
        if (
            isinstance(x, Table)
            and len(x.values) == 1
            and isinstance(op, Expand)
            and op.shape[1:] == x.values.shape[1:]
        ):
            return Chosen(x.values, None)
        if not isinstance(x, Chosen) or op.shape[0] != self.batch:
            raise refused(f"`{op.opcode}` of {op.x.type}")
        shape = (len(x.values), *op.shape[1:])
        return Chosen(x.values.reshape(shape) if isinstance(op, Reshape) else np.broadcast_to(x.values, shape), x.index)

    def _cut(self, op: Slice) -> Value:
        x = self._bits(op.x)
        if op.starts[0] or op.counts[0] != self.batch or op.steps != (1, 1) or x.layout.planes != 1:
            raise refused(f"a slice {op.type} of {op.x.type}")
        result = self._new_bits(op.counts[1])
        kernel = self.kernels.get(
            "cut",
            (x.layout, op.starts[1], result.layout),
            lambda name: bits.cut(name, x.layout, op.starts[1], result.layout),
        )
        self._samples(kernel, [x.buffer], [result.buffer])
        return result

    def _added(self, op: bit.Add) -> Value:
        operands = [self._sums(x) for x in op.xs]
        lo, hi = value_range(op.type.dtype)
        if lo < -(2**15) or hi >= 2**15:
            raise refused(f"sums of {op.type.dtype}")
        layout = operands[0].layout
        kernel = self.kernels.get(
            "added", (layout, op.coefficients), lambda name: added(name, layout, op.coefficients, self.machine)
        )
        result = Sums(self.arena.take("sums", I16, layout.length), layout)
        self._samples(kernel, [x.buffer for x in operands], [result.buffer])
        return result

    def _pool(self, op: bit.Pool) -> Value:
        x, size = self._bits(op.x), op.kernel[0]
        plain = op.kernel == op.strides == (size,) and not any(op.pads) and op.function == "sum"
        if not plain or x.layout.planes != 1 or size >= 2**15 or op.type.shape[1] * size > x.layout.width:
            raise refused(f"a pool {op.type} of {op.x.type}")
        sums = BatchSums(self.batch, op.type.shape[1])
        kernel = self.kernels.get(
            "window_sums", (x.layout, size, sums), lambda name: window_sums(name, x.layout, size, sums)
        )
        result = Sums(self.arena.take("sums", I16, sums.length), sums)
        self._samples(kernel, [x.buffer], [result.buffer])
        return result

    def _joined(self, op: Concat) -> Value:
        """Several batches one after the other."""
        parts = len(op.xs)
        if isinstance(self.values[op.xs[0]], Picks):
            picks = [self.values[x] for x in op.xs]
            neurons = op.type.shape[1]
            result = Picks(
                self.arena.take("picks", I32, parts * self.batch * neurons),
                self.arena.take("counts", I32, parts * self.batch),
                neurons,
                parts,
            )
            for number, part in enumerate(picks):
                if not isinstance(part, Picks) or part.parts != 1:
                    raise refused(f"`{op.opcode}` of {op.type}")
                make_list = partial(joined_picks, samples=self.batch, neurons=neurons, parts=parts, part=number)
                kernel = self.kernels.get("joined_picks", (neurons, parts, number), make_list)
                self._samples(kernel, [part.buffer, part.counts], [result.buffer, result.counts])
            return result
        each = [self._bits(x) for x in op.xs]
        layout = BatchBits(parts * self.batch, op.type.shape[1])
        together = Bits(self.arena.take("bits", I32, layout.length), layout)
        for number, source in enumerate(each):
            if source.layout.planes != 1 or source.layout.samples != self.batch:
                raise refused(f"`{op.opcode}` of {op.type}")
            make = partial(bits.joined, x=source.layout, bits=layout, part=number)
            kernel = self.kernels.get("joined", (source.layout, layout, number), make)
            self._samples(kernel, [source.buffer], [together.buffer])
        return together

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

    def _any(self, op: training.Any) -> Value:
        flags = self._bits(op.flags)
        kernel = self.kernels.get("any", flags.layout, lambda name: bits.any_flag(name, flags.layout))
        return self._per_sample(kernel, [flags.buffer])

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


def _implies(flags: Op, wanted: Op) -> bool:
    """Whether a sample with the one flag has the other as well."""
    while flags is not wanted and isinstance(flags, training.Both):
        flags = flags.a
    return flags is wanted


def is_sign(op: Op) -> bool:
    """Whether a step gives +1 for numbers >= 0, else -1."""
    return (
        isinstance(op, bit.Step)
        and op.dtype == Bit()
        and op.thresholds.tolist() == [[0]]
        and op.values.tolist() == [[-1, 1]]
    )
