"""Files of numpy arrays: .npz and .npy, read without pickles and written with equal bytes for equal arrays."""

from __future__ import annotations

import io
import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bnnc.diagnostics import BnncError, Location, error

# An archive may unpack to this many times its size, and this many bytes more, before it is taken for a bomb.
MOST_RATIO, MOST_MORE = 1000, 64 << 20
# What reading a file that is no good archive of arrays can raise.
DAMAGE = (
    ValueError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    KeyError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
)


def unreadable(path: Path, reason: str, *helps: str) -> BnncError:
    """The error for a file of arrays, or a picture, that cannot be used."""
    return error("B0506", f"`{path}` {reason}", places=(Location(file=path.name),), helps=helps)


class Header(NamedTuple):
    """What a .npy file says of its array."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what reading a bad file raises into BnncError B0506."""
    try:
        yield
    except FileNotFoundError:
        raise unreadable(path, "does not exist") from None
    except IsADirectoryError:
        raise unreadable(path, "is a folder") from None
    except DAMAGE as reason:
        raise unreadable(path, f"is damaged or holds no plain arrays: {reason}") from None


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .npz file by key, or of a .npy file under the key "". Raises BnncError B0506."""
    with _readable(path):
        with path.open("rb") as file:
            start = file.read(6)
        if start.startswith(b"PK"):
            _check_archive(path)
        elif start == b"\x93NUMPY":
            _check_array(path)
        else:
            raise unreadable(path, "is neither .npz, .npy, .png nor .jpg", "numpy.savez(file, x=array) writes a .npz")
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        with loaded:
            return {key: loaded[key] for key in loaded.files}


def headers(path: Path) -> dict[str, Header]:
    """The arrays that a .npz file announces, by key; none larger than what the file holds. Raises BnncError B0506."""
    with _readable(path):
        return _check_archive(path)


def _check_archive(path: Path) -> dict[str, Header]:
    """Arrays may be compressed: their sizes are believed only within reason, and their headers up to their sizes."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.file_size > MOST_RATIO * max(entry.compress_size, 1) + MOST_MORE:
                raise unreadable(path, f"holds `{entry.filename}`, which unpacks to {entry.file_size} bytes")
            with archive.open(entry) as file:
                header = _check_header(path, io.BytesIO(file.read(1 << 16)), entry.file_size)
            found[entry.filename.removesuffix(".npy")] = header
    return found


def _check_array(path: Path) -> None:
    with path.open("rb") as file:
        _check_header(path, io.BytesIO(file.read(1 << 16)), path.stat().st_size)


def _check_header(path: Path, file: io.BytesIO, size: int) -> Header:
    """The header. Raises unless the array that it announces has as many bytes as follow it."""
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise unreadable(path, "holds Python objects, not plain arrays")
    if any(length < 0 for length in shape) or math.prod(shape) * dtype.itemsize > size - file.tell():
        raise unreadable(path, f"announces an array of {list(shape)}, but does not hold one")
    return Header(shape, fortran, dtype)


def dump(arrays: Mapping[str, np.ndarray]) -> bytes:
    """A .npz file, any names, with a fixed date."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(name + ".npy", (1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(array, order="C"), allow_pickle=False)
    return buffer.getvalue()
