"""Made-up inputs: the same seed gives the same arrays, whatever their number."""

from __future__ import annotations

import numpy as np

from bnnc.ir.module import Input, Module
from bnnc.ir.types import Bit, Code, is_integer, value_range


def seeded(module: Module, count: int, seed: int, start: int = 0) -> dict[str, np.ndarray]:
    """Samples `start` to `start + count` of an endless series: arrays by input name, batch first.

    Every value of an integer input is equally likely. Float inputs alternate between normal numbers and numbers in
    0..1, which is what networks are trained on.
    """
    made = {
        op.name: [_sample(op, seed, place, n) for n in range(start, start + count)] for place, op in _places(module)
    }
    return {name: np.stack(samples) for name, samples in made.items()}


def _places(module: Module) -> list[tuple[int, Input]]:
    return list(enumerate(module.inputs))


def _sample(op: Input, seed: int, place: int, number: int) -> np.ndarray:
    generator = np.random.Generator(np.random.Philox(key=[seed, place << 40 | number]))
    if not is_integer(op.dtype):
        if number % 2:
            return generator.random(op.shape, np.float32)
        return generator.standard_normal(op.shape, np.float32)
    if isinstance(op.dtype, Bit):
        return generator.integers(0, 2, op.shape, np.int32) * 2 - 1
    if isinstance(op.dtype, Code):
        codes = generator.integers(0, 2**op.dtype.bits, op.shape, np.int32)
        return codes * op.dtype.multiplier + op.dtype.offset
    lo, hi = value_range(op.dtype)
    values = generator.integers(lo, hi, op.shape, np.int64, endpoint=True)
    return values.astype(np.uint8) if (lo, hi) == (0, 255) else values
