"""The idx format (a magic number, big-endian sizes, then bytes): MNIST, Fashion-MNIST, and files of one's own."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from bnnc.data.dataset import Batch, Dataset
from bnnc.data.files import announced, broken, ended, exactly, find, opened, unfit

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
            with opened(images) as file:
                _, *size = _header(file, images, ranks=(3,))
            if tuple(size) != SHAPE[1:]:
                raise broken(images, f"holds images of {' x '.join(map(str, size))}, not 28 x 28")
            return dataset(name, split, images, labels, classes)
    return None


def dataset(name: str, split: str, images: Path, labels: Path, classes: tuple[str, ...]) -> Dataset:
    """Samples of any size from two idx files. Raises BnncError B0504."""
    with opened(images) as file:
        count, *size = _header(file, images, ranks=(2, 3, 4))
    with opened(labels) as file:
        (labelled,) = _header(file, labels, ranks=(1,))
    if labelled != count:
        raise broken(labels, f"labels {labelled} images, but `{images.name}` holds {count}")
    shape = (1, *size) if len(size) == 2 else tuple(size)
    one = math.prod(shape)

    def stream(length: int) -> Iterator[Batch]:
        with opened(images) as pixels, opened(labels) as classes_of:
            _header(pixels, images, ranks=(2, 3, 4))
            _header(classes_of, labels, ranks=(1,))
            for start in range(0, count, length):
                n = min(length, count - start)
                some = exactly(pixels, n * one, images, f"a file of {count} images")
                their = np.frombuffer(exactly(classes_of, n, labels, f"a file of {count} labels"), np.uint8)
                if their.max() >= len(classes):
                    raise broken(labels, f"holds the label {their.max()}; there are {len(classes)} classes")
                yield np.frombuffer(some, np.uint8).reshape(n, *shape), their
            ended(pixels, images, f"its {count} images")
            ended(classes_of, labels, f"its {count} labels")

    return Dataset(name, split, count, shape, classes, stream)


def numbered(labels: list[Path]) -> tuple[str, ...]:
    """The classes 0 … of label files whose classes nobody has named. Raises BnncError B0504, B0518."""
    highest = 0
    for path in labels:
        with opened(path) as file:
            (count,) = _header(file, path, ranks=(1,))
            content = exactly(file, count, path, f"a file of {count} labels")
        highest = max(highest, max(content))
    if highest == 0:
        raise unfit(labels[0], "has the label 0 for every image: there is nothing to tell apart")
    return tuple(str(number) for number in range(highest + 1))


def _header(file: IO[bytes], path: Path, ranks: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes in the header, none of which promises more than the file can hold."""
    magic = exactly(file, 4, path, "an idx file")
    if magic[:2] != b"\0\0" or magic[2] != 8:
        raise broken(path, "is no idx file of bytes: it starts with " + magic.hex(" "))
    if magic[3] not in ranks:
        kind = "labels have 1" if ranks == (1,) else f"images have {' or '.join(map(str, ranks))}"
        raise broken(path, f"has {magic[3]} axes, but {kind}: are images and labels swapped?")
    sizes = struct.unpack(f">{magic[3]}I", exactly(file, 4 * magic[3], path, "its header"))
    if not 1 <= sizes[0] <= MOST_IMAGES or min(sizes) < 1:
        listed = " x ".join(map(str, sizes))
        raise broken(path, f"claims to hold {listed} items; at least 1 and at most {MOST_IMAGES} are possible")
    announced(path, math.prod(sizes))
    return sizes
