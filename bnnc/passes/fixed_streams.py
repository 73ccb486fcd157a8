"""Fixed-point streams: the real-valued tensors of a «bit» module become fix<i,f>, their ops integer arithmetic.

What stems from integers (sums of binary layers) or from other streams is converted; what depends on float inputs alone
stays a float island and is encoded where it meets a stream. Elementwise chains become one `fix.map` with one rounding.
An op that has no fixed-point form reads decoded values and stays float.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np

from bnnc.diagnostics import BnncError, Diagnostic
from bnnc.ir import bit, fixed, move, nn
from bnnc.ir.module import Module, Note, Output
from bnnc.ir.op import Op, TypeRuleError
from bnnc.ir.types import F32, Fix, is_integer, stored_range
from bnnc.passes.chains import chain_of
from bnnc.passes.fixed_maps import format_of_stream, joined
from bnnc.passes.formats import constant, conv_weights, lines_op, step_thresholds, table_op
from bnnc.passes.lattice import narrowest
from bnnc.passes.lines import Functions, identity
from bnnc.passes.options import PassOptions
from bnnc.passes.ranges import Spans, StreamFact, format_of, observed
from bnnc.passes.stem import Stem, integer_stem
from bnnc.passes.values import ValueSets
from bnnc.reference.run import evaluate

COARSER = 6
ROUNDINGS = ("round", "floor", "ceil", "trunc")
TABLED = ("sigmoid", "tanh", "erf", "exp", "log", "sqrt", "reciprocal")


def fix_streams(module: Module, options: PassOptions) -> Module:
    """The module with fixed-point streams and integer stems, as far as the options ask for them.

    Raises BnncError B0702 under `strict_range` if a stream could saturate.
    """
    seen = observed(module, options.inputs) if options.inputs else {}
    rewriting = _Rewriting(module, options, seen)
    for op in module.ops():
        rewriting.rewrite(op)
    if options.stem == "int" and not rewriting.notes:
        text = "no float layer reads uint8 pixels, so there was nothing to do for `--stem int` (see --pixels)"
        rewriting.notes.append(Note("warning", text, code="B0414"))
    outputs = tuple(replace(output, value=rewriting.result(output)) for output in module.outputs)
    result = replace(module, outputs=outputs, notes=(*module.notes, *rewriting.notes))
    rows = [fact for op in result.ops() if (fact := rewriting.facts.get(op)) is not None]
    if options.strict_range:
        _demand_range(rows, result)
    ranges = json.dumps([asdict(row) for row in rows])
    return replace(result, facts=(*result.facts, ("ranges", ranges))) if rows else result


def stream_facts(module: Module) -> tuple[StreamFact, ...]:
    """The fixed-point tensors of a module, in order, as `fix_streams` noted them."""
    rows = dict(module.facts).get("ranges", "[]")
    return tuple(StreamFact(**row) for row in json.loads(rows))


def _demand_range(rows: list[StreamFact], module: Module) -> None:
    places = {op.loc.name: op.loc for op in module.ops()}
    wrong = [row for row in rows if row.saturates]
    if wrong:
        raise BnncError(
            *(
                Diagnostic(
                    "B0702",
                    f"`{row.name or row.op}` could saturate: fix<{row.whole},{row.fraction}> holds less than "
                    f"±{2.0 ** (row.whole - 1):g}, but the worst case is ±{row.bound:.6g}",
                    places=(places[row.name],) if row.name in places else (),
                    notes=(f"largest value seen: {row.seen:.6g}",) if row.seen is not None else (),
                    helps=("leave out --strict-range: the stream is then clamped, everywhere alike",),
                )
                for row in wrong
            )
        )


class _Rewriting:
    """For every op its new form (`new`), and for f32 ops their stored form (`stored`: integers or fixed point)."""

    def __init__(self, module: Module, options: PassOptions, seen: Mapping[Op, float]) -> None:
        self.streams = options.stream == "fixed"
        self.stems = options.stem == "int"
        self.seen = seen
        self.functions = Functions()
        self.spans = Spans(ValueSets(), self.functions)
        self.new: dict[Op, Op] = {}
        self.stored: dict[Op, Op] = {}
        self.facts: dict[Op, StreamFact] = {}
        self.notes: list[Note] = []
        self._real: dict[Op, Op] = {}
        self._encoded: dict[Op, Op] = {}

    def result(self, output: Output) -> Op:
        """What an output gives: a stream as it is, so that an integer network needs no float at its end."""
        op = output.value
        if self.streams and op in self.stored and isinstance(self.stored[op].type.dtype, Fix):
            return self.stored[op]
        return self.real(op)

    def rewrite(self, op: Op) -> None:
        """Fill in the forms of op, whose operands are done."""
        self.functions.of(op)
        self.spans.of(op)
        if op.type.dtype != F32():
            self.new[op] = self._integer(op)
            return
        if isinstance(op, bit.Decode):
            self.stored[op] = self.new[op.x]
            return
        found = self._fixed(op)
        if found is not None:
            self.stored[op] = found
            if isinstance(found.type.dtype, Fix):
                self.spans.limit(op, found.type.dtype)

    # ------------------------------------------------------------------------------------------------ other forms
    def real(self, op: Op) -> Op:
        """op as f32 (or integers, where it is of an integer dtype)."""
        if op in self.new:
            return self.new[op]
        if op not in self._real:
            stored = self.stored.get(op)
            # What maps alone make of integers is computed from these, exactly as the model says.
            if stored is None or (isinstance(op, nn.Map) and isinstance(self.functions.of(op)[0], bit.Decode)):
                self._real[op] = op.with_operands(self.real)
            elif isinstance(stored.type.dtype, Fix):
                self._real[op] = fixed.Decode(stored, loc=op.loc)
            else:
                self._real[op] = bit.Decode(stored, loc=op.loc)
        return self._real[op]

    def number(self, op: Op) -> Op | None:
        """op as integers or fixed point: as it is stored, or encoded; None where no format holds it."""
        if op in self.stored:
            return self.stored[op]
        if is_integer(op.type.dtype):
            return self.new[op]
        if op not in self._encoded:
            if isinstance(op, nn.Constant):
                made = constant(op)
                if made is None:
                    return None
                self._encoded[op] = made
            else:
                dtype = self._format(op)
                if dtype is None:
                    return None
                self._encoded[op] = self._note(op, fixed.Encode(self.real(op), dtype, loc=op.loc), dtype)
        return self._encoded[op]

    def _format(self, op: Op) -> Fix | None:
        return format_of(self.spans.of(op).bound, self.seen.get(op))

    def _note(self, op: Op, made: Op, dtype: Fix) -> Op:
        bound = self.spans.of(op).bound
        largest = (2**31 - 1) * 2.0**-dtype.fraction
        self.facts[made] = StreamFact(
            op.loc.name, made.opcode, dtype.whole, dtype.fraction, bound, self.seen.get(op), bound > largest
        )
        return made

    # --------------------------------------------------------------------------------------------------- integers
    def _integer(self, op: Op) -> Op:
        """An op of an integer dtype, reading stored streams."""
        if isinstance(op, bit.Step) and op.x in self.stored:
            return step_thresholds(op, self.stored[op.x])
        if isinstance(op, nn.ArgMax) and op.x in self.stored:
            return op.with_operands(lambda x: self.stored[x])
        return op.with_operands(self.real)

    # ------------------------------------------------------------------------------------------------------ fixed
    def _fixed(self, op: Op) -> Op | None:
        """The fixed-point form of an f32 op, or None if it has none."""
        if self.stems and isinstance(op, nn.Conv | nn.Dense):
            stem = integer_stem(op)
            if stem is not None:
                return self._stem(op, stem)
        if not self.streams or not any(x in self.stored for x in op.operands):
            return None
        dtype = self._format(op)
        if dtype is None:
            return None
        made = None
        # Where coefficients of 32 bits, or sums of 64, leave no room for so fine a result, a coarser one will do.
        for whole in range(dtype.whole, min(dtype.whole + COARSER, 32) + 1):
            try:
                made = self._made(op, Fix(whole, 32 - whole))
            except TypeRuleError:
                continue
            if made is not None:
                break
        if made is not None and made.opcode.startswith("fix.") and made not in self.facts:
            self._note(op, made, format_of_stream(made))
        return made

    def _made(self, op: Op, dtype: Fix) -> Op | None:
        match op:
            case nn.Map():
                return self._map(op, dtype)
            case nn.Conv() | nn.Dense() if isinstance(op.w, nn.Constant):
                return self._layer(op, op.w.values, dtype)
            case nn.Pool(function="max"):
                x = self.stored[op.x]
                return bit.Pool(x, "max", op.kernel, op.strides, op.pads, op.dilations, op.ceil_mode, loc=op.loc)
            case nn.Pool(function="sum"):
                return self._sum(op, 1.0, dtype)
            case nn.Pool(function="average"):
                return self._average(op, dtype)
            case nn.Reduce(function="sum" | "mean", axes=(0,)) if len(op.x.type.shape) >= 2:
                return self._over_channels(op, dtype)
            case move.Concat():
                return move.Concat(tuple(self._as(x, dtype) for x in op.xs), op.axis, loc=op.loc)
            case move.Pad():
                return op.with_operands(lambda x: self.stored[x])
            case move.Reshape() | move.Transpose() | move.Expand() | move.Slice() | move.Gather():
                return op.with_operands(lambda x: self.stored[x])
        return None

    def _map(self, op: nn.Map, dtype: Fix) -> Op | None:
        source, lines = self.functions.of(op)
        if source is not op:
            if isinstance(source, nn.Pool) and source.function == "sum" and lines.share is not None:
                return self._sum(source, lines.share, dtype)
            x = self.number(source)
            span = self.spans.of(source).of_channels(len(lines.slopes))
            return None if x is None else lines_op(x, lines.simplified(span.low, span.high), dtype, op.loc)
        steps = self._evaluated(op)
        if steps is not None:
            return steps
        xs = [self.number(x) for x in op.xs]
        if op.function in TABLED:
            return table_op(xs[0], self.spans.of(op.xs[0]), op.function, dtype, op.loc) if xs[0] else None
        operands = [x for x in xs if x is not None]
        return joined(op, operands, dtype) if len(operands) == len(xs) else None

    def _evaluated(self, op: nn.Map) -> Op | None:
        """A rounding of what maps make of integers, as a step on these: evaluated on every integer, in fp32."""
        chain = chain_of(op) if op.function in ROUNDINGS else None
        steps = chain.steps() if chain else None
        if chain is None or steps is None or np.abs(steps[1]).max() > 2**24:
            return None
        levels = steps[1].astype(np.int32)
        return bit.Step(chain.moved(self.new), steps[0], levels, narrowest(levels), loc=op.loc)

    def _as(self, op: Op, dtype: Fix) -> Op:
        """op in exactly this format."""
        x = self.number(op)
        if x is None:
            raise TypeRuleError("no format holds it")
        if x.type.dtype == dtype:
            return x
        made = lines_op(x, identity(1), dtype, op.loc)
        if made is None:
            raise TypeRuleError("no format holds it")
        return made

    # ----------------------------------------------------------------------------------------------- layers, pools
    def _layer(self, op: nn.Conv | nn.Dense, weights: np.ndarray, dtype: Fix) -> Op | None:
        x = self.number(op.x)
        if x is None or (op.bias is not None and not isinstance(op.bias, nn.Constant)):
            return None
        bias = op.bias.values if isinstance(op.bias, nn.Constant) else np.zeros(len(weights), np.float32)
        made = conv_weights(weights, bias, x.type.dtype, dtype)
        if made is None:
            return None
        kernel, offsets, shift = made
        if isinstance(op, nn.Dense):
            return fixed.Dense(x, kernel, offsets, shift, dtype, loc=op.loc)
        return fixed.Conv(x, kernel, offsets, op.strides, op.pads, op.dilations, op.groups, shift, dtype, loc=op.loc)

    def _sum(self, op: nn.Pool, share: float, dtype: Fix) -> Op | None:
        """share * the sums over windows."""
        x = self.number(op.x)
        if x is None:
            return None
        taps = math.prod(op.kernel) * max(map(abs, stored_range(x.type.dtype)))
        gain = share * 2.0 ** (dtype.fraction - fixed.fraction(x.type.dtype))
        # As many bits of the factor as 64-bit sums leave room for.
        shift = min(61 - taps.bit_length() - math.frexp(gain)[1], 61)
        if shift < 0:
            return None
        factor = int(np.rint(gain * 2.0**shift))
        return fixed.Pool(
            x, op.kernel, op.strides, op.pads, op.dilations, op.ceil_mode, factor, shift, dtype, loc=op.loc
        )

    def _average(self, op: nn.Pool, dtype: Fix) -> Op | None:
        """An average whose divisor depends on the place: the sum, times a constant for each place."""
        ones = nn.Constant(np.ones((1, *op.x.type.shape[1:]), np.float32))
        sums = nn.Pool(ones, "sum", op.kernel, op.strides, op.pads, op.dilations, op.ceil_mode)
        shares = nn.Pool(
            ones, "average", op.kernel, op.strides, op.pads, op.dilations, op.ceil_mode, op.count_include_pad
        )
        count = evaluate(sums, [ones.values[None]])[0] / evaluate(shares, [ones.values[None]])[0]
        if (count == count.reshape(-1)[0]).all():
            return self._sum(op, 1 / float(count.reshape(-1)[0]), dtype)
        total = self._sum(op, 1 / float(count.max()), dtype)
        share = constant(nn.Constant((count.max() / count).astype(np.float32)))
        return None if total is None or share is None else fixed.Mul(total, share, dtype, loc=op.loc)

    def _over_channels(self, op: nn.Reduce, dtype: Fix) -> Op | None:
        """A sum over the channels is a convolution with ones."""
        x, channels, rank = self.number(op.x), op.x.type.shape[0], len(op.x.type.shape) - 1
        if x is None or rank > 2:
            return None
        share = 1.0 if op.function == "sum" else 1 / channels
        made = conv_weights(np.full((1, channels, *(1,) * rank), share), np.zeros(1), x.type.dtype, dtype)
        if made is None:
            return None
        kernel, offsets, shift = made
        ones = (1,) * rank
        total: Op = fixed.Conv(x, kernel, offsets, ones, (0,) * (2 * rank), ones, 1, shift, dtype, loc=op.loc)
        self._note(op, total, dtype)
        return total if op.keepdims else move.Reshape(total, op.type.shape, loc=op.loc)

    # ------------------------------------------------------------------------------------------------------- stem
    def _stem(self, op: Op, stem: Stem) -> Op | None:
        layer = stem.layer(stem.pixels.moved(self.new))
        self.notes.append(Note("choice", f"{op.loc.name or 'the first layer'}: {stem.text}", op.loc))
        bound = stem.bound
        dtype = format_of(bound, None)  # its worst case is known and near: it never saturates
        if dtype is None:
            return None
        made = stem.scaled(layer, dtype)
        if made is None:
            return None
        largest = (2**31 - 1) * 2.0**-dtype.fraction
        self.facts[made] = StreamFact(
            op.loc.name, made.opcode, dtype.whole, dtype.fraction, bound, self.seen.get(op), bound > largest
        )
        return made


__all__ = ["fix_streams", "stream_facts"]
