"""Tabulation: from «nn» to «bit». What is proven to be integers becomes integer ops; the rest stays a float island.

Every elementwise region that starts at an integer tensor and ends in few integers is evaluated on every value that
can occur, in fp32 exactly as the reference defines it, and stored as a step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bnnc.ir import bit, move, nn
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import DType, Int, is_integer
from bnnc.passes.images import Images, Refine
from bnnc.passes.lattice import LARGEST_WEIGHT, narrowest, storage
from bnnc.passes.tables import Steps
from bnnc.passes.values import integers, listed

MOST_LEVELS = 256


def tabulate_regions(module: Module, refine: Refine | None = None) -> Module:
    """The module at the «bit» level. `refine` puts steps right that fp32 evaluation found (for other semantics)."""
    lowering = _Lowering(module, refine)
    for op in module.ops():
        lowering.lower(op)
    outputs = tuple(Output(o.name, lowering.result(o.value), o.storage, o.batch_axis) for o in module.outputs)
    return Module(module.name, module.inputs, outputs, module.notes, module.pixels, module.facts)


class _Lowering:
    """For every «nn» op its f32 form (`real`) and, where it is proven to hold integers, its integer form (`whole`)."""

    def __init__(self, module: Module, refine: Refine | None = None) -> None:
        self.images = Images(refine)
        self.whole: dict[Op, Op] = {}
        self.real: dict[Op, Op] = {}
        self._minus_zero: set[Op] = set()  # whole, but their fp32 value may be -0, which no integer is
        self._users = module.users()
        self._results = {output.value for output in module.outputs}

    def lower(self, op: Op) -> None:
        """Fill in both forms of op, whose operands are done."""
        whole = self._whole(op)
        if whole is not None:
            self.whole[op] = whole
            self.real[op] = bit.Decode(whole, loc=op.loc) if is_integer(whole.type.dtype) else whole
            if self._may_be_minus_zero(op):
                self._minus_zero.add(op)
        if whole is None or op in self._minus_zero:
            self.real[op] = op.with_operands(self.real.__getitem__)

    def result(self, op: Op) -> Op:
        """What stands for op as an output."""
        return self.real[op] if op in self._minus_zero else self.whole.get(op) or self.real[op]

    def _may_be_minus_zero(self, op: Op) -> bool:
        """Whether op is -0 somewhere: no layer or arg-max is (sums start at 0), pools and moves hand it on."""
        if isinstance(op, Input | nn.Conv | nn.Dense | nn.ArgMax):
            return False
        if isinstance(op, nn.Map | nn.MultiThreshold) and not isinstance(self.whole[op], bit.Add):
            steps = self.images.steps(op)
            return steps is None or steps.minus_zero
        return any(x in self._minus_zero for x in op.operands)

    def _whole(self, op: Op) -> Op | None:
        match op:
            case Input():
                return op if is_integer(op.type.dtype) else None
            case nn.Map() | nn.MultiThreshold():
                return self._elementwise(op)
            case nn.Conv() | nn.Dense():
                return self._layer(op)
            case nn.Pool(function="max" | "sum") if op.x in self.whole:
                if op.function == "sum" and not self._exact(op):
                    return None
                x = self.whole[op.x]
                return bit.Pool(x, op.function, op.kernel, op.strides, op.pads, op.dilations, op.ceil_mode, loc=op.loc)
            case nn.ArgMax():
                x = self.whole.get(op.x) or self.real[op.x]
                return nn.ArgMax(x, op.axis, op.keepdims, op.last, op.smallest, loc=op.loc)
            case move.Pad(mode="constant") if op.x in self.whole and op.value == int(op.value):
                return self._if_typed(lambda: move.Pad(self.whole[op.x], op.pads, op.value, op.mode, loc=op.loc))
            case move.Pad(mode="edge" | "reflect"):
                return self._moved(op)
            case move.Reshape() | move.Transpose() | move.Expand() | move.Slice() | move.Gather():
                return self._moved(op)
            case move.Concat():
                return self._joined(op)
        return None

    def _exact(self, op: Op) -> bool:
        """Whether an op on integers gives the same integers in fp32: nothing it adds up passes 2^24."""
        return integers(self.images.sets.of(op)) is not None

    def _moved(self, op: Op) -> Op | None:
        if not all(x in self.whole for x in op.operands):
            return None
        return self._if_typed(lambda: op.with_operands(self.whole.__getitem__))

    def _joined(self, op: move.Concat) -> Op | None:
        """A concatenation; operands of different codes (bits and trits, say) are brought to one that holds them all."""
        whole = [self.whole.get(x) for x in op.xs]
        dtypes = {x.type.dtype for x in whole if x is not None}
        if None in whole or len(dtypes) == 1 or all(isinstance(dtype, Int) for dtype in dtypes):
            return self._moved(op)
        levels = [listed(self.images.of(x)) for x in op.xs]
        found = [each.astype(np.int32) for each in levels if each is not None and 0 < each.size <= MOST_LEVELS]
        if len(found) < len(levels):
            return None
        dtype = narrowest(np.concatenate(found))
        parts = [_recoded(x, each, dtype) for x, each in zip(whole, found, strict=True) if x is not None]
        return self._if_typed(lambda: move.Concat(tuple(parts), op.axis, loc=op.loc))

    @staticmethod
    def _if_typed(make: Callable[[], Op]) -> Op | None:
        """The op, or None where its operands' integer dtypes do not fit each other."""
        try:
            return make()
        except ValueError:
            return None

    def _layer(self, op: nn.Conv | nn.Dense) -> Op | None:
        if op.x not in self.whole or not isinstance(op.w, nn.Constant) or op.bias is not None:
            return None
        weights = op.w.values
        if not (weights == np.rint(weights)).all() or np.abs(weights).max(initial=0) > LARGEST_WEIGHT:
            return None
        if not self._exact(op):
            return None
        x = self.whole[op.x]
        kernel = weights.astype(storage(weights))
        if isinstance(op, nn.Dense):
            return bit.Dense(x, kernel, loc=op.loc) if len(x.type.shape) == 1 else None
        return bit.Conv(x, kernel, op.strides, op.pads, op.dilations, op.groups, loc=op.loc)

    def _elementwise(self, op: nn.Map | nn.MultiThreshold) -> Op | None:
        if not op.type.shape:
            return None
        if not self._leaves_region(op):  # the sum at which a region starts is still one of integers
            return self._sum(op) if self.images.regions.source(op) is op else None
        added = self._sum(op)
        if added is not None:
            return added
        levels = listed(self.images.of(op))
        steps = self.images.steps(op)
        region = self.images.regions.region(op)
        if steps is not None and region is not None and _whole_values(steps):
            source = self.whole.get(region.source)
            if source is not None and steps.thresholds.dtype == np.int32:
                return _step(source, steps, op)
            if source is None and steps.thresholds.dtype == np.float32:
                return _step(self.real[region.source], steps, op)
        if levels is not None and levels.size <= MOST_LEVELS and (levels == np.rint(levels)).all():
            # a float value that is proven to be one of few integers: compare it half-way between them
            thresholds = ((levels[1:] + levels[:-1]) / 2).astype(np.float32)[None]
            value = op.with_operands(self.real.__getitem__)
            return _step(value, Steps(thresholds, levels[None]), op)
        return None

    def _leaves_region(self, op: Op) -> bool:
        """Whether anything but the rest of the same region reads op."""
        regions = self.images.regions
        source = regions.source(op)
        return op in self._results or any(regions.source(user) is not source for user in self._users[op])

    def _sum(self, op: Op) -> Op | None:
        """The sum or difference of two integer tensors."""
        if not isinstance(op, nn.Map) or op.function not in ("add", "sub"):
            return None
        if not all(x in self.whole and x.type.shape == op.type.shape for x in op.xs):
            return None
        if not self._exact(op):
            return None
        sign = 1 if op.function == "add" else -1
        return bit.Add(tuple(self.whole[x] for x in op.xs), (1, sign), loc=op.loc)


def _whole_values(steps: Steps) -> bool:
    return bool((steps.values == np.rint(steps.values)).all() and np.abs(steps.values).max() < 2**24)


def _recoded(x: Op, levels: np.ndarray, dtype: DType) -> Op:
    """The same integers, which are among `levels` (int32, ascending), in another dtype."""
    if x.type.dtype == dtype:
        return x
    if isinstance(x, bit.Step) and np.isin(x.values, levels).all():
        return replace(x, dtype=dtype)
    return bit.Step(x, levels[None, 1:], levels[None], dtype, loc=x.loc)


def _step(source: Op, steps: Steps, op: Op) -> Op:
    values = steps.values.astype(np.int32)
    thresholds = steps.thresholds
    if (thresholds == thresholds[:1]).all() and (values == values[:1]).all():
        thresholds, values = thresholds[:1], values[:1]
    return bit.Step(source, thresholds, values, narrowest(values), loc=op.loc)
