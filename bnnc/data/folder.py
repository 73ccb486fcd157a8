"""Data sets as folders of pictures: one sub-folder a class, and `train/` and `test/` above them where they are kept
apart."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from bnnc.data.dataset import Batch, Dataset
from bnnc.data.files import broken, unfit

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "BMP", "PPM", "TIFF")
MOST_PIXELS = 16_000_000
# What a picture is turned into, by the mode that Pillow finds it in: pixels of 8 bits, nothing is scaled.
MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB", "RGBA": "RGBA"}
CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}

Labelled = tuple[Path, int]
Form = tuple[int, int, str]


def read(path: Path, split: str) -> Dataset:
    """The data set below a folder. Raises BnncError B0504 for an unreadable picture, B0518 for what is amiss."""
    if not path.is_dir():
        raise unfit(path, "is no folder" if path.exists() else "does not exist")
    pictures, classes = _pictures(path, split)
    first = _form(pictures[0][0])
    for picture, _ in pictures:
        form = _form(picture)
        if form != first:
            raise unfit(
                picture,
                f"is {_said(form)}, but `{pictures[0][0]}` is {_said(first)}",
                "make all pictures alike with any picture editor: bnnc never scales or crops",
            )
    width, height, mode = first

    def stream(length: int) -> Iterator[Batch]:
        for start in range(0, len(pictures), length):
            some = pictures[start : start + length]
            samples = np.stack([_pixels(picture, first) for picture, _ in some])
            yield samples, np.array([label for _, label in some], np.int32)

    return Dataset(path.resolve().name, split, len(pictures), (CHANNELS[mode], height, width), classes, stream)


def _pictures(path: Path, split: str) -> tuple[list[Labelled], tuple[str, ...]]:
    """The pictures of a split with their labels, sorted by class and name, and the names of the classes."""
    apart = {part: path / part for part in ("train", "test")}
    if not all(folder.is_dir() for folder in apart.values()):
        classes = _classes(path)
        every = [(file, label) for label, name in enumerate(classes) for file in _files(path / name)]
        taken = [(file, label) for file, label in every if in_test(file.relative_to(path)) == (split == "test")]
        if not taken:
            why = f"has {len(every)} pictures, too few to keep some apart for testing"
            raise unfit(path, why, "add pictures, or sort them into train/ and test/ yourself")
        return taken, classes
    classes = _classes(apart["train"])
    if split == "test":
        unknown = sorted(set(_classes(apart["test"])) - set(classes))
        if unknown:
            raise unfit(apart["test"] / unknown[0], f"is a class that `{apart['train']}` has not")
    present = [(label, name) for label, name in enumerate(classes) if (apart[split] / name).is_dir()]
    return [(file, label) for label, name in present for file in _files(apart[split] / name)], classes


def in_test(name: Path) -> bool:
    """Whether a picture is one of the fifth that is kept for testing: a hash of its name below the folder decides, so
    that other pictures may come and go."""
    start = hashlib.sha256(name.as_posix().encode("utf-8", "surrogateescape")).digest()[:8]
    return int.from_bytes(start, "big") * 5 < 2**64


def _classes(path: Path) -> tuple[str, ...]:
    names = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(names) < 2:
        found = f"only the sub-folder `{names[0]}`" if names else "no sub-folders"
        raise unfit(path, f"has {found}; a data set has a sub-folder of pictures for each of its classes")
    return tuple(names)


def _files(folder: Path) -> list[Path]:
    def unreadable(reason: OSError) -> None:
        raise broken(Path(reason.filename), f"cannot be read: {reason.strerror}")

    found = sorted(
        Path(top) / name
        for top, _, names in os.walk(folder, onerror=unreadable)
        for name in names
        if not name.startswith(".") and name.lower().endswith(SUFFIXES)
    )
    if not found:
        raise unfit(folder, f"holds no pictures ({', '.join(SUFFIXES)})")
    return found


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The picture, its header read but no pixel; anything that goes wrong is told with its name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as picture:
                yield picture
    except Image.DecompressionBombError:
        raise unfit(path, f"has more than {MOST_PIXELS} pixels") from None
    except UnidentifiedImageError:
        raise broken(path, f"is no picture in a format that bnnc reads ({', '.join(FORMATS)})") from None
    except (OSError, SyntaxError, ValueError, EOFError) as reason:
        raise broken(path, f"is no picture that can be read: {reason}") from None


def _form(path: Path) -> Form:
    """Width, height and mode, from the header."""
    with _opened(path) as picture:
        width, height = picture.size
        mode = MODES.get(picture.mode)
    if mode is None:
        raise unfit(path, f"has pixels of `{picture.mode}`, not 8-bit grey, RGB or RGBA")
    if not 0 < width * height <= MOST_PIXELS:
        raise unfit(path, f"is {width} x {height} pixels; {MOST_PIXELS} are the most")
    return width, height, mode


def _pixels(path: Path, form: Form) -> np.ndarray:
    """uint8 [C, H, W]; what the header promised was checked when the data set was opened."""
    width, height, mode = form
    with _opened(path) as picture:
        if (*picture.size, MODES.get(picture.mode)) != form:
            raise unfit(path, "has changed while it was used")
        pixels = np.asarray(picture.convert(mode), np.uint8)
    return pixels.reshape(height, width, CHANNELS[mode]).transpose(2, 0, 1)


def _said(form: Form) -> str:
    width, height, mode = form
    return f"{width} x {height} pixels of {'grey' if mode == 'L' else mode}"
