"""Data sets by name, and where their files are looked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bnnc.config import suggestion
from bnnc.data import arrays, cifar, folder, idx, parameters, prototypes, sequences
from bnnc.data.dataset import Dataset
from bnnc.data.download import Fetch, cache_folder
from bnnc.data.draws import HELD_OUT, chosen
from bnnc.data.files import unfit
from bnnc.data.split import Pair, part
from bnnc.diagnostics import BnncError, Exit, error

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
"""The well-known ones, which are fetched when they are not here."""

MADE_UP: dict[str, Callable[[str, str], Dataset]] = {
    "prototypes": lambda text, split: prototypes.dataset(
        parameters.read(prototypes.Prototypes, "prototypes", text), split
    ),
    "sequences": lambda text, split: sequences.dataset(parameters.read(sequences.Sequences, "sequences", text), split),
}
"""NAME or NAME:key=value,…: made when they are read."""

OWN: dict[str, Callable[[str, str], Dataset]] = {
    "folder": lambda text, split: folder.read(Path(text), split),
    "npz": lambda text, split: _npz(Path(text), split),
    "idx": lambda text, split: _idx(text, split),
}
"""NAME:PATH: files of the user's own."""

NAMES = (*SOURCES, *MADE_UP, "folder:PATH", "npz:FILE", "idx:IMAGES,LABELS")


def find(name: str, split: str = "test", data_dir: str | Path | None = None, *, fetch: Fetch | None = None) -> Dataset:
    """The `train` or `test` part of the data set `name`; docs/data.md lists the names.

    The well-known ones are read from `data_dir` (the folder itself, or a sub-folder of the data set's name), or from
    ./data without it, or from the user's cache; else they are fetched into the cache. Raises BnncError: B0501 unknown
    name, B0503 not here and not to be had, B0504 a broken file, B0506, B0517 a wrong parameter, B0518 unfit files.
    """
    bare = {re.sub("[-_ ]", "", known): known for known in SOURCES}
    known = bare.get(re.sub("[-_ ]", "", name.lower()))
    if known is not None:
        return _known(known, split, data_dir, fetch or Fetch())
    kind, colon, rest = name.partition(":")
    if kind in MADE_UP:
        return MADE_UP[kind](rest, split)
    if kind in OWN and rest:
        return OWN[kind](rest, split)
    if name.lower().endswith(".npz"):
        return _npz(Path(name), split)
    raise _unknown(name, kind if colon else name)


def both(name: str, data_dir: str | Path | None = None, *, fetch: Fetch | None = None) -> Pair:
    """Training and test set of one data set. Raises BnncError as `find`, and B0518 when they do not fit together."""
    train, test = (find(name, split, data_dir, fetch=fetch) for split in ("train", "test"))
    if train.type != test.type:
        raise unfit(name, f"has samples {train.type} to train on, but {test.type} to test on")
    if train.classes != test.classes:
        raise unfit(name, f"has {len(train.classes)} classes to train on, but {len(test.classes)} to test on")
    return Pair(train, test)


def _unknown(name: str, kind: str) -> BnncError:
    own = {"folder": "folder:PATH", "npz": "npz:FILE.npz", "idx": "idx:IMAGES,LABELS"}
    helps = suggestion(kind, (*SOURCES, *MADE_UP, *OWN))
    if name.rstrip(":") in own:
        helps = (f"--data {own[name.rstrip(':')]}",)
    elif Path(name).is_dir():
        helps = (f"--data folder:{name}",)
    notes = (f"data sets: {', '.join(NAMES)}",)
    return error("B0501", f"no data set named `{name}`", notes=notes, helps=helps, exit_code=Exit.USAGE)


def _known(name: str, split: str, data_dir: str | Path | None, fetch: Fetch) -> Dataset:
    source, cache = SOURCES[name], cache_folder()
    roots = [Path(data_dir) if data_dir else Path("data"), cache]
    if not data_dir and Path.home() / ".cache" / "bnnc" not in roots:
        roots.append(Path.home() / ".cache" / "bnnc")
    # The files of MNIST and Fashion-MNIST have the same names: a folder of files is only believed to be the right one
    # when it is called so, or the user names it.
    own = [Path(data_dir)] if data_dir else []
    folders = [*(roots[0] / name for name in source.folders), *own]
    folders += [root / name for root in roots[1:] for name in source.folders]
    found = source.read(split, folders)
    looked = [roots[0] / source.folders[0], *own, *(root / source.folders[0] for root in roots[1:2])]
    notes = [f"looked for {source.files(split)} in {', '.join(f'`{place}`' for place in looked)}"]
    if found is None and data_dir and not Path(data_dir).is_dir():
        notes.append(f"`{data_dir}` is no folder, so nothing was fetched")
    elif found is None and not fetch.addresses(name):
        notes.append("nothing was fetched: BNNC_MIRRORS is `off`")
    elif found is None:
        wrong = fetch.into(cache / name, name, split)
        notes += wrong
        found = None if wrong else source.read(split, [cache / name])
    if found is None:
        raise error(
            "B0503",
            f"data set `{name}` ({split}) is not on this machine"
            + (", and could not be fetched" if len(notes) > 1 else ""),
            notes=tuple(notes),
            helps=(
                "say where it lies: --data-dir FOLDER, or the environment variable BNNC_DATA",
                "a data set that needs no files: --data prototypes",
            ),
            exit_code=Exit.ENVIRONMENT,
        )
    return found


def _npz(path: Path, split: str) -> Dataset:
    train, test = arrays.read(path)
    return _of(train, test, split, path)


def _idx(text: str, split: str) -> Dataset:
    paths = [Path(piece.strip()) for piece in text.split(",")]
    if len(paths) not in (2, 4):
        raise error(
            "B0517",
            f"`idx:` takes a file of images and one of labels, not {len(paths)} files",
            notes=("and, if there are any, the two of the test set behind them",),
            helps=("--data idx:images.idx,labels.idx",),
            exit_code=Exit.USAGE,
        )
    classes = idx.numbered(paths[1::2])
    name = paths[0].name
    train = idx.dataset(name, "train", paths[0], paths[1], classes)
    test = idx.dataset(name, "test", paths[2], paths[3], classes) if len(paths) == 4 else None
    return _of(train, test, split, paths[0])


def _of(train: Dataset, test: Dataset | None, split: str, path: Path) -> Dataset:
    """The part that was asked for; a fifth of the samples is kept for testing when there is no test set."""
    if test is not None:
        return test if split == "test" else train
    if train.count < 2:
        raise unfit(path, "holds a single sample, too few to keep some apart for testing")
    held = chosen(train.count, max(1, train.count // 5), 0, HELD_OUT)
    return replace(part(train, held if split == "test" else ~held, split), split=split)
