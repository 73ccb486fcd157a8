"""Files of a data set as they lie on disk: plain, .gz or .xz, or inside a .tar.gz; read from front to back, checked."""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from bnnc.diagnostics import BnncError, Location, error

OPENERS: dict[str, Callable[[Path, str], Any]] = {"": open, ".gz": gzip.open, ".xz": lzma.open}
# Bytes that one byte of a file can unpack to, at most.
MOST_RATIO = {"": 1, ".gz": 1100, ".xz": 20_000}


def broken(path: Path, reason: str, *helps: str) -> BnncError:
    """The error for a file whose content is not what it should be."""
    return error("B0504", f"`{path}` {reason}", places=(Location(file=path.name),), helps=helps)


def unfit(path: Path | str, reason: str, *helps: str) -> BnncError:
    """The error for data of the user's own that is not as it must be, though it may be whole."""
    return error("B0518", f"`{path}` {reason}", places=(Location(file=Path(path).name),), helps=helps)


def announced(path: Path, size: int) -> None:
    """Raises BnncError B0504 when the file is too small to hold `size` bytes, before anyone takes memory for them."""
    has = path.stat().st_size
    if size > has * MOST_RATIO.get(path.suffix, 1):
        text = f"ends too early: its header announces {size} bytes, and the whole file has {has}"
        raise broken(path, text, "fetch the file again")


def find(folders: list[Path], name: str) -> Path | None:
    """The first file `name`, `name`.gz or `name`.xz in the folders."""
    candidates = (folder / (name + suffix) for folder in folders for suffix in OPENERS)
    return next((path for path in candidates if path.is_file()), None)


def member_sizes(path: Path) -> dict[str, int]:
    """The files in a tar archive by name (without folders), and their sizes. Raises BnncError B0504."""
    with told(path), tarfile.open(path, "r|*") as archive:
        return {Path(entry.name).name: entry.size for entry in archive if entry.isfile()}


def members(path: Path, names: list[str]) -> Iterator[IO[bytes]]:
    """Files of a tar archive in the order of `names`, unpacked as they are read. Raises BnncError B0504.

    A packed archive cannot be read backwards: it is read again from its start for a name that came before. The caller
    reads them under `told(path)`.
    """
    waiting = list(names)
    while waiting:
        before = len(waiting)
        with tarfile.open(path, "r|*") as archive:
            for entry in archive:
                if waiting and entry.isfile() and Path(entry.name).name == waiting[0]:
                    content = archive.extractfile(entry)
                    assert content is not None  # only what is no file has none
                    yield content
                    del waiting[0]
        if len(waiting) == before:
            raise broken(path, f"holds no `{waiting[0]}`")


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file, unpacked as it is read. Raises BnncError B0504."""
    with told(path):
        suffix = path.suffix if path.suffix in OPENERS else ""
        with OPENERS[suffix](path, "rb") as file:
            yield file


@contextmanager
def told(path: Path) -> Iterator[None]:
    """What goes wrong with a file, as an error that names it."""
    try:
        yield
    except FileNotFoundError:
        raise broken(path, "does not exist") from None
    except IsADirectoryError:
        raise broken(path, "is a folder") from None
    except PermissionError:
        raise broken(path, "may not be read: permission denied") from None
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error, tarfile.TarError) as reason:
        raise broken(path, f"cannot be unpacked: {reason}", "fetch the file again") from None


def exactly(file: IO[bytes], count: int, path: Path, what: str) -> bytes:
    """The next `count` bytes. Raises BnncError B0504 when the file ends before."""
    content = file.read(count)
    if len(content) != count:
        raise broken(path, f"ends too early: {what} needs {count - len(content)} bytes more", "fetch the file again")
    return content


def ended(file: IO[bytes], path: Path, what: str) -> None:
    """Raises BnncError B0504 unless the file ends here."""
    if file.read(1):
        raise broken(path, f"goes on after {what}: it is not the file its name says", "fetch the file again")
