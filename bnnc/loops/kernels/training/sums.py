"""Small work on the sums of samples: weighted sums of sums, and sums over neighbouring bits."""

from __future__ import annotations

from bnnc.loops.builder import Builder
from bnnc.loops.ir import I16, I32, I64, Binary, Convert, Expression, Function, constant, load, vector_of
from bnnc.loops.kernels.training.layouts import BatchBits, BatchSums, half_lanes
from bnnc.loops.machine import Machine


def added(name: str, sums: BatchSums, coefficients: tuple[int, ...], machine: Machine) -> Function:
    """A function (sums of each operand, result, first, last): Σ coefficient * operand, within 16 bits."""
    b = Builder(name, comment=f"sums added with factors {', '.join(map(str, coefficients))}")
    operands = [b.parameter("sums", I16, sums.length, alignment=32) for _ in coefficients]
    out = b.parameter("result", I16, sums.length, "write", alignment=32)
    first, last = b.scalar("first", I64), b.scalar("last", I64)
    lanes = half_lanes(machine)
    type_ = vector_of(I16, lanes)
    alignment = min(32, 2 * lanes)
    vectors = sums.stride // lanes
    with b.loop(last, "sample", start=first, unroll_one=False) as sample, b.loop(vectors, "vector") as vector:
        place = b.let(sample * sums.stride + vector * lanes, "place")
        total: Expression = constant(0, type_)
        for operand, factor in zip(operands, coefficients, strict=True):
            total = total + load(operand, place, type_, alignment) * factor
        b.store(out, place, total, alignment=alignment)
    return b.function()


def window_sums(name: str, x: BatchBits, size: int, sums: BatchSums) -> Function:
    """A function (x, sums, first, last): the sums of every `size` neighbouring bits ±1."""
    b = Builder(name, comment=f"sums of {size} neighbouring bits")
    bits = b.parameter("x", I32, x.length)
    out = b.parameter("sums", I16, sums.length, "write", alignment=32)
    first, last = b.scalar("first", I64), b.scalar("last", I64)
    with b.loop(last, "sample", start=first, unroll_one=False) as sample, b.loop(sums.width, "window") as window:
        total = b.variable("total", constant(-size, I32))
        with b.loop(size, "at") as at:
            place = b.let(window * size + at, "place")
            word = load(bits, sample * x.stride + Binary("lshr", place, constant(5, I64)))
            bit = Binary("lshr", word, Convert("trunc", place, I32) & 31) & 1
            b.assign(total, total + bit + bit)
        b.store(out, sample * sums.stride + window, Convert("trunc", total, I16))
    return b.function()
