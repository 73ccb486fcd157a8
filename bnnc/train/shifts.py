"""Images and their four shifts by one pixel."""

from __future__ import annotations

import numpy as np


def shifted(images: np.ndarray) -> np.ndarray:
    """Images [n, C, H, W] as they are, then all moved up, down, left and right: [5 n, C, H, W]; what comes in is 0."""
    result = np.zeros((5, *images.shape), images.dtype)
    result[0] = images
    result[1, ..., :-1, :] = images[..., 1:, :]
    result[2, ..., 1:, :] = images[..., :-1, :]
    result[3, ..., :-1] = images[..., 1:]
    result[4, ..., 1:] = images[..., :-1]
    return result.reshape(-1, *images.shape[1:])
