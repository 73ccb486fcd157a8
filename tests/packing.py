"""Puts tensors into the layouts of loops/layout.py and takes them out again, in numpy, for tests of kernels."""

from __future__ import annotations

import numpy as np

from bnnc.loops.ir import NUMPY
from bnnc.loops.kernels.forms import bits_of
from bnnc.loops.layout import WORD, Elements, Layout


def put(layout: Layout, values: np.ndarray) -> np.ndarray:
    """The buffer that holds values [C, H, W]; the halo holds the halo's value in every real channel."""
    halo = layout.halo
    values = np.asarray(values).reshape(layout.channels, layout.height, layout.width)
    pads = ((0, 0), (halo.top, halo.bottom), (halo.left, halo.right))
    framed = np.pad(values, pads, constant_values=halo.value)
    if isinstance(layout, Elements):
        return framed.transpose(1, 2, 0).astype(NUMPY[layout.element]).reshape(-1)
    bits = bits_of(layout.planes, framed)
    bits = np.pad(bits, ((0, 0), (0, layout.words * WORD - layout.channels), (0, 0), (0, 0)))
    return (
        np.packbits(np.ascontiguousarray(bits.transpose(2, 3, 0, 1)), axis=-1, bitorder="little")
        .view("<u4")
        .reshape(-1)
    )


def take(layout: Layout, buffer: np.ndarray) -> np.ndarray:
    """The values [C, H, W] in a buffer, without the halo. Spare bits of words must be 0."""
    rows, columns = slice(layout.halo.top, None), slice(layout.halo.left, None)
    if isinstance(layout, Elements):
        numbers = buffer.reshape(-1, layout.row // layout.pixel, layout.channels)
        return numbers[rows, columns][: layout.height, : layout.width].transpose(2, 0, 1)
    image = buffer.view("<u4").reshape(-1, layout.row // layout.pixel, len(layout.planes), layout.words)
    image = np.ascontiguousarray(image[rows, columns][: layout.height, : layout.width])
    bits = np.unpackbits(image.view(np.uint8), axis=-1, bitorder="little").transpose(2, 3, 0, 1).astype(np.int64)
    assert not bits[:, layout.channels :].any(), "spare bits are set"
    bits = bits[:, : layout.channels]
    bit = layout.planes == (0,)
    values: np.ndarray = 2 * bits[0] - 1 if bit else np.tensordot(np.array(layout.planes), bits, 1)
    return values
