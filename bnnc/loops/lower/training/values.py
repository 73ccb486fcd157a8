"""Where the value of each op of a training step is, and how the state looks in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnc.diagnostics import BnncError, error
from bnnc.ir.types import Bit, Int, TensorType, value_range
from bnnc.loops.ir import I8, I16, I32, NUMPY, Buffer, Expression, Pointer, Scalar
from bnnc.loops.kernels.training.layouts import CHANGED, BatchBits, BatchSums, Hidden, Signs, signs_layout
from bnnc.loops.machine import Machine
from bnnc.loops.memory import ALIGNMENT

CODE_NOT_EXECUTED = "B0615"


def refused(what: str) -> BnncError:
    """The error for a step that has no kernels."""
    return error(CODE_NOT_EXECUTED, f"native code cannot run this training step: {what}", helps=("--on reference",))


@dataclass(frozen=True)
class Known:
    """Numbers known beforehand; number i is values[i] + slopes[i] * (samples - samples of a full batch)."""

    values: tuple[int, ...]
    slopes: tuple[int, ...]


@dataclass(frozen=True)
class Numbers:
    """int32 [length] in memory."""

    buffer: Buffer
    length: int


@dataclass(frozen=True)
class PerSample:
    """int32, one a sample: labels or flags."""

    buffer: Buffer


@dataclass(frozen=True)
class Bits:
    """Bits, flags or trits of every sample."""

    buffer: Buffer
    layout: BatchBits

    def units(self, element: Scalar) -> Buffer:
        """The same memory as words, or as halves of them."""
        if element == self.buffer.element:
            return self.buffer
        name = f"{self.buffer.name}_{element}"
        length = self.buffer.bytes // element.bytes
        return Buffer(name, element, length, "arena", "both", ALIGNMENT, self.buffer.offset)


@dataclass(frozen=True)
class Sums:
    """Integers of every sample."""

    buffer: Buffer
    layout: BatchSums


@dataclass(frozen=True)
class Picks:
    """Corrections of every sample, as lists; of `parts` batches one after the other."""

    buffer: Buffer
    counts: Buffer
    neurons: int
    parts: int = 1


@dataclass(frozen=True)
class HiddenWeights:
    """Hidden weights; `changed` (int8 [rows]) marks rows that were touched since their signs were taken."""

    buffer: Buffer
    changed: Buffer
    layout: Hidden


@dataclass(frozen=True)
class Weights:
    """Binary weights, in the layout of products."""

    buffer: Buffer
    layout: Signs


@dataclass(frozen=True)
class Table:
    """A constant matrix of bits, ±1."""

    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Chosen:
    """Bits that each sample takes from a constant: values ±1 [rows, …], the row by `index`; None: the only row."""

    values: np.ndarray
    index: Buffer | None


@dataclass(frozen=True)
class Flips:
    """int32 [rows]: how many signs of each row are new."""

    buffer: Buffer
    length: int


class OfOne:
    """What belongs to a single sample, or to weights laid out for that: the kinds of it are in `single_values.py`."""


Value = Known | Numbers | PerSample | Bits | Sums | Picks | HiddenWeights | Weights | Table | Chosen | Flips | OfOne


class Arena:
    """Gives out places in the arena, one after the other."""

    def __init__(self, alignment: int = ALIGNMENT) -> None:
        self.bytes = 0
        self.most = 0
        self.alignment = alignment
        self._names: dict[str, int] = {}

    def take(self, name: str, element: Scalar, length: int) -> Buffer:
        """A new buffer."""
        number = self._names.get(name, 0)
        self._names[name] = number + 1
        name = f"{name}_{number}" if number else name
        buffer = Buffer(name, element, length, "arena", "both", self.alignment, self.bytes)
        self.bytes += -(-buffer.bytes // self.alignment) * self.alignment
        self.most = max(self.most, self.bytes)
        return buffer


@dataclass(frozen=True)
class End:
    """What the end of a batch does to hidden weights after their only update: the bound, and where their signs go."""

    bound: int
    weights: str
    flips: Buffer


class Scratch:
    """Memory of each thread's own. All uses share it, so how large it is is known when all have asked."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.bytes = ALIGNMENT
        self.offset = 0
        self._buffers: dict[Scalar, Buffer] = {}

    def ask(self, element: Scalar, length: int) -> None:
        """So many elements will be needed."""
        self.bytes = max(self.bytes, -(-length * element.bytes // ALIGNMENT) * ALIGNMENT)

    def settle(self, arena: Arena) -> None:
        """Takes its place in the arena; from now on it can be used."""
        self.offset = arena.take("scratch", I8, self.bytes * self.threads).offset

    def of(self, thread: Expression, element: Scalar) -> Pointer:
        """The memory of a thread."""
        length = self.bytes // element.bytes
        if element not in self._buffers:
            name = f"scratch_{element}"
            self._buffers[element] = Buffer(
                name, element, length * self.threads, "arena", "both", ALIGNMENT, self.offset
            )
        return Pointer(self._buffers[element], thread * length)


@dataclass(frozen=True)
class Home:
    """Where one tensor of the state lives. `turned`: its transpose, kept besides for products with it."""

    type: TensorType
    value: Numbers | HiddenWeights | Weights
    turned: Weights | None = None

    def store(self, memory: np.ndarray, array: np.ndarray) -> None:
        """Put integers of the type into the arena (uint8)."""
        value = self.value
        if isinstance(value, Numbers):
            view(memory, value.buffer)[: value.length] = array
        elif isinstance(value, HiddenWeights):
            rows = view(memory, value.buffer).reshape(value.layout.rows, value.layout.stride)
            rows[:, : value.layout.width] = array
            view(memory, value.changed)[:] = CHANGED
        else:
            view(memory, value.buffer)[:] = value.layout.pack(array)
            if self.turned is not None:
                view(memory, self.turned.buffer)[:] = self.turned.layout.pack(array.T)

    def fetch(self, memory: np.ndarray) -> np.ndarray:
        """A copy of the integers, of the smallest of int8, int16 and int32 that holds the type."""
        value = self.value
        if isinstance(value, Numbers):
            found = view(memory, value.buffer)[: value.length]
        elif isinstance(value, HiddenWeights):
            rows = view(memory, value.buffer).reshape(value.layout.rows, value.layout.stride)
            found = rows[:, : value.layout.width]
        else:
            found = value.layout.unpack(view(memory, value.buffer))
        lo, hi = value_range(self.type.dtype)
        smallest = next(d for d in (np.int8, np.int16, np.int32) if np.iinfo(d).min <= lo and hi <= np.iinfo(d).max)
        return np.array(found, smallest)


def view(memory: np.ndarray, buffer: Buffer) -> np.ndarray:
    """The elements of a buffer of the arena."""
    return memory[buffer.offset : buffer.offset + buffer.bytes].view(NUMPY[buffer.element])


def make_home(arena: Arena, name: str, type_: TensorType, machine: Machine, turned: bool, block: int) -> Home:
    """A place for one tensor of the state. `turned`: with its transpose; `block`: of the reinforcement.

    Raises BnncError for a kind of tensor that has none.
    """
    dtype, shape = type_.dtype, type_.shape
    if len(shape) == 1 and value_range(dtype)[1] < 2**31:
        return Home(type_, Numbers(arena.take(name, I32, shape[0]), shape[0]))
    if len(shape) == 2 and dtype == Bit():
        layout = signs_layout(*shape, machine)
        other = None
        if turned:
            across = signs_layout(shape[1], shape[0], machine)
            other = Weights(arena.take(f"{name}_turned", across.element, across.length), across)
        return Home(type_, Weights(arena.take(name, layout.element, layout.length), layout), other)
    if len(shape) == 2 and isinstance(dtype, Int) and dtype.lo == -dtype.hi and dtype.hi < 2**15:
        rows = Hidden(*shape, dtype.hi, block)
        changed = arena.take(f"{name}_changed", I8, shape[0])
        return Home(type_, HiddenWeights(arena.take(name, I16, rows.length), changed, rows))
    raise refused(f"the state holds `{name}`, {type_}")
