"""Where the values of a training step are that takes one sample at a time, and how its state looks in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnc.ir.types import Bit, Int, TensorType, value_range
from bnnc.loops.builder import at
from bnnc.loops.ir import I32, Buffer, Expression, Pointer
from bnnc.loops.kernels.training.layouts import packed_rows
from bnnc.loops.kernels.training.planes import Planes
from bnnc.loops.kernels.training.single import words_of
from bnnc.loops.lower.training.values import Arena, Home, Numbers, OfOne, refused, view

WIDEST = 2**15 - 1
"""Inputs or neurons of a layer: sums and lists of neurons have 16 bits."""


@dataclass(frozen=True)
class Words(OfOne):
    """Bits of the sample."""

    buffer: Buffer
    width: int

    def pointer(self) -> Pointer:
        """For calls."""
        return at(self.buffer)


@dataclass(frozen=True, eq=False)
class TableRow(OfOne):
    """A row of a constant table of packed bits: the one with the number in `index`; None: the only one."""

    table: Buffer
    width: int
    index: Buffer | None
    rows: int

    def pointer(self, number: Expression | None) -> Pointer:
        """For calls; `number` is what `index` holds."""
        return at(self.table) if number is None else at(self.table, number * words_of(self.width))


@dataclass(frozen=True)
class SumsOfOne(OfOne):
    """int16, one a neuron."""

    buffer: Buffer
    width: int


@dataclass(frozen=True)
class Masked(OfOne):
    """Bits of which only those count whose flag is set."""

    bits: OfOne
    flags: Words


@dataclass(frozen=True)
class Turned(OfOne):
    """The transpose of weights."""

    of: RowsOfBits


@dataclass(frozen=True)
class Picked(OfOne):
    """A list of corrections: int16, and how many there are."""

    buffer: Buffer
    count: Buffer


@dataclass(frozen=True)
class Several(OfOne):
    """Values that belong one after the other, of the steps of a sequence."""

    parts: tuple[OfOne, ...]


@dataclass(frozen=True)
class HiddenPlanes(OfOne):
    """Hidden weights."""

    buffer: Buffer
    layout: Planes


@dataclass(frozen=True)
class RowsOfBits(OfOne):
    """Binary weights int32 [rows][words], 1 for +1."""

    buffer: Buffer
    rows: int
    width: int


@dataclass(frozen=True)
class SingleHome:
    """Where a matrix of the state lives. Numbers have a `Home`, as in the training of batches."""

    type: TensorType
    value: HiddenPlanes | RowsOfBits

    def store(self, memory: np.ndarray, array: np.ndarray) -> None:
        """Put integers of the type into the state (uint8)."""
        value, place = self.value, view(memory, self.value.buffer)
        if isinstance(value, HiddenPlanes):
            place[:] = value.layout.pack(array)
        else:
            place[:] = packed_rows(array > 0).view(np.int32).reshape(-1)

    def fetch(self, memory: np.ndarray) -> np.ndarray:
        """A copy of the integers, of the smallest of int8, int16 and int32 that holds the type."""
        value, place = self.value, view(memory, self.value.buffer)
        if isinstance(value, HiddenPlanes):
            found = value.layout.unpack(place)
        else:
            octets = np.ascontiguousarray(place).view(np.uint8).reshape(value.rows, -1)
            found = np.unpackbits(octets, axis=1, bitorder="little", count=value.width).astype(np.int8) * 2 - 1
        return np.array(found, np.int8 if value_range(self.type.dtype)[1] < 2**7 else np.int16)


def single_home(arena: Arena, name: str, type_: TensorType) -> Home | SingleHome:
    """A place for one tensor of the state. Raises BnncError for a kind of tensor that has none."""
    dtype, shape = type_.dtype, type_.shape
    if len(shape) == 1 and value_range(dtype)[1] < 2**31:
        return Home(type_, Numbers(arena.take(name, I32, shape[0]), shape[0]))
    if len(shape) == 2 and max(shape) > WIDEST:
        raise refused(f"`{name}` has {shape[0]} neurons and {shape[1]} inputs, over {WIDEST}")
    if len(shape) == 2 and dtype == Bit():
        return SingleHome(type_, RowsOfBits(arena.take(name, I32, shape[0] * words_of(shape[1])), *shape))
    if (
        len(shape) == 2
        and isinstance(dtype, Int)
        and dtype.lo == -dtype.hi
        and dtype.hi + 1 in (2**n for n in range(16))
    ):
        layout = Planes(*shape, dtype.hi)
        return SingleHome(type_, HiddenPlanes(arena.take(name, I32, layout.length), layout))
    raise refused(f"the state holds `{name}`, {type_}")
