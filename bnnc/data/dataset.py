"""What a data set is: labelled images, streamed in batches so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

Batch = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Dataset:
    """`count` images uint8 [C, H, W] = `shape`, each with a label: an index into `classes`.

    `stream(length)` opens the files and gives batches (images uint8 [n, C, H, W], labels uint8 [n]), n <= length.
    """

    name: str
    split: str
    count: int
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    stream: Callable[[int], Iterator[Batch]]

    def batches(self, length: int) -> Iterator[Batch]:
        """Every image once, in the order of the files. Raises BnncError B0504 when a file turns out to be broken."""
        return self.stream(length)

    def load(self) -> Batch:
        """All images uint8 [count, C, H, W] and labels uint8 [count] in memory. Raises BnncError like `batches`."""
        images = np.empty((self.count, *self.shape), np.uint8)
        labels = np.empty(self.count, np.uint8)
        start = 0
        for some, their in self.stream(4096):
            images[start : start + len(some)], labels[start : start + len(some)] = some, their
            start += len(some)
        return images, labels
