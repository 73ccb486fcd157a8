"""Weights from a codebook: the words that the popcount kernel reads, made from the numbers of the patterns.

Each tap of a pattern is a Boolean function of the bits of its number. The numbers lie in planes, 32 channels a word, so
that a word of every tap is made by a few dozen operations on words: a tree of choices over the planes, whose equal
branches are shared between taps.
"""

from __future__ import annotations

import numpy as np

from bnnc.ir.codebook import Codebook
from bnnc.ir.location import UNKNOWN, Location
from bnnc.loops.builder import Builder
from bnnc.loops.ir import I32, Expression, Function, constant, constant_buffer, load, splat, vector_of
from bnnc.loops.kernels.popcount import WeightWords
from bnnc.loops.kernels.tiling import Part
from bnnc.loops.layout import WORD


def expand_codebook(name: str, book: Codebook, words: WeightWords, loc: Location = UNKNOWN) -> Function:
    """A function (w) that writes the weights of a codebook as `popcount_conv` reads them from memory.

    The numbers are constants [block][word][plane][vector][lane], and so is what marks the channels of the last word.
    """
    outputs, channels = book.index.shape
    taps, lanes = book.patterns.shape[1], words.lanes
    b = Builder(name, comment=f"{outputs} x {channels} kernels, {len(book.patterns)} patterns", loc=loc)
    w = b.parameter("w", I32, words.total, access="write", alignment=4 * lanes)
    type_ = vector_of(I32, lanes)
    real = None
    if channels % WORD:
        marks = np.packbits(np.arange(words.words * WORD) < channels, bitorder="little").view("<u4")
        real = constant_buffer(f"{name}_channels", marks, "one bit a channel")
    for number, (first, part) in enumerate(words.parts):
        planes = _planes(book, words, part)
        buffer = constant_buffer(f"{name}_index_{number}", planes, "[block][word][plane of the number][vector][lane]")
        with b.loop(part.blocks, "block") as block, b.loop(words.words, "word") as word:
            mask = None if real is None else b.let(splat(load(real, word), type_), "real")
            with b.loop(part.vectors, "vector") as vector:
                row = (block * words.words + word) * book.index_bits
                bits = [
                    b.let(
                        load(buffer, ((row + j) * part.vectors + vector) * lanes, type_, alignment=4 * lanes), "number"
                    )
                    for j in range(book.index_bits)
                ]
                tree = _Choices(b, bits)
                for tap in range(taps):
                    made = tree.of(_column(book, tap, words.positive))
                    if mask is not None:
                        made = made & mask
                    place = ((block * taps + tap) * words.words + word) * part.vectors + vector
                    b.store(w, place * lanes + first, made, alignment=4 * lanes)
    return b.function()


def _column(book: Codebook, tap: int, positive: bool) -> tuple[bool, ...]:
    """The bit of a tap for every number; numbers that name no pattern repeat the last one."""
    column = book.patterns[:, tap] > 0
    full = np.pad(column, (0, (1 << book.index_bits) - column.size), mode="edge")
    return tuple((full == positive).tolist())


def _planes(book: Codebook, words: WeightWords, part: Part) -> np.ndarray:
    """uint32 [blocks, words, planes, channels of a block]."""
    size = part.vectors * words.lanes
    first = part.first * words.lanes
    index = np.zeros((part.blocks * size, words.words * WORD), np.uint8)
    rows = book.index[first : first + part.blocks * size]
    index[: len(rows), : rows.shape[1]] = rows
    bits = np.stack([index >> j & 1 for j in range(book.index_bits)])
    packed = np.packbits(bits, axis=-1, bitorder="little").view("<u4")
    blocked = packed.reshape(book.index_bits, part.blocks, size, words.words)
    return np.ascontiguousarray(blocked.transpose(1, 3, 0, 2))


class _Choices:
    """Boolean functions of the bits of a number, as words; a function that was made once is used again."""

    def __init__(self, b: Builder, bits: list[Expression]) -> None:
        self._b, self._bits = b, bits
        type_ = bits[0].type
        self._zero, self._ones = constant(0, type_), constant(-1, type_)
        self._made: dict[tuple[bool, ...], Expression] = {(False,): self._zero, (True,): self._ones}

    def of(self, table: tuple[bool, ...]) -> Expression:
        """The word whose bits are table[number]."""
        if table not in self._made:
            self._made[table] = self._b.let(self._choice(table), "tap")
        return self._made[table]

    def _choice(self, table: tuple[bool, ...]) -> Expression:
        half = len(table) // 2
        low, high = table[:half], table[half:]
        if low == high:
            return self.of(low)
        bit = self._bits[half.bit_length() - 1]
        if not any(low):
            return bit if all(high) else self.of(high) & bit
        if all(high):
            return self.of(low) | bit
        if not any(high):
            inverse = bit ^ self._ones
            return inverse if all(low) else self.of(low) & inverse
        if all(low):
            return self.of(high) | (bit ^ self._ones)
        below, above = self.of(low), self.of(high)
        return below ^ ((below ^ above) & bit)
