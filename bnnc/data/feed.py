"""From images and the user's files to the arrays a network takes: layout, pixel values, names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bnnc.data import npz
from bnnc.diagnostics import error
from bnnc.ir.module import Input, Module
from bnnc.ir.types import F32, Bit, Trit, is_integer, value_range

PICTURES = (".png", ".jpg", ".jpeg")
MOST_PIXELS = 64_000_000
Say = Callable[[str], None]


def silent(_: str) -> None:
    """For callers that do not want to hear which values were chosen."""


def image_input(module: Module) -> Input:
    """The one input that images go to. Raises BnncError B0521 when the network has several inputs."""
    if len(module.inputs) == 1:
        return module.inputs[0]
    names = ", ".join(f"`{op.name}`" for op in module.inputs)
    raise error(
        "B0521",
        f"images go to a network with one input, and this one has {len(module.inputs)}: {names}",
        helps=("give all of them in one file: --input arrays.npz",),
    )


def layouts(op: Input) -> list[tuple[int, int, int]]:
    """The image shapes [C, H, W] that the input can hold: channels first, channels last, or one row of all pixels."""
    dims = tuple(n for n in op.shape if n > 1) if len(op.shape) > 3 else op.shape
    if len(dims) == 2:
        return [(1, *dims)]
    if len(dims) == 3:
        first, last = (dims[0], dims[1], dims[2]), (dims[2], dims[0], dims[1])
        found = [shape for shape in (first, last) if shape[0] in (1, 3, 4)]
        return found or [first]
    return []


def fitted(images: np.ndarray, op: Input) -> np.ndarray | None:
    """Samples [n, C, H, W] or [n, …] in the layout of the input, [n, *shape]; None when they cannot fit."""
    n, *image = images.shape
    if tuple(image) == op.shape:
        return images
    if tuple(image) in layouts(op):
        as_last = len(op.shape) == 3 and tuple(image) != op.shape
        return (images.transpose(0, 2, 3, 1) if as_last else images).reshape(n, *op.shape)
    flat = len([size for size in op.shape if size > 1]) <= 1
    if flat and op.type.size == images[0].size:
        return images.reshape(n, *op.shape)
    return None


def pixels(images: np.ndarray, op: Input, say: Say = silent) -> np.ndarray:
    """Samples in the values the input takes: as they are for an integer input; for a float one pixel/255, or ±1."""
    if images.dtype == np.int8:
        return images.astype(np.float32) if isinstance(op.dtype, F32) else images
    if isinstance(op.dtype, F32):
        say(f"input `{op.name}` is float: fed pixel/255 (if the network was trained on other values, say --pixels)")
        return images.astype(np.float32) / np.float32(255)
    return images


def from_images(images: np.ndarray, module: Module, what: str, say: Say = silent) -> dict[str, np.ndarray]:
    """Samples of a data set, pixels uint8 or bits int8 ±1, as the inputs of the network. Raises BnncError B0502."""
    op = image_input(module)
    arranged = fitted(images, op)
    bits = images.dtype == np.int8
    takes = not isinstance(op.dtype, Bit | Trit)
    if bits and is_integer(op.dtype):
        takes = value_range(op.dtype)[0] < 0
    if arranged is None or not takes:
        shape = list(images.shape[1:])
        has = f"{'bit' if bits else 'u8'}{shape}"
        raise error("B0502", f"{what} is {has}, but input `{op.name}` of `{module.name}` is {op.type}")
    return {op.name: pixels(arranged, op, say)}


def from_file(path: Path, module: Module, say: Say = silent) -> dict[str, np.ndarray]:
    """The inputs in a .npz (keys are the input names, also with `in_` in front), .npy, .png or .jpg file, batch first.

    Raises BnncError: B0506 for a file that cannot be read, B0502 for a picture that does not fit.
    """
    if path.suffix.lower() in PICTURES:
        return from_picture(path, module, say)
    content = npz.read(path)
    names = [op.name for op in module.inputs]
    if set(content) == {""}:
        if len(names) != 1:
            raise npz.unreadable(path, f"is one array, but the network has {len(names)} inputs", "give a .npz file")
        return _batched({names[0]: content[""]}, module)
    found = {name: content[key] for name in names for key in (name, f"in_{name}") if key in content}
    missing = [name for name in names if name not in found]
    if missing and len(names) == 1:
        given = [key for key in content if key.startswith("in_")] or list(content)
        if len(given) == 1:
            say(f"`{given[0]}` of {path.name} is taken for input `{names[0]}`")
            return _batched({names[0]: content[given[0]]}, module)
    if missing:
        listed = ", ".join(f"`{key}`" for key in content) or "nothing"
        raise npz.unreadable(path, f"holds no input `{missing[0]}`: it holds {listed}")
    return _batched(found, module)


def _batched(inputs: dict[str, np.ndarray], module: Module) -> dict[str, np.ndarray]:
    """Single samples get a batch of one when every input lacks it."""
    shapes = {op.name: op.shape for op in module.inputs}
    if all(array.shape == shapes[name] for name, array in inputs.items()):
        return {name: array[None] for name, array in inputs.items()}
    return inputs


def from_picture(path: Path, module: Module, say: Say = silent) -> dict[str, np.ndarray]:
    """A picture as a batch of one, converted to the channels of the input. Raises BnncError B0502, B0521, B0506."""
    from PIL import Image, UnidentifiedImageError

    op = image_input(module)
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            if width * height > MOST_PIXELS:
                raise npz.unreadable(path, f"is {width} x {height} pixels: too large to be an input")
            image = _arranged(picture, op, path, module)
    except FileNotFoundError:
        raise npz.unreadable(path, "does not exist") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as reason:
        raise npz.unreadable(path, f"is no picture that can be read: {reason}") from None
    fits = fitted(image[None], op)
    assert fits is not None  # _arranged has seen to it
    return {op.name: pixels(fits, op, say)}


def _arranged(picture: object, op: Input, path: Path, module: Module) -> np.ndarray:
    """The picture as uint8 [C, H, W] with the channels of the input."""
    from PIL import Image

    assert isinstance(picture, Image.Image)
    width, height = picture.size
    for channels, mode in ((1, "L"), (3, "RGB"), (4, "RGBA")):
        shape = (channels, height, width)
        probe = np.broadcast_to(np.uint8(0), (1, *shape))
        if fitted(probe, op) is not None:
            if picture.mode in ("I", "I;16", "F"):
                raise npz.unreadable(path, f"has pixels of {picture.mode}, not of 8 bits")
            made = np.asarray(picture.convert(mode), np.uint8).reshape(height, width, channels)
            return made.transpose(2, 0, 1)
    wanted = layouts(op)
    expected = " or ".join(f"{w} x {h}" for _, h, w in wanted) or str(op.type)
    raise error(
        "B0502",
        f"`{path.name}` is {width} x {height} pixels, but input `{op.name}` of `{module.name}` is {op.type}",
        notes=(f"expected a picture of {expected} pixels (width x height)",),
        helps=("scale it with any picture editor, the way the training pictures were",),
    )
