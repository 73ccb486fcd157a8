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
from bnnc.loops.kernels.training.layouts import BatchBits, BatchSums, Signs, half_lanes, packed_rows
from bnnc.loops.layout import WORD
from bnnc.loops.machine import Machine


def can_sign(machine: Machine) -> bool:
    """Whether a product can give the signs of its sums besides: a few vectors are a word of them."""
    return half_lanes(machine) * 4 >= WORD and machine.flags_to_bits


def tile_shape(machine: Machine) -> tuple[int, int]:
    """Vectors and samples of a tile: accumulators, activations and a few temporaries fill the registers."""
    return (6, 4) if machine.vector_registers >= 32 else (4, 2)


def product(
    name: str, x: BatchBits, w: Signs, y: BatchSums, signs: BatchBits | None, some: bool, machine: Machine
) -> Function:
    """A function (x, w, [active, chosen], y, [signs], first, last): sums of samples first … last - 1, and their signs.

    x has the elements of w: a word of activations is two of 16 bits, the low one first. signs: 1 for sums >= 0. `some`:
    only samples whose active (int32) is not 0 are computed; chosen int64 [samples] is scratch memory.
    """
    b = Builder(name, comment=f"sums of {w.width} {'trits' if x.planes == 2 else 'bits'} for {w.rows} neurons")
    tile = _Tile(b, x, w, y)
    chosen = None
    if some:
        active = b.parameter("active", I32, x.samples)
        chosen = b.parameter("chosen", I64, x.samples, "both", alignment=64)
    tile.outputs(name, signs)
    first: Expression = b.scalar("first", I64)
    last: Expression = b.scalar("last", I64)
    if chosen is not None:
        count = b.variable("count", constant(0, I64))
        with b.loop(last, "sample", start=first, unroll_one=False) as sample:
            b.store(chosen, count, sample)
            b.assign(count, count + Convert("zext", compare("ne", load(active, sample), 0), I64))
        first, last = constant(0, I64), b.let(count + 0, "last")
    vectors, height = tile_shape(machine)
    if signs is not None and vectors * w.lanes % WORD:
        vectors = 4
    done = 0
    while done < w.vectors:
        together = min(vectors, w.vectors - done)
        blocks = (w.vectors - done) // together
        samples = height * vectors // together
        with b.loop(blocks, "block") as block:
            vector = b.let(block * together + done, "vector")
            with b.loop(last, "sample", start=first, step=samples, unroll_one=False) as sample:
                # The last tile does its last sample several times, which changes nothing.
                places = [binary("min", sample + m, last - 1) for m in range(samples)]
                numbers = [b.let(place if chosen is None else load(chosen, place), "s") for place in places]
                tile.write(vector, together, numbers)
        done += together * blocks
    return b.function()


class _Tile:
    """Some samples times some vectors of neurons, held in registers."""

    def __init__(self, b: Builder, x: BatchBits, w: Signs, y: BatchSums) -> None:
        self.b, self.x, self.w, self.y = b, x, w, y
        # Activations are read a unit at a time: as halves of their words where units are 16 bits.
        self.bits = b.parameter("x", w.element, x.length * w.per_word)
        self.weights = b.parameter("w", w.element, w.length, alignment=w.alignment)

    def outputs(self, name: str, signs: BatchBits | None) -> None:
        """The parameters that are written."""
        b, w = self.b, self.w
        self.signs = signs
        self.sums = b.parameter("y", I16, self.y.length, "write", alignment=2 * w.lanes)
        self.signs_out: Buffer | None = None
        self.valid: Buffer | None = None
        if signs is not None:
            self.signs_out = b.parameter("signs", I32, signs.length, "write")
            if w.rows % WORD:
                ends = packed_rows(np.ones((1, w.rows), np.bool_))
                self.valid = constant_buffer(f"{name}_valid", ends, "which bits of each word are neurons")

    def write(self, vector: Expression, vectors: int, samples: list[Expression]) -> None:
        b, x, w = self.b, self.x, self.w
        counts = [[b.variable("c", constant(0, w.type)) for _ in range(vectors)] for _ in samples]
        begins = [b.let(sample * (x.stride * w.per_word), "begin") for sample in samples]
        base = b.let(vector * (w.units * w.lanes), "base")
        with b.loop(w.words, "k") as k:
            for part in range(w.per_word):
                at = k * w.per_word + part
                first = [self._unit(begin + at) for begin in begins]
                second = [self._unit(begin + at + x.words * w.per_word) for begin in begins] if x.planes == 2 else []
                for n in range(vectors):
                    place = base + (k * (w.per_word * w.lanes) + (n * w.units + part) * w.lanes)
                    row = b.let(load(self.weights, place, w.type, w.alignment), "w")
                    for m in range(len(samples)):
                        differ = first[m] & (second[m] ^ row) if second else first[m] ^ row
                        b.assign(counts[m][n], counts[m][n] + popcount(differ))
        for m, sample in enumerate(samples):
            whole: Expression = constant(w.width, w.type)
            if x.planes == 2:
                whole = b.let(splat(self._nonzero(begins[m]), w.type), "whole")
            sums = [b.let(whole - (c + c), "sum") for c in counts[m]]
            start = b.let(sample * self.y.stride + vector * w.lanes, "start")
            for n, value in enumerate(sums):
                narrow = Convert("trunc", value, vector_of(I16, w.lanes)) if w.bits > 16 else value
                b.store(self.sums, start + n * w.lanes, narrow, alignment=2 * w.lanes)
            if self.signs is not None:
                self._store_signs(sample, vector, sums)

    def _unit(self, place: Expression) -> Expression:
        """One unit of activations in every lane."""
        return self.b.let(splat(load(self.bits, place), self.w.type), "x")

    def _nonzero(self, begin: Expression) -> Expression:
        """How many trits of a sample are not 0."""
        b = self.b
        total = b.variable("nonzero", constant(0, self.w.element))
        with b.loop(self.w.units, "k") as k:
            b.assign(total, total + popcount(load(self.bits, begin + k)))
        return total

    def _store_signs(self, sample: Expression, vector: Expression, sums: list[Expression]) -> None:
        b = self.b
        assert self.signs is not None
        assert self.signs_out is not None
        per_word = WORD // self.w.lanes
        # `vector` is a multiple of what makes a word: tiles of several vectors hold whole words but at the end.
        word = b.let(vector if per_word == 1 else binary("udiv", vector, per_word), "word")
        for i in range(0, len(sums), per_word):
            bits = pack(tuple(compare("ge", value, 0) for value in sums[i : i + per_word]))
            if self.valid is not None:
                bits = bits & load(self.valid, word + i // per_word)
            b.store(self.signs_out, sample * self.signs.stride + word + i // per_word, bits)
