"""Random prototypes: each class is a random pattern of bits, each sample its pattern with some bits flipped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from bnnc.data import draws
from bnnc.data.dataset import Batch, Dataset
from bnnc.data.draws import FLIPS, PROTOTYPES, stream
from bnnc.data.parameters import name_of, parameter
from bnnc.ir.types import Bit

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Prototypes:
    """The task of the LBE paper (arXiv 2412.00119): 10 000 + 2 000 samples, as hard as p = 0.44 makes it."""

    classes: int = parameter(10, (2, 1000), "how many classes")
    bits: int = parameter(1000, (1, 1_000_000), "how many bits a sample has")
    p: Fraction = parameter(Fraction(44, 100), (0, Fraction(1, 2)), "the probability that a bit is flipped")  # noqa: RUF009
    train: int = parameter(10_000, (1, 10_000_000), "how many samples to train on")
    test: int = parameter(2_000, (1, 10_000_000), "how many samples to test on")
    seed: int = parameter(1, (0, 2**63 - 1), "the seed")


def prototypes(of: Prototypes) -> np.ndarray:
    """The patterns, int8 ±1 [classes, bits]: bit k of class c is draw c * bits + k."""
    key = stream(of.seed, PROTOTYPES, 0, 0)
    return draws.signs(key, 0, of.classes * of.bits).reshape(of.classes, of.bits)


def threshold(p: Fraction) -> int:
    """A bit is flipped when the high half of its draw is below this."""
    return int(p * 2**32)


def dataset(of: Prototypes, split: str) -> Dataset:
    """The data set, made as it is read. Sample n has class n % classes; bit k is flipped by draw n * bits + k."""
    count = of.test if split == "test" else of.train
    key = stream(of.seed, FLIPS, SPLITS.index(split), 0)

    def made(length: int) -> Iterator[Batch]:
        patterns = prototypes(of)
        for start, stop in draws.blocks(count, of.bits, length):
            labels = np.arange(start, stop, dtype=np.int32) % of.classes
            flips = draws.draws(key, start * of.bits, (stop - start) * of.bits) >> np.uint64(32)
            flipped = (flips < np.uint64(threshold(of.p))).reshape(-1, of.bits)
            yield np.where(flipped, -patterns[labels], patterns[labels]), labels

    names = tuple(str(number) for number in range(of.classes))
    return Dataset(name_of("prototypes", of), split, count, (of.bits,), names, made, Bit())
