"""Data sets in .npz files: arrays of samples and labels under the usual keys, streamed, never unpickled."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import IO

import numpy as np

from bnnc.data import npz
from bnnc.data.dataset import Batch, Dataset
from bnnc.data.files import broken, unfit
from bnnc.data.npz import Header
from bnnc.ir.types import U8, Bit

SAMPLES, LABELS = ("x", "images", "samples", "data"), ("y", "labels", "targets", "label")
NAMES = ("classes", "class_names", "names")
MOST_CLASSES = 65_536
CHANNELS = (1, 3, 4)


def read(path: Path) -> tuple[Dataset, Dataset | None]:
    """The training set and, where the file has one, the test set. Raises BnncError B0504, B0506, B0518."""
    headers = npz.headers(path)
    found = {part: _keys(headers, part) for part in ("train", "test", "")}
    keys = found["train"] or found[""]
    if keys is None:
        listed = ", ".join(f"`{key}`" for key in headers) or "nothing"
        raise unfit(
            path,
            f"holds no samples and labels by names that bnnc knows: it holds {listed}",
            "name the arrays x and y, or x_train, y_train, x_test and y_test",
        )
    parts = {"train": keys, **({"test": found["test"]} if found["test"] else {})}
    labels = {split: _labels(path, headers, *keys) for split, keys in parts.items()}
    classes = _classes(path, headers, labels)
    train, test = (
        _dataset(path, headers, parts[split][0], labels[split], split, classes) if split in parts else None
        for split in ("train", "test")
    )
    assert train is not None  # `parts` has it
    return train, test


def _keys(headers: dict[str, Header], part: str) -> tuple[str, str] | None:
    """The keys of samples and labels of a part: x_train, train_x, train_images, …; x, images, … for the part ""."""
    lower = {key.lower(): key for key in headers}
    forms = ("{0}_{1}", "{1}_{0}", "{0}{1}") if part else ("{0}",)

    def first(names: tuple[str, ...]) -> str | None:
        candidates = (form.format(name, part) for name, form in product(names, forms))
        return next((lower[key] for key in candidates if key in lower), None)

    samples, labels = first(SAMPLES), first(LABELS)
    return (samples, labels) if samples is not None and labels is not None else None


def _labels(path: Path, headers: dict[str, Header], samples: str, labels: str) -> np.ndarray:
    """All labels, int32 [n], as many as samples."""
    shape, _, dtype = headers[labels]
    if dtype.kind not in "iu" or not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
        hint = (f"numpy.argmax({labels}, axis=1) makes labels of rows of flags",) if len(shape) == 2 else ()
        raise unfit(path, f"has labels `{labels}` of {dtype}{list(shape)}, not whole numbers [n]", *hint)
    counted = headers[samples].shape
    if not counted or counted[0] != shape[0]:
        raise unfit(path, f"has {shape[0]} labels in `{labels}` for `{samples}` of shape {list(counted)}")
    if shape[0] == 0:
        raise unfit(path, f"holds no samples: `{samples}` is empty")
    every = np.concatenate(list(_rows(path, labels, headers[labels], 1 << 20))).reshape(-1)
    if every.min() < 0 or every.max() >= MOST_CLASSES:
        wrong = int(every.min()) if every.min() < 0 else int(every.max())
        raise unfit(path, f"has the label {wrong} in `{labels}`; labels are 0 to {MOST_CLASSES - 1} at most")
    return every.astype(np.int32)


def _classes(path: Path, headers: dict[str, Header], labels: dict[str, np.ndarray]) -> tuple[str, ...]:
    highest = int(labels["train"].max())
    key = next((key for key in headers if key.lower() in NAMES and headers[key].dtype.kind == "U"), None)
    names = tuple(str(number) for number in range(highest + 1))
    if key is not None:
        (array,) = (np.concatenate(list(_rows(path, key, headers[key], 1 << 16))) for _ in (0,))
        names = tuple(str(name) for name in array.reshape(-1))
    for split, array in labels.items():
        if array.max() >= len(names):
            where = f"`{key}` names" if key else "the training set has"
            raise unfit(path, f"has the label {array.max()} in its {split} set, but {where} {len(names)} classes")
    if len(names) < 2:
        raise unfit(path, "has the label 0 for every sample: there is nothing to tell apart")
    return names


def _dataset(
    path: Path, headers: dict[str, Header], key: str, labels: np.ndarray, split: str, classes: tuple[str, ...]
) -> Dataset:
    shape, _, dtype = headers[key]
    bits = dtype.kind == "b" or dtype == np.int8
    if dtype.kind not in "biu":
        raise unfit(
            path,
            f"has samples `{key}` of {dtype}; bnnc takes pixels (whole numbers 0..255) or bits (bool, or int8 of ±1)",
            f"save them as they were before scaling, e.g. numpy.uint8(numpy.rint(255 * {key}))",
        )
    if not 2 <= len(shape) <= 4 or 0 in shape:
        raise unfit(path, f"has samples `{key}` of shape {list(shape)}; expected [n, ...] with one to three axes more")
    one = shape[1:]
    last = not bits and len(one) == 3 and one[0] not in CHANNELS and one[2] in CHANNELS

    def stream(length: int) -> Iterator[Batch]:
        start = 0
        for rows in _rows(path, key, headers[key], length):
            yield _samples(path, key, rows, last), labels[start : start + len(rows)]
            start += len(rows)

    if last:
        one = (one[2], one[0], one[1])
    if not bits and len(one) == 2:
        one = (1, *one)
    return Dataset(path.stem, split, len(labels), one, classes, stream, Bit() if bits else U8)


def _samples(path: Path, key: str, rows: np.ndarray, last: bool) -> np.ndarray:
    """Rows of the file as samples: pixels uint8 with channels first, or bits int8 ±1."""
    if rows.dtype.kind == "b":
        return np.where(rows, np.int8(1), np.int8(-1))
    if rows.dtype == np.int8:
        if not (np.abs(rows) == 1).all():
            wrong = rows[np.abs(rows) != 1].flat[0]
            raise unfit(path, f"has the value {wrong} in `{key}`, but samples of int8 are bits: -1 or +1")
        return rows
    if rows.dtype != np.uint8:
        if rows.min() < 0 or rows.max() > 255:
            wrong = rows[(rows < 0) | (rows > 255)].flat[0]
            raise unfit(path, f"has the value {wrong} in `{key}`, but pixels are 0..255")
        rows = rows.astype(np.uint8)
    if rows.ndim == 3:
        return rows[:, None]
    return np.ascontiguousarray(rows.transpose(0, 3, 1, 2)) if last else rows


def _rows(path: Path, key: str, header: Header, length: int) -> Iterator[np.ndarray]:
    """An array of the file, `length` rows at a time. Raises BnncError B0504 when it is damaged."""
    shape, fortran, dtype = header
    size = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
    try:
        with zipfile.ZipFile(path) as archive:
            member = key + ".npy" if key + ".npy" in archive.namelist() else key
            with archive.open(member) as file:
                if fortran and len(shape) > 1:
                    whole = np.lib.format.read_array(file, allow_pickle=False)
                    yield from (whole[start : start + length] for start in range(0, shape[0], length))
                    return
                _skip_header(file)
                for start in range(0, shape[0], length):
                    n = min(length, shape[0] - start)
                    content = _exactly(file, n * size, path, key)
                    yield np.frombuffer(content, dtype).reshape(n, *shape[1:])
                file.read(1)  # reading to the end is what verifies the checksum
    except npz.DAMAGE as reason:
        raise broken(path, f"is damaged at `{key}`: {reason}") from None


def _skip_header(file: IO[bytes]) -> None:
    version = np.lib.format.read_magic(file)
    skip = partial(np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0)
    skip(file)


def _exactly(file: IO[bytes], count: int, path: Path, key: str) -> bytes:
    """Some zip members come in pieces: read until there are `count` bytes."""
    pieces: list[bytes] = []
    while count and (piece := file.read(count)):
        pieces.append(piece)
        count -= len(piece)
    if count:
        raise broken(path, f"ends too early: `{key}` needs {count} bytes more")
    return b"".join(pieces)
