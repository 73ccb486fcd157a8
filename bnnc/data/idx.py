"""MNIST and Fashion-MNIST: images and labels in the idx format (a magic number, big-endian sizes, then bytes)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from bnnc.data.dataset import Batch, Dataset
from bnnc.data.files import broken, ended, exactly, find, opened

SHAPE = (1, 28, 28)
MOST_IMAGES = 10_000_000
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def read(name: str, split: str, folders: list[Path], classes: tuple[str, ...]) -> Dataset | None:
    """The data set from the first folder that has its files; None when none has. Raises BnncError B0504."""
    for folder in folders:
        images, labels = (find([folder], file) for file in FILES[split])
        if images and labels:
            return _dataset(name, split, images, labels, classes)
    return None


def _dataset(name: str, split: str, images: Path, labels: Path, classes: tuple[str, ...]) -> Dataset:
    with opened(images) as file:
        count, height, width = _header(file, images, rank=3)
    if (height, width) != SHAPE[1:]:
        raise broken(images, f"holds images of {height} x {width}, not 28 x 28")
    with opened(labels) as file:
        (labelled,) = _header(file, labels, rank=1)
    if labelled != count:
        raise broken(labels, f"labels {labelled} images, but `{images.name}` holds {count}")

    def stream(length: int) -> Iterator[Batch]:
        with opened(images) as pixels, opened(labels) as classes_of:
            _header(pixels, images, rank=3)
            _header(classes_of, labels, rank=1)
            for start in range(0, count, length):
                n = min(length, count - start)
                some = exactly(pixels, n * 784, images, f"a file of {count} images")
                their = np.frombuffer(exactly(classes_of, n, labels, f"a file of {count} labels"), np.uint8)
                if their.max() >= len(classes):
                    raise broken(labels, f"holds the label {their.max()}; there are {len(classes)} classes")
                yield np.frombuffer(some, np.uint8).reshape(n, *SHAPE), their
            ended(pixels, images, f"its {count} images")
            ended(classes_of, labels, f"its {count} labels")

    return Dataset(name, split, count, SHAPE, classes, stream)


def _header(file: IO[bytes], path: Path, rank: int) -> tuple[int, ...]:
    magic = exactly(file, 4, path, "an idx file")
    if magic[:2] != b"\0\0" or magic[2] != 8:
        raise broken(path, "is no idx file of bytes: it starts with " + magic.hex(" "))
    if magic[3] != rank:
        kind = {1: "labels", 3: "images"}
        raise broken(path, f"has {magic[3]} axes, but {kind[rank]} have {rank}: are images and labels swapped?")
    sizes = struct.unpack(f">{rank}I", exactly(file, 4 * rank, path, "its header"))
    if not 1 <= sizes[0] <= MOST_IMAGES:
        raise broken(path, f"claims to hold {sizes[0]} items; at least 1 and at most {MOST_IMAGES} are possible")
    return sizes
