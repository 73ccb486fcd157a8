"""Small work on the bits and flags of samples: steps of sums, rows of a table, masks, and whether any flag is set."""

from __future__ import annotations

import numpy as np

from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I16,
    I32,
    I64,
    Binary,
    Buffer,
    Convert,
    Expression,
    Function,
    compare,
    constant,
    constant_buffer,
    load,
    pack,
    vector_of,
)
from bnnc.loops.kernels.training.layouts import BatchBits, BatchSums, half_lanes, packed_rows
from bnnc.loops.layout import WORD
from bnnc.loops.machine import Machine


def step(
    name: str, sums: BatchSums, bits: BatchBits, thresholds: tuple[int, ...], begins: bool, machine: Machine
) -> Function:
    """A function (sums, bits, first, last): bits that are `begins` below all thresholds and turn over at each."""
    b = Builder(name, comment=f"bits of sums that turn at {', '.join(map(str, thresholds))}")
    values = b.parameter("sums", I16, sums.length, alignment=32)
    out = b.parameter("bits", I32, bits.length, "write")
    first, last = b.scalar("first", I64), b.scalar("last", I64)
    lanes = half_lanes(machine)
    type_ = vector_of(I16, lanes)
    valid = _valid(name, bits.width)
    low, high = -(2**15), 2**15 - 1
    inside = [t for t in thresholds if low < t <= high]
    start_value = begins ^ (sum(t <= low for t in thresholds) % 2 == 1)
    with b.loop(last, "sample", start=first, unroll_one=False) as sample, b.loop(bits.words, "word") as word:
        place = b.let(sample * sums.stride + word * WORD, "place")
        flipped: Expression = constant(-1 if start_value else 0, I32)
        parts = [b.let(load(values, place + n * lanes, type_, min(32, 2 * lanes)), "z") for n in range(WORD // lanes)]
        for threshold in inside:
            flipped = flipped ^ pack(tuple(compare("ge", part, threshold) for part in parts))
        if valid is not None:
            flipped = flipped & load(valid, word)
        b.store(out, sample * bits.stride + word, flipped)
    return b.function()


def _valid(name: str, width: int) -> Buffer | None:
    if width % WORD == 0:
        return None
    return constant_buffer(f"{name}_valid", packed_rows(np.ones((1, width), np.bool_)), "which bits exist")


def table_rows(name: str, table: Buffer, classes: int, bits: BatchBits) -> Function:
    """A function (index, bits, first, last): row index[sample] of a constant table of packed rows."""
    b = Builder(name, comment=f"one of {classes} rows for each sample")
    index = b.parameter("index", I32, bits.samples)
    out = b.parameter("bits", I32, bits.length, "write")
    first, last = b.scalar("first", I64), b.scalar("last", I64)
    with b.loop(last, "sample", start=first, unroll_one=False) as sample:
        row = b.let(Convert("zext", load(index, sample), I64) * bits.words, "row")
        with b.loop(bits.words, "word") as word:
            b.store(out, sample * bits.stride + word, load(table, row + word))
    return b.function()


def same_row(name: str, row: Buffer, bits: BatchBits) -> Function:
    """A function (bits, first, last): a constant row of packed bits for every sample."""
    b = Builder(name, comment=f"the same {bits.width} bits for each sample")
    out = b.parameter("bits", I32, bits.length, "write")
    first, last = b.scalar("first", I64), b.scalar("last", I64)
    with b.loop(last, "sample", start=first, unroll_one=False) as sample, b.loop(bits.words, "word") as word:
        b.store(out, sample * bits.stride + word, load(row, word))
    return b.function()


def cut(name: str, x: BatchBits, begin: int, bits: BatchBits) -> Function:
    """A function (x, bits, first, last): the bits of x from bit `begin` on."""
    b = Builder(name, comment=f"bits {begin} to {begin + bits.width - 1} of {x.width}")
    source = b.parameter("x", I32, x.length)
    out = b.parameter("bits", I32, bits.length, "write")
    first, last = b.scalar("first", I64), b.scalar("last", I64)
    origin, shift = divmod(begin, WORD)
    with b.loop(last, "sample", start=first, unroll_one=False) as sample:
        for word in range(bits.words):
            place = sample * x.stride + (origin + word)
            value = load(source, place)
            if shift:
                value = Binary("lshr", value, constant(shift, I32))
                if origin + word + 1 < x.words:
                    value = value | Binary("shl", load(source, place + 1), constant(WORD - shift, I32))
            rest = bits.width - word * WORD
            if rest < WORD:
                value = value & ((1 << rest) - 1)
            b.store(out, sample * bits.stride + word, value)
    return b.function()


def joined(name: str, x: BatchBits, bits: BatchBits, part: int) -> Function:
    """A function (x, bits, first, last): the samples of x as the part-th batch of a larger one."""
    b = Builder(name, comment=f"batch {part} of a larger one")
    source = b.parameter("x", I32, x.length)
    out = b.parameter("bits", I32, bits.length, "both")
    first, last = b.scalar("first", I64), b.scalar("last", I64)
    with b.loop(last, "sample", start=first, unroll_one=False) as sample, b.loop(bits.words, "word") as word:
        b.store(out, (sample + part * x.samples) * bits.stride + word, load(source, sample * x.stride + word))
    return b.function()


def masked(name: str, x: BatchBits, flags: BatchBits, trits: BatchBits) -> Function:
    """A function (x, flags, trits, first, last): the bits of x where the flag is set, else 0."""
    b = Builder(name, comment=f"{x.width} bits where a flag is set")
    bits = b.parameter("x", I32, x.length)
    where = b.parameter("flags", I32, flags.length)
    out = b.parameter("trits", I32, trits.length, "write")
    first, last = b.scalar("first", I64), b.scalar("last", I64)
    with b.loop(last, "sample", start=first, unroll_one=False) as sample, b.loop(x.words, "word") as word:
        flag = b.let(load(where, sample * flags.stride + word), "flag")
        place = b.let(sample * trits.stride + word, "place")
        b.store(out, place, flag)
        b.store(out, place + trits.words, flag & load(bits, sample * x.stride + word))
    return b.function()


def any_flag(name: str, flags: BatchBits) -> Function:
    """A function (flags, any, first, last): int32 1 for every sample with a flag that is set."""
    b = Builder(name, comment=f"is any of {flags.width} flags set?")
    where = b.parameter("flags", I32, flags.length)
    out = b.parameter("any", I32, flags.samples, "write")
    first, last = b.scalar("first", I64), b.scalar("last", I64)
    with b.loop(last, "sample", start=first, unroll_one=False) as sample:
        joined = b.variable("joined", constant(0, I32))
        with b.loop(flags.words, "word") as word:
            b.assign(joined, joined | load(where, sample * flags.stride + word))
        b.store(out, sample, Convert("zext", compare("ne", joined, 0), I32))
    return b.function()


def both_flags(name: str, samples: int) -> Function:
    """A function (a, b, both, first, last) on int32 flags."""
    b = Builder(name, comment="are both flags set?")
    one, two = b.parameter("a", I32, samples), b.parameter("b", I32, samples)
    out = b.parameter("both", I32, samples, "write")
    first, last = b.scalar("first", I64), b.scalar("last", I64)
    with b.loop(last, "sample", start=first, unroll_one=False) as sample:
        b.store(out, sample, load(one, sample) & load(two, sample))
    return b.function()
