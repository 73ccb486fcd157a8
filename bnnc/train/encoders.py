"""Encoders: how the elements of a sample become bits. What they need of the training set is learnt here, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bnnc.diagnostics import error
from bnnc.ir.bit import Add, Dense
from bnnc.ir.bit import Step as BitStep
from bnnc.ir.move import Concat, Gather
from bnnc.ir.op import Op
from bnnc.ir.training import ENCODER
from bnnc.ir.types import Bit
from bnnc.reference.draws import draws
from bnnc.train.plan import Comparisons, Encoder, Features, Signs, Thermometer, Threshold

MOST_IMAGES = 10_000
"""Medians of features are taken over at most so many samples of the training set, evenly spaced."""
_CHUNK = 256
_BLOCK = 1 << 16

Apply = Callable[[Op], Op]


@dataclass(frozen=True)
class Grid:
    """The elements of a sample as channels of an image, row by row; a list is one channel of one row."""

    channels: int
    rows: int
    columns: int

    @property
    def size(self) -> int:
        return self.channels * self.rows * self.columns


def grid(shape: tuple[int, ...]) -> Grid:
    """How [C, H, W], [H, W] or [K] is laid out; more axes are so many channels."""
    if len(shape) >= 2:
        return Grid(int(np.prod(shape[:-2], dtype=np.int64)), shape[-2], shape[-1])
    return Grid(1, 1, int(np.prod(shape, dtype=np.int64)))


def fit(encoders: tuple[Encoder, ...], samples: np.ndarray, of: Grid, seed: int) -> Apply:
    """What all the encoders together make of a sample, learnt from `samples`, integers [n, elements].

    The result takes an op [elements] of integers and gives bit [width]: the bits of the first encoder first. The
    random choices of an encoder depend on the seed and its place alone. Raises BnncError B0536.
    """
    fitted = [_FIT[type(encoder)](encoder, samples, of, seed, place) for place, encoder in enumerate(encoders)]

    def apply(x: Op) -> Op:
        parts = [one(x) for one in fitted]
        return parts[0] if len(parts) == 1 else Concat(tuple(parts), 0)

    return apply


def _above(x: Op, levels: np.ndarray) -> Op:
    """+1 where x > level, else -1; one level for all, or one for each element."""
    thresholds = levels.reshape(-1, 1).astype(np.int32) + np.int32(1)
    return BitStep(x, thresholds, np.tile(np.array([[-1, 1]], np.int32), (len(thresholds), 1)), Bit())


def _counts(samples: np.ndarray, skip_zero: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The values that occur, ascending, and how often."""
    low, high = (0, 255) if samples.dtype == np.uint8 else (int(samples.min()), int(samples.max()))
    counts = np.zeros(high - low + 1, np.int64)
    flat = samples.reshape(-1)
    for start in range(0, len(flat), _BLOCK):  # bincount widens what it counts: in blocks that stay in cache
        part = flat[start : start + _BLOCK]
        counts += np.bincount(part.astype(np.int64) - low if low else part, minlength=len(counts))
    values = np.flatnonzero(counts)
    if skip_zero:
        values = values[values + low != 0]
    return values + low, counts[values]


def _quantile(values: np.ndarray, counts: np.ndarray, numerator: int, denominator: int) -> int:
    """The sorted list's element number floor((n - 1) * numerator / denominator)."""
    place = (int(counts.sum()) - 1) * numerator // denominator
    return int(values[np.searchsorted(np.cumsum(counts), place, side="right")])


def _threshold(encoder: Threshold, samples: np.ndarray, of: Grid, seed: int, place: int) -> Apply:
    level = _level(encoder.level, samples)
    return lambda x: _above(x, np.array([level]))


def _level(given: int | None, samples: np.ndarray) -> int:
    return _quantile(*_counts(samples), 1, 2) if given is None else given


