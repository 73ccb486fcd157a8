"""Lattices: a few fp32 numbers as scale * integer + offset. This is how ±0.1, thirds and pixels become integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnc.ir.types import Bit, Code, DType, Int, Trit
from bnnc.passes.values import EXACT, Values, integers, listed

TOLERANCE = 2e-6  # relative to the largest value: spellings such as 0.33333337 for a third
LARGEST_CODE = 1 << 15


@dataclass(frozen=True)
class Lattice:
    """Every value is scale * n + offset (within TOLERANCE) for an integer n in lo..hi."""

    scale: float
    offset: float
    lo: int
    hi: int

    @property
    def plain(self) -> bool:
        """The values are the integers themselves."""
        return self.scale == 1.0 and self.offset == 0.0


def lattice_of(values: Values) -> Lattice | None:
    """The coarsest lattice that holds a set, without an offset if that is possible; None if there is none."""
    ends = integers(values)
    if ends is not None:
        return Lattice(1.0, 0.0, *ends)
    members = listed(values)
    if members is None or members.size > LARGEST_CODE:
        return None
    smallest = np.abs(members[members != 0]).min(initial=np.inf)
    for divisor in (1, 2, 3, 4):
        found = _fit(members, float(np.float32(smallest / divisor)), 0.0)
        if found is not None:
            return found
    if members.size == 2:
        a, b = (float(v) for v in members)
        return Lattice(float(np.float32((b - a) / 2)), float(np.float32((a + b) / 2)), -1, 1)
    gap = float(np.diff(members).min())
    return _fit(members, gap, float(members[0]))


def _fit(members: np.ndarray, scale: float, offset: float) -> Lattice | None:
    # The step between small values carries their rounding errors; the largest value gives it more precisely.
    far = members[np.abs(members - np.float32(offset)).argmax()].astype(np.float64) - offset
    steps = np.rint(far / scale)
    if steps == 0 or abs(steps) > LARGEST_CODE:
        return None
    scale = float(np.float32(far / steps))
    exact = (members.astype(np.float64) - offset) / scale
    n = np.rint(exact)
    if np.abs(n).max() > LARGEST_CODE or np.abs(exact - n).max() * scale > TOLERANCE * np.abs(members).max():
        return None
    return Lattice(scale, offset, int(n.min()), int(n.max()))


@dataclass(frozen=True, eq=False)
class Weights:
    """Real weights w[o, …] = scale[o] * integers[o, …] (int8 or int16), `spread` the largest relative error of that."""

    integers: np.ndarray
    scale: np.ndarray
    spread: float

    @property
    def kind(self) -> str:
        """The word used in reports: ±1, ±1 with zero rows, ternary, or k-bit."""
        return kind_of(self.integers)


def kind_of(weights: np.ndarray) -> str:
    """What integer weights [O, …] are called in reports."""
    rows = weights.reshape(weights.shape[0], -1)
    empty = ~rows.any(axis=1)
    if np.abs(rows).max(initial=0) <= 1:
        full = rows[~empty]
        if (full != 0).all():
            return "±1" if not empty.any() else f"±1, {int(empty.sum())} zero rows"
        if rows.min(initial=0) == 0:
            return "0/1"
        return "ternary"
    lowest, highest = int(rows.min()), int(rows.max())
    bits = max(highest.bit_length() + 1, (-lowest - 1).bit_length() + 1 if lowest < 0 else 1)
    return f"{bits}-bit"


SNAP = 1e-5  # relative: `alpha * sign(w) - clip(w) + clip(w)` leaves up to 3e-7, a float layer is far above
ROUNDING = 1e-6  # relative to the largest weight of a row: what quantising in fp32 leaves in rows of many levels
FEW = 7  # up to here levels lie so far apart that SNAP cannot mistake one for another
LARGEST_WEIGHT = 255  # 8 bits, be they -128 … 127 or the odd numbers of 2 * k / 255 - 1
PROBE = 16  # weights of a row on which units are tried before the whole row is
BLOCK = 1 << 16  # weights looked at together: a float layer is found out by its first rows


def split_weights(weights: np.ndarray) -> Weights | None:
    """Weights [O, …] as a scale for each output channel times small integers; None if some row is not such."""
    rows = weights.reshape(weights.shape[0], -1)
    result = np.zeros(rows.shape, np.int16)
    scale = np.ones(len(rows), np.float32)
    spread = 0.0
    block = max(1, BLOCK // max(rows.shape[1], 1))
    for start in range(0, len(rows), block):
        part = slice(start, start + block)
        found = _split_rows(rows[part].astype(np.float64))
        if found is None:
            return None
        result[part], scale[part], error = found
        spread = max(spread, error)
    return Weights(result.astype(storage(result)).reshape(weights.shape), scale, spread)


def _split_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, float] | None:
    """(integers, scales, spread) of float64 rows [n, k]; None if some row has no scale. A row of zeros has scale 1."""
    magnitudes = np.abs(rows)
    used = magnitudes != 0
    smallest = np.where(used, magnitudes, np.inf).min(1, initial=np.inf)
    scale = np.ones(len(rows))
    alike = used.any(1) & (magnitudes.max(1, initial=0) <= smallest * (1 + SNAP))
    scale[alike] = _medians(magnitudes[alike])
    for row in np.flatnonzero(used.any(1) & ~alike):
        unit = _unit(magnitudes[row, used[row]])
        if unit is None:
            return None
        scale[row] = unit
    integers = np.rint(rows / scale[:, None])
    distance = np.abs(rows - integers * scale[:, None])
    error = np.divide(distance, magnitudes, out=np.zeros_like(distance), where=used)
    return integers, scale, float(error.max(initial=0))


def _unit(used: np.ndarray) -> float | None:
    """The largest unit of which all the given magnitudes are small multiples, or None."""
    smallest, largest = float(used.min()), float(used.max())
    # The smallest value is some multiple of the unit; once that is guessed, the largest one gives the unit precisely.
    guesses = smallest / np.arange(1, LARGEST_WEIGHT + 1)
    steps = np.rint(largest / guesses)
    units = (largest / steps)[steps <= LARGEST_WEIGHT]
    fits = _multiples(used[:: max(1, used.size // PROBE)], units[:, None], largest)
    return next((float(unit) for unit in units[fits] if _multiples(used, unit, largest)), None)


def _multiples(values: np.ndarray, unit: np.ndarray | np.float64, largest: float) -> np.ndarray:
    """Whether all values (last axis) are whole multiples of a unit, as far as rounding allows."""
    error = np.abs(values - np.rint(values / unit) * unit)
    allowed = np.where(largest / unit <= FEW + 0.5, SNAP * values, ROUNDING * largest)
    return np.asarray((error <= allowed).all(-1))


def _medians(magnitudes: np.ndarray) -> np.ndarray:
    """The median of what is not zero in each row; every row has something."""
    ordered = np.sort(magnitudes, axis=1)
    count = (ordered != 0).sum(1)
    first = ordered.shape[1] - count
    row = np.arange(len(ordered))
    return np.asarray((ordered[row, first + (count - 1) // 2] + ordered[row, first + count // 2]) / 2)


def storage(weights: np.ndarray) -> type[np.signedinteger]:
    """The integer type in which a layer keeps its weights."""
    return np.int8 if weights.min(initial=0) >= -128 and weights.max(initial=0) <= 127 else np.int16


def narrowest(values: np.ndarray) -> DType:
    """The smallest dtype whose values include the given integers."""
    lo, hi = int(values.min()), int(values.max())
    unique = np.unique(values)
    if np.isin(unique, (-1, 1)).all():
        return Bit()
    if np.isin(unique, (-1, 0, 1)).all() and lo < 0:
        return Trit()
    if lo >= 0 and hi < 256:
        return Code(max(1, hi.bit_length()))
    if lo == -hi and hi < 256 and (unique % 2 == 1).all() and (hi + 1) & hi == 0:
        return Code((hi + 1).bit_length() - 1, 2, lo)
    return Int(lo, hi)


__all__ = [
    "EXACT",
    "LARGEST_WEIGHT",
    "Lattice",
    "Weights",
    "kind_of",
    "lattice_of",
    "narrowest",
    "split_weights",
    "storage",
]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Real weights w[o, …] = half[o] * signs[o, …] + middle[o], the signs ±1 (SBNN's generalised domain)."""

    signs: np.ndarray
    half: np.ndarray
    middle: np.ndarray


def split_pairs(weights: np.ndarray) -> Pairs | None:
    """Weights [O, …] of at most two values a channel, at least eight weights each; None for others."""
    rows = weights.reshape(len(weights), -1).astype(np.float64)
    if rows.shape[1] < 8:
        return None  # a few float weights look two-valued by accident
    low, high = rows.min(1, keepdims=True), rows.max(1, keepdims=True)
    upper = rows - low > high - rows
    exact = np.where(upper, high, low)
    if np.abs(rows - exact).max() > SNAP * np.abs(rows).max():
        return None
    signs = np.where(upper, 1, -1).astype(np.float32).reshape(weights.shape)
    half, middle = (high - low) / 2, (high + low) / 2
    return Pairs(signs, half[:, 0].astype(np.float32), middle[:, 0].astype(np.float32))
