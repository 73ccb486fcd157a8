"""Places buffers in one arena: two that are alive at the same step never share a byte, and the rest share freely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ALIGNMENT = 64


@dataclass(frozen=True)
class Interval:
    """A buffer of `bytes` that is written at step `first` and read for the last time at step `last` (both included)."""

    bytes: int
    first: int
    last: int

    def meets(self, other: Interval) -> bool:
        """Whether both are alive at some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class MemoryPlan:
    """Byte offset of each buffer, in the order given, and the exact size of the arena."""

    offsets: tuple[int, ...]
    bytes: int


def plan_memory(intervals: Sequence[Interval], alignment: int = ALIGNMENT) -> MemoryPlan:
    """Offsets that are multiples of `alignment`; the smallest arena of several greedy orders; equal input, equal plan.

    Never larger than placing all buffers one after the other.
    """
    ranks = (
        lambda i: (-intervals[i].bytes, intervals[i].first, i),
        lambda i: (intervals[i].first - intervals[i].last, -intervals[i].bytes, i),
        lambda i: ((intervals[i].first - intervals[i].last - 1) * intervals[i].bytes, i),
        lambda i: (intervals[i].first, -intervals[i].bytes, i),
    )
    plans = [_greedy(intervals, sorted(range(len(intervals)), key=rank), alignment) for rank in ranks]
    return min(plans, key=lambda plan: plan.bytes)


def _greedy(intervals: Sequence[Interval], order: Sequence[int], alignment: int) -> MemoryPlan:
    """Each buffer in turn goes into the tightest gap between those already placed that it meets."""
    offsets = [0] * len(intervals)
    placed: list[int] = []
    for index in order:
        size = intervals[index].bytes
        busy = sorted(
            (offsets[other], offsets[other] + intervals[other].bytes)
            for other in placed
            if intervals[index].meets(intervals[other])
        )
        best, slack, free = -1, 0, 0
        for start, end in busy:
            gap = start - free
            if gap >= size and (best < 0 or gap - size < slack):
                best, slack = free, gap - size
            free = max(free, -(-end // alignment) * alignment)
        offsets[index] = best if best >= 0 else free
        placed.append(index)
    ends = [offset + interval.bytes for offset, interval in zip(offsets, intervals, strict=True)]
    return MemoryPlan(tuple(offsets), max(ends, default=0))
