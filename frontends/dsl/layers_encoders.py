"""Encoders: how pixels and other integers become bits. Some learn their levels from the training set."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bnnc.frontends.dsl.catalogue import Layer, Mismatch, Parameter, Use, need_integers
from bnnc.frontends.dsl.kinds import Whole, Words
from bnnc.ir import bit, move
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, Int, Trit, value_range

_SIGNS = np.array([[-1, 1]], np.int32)
_MOST_BITS = 1 << 20


def _above(x: Op, level: np.ndarray, use: Use) -> Op:
    """+1 where x > level; level [1] or one for each element of axis 0."""
    thresholds = (np.asarray(level, np.int64).reshape(-1, 1) + 1).clip(-(2**31), 2**31 - 1).astype(np.int32)
    return bit.Step(x, thresholds, np.repeat(_SIGNS, len(thresholds), 0), Bit(), loc=use.loc)


def _range(use: Use) -> Int:
    need_integers(use, "give the input as u8, the way images are stored")
    return Int(*value_range(use.type.dtype))


def threshold(use: Use) -> Op:
    values, level = _range(use), use["level"]
    levels = use.arrays.integers(use.name, "level", (1,), values) if level == "median" else np.array([level])
    return _above(use.x, levels, use)


def thermometer(use: Use) -> Op:
    values, count = _range(use), use["levels"]
    if use.rank == 0:
        raise Mismatch(f"`thermometer` needs an axis, but gets {use.type}", "no axis")
    if use["spacing"] == "even":
        if values != Int(0, 255):
            raise Mismatch(f"even levels are those of pixels, u8, not of {use.type}", "expects u8")
        levels = np.array([256 * (i + 1) // (count + 1) for i in range(count)])
    else:
        levels = use.arrays.integers(use.name, "levels", (count,), values)
    parts = tuple(_above(use.x, levels[i : i + 1], use) for i in range(count))
    return move.Concat(xs=parts, axis=use["axis"], loc=use.loc)


def comparisons(use: Use) -> Op:
    _range(use)
    count, size = use["count"], use.type.size
    flat = move.Reshape(x=use.x, shape=(size,), loc=use.loc)
    picks = [use.arrays.integers(use.name, field, (count,), Int(0, size - 1)) for field in ("first", "second")]
    first, second = (move.Gather(x=flat, indices=p.astype(np.int64), axis=0, loc=use.loc) for p in picks)
    return _above(bit.Add(xs=(first, second), coefficients=(1, -1), loc=use.loc), np.array([0]), use)


def features(use: Use) -> Op:
    values, (count, size) = _range(use), (use["count"], use["size"])
    if use.rank < 2 or min(use.type.shape[-2:]) < size:
        raise Mismatch(f"`features` needs an image of at least {size}x{size}, but gets {use.type}", "too small")
    level: Any = use["level"]
    levels = use.arrays.integers(use.name, "level", (1,), values) if level == "median" else np.array([level])
    bits = move.Reshape(x=_above(use.x, levels, use), shape=(use.type.size,), loc=use.loc)
    patches = use.arrays.integers(use.name, "patches", (count, use.type.size), Trit()).astype(np.int8)
    sums = bit.Dense(x=bits, weights=patches, loc=use.loc)
    pixels = math.prod(use.type.shape)
    medians = use.arrays.integers(use.name, "medians", (count,), Int(-pixels, pixels))
    return _above(sums, medians, use)


_LEVEL = Parameter(
    "level", Words(("median",), Whole(-(2**31))), "a number, or `median`: of the training set, one for all", "median"
)

LAYERS = (
    Layer(
        "threshold",
        "A bit for each element: +1 above `level`.",
        threshold,
        (_LEVEL,),
        arrays=("level [1]",),
        example="threshold(median)",
    ),
    Layer(
        "thermometer",
        "`levels` bits for each element, all those of the first level first: +1 above the level. `even`: levels"
        " 256 · i / (levels + 1). `quantile`: 0, then quantiles of what is not 0 in the training set.",
        thermometer,
        (
            Parameter("levels", Whole(1, 255), "how many levels"),
            Parameter("spacing", Words(("even", "quantile")), "where they are", "even"),
            Parameter("axis", Whole(0, 15), "which axis grows; in a sequence 1, as axis 0 is the time", 0),
        ),
        arrays=("levels [levels]",),
        example="thermometer(4, quantile)",
    ),
    Layer(
        "comparisons",
        "Bits that compare two random pixels each: +1 if the first is greater. Flat.",
        comparisons,
        (
            Parameter("count", Whole(1, _MOST_BITS), "how many"),
            Parameter("distance", Whole(1, 1 << 16), "how far apart the two are at most, on each axis", 5),
        ),
        arrays=("first [count]", "second [count]"),
        example="comparisons(2048, distance=5)",
    ),
    Layer(
        "features",
        "Bits of frozen random ±1 patches on the image of bits above `level`: +1 if a patch fits better than in the"
        " median of the training set. Flat.",
        features,
        (
            Parameter("count", Whole(1, _MOST_BITS), "how many"),
            Parameter("size", Whole(1, 1 << 10), "side of a patch", 7),
            _LEVEL,
        ),
        arrays=("level [1]", "patches [count, size of the image]", "medians [count]"),
        example="features(2048, size=7)",
    ),
)
