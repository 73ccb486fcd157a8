"""Small made-up sequences of bits for recurrent networks: what was shown at several steps must be remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from bnnc.data import draws
from bnnc.data.dataset import Batch, Dataset
from bnnc.data.draws import FLIPS, NOISE, PATTERNS, PLACES, SHOWN, stream
from bnnc.data.parameters import name_of, parameter
from bnnc.data.prototypes import SPLITS, threshold
from bnnc.diagnostics import Exit, error
from bnnc.ir.types import Bit

NOTHING = -1


@dataclass(frozen=True)
class Sequences:
    """Each step shows one of a few random patterns with some bits flipped, or noise; what was shown makes the class."""

    task: str = parameter("majority", ("majority", "parity", "recall", "order"), "what makes the class")
    steps: int = parameter(9, (2, 10_000), "how many steps")
    bits: int = parameter(64, (1, 100_000), "how many bits a step has")
    p: Fraction = parameter(Fraction(1, 10), (0, Fraction(1, 2)), "the probability that a bit is flipped")  # noqa: RUF009
    train: int = parameter(2_000, (1, 10_000_000), "how many samples to train on")
    test: int = parameter(1_000, (1, 10_000_000), "how many samples to test on")
    seed: int = parameter(1, (0, 2**63 - 1), "the seed")


# What samples start … stop show: pattern numbers int64 [n, steps] (NOTHING for noise), and their labels [n].
Shower = Callable[[Sequences, int, int, int], tuple[np.ndarray, np.ndarray]]


def _coins(of: Sequences, layer: int, start: int, stop: int) -> np.ndarray:
    key = stream(of.seed, SHOWN, layer, 0)
    return draws.below(key, start * of.steps, (stop - start) * of.steps, 2).reshape(-1, of.steps)


def _majority(of: Sequences, layer: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    shown = _coins(of, layer, start, stop)
    return shown, 2 * shown.sum(axis=1) > of.steps


def _parity(of: Sequences, layer: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    shown = _coins(of, layer, start, stop)
    return shown, shown.sum(axis=1) % 2


def _recall(of: Sequences, layer: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(start, stop) % 4
    shown = np.full((stop - start, of.steps), NOTHING)
    shown[:, 0] = labels
    return shown, labels


def _order(of: Sequences, layer: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(start, stop) % 4
    shown = np.full((stop - start, of.steps), NOTHING)
    half, rows = of.steps // 2, np.arange(stop - start)
    key = stream(of.seed, PLACES, layer, 0)
    shown[rows, draws.below(key, 2 * start, 2 * len(rows), half)[::2]] = labels // 2
    shown[rows, half + draws.below(key, 2 * start, 2 * len(rows), of.steps - half)[1::2]] = labels % 2
    return shown, labels


TASKS: dict[str, tuple[Shower, int, tuple[str, ...]]] = {
    "majority": (_majority, 2, ("mostly A", "mostly B")),
    "parity": (_parity, 2, ("even", "odd")),
    "recall": (_recall, 4, ("A", "B", "C", "D")),
    "order": (_order, 2, ("A A", "A B", "B A", "B B")),
}
"""How a task shows patterns, how many there are, and the names of its classes."""


def dataset(of: Sequences, split: str) -> Dataset:
    """The data set, made as it is read: bits [steps, bits]. Raises BnncError B0517 for a majority of an even number."""
    if of.task == "majority" and of.steps % 2 == 0:
        raise error(
            "B0517",
            f"a majority of {of.steps} steps can be a tie",
            notes=("the number of steps must be odd for this task",),
            helps=(f"sequences:task=majority,steps={of.steps + 1}",),
            exit_code=Exit.USAGE,
        )
    shower, number, classes = TASKS[of.task]
    layer, size = SPLITS.index(split), of.steps * of.bits
    count = of.test if split == "test" else of.train
    flips, noise = (stream(of.seed, purpose, layer, 1) for purpose in (FLIPS, NOISE))

    def made(length: int) -> Iterator[Batch]:
        patterns = draws.signs(stream(of.seed, PATTERNS, 0, 0), 0, number * of.bits).reshape(number, of.bits)
        for start, stop in draws.blocks(count, size, length):
            shown, labels = shower(of, layer, start, stop)
            drawn = draws.draws(flips, start * size, (stop - start) * size) >> np.uint64(32)
            flipped = (drawn < np.uint64(threshold(of.p))).reshape(*shown.shape, of.bits)
            samples = np.where(flipped, -patterns[shown], patterns[shown])
            if (shown == NOTHING).any():
                random = draws.signs(noise, start * size, (stop - start) * size).reshape(samples.shape)
                samples = np.where((shown == NOTHING)[:, :, None], random, samples)
            yield samples, labels.astype(np.int32)

    return Dataset(name_of("sequences", of), split, count, (of.steps, of.bits), classes, made, Bit())
