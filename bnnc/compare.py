"""Compares the outputs of two runs, and finds the inputs on which float arithmetic may rightly decide either way.

Between the reference and a target nothing but equal bits will do. Another runtime (or recorded outputs) adds its float
sums in another order: there the outputs may differ by TOLERANCE, and where a decision (a sign, a comparison, a
rounding) falls within a hair of its threshold, the whole sample may come out differently. A sample whose outputs do
change when its sums are moved by a hair is exempt, and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bnnc.ir import nn
from bnnc.ir.module import Input, Module
from bnnc.ir.move import MOVES
from bnnc.ir.op import Op
from bnnc.ir.types import F32
from bnnc.reference import run as reference

TOLERANCE = 1e-4
# Integer layers have steps: another runtime's sum of ±s may lie off by this share of s.
STEP_SHARE = 1e-3
# Other sums have none. Another order of their fp32 additions moves a value by about this share of the largest value of
# the channel.
ROUNDING_SHARE = 2e-6
# How often a sample is run with every sum moved.
DRAWS = 16

_ROUNDED = ("add", "sub", "mul", "div", "pow", "prelu", "exp", "log", "sqrt", "reciprocal", "sigmoid", "tanh", "erf")
_SUMS = (nn.Conv, nn.Dense, nn.MatMul, nn.BatchNorm, nn.Pool, nn.Reduce, nn.Softmax)


@dataclass(frozen=True)
class Difference:
    """The first element on which two runs differ."""

    sample: int
    output: str
    element: tuple[int, ...]
    expected: float
    found: float

    def __str__(self) -> str:
        where = f"input {self.sample}, output `{self.output}`, element {list(self.element)}"
        return f"{where}: expected {self.expected:g}, found {self.found:g}"


@dataclass
class Agreement:
    """How far two runs agree, over all samples added so far."""

    inputs: int = 0
    equal: int = 0
    exempt_ties: int = 0
    max_abs_error: float = 0.0
    first: Difference | None = None
    differing: list[int] = field(default_factory=list)

    @property
    def different(self) -> int:
        """How many samples differ and are not exempt."""
        return self.inputs - self.equal - self.exempt_ties

    def add(
        self,
        module: Module,
        inputs: Mapping[str, np.ndarray],
        expected: Mapping[str, np.ndarray],
        found: Mapping[str, np.ndarray],
        tolerance: float | None = None,
    ) -> None:
        """Compare the outputs for some inputs, in the form `reference.run` gives them.

        Without a tolerance the bits must be equal; with one, |found - expected| <= tolerance * (1 + |expected|), and
        samples that hang by a hair are exempt. `module` is the «nn» module that tells which do.
        """
        names = [output.name for output in module.outputs if output.name in expected]
        axes = {output.name: output.batch_axis for output in module.outputs}
        rows = {name: (_rows(expected[name], axes[name]), _rows(found[name], axes[name])) for name in names}
        count = len(next(iter(rows.values()))[0]) if rows else 0
        wrong = {name: differs(*both, tolerance) for name, both in rows.items()}
        bad = np.zeros(count, bool)
        for mask in wrong.values():
            bad |= mask.reshape(count, -1).any(1)
        exempt = np.zeros(count, bool)
        if tolerance is not None and bad.any():
            exempt[bad] = unstable(module, {name: np.asarray(array)[bad] for name, array in inputs.items()}, tolerance)
        for name, (want, got) in rows.items():
            self._note(name, want, got, wrong[name], exempt)
        self.differing += [self.inputs + int(i) for i in np.flatnonzero(bad & ~exempt)]
        self.inputs += count
        self.equal += int(count - bad.sum())
        self.exempt_ties += int((bad & exempt).sum())

    def _note(self, name: str, want: np.ndarray, got: np.ndarray, wrong: np.ndarray, exempt: np.ndarray) -> None:
        with np.errstate(all="ignore"):
            error = np.abs(got.astype(np.float64) - want.astype(np.float64))[~exempt]
        finite = error[np.isfinite(error)]
        self.max_abs_error = max(self.max_abs_error, float(finite.max(initial=0.0)))
        places = np.argwhere(wrong & ~exempt.reshape(-1, *(1,) * (wrong.ndim - 1)))
        if len(places) and (self.first is None or int(places[0][0]) + self.inputs < self.first.sample):
            at = tuple(int(i) for i in places[0])
            self.first = Difference(self.inputs + at[0], name, at[1:], float(want[at]), float(got[at]))


def _rows(array: np.ndarray, batch_axis: int) -> np.ndarray:
    return np.moveaxis(np.asarray(array), batch_axis, 0)


def differs(expected: np.ndarray, found: np.ndarray, tolerance: float | None) -> np.ndarray:
    """Where two arrays differ, elementwise: in any bit (all NaNs are alike), or by more than the tolerance."""
    if expected.shape != found.shape:
        # A sample of another shape differs everywhere; broadcasting would hide it.
        return np.ones(expected.shape, bool)
    both_nan = np.isnan(expected) & np.isnan(found) if expected.dtype.kind == found.dtype.kind == "f" else False
    if tolerance is None:
        different = expected != found
        if expected.dtype.kind == "f":
            different |= np.signbit(expected) != np.signbit(found)
        return np.asarray(different & ~both_nan if isinstance(both_nan, np.ndarray) else different)
    wide, other = expected.astype(np.float64), found.astype(np.float64)
    with np.errstate(invalid="ignore"):
        near = np.isfinite(wide) & (np.abs(other - wide) <= tolerance * (1 + np.abs(wide)))
    return np.asarray(~(near | (wide == other) | both_nan))


def unstable(module: Module, inputs: Mapping[str, np.ndarray], tolerance: float) -> np.ndarray:
    """For every sample, whether its outputs change when float results are moved by a hair: bool [batch].

    A hair is what another order of the sums, or layers merged with the scales behind them, may rightly change. The
    «nn» module is run DRAWS times, every such result moved up or down at random. Exact ties of integers do not move,
    so that they excuse nothing; nor does a near-tie that no output depends on.
    """
    plain = reference.values(module, inputs)
    hairs = {op: hair for op in plain if (hair := _hair(op, plain)) is not None}
    batch = len(next(iter(inputs.values()))) if inputs else 1
    changed = np.zeros(batch, bool)
    for draw in range(DRAWS):
        left = np.flatnonzero(~changed)
        if left.size == 0 or not hairs:
            break
        # Every second draw moves everything the other way, so that no single tie stays unnoticed.
        random, way = np.random.default_rng(draw // 2), np.float32(-1 if draw % 2 else 1)
        moved: dict[Op, np.ndarray] = {}
        for op, value in plain.items():
            rows = value if len(value) == 1 else value[left]
            if not isinstance(op, Input):
                rows = reference.evaluate(op, [moved[x] for x in op.operands])
            if op in hairs:
                signs = random.choice(np.array([-way, way]), value.shape)
                rows = rows + (hairs[op] * signs if len(value) == 1 else (hairs[op] * signs)[left])
            moved[op] = rows
        for output in module.outputs:
            before = np.broadcast_to(plain[output.value], (batch, *output.value.type.shape))[left]
            after = np.broadcast_to(moved[output.value], before.shape)
            changed[left] |= differs(before, after, tolerance).reshape(left.size, -1).any(1)
    return changed


def _hair(op: Op, values: Mapping[Op, np.ndarray]) -> np.ndarray | None:
    """How far another runtime's result may lie from op's, float32 [batch or 1, …]; None for an op that is exact."""
    if op.type.dtype != F32() or isinstance(op, Input | nn.Constant):
        return None
    value = values[op]
    if isinstance(op, nn.Map):
        if op.function not in _ROUNDED:
            return None
        layer = next((x for x in op.xs if _whole(values[x]) and _from_layer(x, values)), None)
        if layer is not None:
            # The scale or the norm behind a layer on integers: in the file they may be part of its weights.
            factor = [values[x] for x in op.xs if x is not layer] if op.function in ("mul", "div") else []
            step = [np.abs(f) if op.function == "mul" else 1 / np.abs(f) for f in factor if f.shape[0] == 1]
            hair = np.float32(STEP_SHARE) * (_aligned(step[0], len(op.type.shape)) if step else np.ones(1, np.float32))
            return np.broadcast_to(hair, value.shape)
        if op.function not in ("add", "sub"):
            return np.asarray(np.abs(value) * np.float32(ROUNDING_SHARE))
    elif not isinstance(op, _SUMS):
        return None
    if _whole(value):
        return None
    axes = (0, *range(2, value.ndim))
    largest = np.abs(value).max(axis=axes, keepdims=True, initial=0)
    return np.asarray(np.broadcast_to(largest * np.float32(ROUNDING_SHARE), value.shape))


def _from_layer(op: Op, values: Mapping[Op, np.ndarray]) -> bool:
    """Whether op is a layer on integers, or pools, moves or scales what one gives."""
    while isinstance(op, (nn.Pool, *MOVES)) or (isinstance(op, nn.Map) and op.function in ("mul", "div", "round")):
        op = op.operands[0]
    return isinstance(op, nn.Conv | nn.Dense) and _whole(values[op])


def _whole(values: np.ndarray) -> bool:
    """Whether all values are integers that fp32 adds up exactly."""
    return bool((values == np.rint(values)).all() and np.abs(values).max(initial=0) <= 2**24)


def _aligned(value: np.ndarray, rank: int) -> np.ndarray:
    """A batch-first array with axes of length 1 put behind the batch, so that sample shapes broadcast right-aligned."""
    return value.reshape(value.shape[0], *(1,) * (rank + 1 - value.ndim), *value.shape[1:])
