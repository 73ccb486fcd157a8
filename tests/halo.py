"""Which parts of a buffer are halo, and whether a kernel left them alone, for tests of kernels."""

from __future__ import annotations

import numpy as np

from bnnc.loops.layout import Layout


def in_halo(layout: Layout) -> np.ndarray:
    """bool, one for each element of the buffer."""
    halo = layout.halo
    pixels = np.ones((layout.height + halo.top + halo.bottom, layout.width + halo.left + halo.right), np.bool_)
    pixels[halo.top : halo.top + layout.height, halo.left : halo.left + layout.width] = False
    return np.repeat(pixels.reshape(-1), layout.pixel)


def assert_halo_untouched(layout: Layout, buffer: np.ndarray) -> None:
    """The interpreter hands out poisoned memory: the halo of what a kernel wrote must still be poison."""
    halo = np.ascontiguousarray(buffer[in_halo(layout)]).view(np.uint8)
    assert (halo == 0xA5).all(), "the halo was written"
