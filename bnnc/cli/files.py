"""Writing artifacts: whole files or none, and never into a folder that bnnc did not make."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bnnc.diagnostics import Exit, error

MARKER = ".bnnc"


def check_folder(folder: Path, force: bool) -> None:
    """Raises BnncError B0106 unless the folder is absent, empty, made by bnnc, or `force` is given."""
    if folder.exists() and not folder.is_dir():
        raise error("B0106", f"`{folder}` is a file, not a folder", helps=("-o FOLDER",), exit_code=Exit.USAGE)
    if folder.is_dir() and not force and not (folder / MARKER).is_file() and any(folder.iterdir()):
        raise error(
            "B0106",
            f"`{folder}` is not empty, and bnnc did not make it",
            helps=("choose another folder with -o, or write into this one with --force",),
            exit_code=Exit.USAGE,
        )


def write_folder(folder: Path, files: Mapping[str, bytes], force: bool) -> list[Path]:
    """Write the files (relative path -> content) and a marker that lists them; returns their paths.

    Everything is written beside the folder first and then moved in, so that a full disk leaves what was there. Files
    of the previous run that are not written again are removed. Raises BnncError B0106, or OSError.
    """
    check_folder(folder, force)
    for name in files:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise error("B0106", f"the target wants to write `{name}`, outside its folder")
    before = made_before(folder)
    existed, first_new = folder.exists(), _first_new(folder.parent)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder if existed else folder.parent))
        try:
            listed = json.dumps(sorted(files)) + "\n"
            for name, content in {**files, MARKER: listed.encode()}.items():
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                (staging / name).write_bytes(content)
            staging.chmod(0o777 & ~_umask())
            if existed:
                _move_in(staging, folder, [*files, MARKER])
            else:
                os.replace(staging, folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except BaseException:
        _remove_new(folder.parent, first_new)
        raise
    for name in before - set(files):
        (folder / name).unlink(missing_ok=True)
    return [folder / name for name in files]


def made_before(folder: Path) -> set[str]:
    """The files of the previous run, by the marker."""
    try:
        listed = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    safe = [n for n in listed if isinstance(n, str) and not Path(n).is_absolute() and ".." not in Path(n).parts]
    return set(safe)


def _move_in(staging: Path, folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging / name, folder / name)


def _first_new(folder: Path) -> Path | None:
    """The outermost folder that making `folder` would make; None when it is there."""
    if folder.exists():
        return None
    while not folder.parent.exists():
        folder = folder.parent
    return folder


def _remove_new(folder: Path, first_new: Path | None) -> None:
    """Remove the folders that were made on the way, as far as they are empty."""
    while first_new is not None and folder != first_new.parent:
        if folder.is_dir():
            if any(folder.iterdir()):
                return
            folder.rmdir()
        folder = folder.parent


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole: beside its place first, then moved in. Raises OSError.

    A device or a pipe (`/dev/stdout`, `/dev/null`) is written into: moving a file onto it would replace it.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            file.write(content)
        return
    first_new = _first_new(path.parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(name, 0o666 & ~_umask())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except BaseException:
        _remove_new(path.parent, first_new)
        raise
