"""Decides which samples must still be learnt: the best class against the label, with a margin."""

from __future__ import annotations

from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I16,
    I32,
    I64,
    Binary,
    Convert,
    Expression,
    Function,
    Reduce,
    Select,
    binary,
    compare,
    constant,
    load,
    splat,
    vector_of,
)
from bnnc.loops.kernels.training.layouts import BatchSums, lane_numbers
from bnnc.loops.machine import Machine

_LEAST = -(2**31)


def trigger(name: str, scores: BatchSums, margin: int, machine: Machine) -> Function:
    """A function (scores, labels, flags, first, last): 1 for samples that `bit.trigger` names, else 0. int32 flags."""
    b = Builder(name, comment=f"which samples are not won by {margin}")
    values = b.parameter("scores", I16, scores.length, alignment=32)
    labels = b.parameter("labels", I32, scores.samples)
    flags = b.parameter("flags", I32, scores.samples, "write")
    first, last = b.scalar("first", I64), b.scalar("last", I64)
    # A row of scores has room for 32, so whole vectors may be read.
    lanes = machine.lanes
    type_ = vector_of(I32, lanes)
    lane = lane_numbers(type_)
    with b.loop(last, "sample", start=first, unroll_one=False) as sample:
        start = b.let(sample * scores.stride, "start")
        label = b.let(load(labels, sample), "label")
        own = _key(Convert("sext", load(values, start + Convert("zext", label, I64)), I32), label)
        own = b.let(own, "own")
        others = b.variable("others", constant(_LEAST, type_))
        with b.loop(-(-scores.width // lanes), "vector") as vector:
            place = b.let(vector * lanes, "place")
            score = Convert("sext", load(values, start + place, vector_of(I16, lanes)), type_)
            number = b.let(lane + splat(Convert("trunc", place, I32), type_), "number")
            counts = compare("ne", number, splat(label, type_))
            if scores.width % lanes:
                counts = counts & compare("lt", number, scores.width)
            b.assign(others, binary("max", others, Select(counts, _key(score, number), constant(_LEAST, type_))))
        best = b.let(Reduce("max", others) if lanes > 1 else others, "best")
        gap = Binary("ashr", own, constant(16, I32)) - Binary("ashr", best, constant(16, I32))
        wrong = compare("lt", own, best) | compare("lt", gap, margin)
        b.store(flags, sample, Convert("zext", wrong, I32))
    return b.function()


def _key(score: Expression, number: Expression) -> Expression:
    """Orders classes: by score, and of equal ones the lower number first."""
    return Binary("shl", score, constant(16, score.type)) | (constant(0xFFFF, number.type) - number)
