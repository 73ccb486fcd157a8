"""CIFAR-10: binary batches, records of a label byte and the planes R, G, B of 32 x 32 pixels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from bnnc.data.dataset import Batch, Dataset
from bnnc.data.files import broken, find, member_sizes, members, opened, told

SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32
BATCHES = {"train": [f"data_batch_{n}.bin" for n in range(1, 6)], "test": ["test_batch.bin"]}
ARCHIVE = "cifar-10-binary.tar.gz"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# A file of the canonical data set has 10 000 records; more than this is another file, or a bomb.
MOST_RECORDS = 1_000_000


def read(name: str, split: str, folders: list[Path]) -> Dataset | None:
    """The data set from the first folder that has all its files; None when none has. Raises BnncError B0504."""
    for folder in folders:
        both = [folder, folder / "cifar-10-batches-bin"]
        found = [find(both, batch) for batch in BATCHES[split]]
        files = [path for path in found if path]
        archive = folder / ARCHIVE
        if len(files) == len(found):
            count = sum(_records(path, _size(path)) for path in files)
            return Dataset(name, split, count, SHAPE, CLASSES, partial(_stream, files))
        if archive.is_file():
            sizes = member_sizes(archive)
            missing = [batch for batch in BATCHES[split] if batch not in sizes]
            if missing:
                raise broken(archive, f"holds no `{missing[0]}`")
            count = sum(_records(archive, sizes[batch]) for batch in BATCHES[split])
            return Dataset(name, split, count, SHAPE, CLASSES, partial(_stream_archive, archive, BATCHES[split]))
    return None


def _size(path: Path) -> int:
    """The bytes of a batch, found by reading it through unless it is plain."""
    if path.suffix == ".bin":
        return path.stat().st_size
    size = 0
    with opened(path) as file:
        while size <= MOST_RECORDS * RECORD and (chunk := file.read(1 << 20)):
            size += len(chunk)
    return size


def _records(path: Path, size: int) -> int:
    if size == 0 or size % RECORD or size > MOST_RECORDS * RECORD:
        whole = f"{size} bytes are no whole number of records of {RECORD} bytes"
        if size > MOST_RECORDS * RECORD:
            whole = f"it holds more than {MOST_RECORDS} records"
        raise broken(path, f"is no CIFAR-10 batch: {whole}", "fetch the file again")
    return size // RECORD


def _stream(files: list[Path], length: int) -> Iterator[Batch]:
    for path in files:
        with opened(path) as file:
            yield from _batches(path, file, length)


def _stream_archive(path: Path, batches: list[str], length: int) -> Iterator[Batch]:
    with told(path):
        for file in members(path, batches):
            yield from _batches(path, file, length)


def _batches(path: Path, file: IO[bytes], length: int) -> Iterator[Batch]:
    while content := file.read(length * RECORD):
        if len(content) % RECORD:
            raise broken(path, "ends in the middle of a record", "fetch the file again")
        records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
        labels = records[:, 0]
        if labels.max() >= len(CLASSES):
            raise broken(path, f"holds the label {labels.max()}; there are {len(CLASSES)} classes")
        yield records[:, 1:].reshape(-1, *SHAPE), labels
