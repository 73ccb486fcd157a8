"""Random numbers by the counter, many at a time: `bnnc.ir.training.draw` on arrays."""

from __future__ import annotations

import numpy as np

from bnnc.ir.training import stream

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def draws(seed: int, purpose: int, layer: int, time: int, index: np.ndarray) -> np.ndarray:
    """draw(seed, purpose, layer, time, i) for every i of `index` (whole numbers >= 0): uint64 of the same shape.

    Within one stream no two indices give the same number: every step of `draw` can be undone.
    """
    with np.errstate(over="ignore"):
        z = (index.astype(np.uint64) + np.uint64(1)) * _GOLDEN + np.uint64(stream(seed, purpose, layer, time))
        z = (z ^ (z >> np.uint64(30))) * _FIRST
        z = (z ^ (z >> np.uint64(27))) * _SECOND
        return np.asarray(z ^ (z >> np.uint64(31)))
