"""Sliding windows in numpy: for every tap of a kernel, which outputs it reaches and which inputs it reads."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

Slices = tuple[slice, ...]


def taps(
    sizes: tuple[int, ...],
    outputs: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
) -> Iterator[tuple[tuple[int, ...], Slices, Slices]]:
    """(tap, outputs it reaches, inputs it reads there), taps in row-major order; those in the padding are left out.

    `sizes` are the spatial input sizes; both slice tuples have one slice for every spatial axis and select equally many
    positions.
    """
    per_axis: list[list[tuple[int, slice, slice]]] = []
    for axis, size in enumerate(sizes):
        stride, reach = strides[axis], []
        for tap in range(kernel[axis]):
            offset = tap * dilations[axis] - pads[axis]
            first = max(0, -(offset // stride))
            last = min(outputs[axis] - 1, (size - 1 - offset) // stride)
            if first <= last:
                start = first * stride + offset
                reach.append((tap, slice(first, last + 1), slice(start, start + (last - first) * stride + 1, stride)))
        per_axis.append(reach)
    for choice in itertools.product(*per_axis):
        yield tuple(c[0] for c in choice), tuple(c[1] for c in choice), tuple(c[2] for c in choice)


def columns(
    x: np.ndarray,
    outputs: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
    pad_value: float = 0,
) -> np.ndarray:
    """x [B, C, *spatial] gathered to [B, C * taps, positions]: with it a convolution is a matrix product."""
    batch, channels, *sizes = x.shape
    gathered = np.full((batch, channels, math.prod(kernel), *outputs), pad_value, x.dtype)
    for tap, reached, read in taps(tuple(sizes), outputs, kernel, strides, pads, dilations):
        index = int(np.ravel_multi_index(tap, kernel))
        place: Any = (slice(None), slice(None), index, *reached)
        taken: Any = (..., *read)
        gathered[place] = x[taken]
    return gathered.reshape(batch, channels * math.prod(kernel), math.prod(outputs))
