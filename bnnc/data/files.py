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


def broken(path: Path, reason: str, *helps: str) -> BnncError:
    """The error for a file whose content is not what it should be."""
    return error("B0504", f"`{path}` {reason}", places=(Location(file=path.name),), helps=helps)


def find(folders: list[Path], name: str) -> Path | None:
    """The first file `name`, `name`.gz or `name`.xz in the folders."""
    candidates = (folder / (name + suffix) for folder in folders for suffix in OPENERS)
    return next((path for path in candidates if path.is_file()), None)


@contextmanager
def opened(path: Path, member: str = "") -> Iterator[IO[bytes]]:
    """The file, unpacked as it is read; or the member of that name of a tar archive. Raises BnncError B0504."""
    try:
        if member:
            with tarfile.open(path, "r|*") as archive:
                for entry in archive:
                    if entry.isfile() and Path(entry.name).name == member:
                        content = archive.extractfile(entry)
                        assert content is not None  # only what is no file has none
                        yield content
                        return
                raise broken(path, f"holds no `{member}`")
        suffix = path.suffix if path.suffix in OPENERS else ""
        with OPENERS[suffix](path, "rb") as file:
            yield file
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
