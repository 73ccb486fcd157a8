"""The frozen classifiers: a row of ±1 for each class, drawn once and never trained."""

from __future__ import annotations

import numpy as np

from bnnc.ir.training import CLASSIFIER
from bnnc.reference.draws import draws


def random_code(classes: int, width: int, seed: int, layer: int) -> np.ndarray:
    """Independent random signs, int8 [classes, width]."""
    low = draws(seed, CLASSIFIER, layer, 0, np.arange(classes * width)) & np.uint64(1)
    return (low.astype(np.int8) * 2 - 1).reshape(classes, width)


def balanced_code(classes: int, width: int, seed: int, layer: int) -> np.ndarray:
    """Every neuron tells one half of the classes from the other, int8 [classes, width].

    Column j holds +1 for the classes with the smallest draws: half of them, and of an odd number the smaller half for
    even j and the larger half for odd j. So the mean distance of two rows is as large as it can be.
    """
    drawn = draws(seed, CLASSIFIER, layer, 0, np.arange(classes * width)).reshape(width, classes)
    rank = drawn.argsort(1).argsort(1)
    half = (classes + np.arange(width) % 2) // 2
    return np.where(rank < half[:, None], 1, -1).astype(np.int8).T.copy()


CODES = {"random": random_code, "balanced": balanced_code}
