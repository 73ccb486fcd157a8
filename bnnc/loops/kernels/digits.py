"""Turns sequences of addresses into loops: each is a number whose digits count loops with a step, or with a table.

Element n of a movement reads address s[n] and writes address d[n]. Where both are the same mixture of loops (a
transposition, a slice, a concatenation, a flip, an expansion …), no table is needed; an irregular axis (a permutation
of channels, padding by reflection) needs a table of its own length; the rest gets one as long as the sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from bnnc.loops.builder import Builder
from bnnc.loops.ir import I64, Constant, Convert, Expression, constant_buffer, load
from bnnc.loops.kernels.strips import strips

Step = int | np.ndarray


@dataclass(frozen=True, eq=False)
class Digit:
    """One loop: how often, and for every sequence the step, or the offset of every round."""

    count: int
    steps: tuple[Step, ...]


@dataclass(frozen=True, eq=False)
class Walk:
    """Sequences as loops, the outermost digit first; `starts` are their first elements."""

    starts: tuple[int, ...]
    digits: tuple[Digit, ...]

    @property
    def table_entries(self) -> int:
        """How many numbers its tables hold."""
        return sum(step.size for digit in self.digits for step in digit.steps if isinstance(step, np.ndarray))


def walk_of(sequences: np.ndarray) -> Walk:
    """The loops that produce int64 sequences [k, n], n > 0, all at once and in their order."""
    starts = tuple(int(start) for start in sequences[:, 0])
    digits: list[Digit] = []
    while sequences.shape[1] > 1:
        digit = _stepping(sequences) or _repeating(sequences)
        digits.append(digit)
        sequences = sequences[:, :: digit.count]
    return Walk(starts, tuple(reversed(digits)))


def _stepping(sequences: np.ndarray) -> Digit | None:
    """The longest fastest loop with constant steps."""
    count = sequences.shape[1]
    differences = np.diff(sequences, axis=1)
    step = differences[:, :1]
    steady = (differences == step).all(axis=0)
    longest = count if steady.all() else int(np.argmin(steady)) + 1
    for size in reversed(_divisors(count)):
        if 1 < size <= longest and np.delete(steady, np.s_[size - 1 :: size]).all():
            return Digit(size, tuple(int(s) for s in step[:, 0]))
    return None


def _repeating(sequences: np.ndarray) -> Digit:
    """The shortest fastest loop that always takes the same offsets; in the end it is everything."""
    count = sequences.shape[1]
    for size in _divisors(count):
        blocks = sequences.reshape(len(sequences), -1, size)
        offsets = blocks[:, 0] - blocks[:, 0, :1]
        last = blocks[:, -1] - blocks[:, -1, :1]
        if size > 1 and (last == offsets).all() and (blocks - blocks[:, :, :1] == offsets[:, None]).all():
            return Digit(size, tuple(_step_of(row) for row in offsets))
    raise AssertionError("a sequence repeats itself at least once")


def _step_of(offsets: np.ndarray) -> Step:
    differences = np.diff(offsets)
    return int(differences[0]) if (differences == differences[0]).all() else offsets


def _divisors(count: int) -> list[int]:
    small = [d for d in range(1, int(count**0.5) + 1) if count % d == 0]
    return sorted({*small, *(count // d for d in small)})


Visit = Callable[[tuple[Expression, ...], int], None]


def write_walk(b: Builder, name: str, walk: Walk, visit: Visit, lanes: int = 1) -> None:
    """Writes the loops around visit(addresses, how many neighbours): more than one, at most `lanes`, only where the
    innermost loop takes steps of 1 in every sequence. Tables become constants named after `name`."""
    digits = walk.digits
    neighbours = lanes > 1 and bool(digits) and all(_is_one(step) for step in digits[-1].steps)
    outer = digits[:-1] if neighbours else digits
    places: tuple[Expression, ...] = tuple(Constant(start, I64) for start in walk.starts)
    with ExitStack() as stack:
        for number, digit in enumerate(outer):
            i = stack.enter_context(b.loop(digit.count, "i"))
            places = tuple(_moved(b, f"{name}_{number}_{k}", p, i, s) for k, (p, s) in _both(places, digit.steps))
        if not neighbours:
            visit(places, 1)
            return
        for first, width in strips(b, digits[-1].count, lanes):
            visit(tuple(b.let(place + first, "at") for place in places), width)


def _is_one(step: Step) -> bool:
    return isinstance(step, int) and step == 1


def _both(places: tuple[Expression, ...], steps: tuple[Step, ...]) -> Iterator[tuple[int, tuple[Expression, Step]]]:
    return enumerate(zip(places, steps, strict=True))


def _moved(b: Builder, name: str, place: Expression, i: Expression, step: Step) -> Expression:
    if isinstance(step, int):
        return b.let(place + i * step, "at") if step else place
    table = constant_buffer(name, step.astype(np.int32), "offsets of the elements that are moved")
    return b.let(place + Convert("sext", load(table, i), I64), "at")
