"""Small training runs for tests: random states and samples, plans, and data sets held in memory."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from bnnc.data.dataset import Dataset
from bnnc.data.prototypes import Prototypes, dataset
from bnnc.data.split import Pair
from bnnc.ir.types import U8
from bnnc.train.engine import Samples
from bnnc.train.plan import Settings, Signs, TrainingPlan
from bnnc.train.samples import packed


def plan(widths: tuple[int, ...] = (15, 9), inputs: int = 21, classes: int = 4, **settings: Any) -> TrainingPlan:
    """Dense layers on `inputs` bits."""
    return TrainingPlan("net", "x", (inputs,), classes, (Signs(),), widths, Settings(**{"batch": 8, **settings}))


def random_samples(count: int, width: int, classes: int, seed: int = 0) -> Samples:
    """Random bits and labels."""
    generator = np.random.default_rng(seed)
    bits = generator.integers(0, 2, (count, width)) * 2 - 1
    return packed(bits, generator.integers(0, classes, count))


def prototypes(train: int = 600, test: int = 200, **more: Any) -> Pair:
    """An easy task: four classes of 63 bits, a fifth of which is flipped."""
    of = Prototypes(**{"classes": 4, "bits": 63, "p": Fraction(1, 5), "train": train, "test": test, **more})
    return Pair(dataset(of, "train"), dataset(of, "test"))


def images(count: int, shape: tuple[int, int, int] = (1, 6, 6), classes: int = 3, seed: int = 0) -> Pair:
    """Images of noise with a bright row that tells the class; uint8."""

    def made(split: str, at: int) -> Dataset:
        generator = np.random.default_rng((seed, at))
        labels = generator.integers(0, classes, count).astype(np.int32)
        pixels = generator.integers(0, 120, (count, *shape)).astype(np.uint8)
        pixels[np.arange(count), 0, labels] += 120

        def stream(length: int) -> Any:
            for start in range(0, count, length):
                yield pixels[start : start + length], labels[start : start + length]

        names = tuple(map(str, range(classes)))
        return Dataset("rows", split, count, shape, names, stream, U8)

    return Pair(made("train", 0), made("test", 1))
