"""Training set, test set, and a part of the training set kept apart for choosing: always the same for one seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from bnnc.data.dataset import Batch, Dataset
from bnnc.data.draws import VALIDATION, chosen
from bnnc.diagnostics import Exit, error


@dataclass(frozen=True)
class Pair:
    """What is trained on, and what the result is measured on."""

    train: Dataset
    test: Dataset


def part(dataset: Dataset, mask: np.ndarray, split: str) -> Dataset:
    """The samples with True in mask (bool [count]), in their order; its batches may be short."""
    if mask.shape != (dataset.count,):
        raise ValueError(f"a mask of {mask.shape} for {dataset.count} samples")

    def stream(length: int) -> Iterator[Batch]:
        start = 0
        for samples, labels in dataset.stream(length):
            taken = mask[start : start + len(labels)]
            start += len(labels)
            if taken.any():
                yield samples[taken], labels[taken]

    return replace(dataset, split=split, count=int(mask.sum()), stream=stream)


def validation(dataset: Dataset, share: int | float | Fraction, seed: int) -> Pair:
    """The data set in two: `test` has `share` of it (a number of samples, or a fraction below 1), `train` the rest.

    The choice depends on the seed and the number of samples alone. Raises BnncError B0520 when one part would be empty.
    """
    exact = Fraction(str(share))
    number = int(exact) if exact >= 1 else int(exact * dataset.count + Fraction(1, 2))
    if not 0 < number < dataset.count or (exact >= 1 and exact != number):
        raise error(
            "B0520",
            f"a validation split of {share} cannot be taken from {dataset.count} samples of `{dataset.name}`",
            notes=("it is a number of samples or a fraction below 1, and leaves some samples to train on",),
            helps=("--validation 0.1",),
            exit_code=Exit.USAGE,
        )
    mask = chosen(dataset.count, number, seed, VALIDATION)
    return Pair(part(dataset, ~mask, dataset.split), part(dataset, mask, "validation"))
