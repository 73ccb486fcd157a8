"""Products of a batch of bits or trits with weights that change: XNOR and popcount, lanes are neurons."""

from __future__ import annotations

import numpy as np

from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I16,
    I32,
    I64,
    Buffer,
    Convert,
    Expression,
    Function,
    binary,
    compare,
    constant,
    constant_buffer,
    load,
    pack,
    popcount,
    splat,
    vector_of,
)
from bnnc.loops.kernels.training.layouts import BatchBits, BatchSums, Signs
from bnnc.loops.layout import WORD
from bnnc.loops.machine import Machine


def can_sign(machine: Machine) -> bool:
    """Whether a product can give the signs of its sums besides: a few vectors are a word of them."""
    return machine.lanes * 4 >= WORD and machine.flags_to_bits


def product(name: str, x: BatchBits, w: Signs, y: BatchSums, signs: BatchBits | None, machine: Machine) -> Function:
    """A function (x, w, y, [signs], first, last): the sums of samples first … last - 1, and bits, 1 for sums >= 0."""
    b = Builder(name, comment=f"sums of {w.width} {'trits' if x.planes == 2 else 'bits'} for {w.rows} neurons")
    tile = _Tile(name, b, x, w, y, signs)
    first, last = b.scalar("first", I64), b.scalar("last", I64)
    # Whole words of signs need four vectors of eight lanes.
    vectors, pixels = 4, 6 if machine.vector_registers >= 32 else 2
    done = 0
    while done < w.vectors:
        count = min(vectors, w.vectors - done)
        blocks = (w.vectors - done) // count
        height = max(1, min(vectors * pixels // count, 12))
        with b.loop(blocks, "block") as block:
            vector = b.let(block * count + done, "vector")
            with b.loop(last, "sample", start=first, step=height, unroll_one=False) as sample:
                # The last tile does its last sample several times, which changes nothing.
                samples = [b.let(binary("min", sample + m, last - 1), "s") for m in range(height)]
                tile.write(vector, count, samples)
        done += count * blocks
    return b.function()


class _Tile:
    """Some samples times some vectors of neurons, held in registers."""

    def __init__(self, name: str, b: Builder, x: BatchBits, w: Signs, y: BatchSums, signs: BatchBits | None) -> None:
        self.b, self.x, self.w, self.y, self.signs = b, x, w, y, signs
        self.bits = b.parameter("x", I32, x.length, alignment=4)
        self.weights = b.parameter("w", I32, w.length, alignment=4 * w.lanes)
        self.sums = b.parameter("y", I16, y.length, "write", alignment=2 * w.lanes)
        self.signs_out: Buffer | None = None
        self.valid: Buffer | None = None
        if signs is not None:
            self.signs_out = b.parameter("signs", I32, signs.length, "write")
            if w.rows % WORD:
                ends = np.full(signs.words, 0xFFFFFFFF, np.uint32)
                ends[-1] = (1 << w.rows % WORD) - 1
                self.valid = constant_buffer(f"{name}_valid", ends, "which bits of each word are neurons")

    def write(self, vector: Expression, vectors: int, samples: list[Expression]) -> None:
        b, x, w = self.b, self.x, self.w
        counts = [[b.variable("c", constant(0, w.type)) for _ in range(vectors)] for _ in samples]
        begins = [b.let(sample * x.stride, "begin") for sample in samples]
        base = b.let(vector * (w.words * w.lanes), "base")
        with b.loop(w.words, "k") as k:
            rows = [
                b.let(load(self.weights, base + (k * w.lanes + n * w.words * w.lanes), w.type, 4 * w.lanes), "w")
                for n in range(vectors)
            ]
            for m, begin in enumerate(begins):
                place = b.let(begin + k, "place")
                first = b.let(splat(load(self.bits, place), w.type), "x")
                second = b.let(splat(load(self.bits, place + x.words), w.type), "x") if x.planes == 2 else None
                for n in range(vectors):
                    differ = first ^ rows[n] if second is None else first & (second ^ rows[n])
                    b.assign(counts[m][n], counts[m][n] + popcount(differ))
        for m, sample in enumerate(samples):
            whole: Expression = constant(w.width, w.type)
            if x.planes == 2:
                whole = b.let(splat(self._nonzero(begins[m]), w.type), "whole")
            sums = [b.let(whole - (c + c), "sum") for c in counts[m]]
            start = b.let(sample * self.y.stride + vector * w.lanes, "start")
            for n, value in enumerate(sums):
                narrow = Convert("trunc", value, vector_of(I16, w.lanes))
                b.store(self.sums, start + n * w.lanes, narrow, alignment=2 * w.lanes)
            if self.signs is not None:
                self._store_signs(sample, vector, sums)

    def _nonzero(self, begin: Expression) -> Expression:
        """How many trits of a sample are not 0."""
        b = self.b
        total = b.variable("nonzero", constant(0, I32))
        with b.loop(self.x.words, "k") as k:
            b.assign(total, total + popcount(load(self.bits, begin + k)))
        return total

    def _store_signs(self, sample: Expression, vector: Expression, sums: list[Expression]) -> None:
        b, lanes = self.b, self.w.lanes
        assert self.signs is not None
        assert self.signs_out is not None
        per_word = WORD // lanes
        # `vector` is a multiple of what makes a word: tiles of several vectors hold whole words but at the end.
        word = b.let(vector if per_word == 1 else _shifted_right(vector, per_word), "word")
        for i in range(0, len(sums), per_word):
            flags = tuple(compare("ge", value, 0) for value in sums[i : i + per_word])
            bits = pack(flags)
            if self.valid is not None:
                bits = bits & load(self.valid, word + i // per_word)
            b.store(self.signs_out, sample * self.signs.stride + word + i // per_word, bits)


def _shifted_right(value: Expression, divisor: int) -> Expression:
    return binary("udiv", value, divisor)
