"""Data sets by name, and where their files are looked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bnnc.config import suggestion
from bnnc.data import cifar, idx
from bnnc.data.dataset import Dataset
from bnnc.diagnostics import Exit, error

DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


@dataclass(frozen=True)
class Source:
    """How a data set is read, the folders it is commonly kept in, and the files that show that it is there."""

    read: Callable[[str, list[Path]], Dataset | None]
    folders: tuple[str, ...]
    files: Callable[[str], str]


def _idx_files(split: str) -> str:
    images, labels = idx.FILES[split]
    return f"{images} and {labels} (or .gz)"


def _cifar_files(split: str) -> str:
    first, *more = cifar.BATCHES[split]
    return f"{first} (or .gz, .xz){' …' if more else ''} or {cifar.ARCHIVE}"


SOURCES = {
    "mnist": Source(
        lambda split, folders: idx.read("mnist", split, folders, DIGITS),
        ("mnist", "MNIST/raw", "MNIST"),
        _idx_files,
    ),
    "fashion-mnist": Source(
        lambda split, folders: idx.read("fashion-mnist", split, folders, CLOTHES),
        ("fashion-mnist", "fashion_mnist", "FashionMNIST/raw"),
        _idx_files,
    ),
    "cifar-10": Source(
        lambda split, folders: cifar.read("cifar-10", split, folders),
        ("cifar-10", "cifar10", "cifar-10-batches-bin"),
        _cifar_files,
    ),
}


def find(name: str, split: str = "test", data_dir: str | Path | None = None) -> Dataset:
    """The data set `name`, read from `data_dir` (the folder itself, or a sub-folder of the data set's name).

    Without `data_dir`: from ./data and ~/.cache/bnnc. Raises BnncError: B0501 unknown name, B0503 not found,
    B0504 a broken file.
    """
    bare = {re.sub("[-_ ]", "", known): known for known in SOURCES}
    known = bare.get(re.sub("[-_ ]", "", name.lower()))
    if known is None:
        raise error(
            "B0501",
            f"no data set named `{name}`",
            notes=(f"data sets: {', '.join(SOURCES)}",),
            helps=suggestion(name, SOURCES),
            exit_code=Exit.USAGE,
        )
    source = SOURCES[known]
    roots = [Path(data_dir)] if data_dir else [Path("data"), Path.home() / ".cache" / "bnnc"]
    named = [root / folder for root in roots for folder in source.folders]
    # A folder that holds several data sets has them in sub-folders; the folder itself is tried last.
    folders = [*named, *roots]
    found = source.read(split, folders)
    if found is None:
        places = " and ".join(f"`{root}` and `{root / source.folders[0]}`" for root in roots)
        raise error(
            "B0503",
            f"data set `{known}` ({split}) is not on this machine",
            notes=(f"looked for {source.files(split)} in {places}",),
            helps=("say where it lies: --data-dir FOLDER, or the environment variable BNNC_DATA",),
            exit_code=Exit.ENVIRONMENT,
        )
    return found
