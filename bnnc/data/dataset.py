"""What a data set is: labelled samples, streamed in batches so that memory does not grow with their number."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from bnnc.diagnostics import BnncError, Exit, error
from bnnc.ir.types import U8, Bit, DType, TensorType

Batch = tuple[np.ndarray, np.ndarray]
_CHUNK = 4096


@dataclass(frozen=True)
class Dataset:
    """`count` samples of `shape`, each with a label: an index into `classes`.

    dtype u8: pixels, uint8, [C, H, W] or any other shape. dtype bit: int8 arrays of -1 and +1, of any shape ([K], or
    [T, K] for sequences). `stream(length)` opens the files and gives batches (samples [n, *shape], labels int [n]) with
    1 <= n <= length, every sample once, always in the same order.
    """

    name: str
    split: str
    count: int
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    stream: Callable[[int], Iterator[Batch]]
    dtype: DType = U8

    @property
    def type(self) -> TensorType:
        """The type of one sample."""
        return TensorType(self.dtype, self.shape)

    @property
    def storage(self) -> np.dtype[np.int8 | np.uint8]:
        """The numpy dtype of the samples."""
        return np.dtype(np.int8 if self.dtype == Bit() else np.uint8)

    def batches(self, length: int) -> Iterator[Batch]:
        """Every sample once, in the order of the files. Raises BnncError B0504 when a file turns out to be broken."""
        return self.stream(length)

    def load(self) -> Batch:
        """All samples [count, *shape] and labels int32 [count] in memory.

        Raises BnncError like `batches`, and B0519 where this machine has not enough memory.
        """
        needed = self.count * self.type.size
        if needed > _physical_memory():
            raise self._too_large(needed)
        try:
            samples = np.empty((self.count, *self.shape), self.storage)
            labels = np.empty(self.count, np.int32)
        except MemoryError:
            raise self._too_large(needed) from None
        start = 0
        for some, their in self.stream(_CHUNK):
            samples[start : start + len(some)], labels[start : start + len(some)] = some, their
            start += len(some)
        assert start == self.count
        return samples, labels

    def held(self) -> Dataset:
        """The same data set, read once and kept in memory. Raises BnncError like `load`."""
        samples, labels = self.load()
        return replace(self, stream=lambda length: _sliced(samples, labels, length))

    def digest(self) -> str:
        """SHA-256 (hex) of what a training run sees: type, number of classes, samples and labels in order.

        Not of names, nor of how the files are packed. Raises BnncError like `batches`.
        """
        pixels, labels = hashlib.sha256(), hashlib.sha256()
        for some, their in self.stream(_CHUNK):
            pixels.update(np.ascontiguousarray(some).data)
            labels.update(np.ascontiguousarray(their, "<i4").data)
        head = f"{self.count} {self.type} {len(self.classes)}\n"
        return hashlib.sha256(head.encode() + pixels.digest() + labels.digest()).hexdigest()

    def _too_large(self, needed: int) -> BnncError:
        return error(
            "B0519",
            f"data set `{self.name}` ({self.split}) takes {_size(needed)} in memory, more than this machine has",
            notes=(f"{self.count} samples of {self.type}",),
            helps=("train on fewer or smaller samples",),
            exit_code=Exit.ENVIRONMENT,
        )


def _sliced(samples: np.ndarray, labels: np.ndarray, length: int) -> Iterator[Batch]:
    for start in range(0, len(labels), length):
        yield samples[start : start + length], labels[start : start + length]


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"


def _physical_memory() -> float:
    """Bytes of memory in this machine; infinite where the system does not say."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return float("inf")
