"""The pixel map of an input (`--pixels`): from uint8 pixels to the real values the model was trained on, and back."""

from __future__ import annotations

import numpy as np

from bnnc.diagnostics import error
from bnnc.ir.module import Module, PixelMap


def mapped(pixels: np.ndarray, by: PixelMap) -> np.ndarray:
    """(u*scale - mean)/std of [batch, …] pixels, each step rounded to float32; mean and std along the channels."""
    channels = max(len(by.mean), len(by.std))
    shape = [1] * pixels.ndim
    if channels > 1:
        shape[1 if pixels.shape[1] == channels else -1] = channels
    mean, std = (np.broadcast_to(np.asarray(v, np.float32), (channels,)).reshape(shape) for v in (by.mean, by.std))
    return np.asarray((pixels.astype(np.float32) * np.float32(by.scale) - mean) / std, np.float32)


def unmapped(array: np.ndarray, name: str, module: Module) -> np.ndarray:
    """The pixels of an array given for input `name`: itself, unless that input has a map and the array its real values.

    Raises BnncError B0508 for values that no pixel has.
    """
    by = next((p for p in module.pixels if p.name == name), None)
    if by is None or array.dtype.kind != "f" or array.ndim < 2:
        return array
    whole = array == np.rint(array)
    if whole.all() and array.min(initial=0) >= 0 and array.max(initial=0) > 1:
        return array.astype(np.uint8) if array.max(initial=0) <= 255 else array
    channels = max(len(by.mean), len(by.std))
    shape = [1] * array.ndim
    if channels > 1:
        shape[1 if array.shape[1] == channels else -1] = channels
    mean, std = (np.broadcast_to(np.asarray(v, np.float64), (channels,)).reshape(shape) for v in (by.mean, by.std))
    with np.errstate(all="ignore"):
        real = np.clip(np.rint((array * std + mean) / by.scale), 0, 255)
    pixels: np.ndarray = np.nan_to_num(real).astype(np.uint8)
    off = np.abs(mapped(pixels, by) - array)
    if not (off <= 1e-3 * abs(by.scale) / np.abs(std)).all():
        place = [int(i) for i in np.argwhere(~(off <= 1e-3 * abs(by.scale) / np.abs(std)))[0]]
        raise error(
            "B0508",
            f"input `{name}` holds pixels, but the array has {array[tuple(place)]:g} at {place}, which no pixel gives",
            helps=("give the pixels 0..255 as uint8, or leave --pixels out",),
        )
    return pixels
