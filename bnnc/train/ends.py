"""What all rules share: the end of a batch (reinforce, take signs) and of an epoch (rates, schedule, counters)."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from bnnc.ir import training
from bnnc.ir.bit import Add
from bnnc.ir.bit import Step as BitStep
from bnnc.ir.module import Module
from bnnc.ir.move import Concat, Slice
from bnnc.ir.op import Op
from bnnc.ir.training import CLOCK
from bnnc.ir.types import DType, Int
from bnnc.train.state import COUNT, Matrix, States, sign

LARGEST_BLOCK = 256
INVERSE_PI = 5871781006564002452
"""floor(2^64 / π)."""


def number(value: int, dtype: DType = COUNT) -> Op:
    """One constant, [1]."""
    return training.Constant(np.array([value], np.int32), dtype)


def element(x: Op, place: int) -> Op:
    """One element of a list, as a list of one."""
    return Slice(x, (place,), (1,), (1,))


def block_size(fan_in: int, strength: Fraction) -> int:
    """How many neighbours share one draw of the reinforcement: the largest power of two up to 256 for which a block's
    probability block * strength * sqrt(2 / (π fan_in)) is at most 1."""
    block = LARGEST_BLOCK
    while block > 1 and squared_rate(fan_in, strength, block) >= 2**62:
        block //= 2
    return block


def squared_rate(fan_in: int, strength: Fraction, block: int) -> int:
    """(block * strength * 2^31)^2 * 2 / (π fan_in), rounded down: the square of the highest threshold."""
    top, bottom = strength.numerator, strength.denominator
    return block * block * top * top * INVERSE_PI // (2 * bottom * bottom * fan_in)


def group_size(progress: Op | None, sizes: tuple[int, ...]) -> Op:
    """The present size of the groups, Int [1]: the only one, or that of the schedule's level."""
    if progress is None:
        return number(sizes[0], Int(1, COUNT.hi))
    thresholds = np.arange(1, len(sizes), dtype=np.int32)[None]
    return BitStep(element(progress, 2), thresholds, np.array([sizes], np.int32), Int(min(sizes), max(sizes)))


def end_batch(
    states: States, matrices: tuple[Matrix, ...], blocks: tuple[int, ...], bound: int, counters: tuple[str, ...]
) -> Module:
    """Reinforce every matrix where its counter is not 0, keep it within ±bound, take the signs, count what flipped."""
    writer = states.begin()
    clock = writer.read("clock")
    flips: Op = writer.read("flips")
    for matrix, block, counter in zip(matrices, blocks, counters, strict=True):
        hidden = training.Reinforce(
            writer.read(f"hidden_{matrix.name}"),
            writer.read(f"rate_{matrix.name}"),
            writer.read(counter),
            clock,
            matrix.index,
            block,
            bound,
        )
        weights = sign(hidden)
        flips = training.Total(flips, training.Differ(writer.read(f"weights_{matrix.name}"), weights))
        writer.write(f"hidden_{matrix.name}", hidden)
        writer.write(f"weights_{matrix.name}", weights)
    writer.write("flips", flips)
    for counter in dict.fromkeys(counters):
        writer.write(counter, number(0))
    following = training.Total(element(clock, 1), number(1))
    writer.write("clock", Concat((element(clock, 0), following, number(0, CLOCK)), 0))
    return writer.module("end_batch")


def end_epoch(
    states: States, matrices: tuple[Matrix, ...], factors: tuple[int, ...], patience: int, levels: int
) -> Module:
    """The rates and the group size of the next epoch from the answers of this one; its counts move to `last`."""
    writer = states.begin()
    wrong, total, flips = (writer.read(name) for name in ("wrong", "total", "flips"))
    for matrix, factor in zip(matrices, factors, strict=True):
        writer.write(f"rate_{matrix.name}", training.Rate(wrong, total, factor))
    if levels > 1:
        correct = Add((total, wrong), (1, -1))
        writer.write("progress", training.Schedule(correct, total, writer.read("progress"), patience, levels))
    writer.write("last", Concat((wrong, total, flips), 0))
    for name in ("wrong", "total", "flips"):
        writer.write(name, number(0))
    return writer.module("end_epoch")
