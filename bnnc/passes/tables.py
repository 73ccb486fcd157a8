"""Tables: a region evaluated on every value its source can take, and stored as steps per channel.

The fold is right because it was evaluated, not because a formula looked right. Small domains are enumerated. Large ones
(and fp32 itself) are bisected, but only where the region is a chain of correctly rounded monotone ops: then two equal
values have nothing but that value between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnc.passes.regions import Region
from bnnc.passes.values import Finite, Interval, Values, Whole, bounds

BLOCK = 1 << 21  # table entries held at once
ENUMERATE = 1 << 16  # domains up to here are enumerated
MOST_STEPS = 1024  # a function with more steps than this is not a quantiser

_UNUSED = np.iinfo(np.int32).max


@dataclass(frozen=True, eq=False)
class Steps:
    """y = values[c, n], n = how many of thresholds[c] are <= x; int32 or float32 [C, n], values float32 [C, n + 1].

    `minus_zero`: some y may be -0, which steps do not tell from 0.
    """

    thresholds: np.ndarray
    values: np.ndarray
    minus_zero: bool = False

    @property
    def image(self) -> np.ndarray:
        """Every value that occurs, ascending."""
        return np.unique(self.values + np.float32(0))


@dataclass(frozen=True, eq=False)
class _Changes:
    """Where the value changes: in channel[i] at point[i] to value[i]; `first` is each channel's value before.

    `minus_zero`: a -0 was among the values.
    """

    channel: np.ndarray
    point: np.ndarray
    value: np.ndarray
    first: np.ndarray
    minus_zero: bool = False


def tabulate(region: Region, domain: Values) -> Steps | None:
    """The steps of a region whose source can hold `domain`; None if it is no step function or cannot be evaluated."""
    channels = region.root.type.shape[0] if region.root.type.shape else 1
    if isinstance(domain, Whole):
        lo, hi = (np.broadcast_to(end, channels) if end.size == 1 else end for end in (domain.lo, domain.hi))
        if lo.size != channels:
            return None
        if int((hi - lo).max()) < ENUMERATE:
            changes = _enumerate(region, lo, hi, domain.step)
        elif region.steps_only_up_or_down():
            changes = _bisect(
                region, lo // domain.step, hi // domain.step, lo % domain.step, domain.step, as_float=False
            )
        else:
            return None
        return _assemble(changes, np.dtype(np.int32), channels)
    if isinstance(domain, Finite) and not region.steps_only_up_or_down():
        points = np.broadcast_to(domain.values, (channels, domain.values.size))
        return _assemble(_walk(region, points, np.arange(channels)), np.dtype(np.float32), channels)
    if isinstance(domain, Finite | Interval) and region.steps_only_up_or_down():
        low, high = bounds(domain)
        ends = _ordinal(np.array([max(low, -3.4028234663852886e38), min(high, 3.4028234663852886e38)], np.float32))
        lo, hi = np.full(channels, ends[0]), np.full(channels, ends[1])
        changes = _bisect(region, lo, hi, np.zeros(channels, np.int64), 1, as_float=True)
        return _assemble(changes, np.dtype(np.float32), channels)
    return None


def _enumerate(region: Region, lo: np.ndarray, hi: np.ndarray, step: int) -> _Changes | None:
    """Evaluate every reachable integer of every channel, a block of channels at a time."""
    counts = (hi - lo) // step + 1
    width = int(counts.max())
    block = max(1, BLOCK // width)
    found: list[_Changes] = []
    total = 0
    for start in range(0, len(lo), block):
        channel = np.arange(start, min(start + block, len(lo)))
        position = np.minimum(np.arange(width), counts[channel, None] - 1)  # short channels repeat their last point
        changes = _walk(region, lo[channel, None] + step * position, channel)
        total += 0 if changes is None else changes.point.size
        if changes is None or total > MOST_STEPS * len(lo):
            return None
        found.append(changes)
    return _joined(found)


def _walk(region: Region, points: np.ndarray, channel: np.ndarray) -> _Changes | None:
    """The changes along ascending points [channels, n]; None if some value is not finite."""
    table = region.evaluate(points, np.broadcast_to(channel[:, None], points.shape))
    if not np.isfinite(table).all():
        return None
    row, column = np.nonzero(table[:, 1:] != table[:, :-1])
    return _Changes(channel[row], points[row, column + 1], table[row, column + 1], table[:, 0], _minus_zero(table))


def _minus_zero(values: np.ndarray) -> bool:
    return bool(((values == 0) & np.signbit(values)).any())


def _bisect(
    region: Region, lo: np.ndarray, hi: np.ndarray, shift: np.ndarray, step: int, as_float: bool
) -> _Changes | None:
    """Find every change of a monotone region between the ends by halving; both sides of each change are evaluated."""

    def points(position: np.ndarray, channel: np.ndarray) -> np.ndarray:
        return _from_ordinal(position) if as_float else position * step + shift[channel]

    channel = np.arange(len(lo))
    left, right = lo.astype(np.int64), hi.astype(np.int64)
    first = region.evaluate(points(left, channel), channel)
    left_value, right_value = first, region.evaluate(points(right, channel), channel)
    done: list[_Changes] = []
    minus_zero = _minus_zero(left_value) or _minus_zero(right_value)
    while True:
        differ = left_value != right_value
        channel, left, right = channel[differ], left[differ], right[differ]
        left_value, right_value = left_value[differ], right_value[differ]
        if not np.isfinite(np.concatenate([left_value, right_value])).all() or channel.size > MOST_STEPS * len(lo):
            return None
        near = right - left == 1
        where = points(right[near], channel[near])
        done.append(_Changes(channel[near], where, right_value[near], first[:0]))
        channel, left, right = channel[~near], left[~near], right[~near]
        left_value, right_value = left_value[~near], right_value[~near]
        if channel.size == 0:
            break
        middle = (left + right) // 2
        value = region.evaluate(points(middle, channel), channel)
        minus_zero = minus_zero or _minus_zero(value)
        channel = np.concatenate([channel, channel])
        left, right = np.concatenate([left, middle]), np.concatenate([middle, right])
        left_value, right_value = np.concatenate([left_value, value]), np.concatenate([value, right_value])
    changes = _joined(done)
    return _Changes(changes.channel, changes.point, changes.value, first, minus_zero)


def _joined(parts: list[_Changes]) -> _Changes:
    channel = np.concatenate([p.channel for p in parts])
    point = np.concatenate([p.point for p in parts])
    order = np.lexsort((point, channel))
    return _Changes(
        channel[order],
        point[order],
        np.concatenate([p.value for p in parts])[order],
        np.concatenate([p.first for p in parts]),
        any(p.minus_zero for p in parts),
    )


def _assemble(changes: _Changes | None, dtype: np.dtype[np.generic], channels: int) -> Steps | None:
    """Rows of equal length: a channel with fewer steps repeats its last value behind thresholds that are never used."""
    if changes is None:
        return None
    counts = np.bincount(changes.channel, minlength=channels)
    width = int(counts.max()) if counts.size else 0
    if width > MOST_STEPS:
        return None
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    column = np.arange(changes.channel.size) - starts[changes.channel]
    thresholds = np.full((channels, width), _UNUSED if dtype == np.int32 else np.inf, dtype)
    thresholds[changes.channel, column] = changes.point
    values = np.repeat(changes.first[:, None], width + 1, axis=1)
    for n in range(width):
        there = counts > n
        values[there, n + 1 :] = changes.value[starts[there] + n][:, None]
    return Steps(thresholds, values, changes.minus_zero)


def _ordinal(values: np.ndarray) -> np.ndarray:
    """fp32 numbers as integers in the same order (-0 just below +0)."""
    raw = np.asarray(values, np.float32).view(np.int32).astype(np.int64)
    return np.where(raw >= 0, raw, -(raw & 0x7FFFFFFF) - 1)


def _from_ordinal(position: np.ndarray) -> np.ndarray:
    """The inverse of _ordinal."""
    raw = np.where(position >= 0, position, (-(position + 1)) | 0x80000000)
    return (raw & 0xFFFFFFFF).astype(np.uint32).view(np.float32)
