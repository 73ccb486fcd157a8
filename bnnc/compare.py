"""Compares the outputs of two runs, and finds the inputs on which float arithmetic may rightly decide either way.

Between the reference and a target nothing but equal bits will do. Another runtime (or recorded outputs) adds its float
sums in another order: there the outputs may differ by TOLERANCE, and where a decision (a sign, a comparison, a
rounding) falls within a hair of its threshold, the whole sample may come out differently. Such a sample is exempt, and
counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bnnc.ir import bit, nn
from bnnc.ir.module import Module
from bnnc.ir.op import Op
from bnnc.ir.types import F32
from bnnc.reference import run as reference

TOLERANCE = 1e-4
# A decision is a near-tie when its operand is closer to the threshold than this share of a step: the distance between
# neighbouring values that the layer's integer accumulator can give.
STEP_SHARE = 1e-3
# Layers with real weights have no step. Another order of their fp32 sums moves a value by about this share of the
# largest value of the channel.
ROUNDING_SHARE = 2e-6

_COMPARISONS = ("equal", "greater", "greater_equal", "less", "less_equal", "xor")
_ROUNDINGS = {"floor": 0.0, "ceil": 0.0, "trunc": 0.0, "round": 0.5}


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
        near-ties are exempt. `module` is the «nn» module whose values tell near-ties.
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
            exempt[bad] = near_ties(module, {name: np.asarray(array)[bad] for name, array in inputs.items()})
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


def near_ties(module: Module, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """For every sample, whether some decision of the «nn» module is a near-tie: bool [batch].

    A decision is a sign, a comparison, a rounding, a threshold or an arg-max. Its margin is the distance of its operand
    from the threshold, in the reference. It is near when the margin is below STEP_SHARE of the smallest step between
    the values the channel takes on these inputs, or below ROUNDING_SHARE of the largest of them.
    """
    values = reference.values(module, inputs)
    batch = len(next(iter(inputs.values()))) if inputs else 1
    near = np.zeros(batch, bool)
    for op in values:
        for margin in _margins(op, values):
            if margin.shape[0] == batch:
                near |= _is_near(margin).reshape(batch, -1).any(1)
    return near


def _margins(op: Op, values: Mapping[Op, np.ndarray]) -> list[np.ndarray]:
    """Signed distances from the thresholds that decide the op; nothing for an op that decides nothing."""
    with np.errstate(all="ignore"):
        match op:
            case nn.Map(function="sign", xs=(x,)):
                return [values[x].astype(np.float64)]
            case nn.Map(xs=(a, b)) if op.function in _COMPARISONS:
                left, right = (_aligned(values[x], len(op.type.shape)) for x in (a, b))
                return [left.astype(np.float64) - right]
            case nn.Map(xs=(x,)) if op.function in _ROUNDINGS:
                from_edge = values[x].astype(np.float64) - _ROUNDINGS[op.function]
                return [from_edge - np.rint(from_edge)]
            case nn.MultiThreshold():
                table = values[op.thresholds][0].astype(np.float64)
                counted = values[op.x].astype(np.float64)
                rank = counted.ndim - 2
                return [counted - table[:, level].reshape(1, -1, *(1,) * rank) for level in range(table.shape[1])]
            case bit.Step() if isinstance(op.x.type.dtype, F32):
                thresholds = op.thresholds.astype(np.float64)
                real = values[op.x].astype(np.float64)
                rank = real.ndim - 2
                return [real - thresholds[:, n].reshape(1, -1, *(1,) * rank) for n in range(thresholds.shape[1])]
            case nn.ArgMax():
                ranked = np.sort(values[op.x].astype(np.float64), axis=op.axis + 1)
                if ranked.shape[op.axis + 1] > 1:
                    best, second = (0, 1) if op.smallest else (-1, -2)
                    return [np.take(ranked, [best], op.axis + 1) - np.take(ranked, [second], op.axis + 1)]
    return []


def _aligned(value: np.ndarray, rank: int) -> np.ndarray:
    """A batch-first array with axes of length 1 put behind the batch, so that sample shapes broadcast right-aligned."""
    return value.reshape(value.shape[0], *(1,) * (rank + 1 - value.ndim), *value.shape[1:])


def _is_near(margin: np.ndarray) -> np.ndarray:
    """Where a margin [batch, C, …] is too small to decide, channel by channel. An exact 0 is a tie as well."""
    near = np.zeros(margin.shape, bool)
    channels = margin.shape[1] if margin.ndim > 1 else 1
    flat = np.abs(margin).reshape(margin.shape[0], channels, -1)
    signed = margin.reshape(margin.shape[0], channels, -1)
    result = near.reshape(flat.shape)
    for channel in range(channels):
        values = signed[:, channel]
        largest = float(np.nanmax(np.abs(values), initial=0.0))
        if not np.isfinite(largest):
            continue
        gaps = np.diff(np.unique(values))
        gaps = gaps[gaps > 10 * ROUNDING_SHARE * largest]
        step = float(gaps.min(initial=np.inf)) if len(gaps) else 0.0
        result[:, channel] = flat[:, channel] <= max(STEP_SHARE * step, ROUNDING_SHARE * largest)
    return result.reshape(margin.shape)
