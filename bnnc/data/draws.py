"""Random numbers of made-up data and of splits: the project's counter-based generator, for many indices at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bnnc.ir.training import stream

# Purposes of draws, the second argument of `stream`. Training has those below 16 (ir/training.py).
PROTOTYPES, FLIPS, PATTERNS, SHOWN, PLACES, NOISE, VALIDATION, HELD_OUT = range(16, 24)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_BLOCK = 1 << 16  # so many numbers stay in a core's cache while they are mixed


def draws(key: int, first: int, count: int) -> np.ndarray:
    """Draws `first` to `first + count` of stream `key` (ir.training.stream), as ir.training.draw: uint64 [count]."""
    made = np.empty(count, np.uint64)
    for start in range(0, count, _BLOCK):
        part = made[start : start + _BLOCK]
        at = (first + start + 1) & (2**64 - 1)
        part[:] = np.arange(len(part), dtype=np.uint64)
        part += np.uint64(at)
        part *= _GOLDEN
        part += np.uint64(key)
        part ^= part >> np.uint64(30)
        part *= _FIRST
        part ^= part >> np.uint64(27)
        part *= _SECOND
        part ^= part >> np.uint64(31)
    return made


def below(key: int, first: int, count: int, limit: int) -> np.ndarray:
    """Draws as integers in 0 … limit - 1 (limit <= 2^32): (u >> 32) * limit >> 32, int64 [count]."""
    scaled = (draws(key, first, count) >> np.uint64(32)) * np.uint64(limit)
    return (scaled >> np.uint64(32)).astype(np.int64)


def signs(key: int, first: int, count: int) -> np.ndarray:
    """The top bits of draws as -1 or +1, int8 [count]."""
    return ((draws(key, first, count) >> np.uint64(63)).astype(np.int8) << 1) - np.int8(1)


def chosen(count: int, number: int, seed: int, purpose: int) -> np.ndarray:
    """A mask bool [count] with `number` True: the indices with the smallest draws (the lower index among equals)."""
    order = np.argsort(draws(stream(seed, purpose, 0, 0), 0, count), kind="stable")
    mask = np.zeros(count, bool)
    mask[order[:number]] = True
    return mask


def blocks(count: int, width: int, length: int) -> Iterator[tuple[int, int]]:
    """Ranges (start, stop) of samples that are made together: at most `length`, and few enough to be made in cache."""
    most = max(1, min(length, (1 << 20) // max(width, 1)))
    return ((start, min(start + most, count)) for start in range(0, count, most))


__all__ = [
    "FLIPS",
    "HELD_OUT",
    "NOISE",
    "PATTERNS",
    "PLACES",
    "PROTOTYPES",
    "SHOWN",
    "VALIDATION",
    "below",
    "blocks",
    "chosen",
    "draws",
    "signs",
    "stream",
]
