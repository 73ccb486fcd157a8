"""The meaning of the ops of training steps. Every array has an axis of modules in front (nearly always of length 1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bnnc.ir import training
from bnnc.ir.op import Op
from bnnc.ir.training import REINFORCE, TIE
from bnnc.ir.types import value_range
from bnnc.reference.bit import array_dtype
from bnnc.reference.draws import draws

Operands = Sequence[np.ndarray]
Meaning = Callable[..., np.ndarray]


def _each(meaning: Meaning) -> Callable[[Any, Operands], np.ndarray]:
    """The meaning for arrays with the leading axis, from the meaning for arrays of exactly the shapes of the types."""

    def on_all(op: Op, operands: Operands) -> np.ndarray:
        (length,) = np.broadcast_shapes(*(x.shape[:1] for x in operands)) if operands else (1,)
        result = np.empty((length, *op.type.shape), array_dtype(op.type.dtype))
        for n in range(length):
            result[n] = meaning(op, *(x[n if len(x) > 1 else 0] for x in operands))
        return result

    return on_all


def _sign(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, 1, -1)


def _clamped(x: np.ndarray, op: Op) -> np.ndarray:
    return np.asarray(np.clip(x, *value_range(op.type.dtype)))


def constant(op: training.Constant) -> np.ndarray:
    return op.values


def product(op: training.Product, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    # Sums of so few ±1 are exact in float32, whose products are the fastest.
    number = np.float32 if x.shape[1] < 2**24 else np.float64
    return np.asarray(x.astype(number) @ w.T.astype(number))


def rows(op: training.Rows, table: np.ndarray, index: np.ndarray) -> np.ndarray:
    return np.asarray(table[index])


def trigger(op: training.Trigger, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    samples = np.arange(len(labels))
    own = scores[samples, labels].astype(np.int64)
    others = scores.astype(np.int64)
    others[samples, labels] = np.iinfo(np.int64).min
    return np.asarray((scores.argmax(1) != labels) | (own - others.max(1) < op.margin))


def pick(
    op: training.Pick, sums: np.ndarray, wanted: np.ndarray, active: np.ndarray, group: np.ndarray, clock: np.ndarray
) -> np.ndarray:
    batch, neurons = sums.shape
    size = min(int(group[0]), neurons)
    groups = math.ceil(neurons / size)
    wrong = (_sign(sums) != wanted) & (active == 1)[:, None]
    if op.zero_right:
        wrong &= sums != 0
    sizes = np.full(groups, size)
    sizes[-1] = neurons - (groups - 1) * size
    place = np.arange(neurons)
    in_cycle = place % size - np.repeat(_starts(op, batch, sizes, clock), sizes, axis=1)
    in_cycle %= np.repeat(sizes, sizes)
    # The pair (|sum|, place in the cycle) as one number, the least of which wins; groups side by side.
    rank = np.where(wrong, np.abs(sums.astype(np.int64)) * size + in_cycle, np.iinfo(np.int64).max)
    padded = np.full((batch, groups * size), np.iinfo(np.int64).max)
    padded[:, :neurons] = rank
    best = padded.reshape(batch, groups, size).argmin(2) + size * np.arange(groups)
    sample = np.arange(batch)[:, None]
    found = padded[sample, best] != np.iinfo(np.int64).max
    picks = np.zeros((batch, groups * size), np.int8)
    picks[sample, best] = found
    return np.asarray(picks[:, :neurons] * wanted)


def _starts(op: training.Pick, batch: int, sizes: np.ndarray, clock: np.ndarray) -> np.ndarray:
    """Where the cycle begins in every group [batch, groups]."""
    if op.tie == "lowest":
        return np.zeros((batch, len(sizes)), np.int64)
    seed, number, seen = (int(value) for value in clock)
    index = (seen + np.arange(batch))[:, None] * 65536 + np.arange(len(sizes))
    low = draws(seed, TIE, op.layer, number, index) & np.uint64(0xFFFFFFFF)
    return ((low * sizes.astype(np.uint64)) >> np.uint64(32)).astype(np.int64)


def update(op: training.Update, hidden: np.ndarray, picks: np.ndarray, x: np.ndarray) -> np.ndarray:
    sums = picks.T.astype(np.float32) @ x.astype(np.float32)
    return _clamped(hidden + 2 * sums.astype(np.int64), op)


def reinforce(
    op: training.Reinforce, hidden: np.ndarray, rate: np.ndarray, active: np.ndarray, clock: np.ndarray
) -> np.ndarray:
    result = hidden.astype(np.int64)
    if active[0]:
        outputs, inputs = hidden.shape
        blocks = math.ceil(inputs / op.block)
        u = draws(int(clock[0]), REINFORCE, op.layer, int(clock[1]), np.arange(outputs * blocks))
        u = u.reshape(outputs, blocks)
        place = np.arange(blocks) * op.block + (u % np.uint64(op.block)).astype(np.int64)
        row, block = np.nonzero((u >> np.uint64(33) < np.uint64(rate[0])) & (place < inputs))
        column = place[row, block]  # blocks share no weight, so none is named twice
        result[row, column] += 2 * _sign(result[row, column])
    return np.clip(result, -op.bound, op.bound)


def rate(op: training.Rate, wrong: np.ndarray, total: np.ndarray) -> int:
    return min(2**31 - 1, math.isqrt(op.factor // max(int(total[0]), 1) * int(wrong[0])))


def schedule(op: training.Schedule, correct: np.ndarray, total: np.ndarray, progress: np.ndarray) -> np.ndarray:
    best, wait, level = (int(value) for value in progress)
    if int(correct[0]) * 2000 > best * 2000 + int(total[0]):
        best, wait = int(correct[0]), 0
    else:
        wait += 1
        if wait >= op.patience:
            wait, level = 0, min(level + 1, op.levels - 1)
    return np.array([best, wait, level])


def mask(op: training.Mask, x: np.ndarray, flags: np.ndarray) -> np.ndarray:
    return np.asarray(x * flags)


def some(op: training.Any, flags: np.ndarray) -> np.ndarray:
    return np.asarray(flags.any(1))


def both(op: training.Both, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(a & b)


def differ(op: training.Differ, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(a != b)


def total(op: training.Total, base: np.ndarray, x: np.ndarray) -> np.ndarray:
    return _clamped(base.astype(np.int64) + x.sum(dtype=np.int64), op)


_ONE: dict[type[Op], Callable[..., Any]] = {
    training.Constant: constant,
    training.Product: product,
    training.Rows: rows,
    training.Trigger: trigger,
    training.Pick: pick,
    training.Update: update,
    training.Reinforce: reinforce,
    training.Rate: rate,
    training.Schedule: schedule,
    training.Mask: mask,
    training.Any: some,
    training.Both: both,
    training.Differ: differ,
    training.Total: total,
}
MEANINGS: dict[type[Op], Callable[[Any, Operands], np.ndarray]] = {op: _each(meaning) for op, meaning in _ONE.items()}
