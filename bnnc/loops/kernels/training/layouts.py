"""Where the tensors of a training step lie in memory: samples and neurons one after the other, in whole words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnc.loops.ir import I16, I32, NUMPY, Expression, LaneIndex, Scalar, Type, constant, vector_of
from bnnc.loops.layout import WORD
from bnnc.loops.machine import Machine

CHANGED, WITHIN = 1, 2
"""What is known of a row of hidden weights that was touched: nothing more, or that it is within the bound."""


def up(value: int, multiple: int) -> int:
    """The next multiple of `multiple` that is not below `value`."""
    return -(-value // multiple) * multiple


def lane_numbers(type_: Type) -> Expression:
    """0, 1, 2, … in the lanes; of a scalar just 0."""
    return LaneIndex(type_) if type_.lanes > 1 else constant(0, type_)


def half_lanes(machine: Machine) -> int:
    """16-bit lanes of a vector; 1 without vectors. Never more than a word has bits."""
    return min(WORD, max(1, machine.vector_bits // 16))


def long_lanes(machine: Machine) -> int:
    """64-bit lanes of a vector; 1 without vectors."""
    return max(1, machine.vector_bits // 64)


@dataclass(frozen=True)
class BatchBits:
    """[samples][planes][words], `stride` words a sample; bit k % 32 of word k // 32. Bits behind the last are 0.

    One plane: bits, 1 for +1, or flags. Two planes: trits, non-zero and positive.
    """

    samples: int
    width: int
    planes: int = 1
    stride: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "stride", self.stride or self.planes * self.words)

    @property
    def words(self) -> int:
        """Words of one plane of one sample."""
        return -(-self.width // WORD)

    @property
    def length(self) -> int:
        """Words in all."""
        return self.samples * self.stride


@dataclass(frozen=True)
class BatchSums:
    """int16 [samples][stride]: one number a neuron; anything behind the last neuron."""

    samples: int
    width: int

    @property
    def stride(self) -> int:
        """Elements of one sample: whole words of flags, and room for the widest vectors."""
        return up(self.width, WORD)

    @property
    def length(self) -> int:
        """Elements in all."""
        return self.samples * self.stride


@dataclass(frozen=True)
class Hidden:
    """int16 [rows][stride]: hidden weights within ±limit; anything behind the last of a row.

    A row is a multiple of `block` elements, so that blocks of the reinforcement are neighbours in memory.
    """

    rows: int
    width: int
    limit: int
    block: int = 1

    @property
    def words(self) -> int:
        """Words of the signs of one row."""
        return -(-self.width // WORD)

    @property
    def stride(self) -> int:
        """Elements of one row."""
        return up(self.width, max(WORD, self.block))

    @property
    def length(self) -> int:
        """Elements in all."""
        return self.rows * self.stride


@dataclass(frozen=True)
class Signs:
    """Binary weights [rows, width] for products: [vector of rows][unit][row of the vector], a unit is `bits` bits.

    A lane is an output, so that a product needs no sum across lanes. It is 16 bits wide, enough for a sum, or 32 where
    that makes a vector too long. Bits and rows that do not exist are 0.
    """

    rows: int
    width: int
    lanes: int
    bits: int

    @property
    def words(self) -> int:
        """Words of 32 bits of one row."""
        return -(-self.width // WORD)

    @property
    def per_word(self) -> int:
        """Units of a word."""
        return WORD // self.bits

    @property
    def units(self) -> int:
        """Units of one row: whole words of them."""
        return self.words * self.per_word

    @property
    def vectors(self) -> int:
        """Vectors of rows."""
        return -(-self.rows // self.lanes)

    @property
    def length(self) -> int:
        """Units in all."""
        return self.vectors * self.units * self.lanes

    @property
    def element(self) -> Scalar:
        """What holds a unit."""
        return I16 if self.bits == 16 else I32

    @property
    def type(self) -> Type:
        """One unit of every row of a vector."""
        return vector_of(self.element, self.lanes)

    @property
    def alignment(self) -> int:
        """Bytes of a vector."""
        return self.lanes * self.bits // 8

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """int16 or int32, flat, of ±1 [rows, width]."""
        units = packed_rows(weights > 0, self.vectors * self.lanes).view(NUMPY[self.element])
        blocks = units.reshape(self.vectors, self.lanes, self.units).transpose(0, 2, 1)
        return np.ascontiguousarray(blocks).reshape(-1)

    def unpack(self, units: np.ndarray) -> np.ndarray:
        """int8 ±1 [rows, width] of what `pack` gives."""
        rows = units.reshape(self.vectors, self.units, self.lanes).transpose(0, 2, 1)
        octets = np.ascontiguousarray(rows.reshape(-1, self.units)[: self.rows]).view(np.uint8)
        bits = np.unpackbits(octets, axis=1, bitorder="little", count=self.width)
        return (2 * bits.astype(np.int8) - 1).astype(np.int8)


def signs_layout(rows: int, width: int, machine: Machine) -> Signs:
    """The layout of weights for products on a machine."""
    if rows <= machine.lanes:
        return Signs(rows, width, machine.lanes, 32)
    return Signs(rows, width, half_lanes(machine), 16)


def packed_rows(flags: np.ndarray, rows: int = 0) -> np.ndarray:
    """uint32 [rows, words] of flags [n, width]; rows behind the last are 0."""
    count, width = flags.shape
    padded = np.zeros((max(rows, count), up(width, WORD)), np.uint8)
    padded[:count, :width] = flags
    return np.packbits(padded, axis=1, bitorder="little").view(np.uint32)


__all__ = [
    "CHANGED",
    "WITHIN",
    "BatchBits",
    "BatchSums",
    "Hidden",
    "Signs",
    "half_lanes",
    "lane_numbers",
    "long_lanes",
    "packed_rows",
    "signs_layout",
    "up",
]
