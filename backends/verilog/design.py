"""What a circuit is made of: streams between engines, and the memories of the engines. Immutable, and free of Verilog.

The planner makes a `Design`; printing, the cycle model and the cost model read it. A tensor crosses a stream as beats:
pixel by pixel, `lanes` channels a beat, lane l in bits l*width and up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bnnc.ir.location import UNKNOWN, Location

if TYPE_CHECKING:
    from bnnc.backends.verilog.unrolled.engine import Unrolled
    from bnnc.backends.verilog.windows import Window


@dataclass(frozen=True)
class Stream:
    """Elements in beats. An element is the integer multiplier * raw + offset; raw has `width` bits.

    With `pads`, a beat is so many taps of a window, each with one bit more above its lanes: it lies outside the input.
    """

    name: str
    pixels: int
    channels: int
    lanes: int
    width: int
    signed: bool = False
    multiplier: int = 1
    offset: int = 0
    pads: int = 0

    def __post_init__(self) -> None:
        if self.channels % self.lanes or min(self.pixels, self.lanes, self.width, self.multiplier) < 1:
            raise ValueError(f"no stream: {self}")

    @property
    def chunks(self) -> int:
        """Beats of one pixel."""
        return self.channels // self.lanes

    @property
    def beats(self) -> int:
        """Beats of one sample."""
        return self.pixels * self.chunks

    @property
    def bits(self) -> int:
        """Wires of `data`."""
        return self.lanes * self.width + self.pads

    @property
    def elements(self) -> int:
        """Elements of one sample."""
        return self.pixels * self.channels

    @property
    def raw_range(self) -> tuple[int, int]:
        """Smallest and largest raw number that fits."""
        return (-(1 << (self.width - 1)), (1 << (self.width - 1)) - 1) if self.signed else (0, (1 << self.width) - 1)


@dataclass(frozen=True, eq=False)
class Memory:
    """A read-only memory. Word a is row a of `packed`: uint8 [words, ceil(width / 8)], least significant byte first."""

    name: str
    width: int
    packed: np.ndarray

    @property
    def words(self) -> int:
        """How many words it has."""
        return len(self.packed)

    @property
    def bits(self) -> int:
        """Its size."""
        return self.words * self.width

    def text(self) -> str:
        """The words in hexadecimal, one a line, as $readmemh reads them."""
        digits, stored = -(-self.width // 4), 2 * self.packed.shape[1]
        text = np.ascontiguousarray(self.packed[:, ::-1]).tobytes().hex()
        return "\n".join(text[i + stored - digits : i + stored] for i in range(0, len(text), stored)) + "\n"


def memory(name: str, *fields: tuple[np.ndarray, int]) -> Memory:
    """A memory whose words are fields side by side, the first lowest: (integers [words, n], bits of each)."""
    words = len(fields[0][0])
    width = sum(values.shape[1] * bits for values, bits in fields)
    packed = np.empty((words, -(-width // 8)), np.uint8)
    step = max(1, (1 << 22) // max(1, width))
    for start in range(0, words, step):
        planes = [
            ((values[start : start + step, :, None].astype(np.int64) >> np.arange(bits)) & 1).astype(np.uint8)
            for values, bits in fields
        ]
        joined = np.concatenate([plane.reshape(len(plane), -1) for plane in planes], axis=1)
        packed[start : start + step] = np.packbits(joined, axis=1, bitorder="little")
    return Memory(name, width, packed)


@dataclass(frozen=True)
class Block:
    """Output beat j needs (j // give + 1) * take input beats."""

    take: int
    give: int

    def needs(self, beats: int) -> np.ndarray:
        """How many input beats must have come before each of the `beats` output beats of a sample (int64)."""
        return (np.arange(beats) // self.give + 1) * self.take


@dataclass(frozen=True, eq=False)
class Listed:
    """Output beat j needs beats[j] input beats of the same sample."""

    counts: np.ndarray

    def needs(self, beats: int) -> np.ndarray:
        """How many input beats must have come before each output beat of a sample (int64)."""
        return self.counts[:beats].astype(np.int64)


@dataclass(frozen=True)
class Pace:
    """What a cycle model needs. `needs`: one for each input.

    interval: the least cycles between two output beats. latency: cycles from the last input beat that an output beat
    needs (its transfer) to the first cycle in which that output is valid. ahead: for each input, how many beats can be
    taken in beyond those that the next output beat needs. Absent: a pipeline of `latency` registers, which moves on in
    the cycle in which an output beat is taken. underway: where it is not 0, the work for an output takes `interval`
    cycles after its input is there, the next input is taken when all work on the one before is done, and so many
    results can wait, for `latency` cycles and then to be taken. late: for each output beat of a sample, how many cycles
    more than `latency` it comes behind its last input beat: steps without input, one a cycle while no output waits.
    """

    needs: tuple[Block | Listed, ...]
    interval: int = 1
    latency: int = 1
    ahead: tuple[int, ...] = ()
    underway: int = 0
    late: Listed | None = None


def buffer_pace(depth: int) -> Pace:
    """That of bnnc_fifo: one register, two, or a ring and a register."""
    return Pace((Block(1, 1),), latency=1 if depth < 3 else 2, ahead=() if depth == 1 else (depth - (depth == 2),))


@dataclass(frozen=True)
class Port:
    """A stream at the ports PREFIX_data, PREFIX_valid, PREFIX_ready of an engine."""

    prefix: str
    stream: Stream


@dataclass(frozen=True, eq=False)
class Engine:
    """One instance of a library module, or of a module of its own (`unrolled`).

    A parameter that is a Memory is given as the name of its file. A fork has several outputs with the same prefix.
    `op` and `loc` are of the layer it belongs to, `layer` is the layer's name in `Folding`, "" where nothing is folded.
    """

    name: str
    module: str
    parameters: tuple[tuple[str, int | str | Memory], ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    pace: Pace
    op: str = ""
    loc: Location = UNKNOWN
    layer: str = ""
    unrolled: Unrolled | None = None

    @property
    def memories(self) -> tuple[Memory, ...]:
        """Its memories, in the order of the parameters."""
        return tuple(value for _, value in self.parameters if isinstance(value, Memory))

    def parameter(self, name: str) -> int:
        """A whole-number parameter by name."""
        value = dict(self.parameters)[name]
        assert isinstance(value, int)
        return value


@dataclass(frozen=True)
class Fold:
    """How many outputs (pe) of a layer are worked on at once, and how many inputs (simd) of each in a cycle.

    `serial`: one bit of each of these inputs in a cycle.
    """

    pe: int
    simd: int
    serial: bool = False


@dataclass(frozen=True)
class Layer:
    """A layer that can be folded: for each of `vectors` vectors (output pixels x groups), `outputs` sums of `inputs`.

    simd divides `simds`, pe divides `outputs`. A vector takes inputs/simd * outputs/pe cycles, if its window is there
    by then. `flag`: taps outside of the picture do not count. `window`: where an engine hands out windows.
    `serial`: its folds are serial.
    """

    name: str
    module: str
    vectors: int
    groups: int
    inputs: int
    outputs: int
    channels: int
    taps: int
    input_width: int
    weight_width: int
    flag: bool
    loc: Location = UNKNOWN
    window: Window | None = None
    serial: bool = False

    @property
    def simds(self) -> int:
        """What a simd divides: all inputs, or the channels of a tap where taps come one by one, with a flag."""
        one_by_one = self.flag and self.window is not None and not self.window.wide
        return self.channels if one_by_one else self.inputs

    def beat(self, fold: Fold) -> tuple[int, int]:
        """The channels of a tap, and the taps, that a window hands out in a cycle."""
        lanes = math.gcd(fold.simd, self.channels)
        return lanes, fold.simd // lanes if self.window is not None and self.window.wide else 1

    def cycles(self, fold: Fold) -> int:
        """Cycles a sample takes at this fold: those of its products, or of its window if they are more."""
        products = self.vectors * (self.inputs // fold.simd) * (self.outputs // fold.pe)
        products *= self.input_width if fold.serial else 1
        if self.window is None:
            return products
        lanes, taps = self.beat(fold)
        pixels = self.window.steps * self.groups * self.channels // lanes
        return max(products, pixels, self.vectors * self.inputs // (lanes * taps))

    @property
    def work(self) -> int:
        """Products of one sample."""
        return self.vectors * self.inputs * self.outputs


@dataclass(frozen=True)
class Folding:
    """The fold of every layer by its name; what is not named gets the smallest circuit (1, 1)."""

    folds: tuple[tuple[str, Fold], ...] = ()

    def of(self, layer: Layer) -> Fold:
        """The fold of a layer."""
        return dict(self.folds).get(layer.name, Fold(1, 1))


@dataclass(frozen=True, eq=False)
class Design:
    """The circuit. Engines stand in the order of the data; every stream has one source and one reader.

    `inputs` and `outputs` are the streams at the top, in the order of the boundary's; `classes` is that of the arg-max,
    where there is one; `layers` what can be folded.
    """

    name: str
    engines: tuple[Engine, ...]
    inputs: tuple[Stream, ...]
    outputs: tuple[Stream, ...]
    layers: tuple[Layer, ...]
    folding: Folding
    classes: Stream | None = None

    @property
    def modules(self) -> tuple[str, ...]:
        """The library modules that are used, each once, sorted."""
        return tuple(sorted({engine.module for engine in self.engines}))

    @property
    def memories(self) -> tuple[Memory, ...]:
        """All memories, in order."""
        return tuple(item for engine in self.engines for item in engine.memories)


__all__ = [
    "Block", "Design", "Engine", "Fold", "Folding", "Layer", "Listed", "Memory", "Pace", "Port", "Stream",
    "buffer_pace", "memory",
]  # fmt: skip
