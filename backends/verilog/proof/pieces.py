"""Functions of one number, made of lines: thresholds, tables and lines of all channels, and their comparison."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Pieces:
    """f[r](x) = slopes[r, n] * x + offsets[r, n], n the number of the last of thresholds[r] that is <= x, plus 1.

    int64 [rows, t], [rows, t + 1], [rows, t + 1]; one row of thresholds or slopes stands for all.
    """

    thresholds: np.ndarray
    slopes: np.ndarray
    offsets: np.ndarray

    def lines(self, row: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Slope and offset of a row at each x (int64 [n])."""
        thresholds = self.thresholds[row % len(self.thresholds)]
        if bool((thresholds[1:] >= thresholds[:-1]).all()):
            n = np.searchsorted(thresholds, x, side="right")
        else:
            reached = x[:, None] >= thresholds
            n = np.where(reached.any(1), thresholds.size - reached[:, ::-1].argmax(1), 0)
        return self.slopes[row % len(self.slopes)][n], self.offsets[row % len(self.offsets)][n]

    def starts(self, row: int, lo: int, hi: int) -> np.ndarray:
        """Where its pieces begin within lo..hi."""
        thresholds = self.thresholds[row % len(self.thresholds)]
        return np.asarray(thresholds[(thresholds > lo) & (thresholds <= hi)])


def steps(thresholds: np.ndarray, values: np.ndarray) -> Pieces:
    """Constant pieces: thresholds [rows, t], values [rows, t + 1]."""
    return Pieces(thresholds.astype(np.int64), np.zeros((1, values.shape[1]), np.int64), values.astype(np.int64))


def different(
    a: tuple[Pieces, int], b: tuple[Pieces, int], lo: int, hi: int, modulus: int = 0
) -> tuple[int, int, int] | None:
    """A number of lo..hi for which two functions (with the row of each) differ, modulo a number if given, and what they
    give; None if there is none."""
    starts = np.unique(np.concatenate([[lo], a[0].starts(a[1], lo, hi), b[0].starts(b[1], lo, hi)]))
    ends = np.append(starts[1:] - 1, hi)
    (slope_a, offset_a), (slope_b, offset_b) = a[0].lines(a[1], starts), b[0].lines(b[1], starts)
    for at in np.flatnonzero((slope_a != slope_b) | (offset_a != offset_b)):
        lines = [(int(slope_a[at]), int(offset_a[at])), (int(slope_b[at]), int(offset_b[at]))]
        # Two lines that meet in two neighbouring numbers (modulo anything) are the same line.
        for x in range(int(starts[at]), min(int(ends[at]), int(starts[at]) + 1) + 1):
            found = [slope * x + offset for slope, offset in lines]
            if (found[0] - found[1]) % modulus if modulus else found[0] != found[1]:
                return x, found[0], found[1]
    return None


__all__ = ["Pieces", "different", "steps"]
