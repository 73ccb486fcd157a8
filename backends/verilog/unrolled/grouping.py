"""Which neurons of a layer share their popcounts, and how many at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bnnc.backends.verilog.unrolled.classes import row_sums
from bnnc.backends.verilog.unrolled.heap import at_least
from bnnc.backends.verilog.unrolled.netlist import Netlist
from bnnc.backends.verilog.unrolled.technology import COUNTERS, size

LARGEST = 9


def groups_of(rows: np.ndarray, neurons: Sequence[int], count: int) -> list[list[int]]:
    """`count` groups of nearly equal size, the rows of each as like (or as opposite) as a greedy choice makes them."""
    signs = np.sign(rows).astype(np.int64)
    like = (signs @ signs.T) ** 2
    left = list(neurons)
    groups = []
    for remaining in range(count, 0, -1):
        group = [left.pop(0)]
        score = like[group[0]].copy()
        for _ in range(-(-(len(left) + 1) // remaining) - 1):
            best = max(left, key=lambda n: (score[n], -n))
            left.remove(best)
            group.append(best)
            score += like[best]
        groups.append(group)
    return groups


def best_groups(rows: np.ndarray, neurons: Sequence[int], technology: str) -> list[list[int]]:
    """The groups that need the fewest tables, judged by building the first and the last for each number of groups."""
    best: list[list[int]] = []
    least = float("inf")
    for count in sorted({-(-len(neurons) // most) for most in range(1, LARGEST + 1)}):
        groups = groups_of(rows, neurons, count)
        judged = groups[:1] + groups[1:][-1:]
        cost = sum(_tables(rows, group, technology) for group in judged) / sum(map(len, judged))
        if cost < least:
            best, least = groups, cost
    return best


def _tables(rows: np.ndarray, group: list[int], technology: str) -> int:
    """Tables of a group whose every row is compared once."""
    netlist = Netlist(rows.shape[1], technology in COUNTERS)
    outputs = []
    for n, heap in zip(group, row_sums(netlist, rows[group], range(2, 2 * rows.shape[1] + 2, 2)), strict=True):
        low, high = int(np.minimum(rows[n], 0).sum()), int(np.maximum(rows[n], 0).sum())
        outputs.append(at_least(netlist, heap, (low + high + 1) // 2, low, high))
    return size(netlist.alive(outputs), technology)