def _thermometer(encoder: Thermometer, samples: np.ndarray, of: Grid, seed: int, place: int) -> Apply:
    count = encoder.levels
    if encoder.spacing == "even":
        levels = [256 * (j + 1) // (count + 1) for j in range(count)]
    else:
        values, counts = _counts(samples, skip_zero=True)
        if not len(values):
            raise error("B0536", "every element of the training set is 0: its values have no quantiles")
        levels = [0, *(_quantile(values, counts, j, count) for j in range(1, count))]
    return lambda x: Concat(tuple(_above(x, np.array([level])) for level in levels), 0)


def _comparisons(encoder: Comparisons, samples: np.ndarray, of: Grid, seed: int, place: int) -> Apply:
    first, second = pairs(encoder, of, seed, place)
    return lambda x: _above(Add((Gather(x, first, 0), Gather(x, second, 0)), (1, -1)), np.array([0]))


def pairs(encoder: Comparisons, of: Grid, seed: int, place: int) -> tuple[np.ndarray, np.ndarray]:
    """The elements that are compared, int64 [count] each: the first any element, the second another one of the same
    channel within `distance` rows and columns of it; all that lie in the image are equally likely."""
    if of.rows * of.columns < 2:
        raise error("B0536", "a sample has a single element: there is nothing to compare it with")
    first = _below(draws(seed, ENCODER, place, 0, np.arange(encoder.count)), of.size)
    plane, row, column = np.unravel_index(first, (of.channels, of.rows, of.columns))
    reach = encoder.distance
    top, left = np.maximum(row - reach, 0), np.maximum(column - reach, 0)
    height = np.minimum(row + reach, of.rows - 1) - top + 1
    width = np.minimum(column + reach, of.columns - 1) - left + 1
    chosen = _below(draws(seed, ENCODER, place, 1, np.arange(encoder.count)), height * width - 1)
    chosen = chosen + (chosen >= (row - top) * width + (column - left))  # not the first itself
    second = np.ravel_multi_index(
        (plane, top + chosen // width, left + chosen % width), (of.channels, of.rows, of.columns)
    )
    return np.asarray(first, np.int64), np.asarray(second, np.int64)


def _below(drawn: np.ndarray, limit: int | np.ndarray) -> np.ndarray:
    """Draws as numbers from 0 to limit - 1, by their high halves."""
    scaled = (drawn >> np.uint64(32)) * np.asarray(limit).astype(np.uint64)
    return (scaled >> np.uint64(32)).astype(np.int64)


def _features(encoder: Features, samples: np.ndarray, of: Grid, seed: int, place: int) -> Apply:
    level = _level(encoder.level, samples)
    patches = filters(encoder, of, seed, place)
    some = samples[:: -(-len(samples) // MOST_IMAGES)] > level
    signs = some.astype(np.float32) * 2 - 1
    medians = np.empty(encoder.count, np.int64)
    for start in range(0, encoder.count, _CHUNK):
        sums = (signs @ patches[start : start + _CHUNK].T.astype(np.float32)).astype(np.int32)
        middle = (len(sums) - 1) // 2
        medians[start : start + _CHUNK] = np.partition(sums, middle, axis=0)[middle]
    return lambda x: _above(Dense(_above(x, np.array([level])), patches), medians)


def filters(encoder: Features, of: Grid, seed: int, place: int) -> np.ndarray:
    """The patches as weights int8 [count, elements]: random signs at a random place of a random channel, else 0."""
    size = encoder.size
    if size > min(of.rows, of.columns):
        raise error("B0536", f"patches of {size} x {size} do not fit an image of {of.rows} x {of.columns}")
    numbers = np.arange(encoder.count)
    places = (of.channels, of.rows - size + 1, of.columns - size + 1)
    drawn = _below(draws(seed, ENCODER, place, 0, numbers), int(np.prod(places)))
    plane, top, left = np.unravel_index(drawn, places)
    low = draws(seed, ENCODER, place, 1, np.arange(encoder.count * size * size)) & np.uint64(1)
    signs = (low.astype(np.int8) * 2 - 1).reshape(encoder.count, size, size)
    images = np.zeros((encoder.count, of.channels, of.rows, of.columns), np.int8)
    for row in range(size):
        for column in range(size):
            images[numbers, plane, top + row, left + column] = signs[:, row, column]
    return images.reshape(encoder.count, of.size)


def _signs(encoder: Signs, samples: np.ndarray, of: Grid, seed: int, place: int) -> Apply:
    return lambda x: x if x.type.dtype == Bit() else _above(x, np.array([-1]))


_FIT: dict[type, Callable[..., Apply]] = {
    Threshold: _threshold,
    Thermometer: _thermometer,
    Comparisons: _comparisons,
    Features: _features,
    Signs: _signs,
}
