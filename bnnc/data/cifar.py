"""CIFAR-10: binary batches, records of a label byte and the planes R, G, B of 32 x 32 pixels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from bnnc.data.dataset import Batch, Dataset
from bnnc.data.files import broken, find, opened

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
        files = [(path, "") for path in found if path]
        archive = folder / ARCHIVE
        if len(files) < len(found) and archive.is_file():
            files = [(archive, batch) for batch in BATCHES[split]]
        if len(files) == len(found):
            count = sum(_records(path, member) for path, member in files)
            return Dataset(name, split, count, SHAPE, CLASSES, partial(_stream, files))
    return None


def _records(path: Path, member: str) -> int:
    """How many records a file holds; found by reading it through, unless it is plain."""
    if not member and path.suffix == ".bin":
        size = path.stat().st_size
    else:
        size = 0
        with opened(path, member) as file:
            while chunk := file.read(1 << 20):
                size += len(chunk)
                if size > MOST_RECORDS * RECORD:
                    break
    if size == 0 or size % RECORD or size > MOST_RECORDS * RECORD:
        whole = f"{size} bytes are no whole number of records of {RECORD} bytes"
        if size > MOST_RECORDS * RECORD:
            whole = f"it holds more than {MOST_RECORDS} records"
        raise broken(path, f"is no CIFAR-10 batch: {whole}", "fetch the file again")
    return size // RECORD


def _stream(files: list[tuple[Path, str]], length: int) -> Iterator[Batch]:
    for path, member in files:
        with opened(path, member) as file:
            while content := file.read(length * RECORD):
                if len(content) % RECORD:
                    raise broken(path, "ends in the middle of a record", "fetch the file again")
                records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
                labels = records[:, 0]
                if labels.max() >= len(CLASSES):
                    raise broken(path, f"holds the label {labels.max()}; there are {len(CLASSES)} classes")
                yield records[:, 1:].reshape(-1, *SHAPE), labels
