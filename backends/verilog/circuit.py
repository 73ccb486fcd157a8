"""A circuit while it is planned: engines are added, and tensors are values, known by the order of their elements."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bnnc.backends.verilog.design import Block, Engine, Layer, Listed, Memory, Pace, Port, Stream, buffer_pace, memory
from bnnc.backends.verilog.names import Names
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, DType, TensorType, stored_range

Parameters = Sequence[tuple[str, int | str | Memory]]
FILL = -1
"""In an order: what stands here is the fill of a reorder engine, no element."""


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor on a stream: position i of a sample holds element order[i] (row-major) of the tensor."""

    stream: Stream
    order: np.ndarray
    type: TensorType

    @property
    def canonical(self) -> bool:
        """Whether it crosses pixel by pixel, channels ascending."""
        return bool(np.array_equal(self.order, canonical_order(self.type.shape)))


@dataclass(frozen=True, eq=False)
class Known:
    """A tensor that is the same for every sample: values [1, *shape]."""

    values: np.ndarray
    type: TensorType


def canonical_order(shape: tuple[int, ...]) -> np.ndarray:
    """The order of [C, *spatial] pixel by pixel, channels ascending (int64)."""
    channels = shape[0] if shape else 1
    return np.arange(math.prod(shape), dtype=np.int64).reshape(channels, -1).T.reshape(-1)


def width_of(lo: int, hi: int) -> tuple[int, bool]:
    """The least bits that hold lo..hi, and whether the top one is a sign."""
    if lo >= 0:
        return max(1, hi.bit_length()), False
    return max((-lo - 1).bit_length(), hi.bit_length() if hi > 0 else 0) + 1, True


def encoding(dtype: DType) -> tuple[int, bool, int, int]:
    """How a dtype crosses: width, signed, multiplier, offset. A bit is one wire, everything else the number itself."""
    if isinstance(dtype, Bit):
        return 1, False, 2, -1
    return (*width_of(*stored_range(dtype)), 1, 0)


def stream_of(name: str, kind: TensorType, lanes: int) -> Stream:
    """A stream of a tensor, pixel by pixel."""
    channels = kind.shape[0] if kind.shape else 1
    width, signed, multiplier, offset = encoding(kind.dtype)
    return Stream(name, kind.size // channels, channels, lanes, width, signed, multiplier, offset)


def literal(bits: int, value: int) -> str:
    """A sized constant; `value` may be negative."""
    return f"{bits}'h{value & ((1 << bits) - 1):x}"


class Circuit:
    """The engines so far. `op` of every method is the layer for whose sake something is added.

    `pace`: the cycles a sample may take everywhere, those of the slowest layer.
    """

    def __init__(self, names: Names, labels: dict[Op, str], pace: int) -> None:
        self.engines: list[Engine] = []
        self.layers: list[Layer] = []
        self.entries: set[str] = set()
        self.pace = pace
        self._names, self._labels = names, labels

    def label(self, op: Op) -> str:
        """What the layer is called in the circuit."""
        return self._labels[op]

    def fresh(self, op: Op, kind: str) -> str:
        """A name for an instance and the stream that comes out of it."""
        return self._names.fresh(f"{self._labels[op]}_{kind}")

    def add(
        self,
        name: str,
        module: str,
        op: Op,
        parameters: Parameters,
        inputs: Sequence[tuple[str, Stream]],
        outputs: Sequence[Stream],
        pace: Pace,
        layer: str = "",
    ) -> None:
        """One engine."""
        made = Engine(
            name,
            module,
            tuple(parameters),
            tuple(Port(prefix, stream) for prefix, stream in inputs),
            tuple(Port("out", stream) for stream in outputs),
            pace,
            op.opcode,
            op.loc,
            layer,
        )
        self.engines.append(made)

    def through(
        self, op: Op, kind: str, module: str, parameters: Parameters, value: Value, out: Stream, pace: Pace
    ) -> Stream:
        """An engine with one input and one output; `out` gets its name."""
        name = self.fresh(op, kind)
        stream = dataclasses.replace(out, name=name)
        self.add(name, module, op, parameters, [("in", value.stream)], [stream], pace)
        return stream

    def grouped(self, value: Value, pixels: int, channels: int, op: Op) -> Value:
        """The same elements seen as `pixels` x `channels`; narrower where a beat would cross pixels."""
        stream = value.stream
        if (stream.pixels, stream.channels) == (pixels, channels):
            return value
        if channels % stream.lanes:
            value = self.width(value, math.gcd(channels, stream.lanes), op)
            stream = value.stream
        return dataclasses.replace(value, stream=dataclasses.replace(stream, pixels=pixels, channels=channels))

    def fast(self, value: Value, beats: int, op: Op) -> Value:
        """The same elements, no less lanes, and as many as pixels of `beats` beats in all, one lane each, need."""
        stream = value.stream
        lanes = stream.lanes
        while -(-beats // lanes) > self.pace and lanes < stream.channels:
            lanes = next(n for n in range(lanes + 1, stream.channels + 1) if stream.channels % n == 0)
        return self.width(value, lanes, op)

    def width(self, value: Value, lanes: int, op: Op) -> Value:
        """The same elements, `lanes` a beat (a number that divides the elements of a sample)."""
        stream = value.stream
        if stream.lanes == lanes:
            return value
        if stream.channels % lanes:
            value = dataclasses.replace(value, stream=dataclasses.replace(stream, pixels=1, channels=stream.elements))
            stream = value.stream
        step = lanes if stream.lanes % lanes == 0 or lanes % stream.lanes == 0 else math.gcd(lanes, stream.lanes)
        narrower = stream.lanes > step
        need = Block(1, stream.lanes // step) if narrower else Block(step // stream.lanes, 1)
        parameters = [("WIDTH", stream.width), ("IN", stream.lanes), ("OUT", step)]
        out = dataclasses.replace(stream, lanes=step)
        made = self.through(op, "width", "bnnc_width", parameters, value, out, Pace((need,)))
        return self.width(dataclasses.replace(value, stream=made), lanes, op)

    def fifo(self, value: Value, depth: int, op: Op) -> Value:
        """A buffer of `depth` beats."""
        stream = value.stream
        parameters = [("WIDTH", stream.bits), ("DEPTH", depth)]
        made = self.through(op, "fifo", "bnnc_fifo", parameters, value, stream, buffer_pace(depth))
        return dataclasses.replace(value, stream=made)

    def constant(self, op: Op, known: Known, like: Value) -> Value:
        """A known tensor: in the order of `like` if that has its shape, else pixel by pixel; with about its lanes."""
        kind, name = known.type, self.fresh(op, "constant")
        stream, order = stream_of(name, kind, 1), canonical_order(kind.shape)
        if like.type.shape == kind.shape:
            stream = dataclasses.replace(stream, pixels=like.stream.pixels, channels=like.stream.channels)
            order = like.order
        stream = dataclasses.replace(stream, lanes=math.gcd(like.stream.lanes, stream.channels))
        raw = (known.values.reshape(-1).astype(np.int64)[order] - stream.offset) // stream.multiplier
        words = repeating(raw.reshape(stream.beats, stream.lanes), stream.beats)
        parameters: Parameters = [
            ("WIDTH", stream.bits),
            ("BEATS", len(words)),
            ("TABLE", memory(f"{name}_table", (words, stream.width))),
        ]
        self.add(name, "bnnc_constant", op, parameters, [], [stream], Pace(()))
        return Value(stream, order, kind)

    def forked(self, value: Value, copies: int, op: Op) -> list[Value]:
        """The same value for several readers, each behind a buffer (of one beat, until depths are known)."""
        if copies == 1:
            return [value]
        name = self.fresh(op, "fork")
        streams = [
            dataclasses.replace(value.stream, name=self._names.fresh(f"{name}_{number}")) for number in range(copies)
        ]
        parameters = [("WIDTH", value.stream.bits), ("COPIES", copies)]
        pace = Pace((Block(1, 1),), latency=0)
        self.add(name, "bnnc_fork", op, parameters, [("in", value.stream)], streams, pace)
        return [self.fifo(dataclasses.replace(value, stream=stream), 2, op) for stream in streams]

    def reordered(self, value: Value, taken: np.ndarray, result: Value, op: Op, fill: int = 0) -> Value:
        """Any movement: position i of the result holds element taken[i] of the value, or the raw number `fill`.

        `result` says how the new tensor crosses; its stream gets a name, a width and lanes.
        """
        stream = value.stream
        places = np.zeros(max(value.type.size, 1), np.int64)
        places[value.order] = np.arange(len(value.order))
        source = np.where(taken == FILL, FILL, places[taken])
        lanes = _together(source, stream, result.stream.channels)
        value = self.width(value, lanes, op)
        stream = value.stream
        index = np.where(source[::lanes] == FILL, stream.beats, source[::lanes] // lanes)
        name = self.fresh(op, "order")
        table = memory(f"{name}_index", (index[:, None], max(1, stream.beats.bit_length())))
        word = sum((fill & ((1 << stream.width) - 1)) << (lane * stream.width) for lane in range(lanes))
        parameters: Parameters = [
            ("WIDTH", stream.bits),
            ("IN_BEATS", stream.beats),
            ("OUT_BEATS", len(index)),
            ("INDEX", table),
            ("FILL", literal(stream.bits, word)),
        ]
        shape = result.stream
        out = dataclasses.replace(stream, name=name, pixels=shape.pixels, channels=shape.channels)
        pace = Pace((Block(stream.beats, len(index)),), latency=5, ahead=(stream.beats,))
        self.add(name, "bnnc_reorder", op, parameters, [("in", stream)], [out], pace)
        return dataclasses.replace(result, stream=out)

    def row_major(self, value: Value, op: Op) -> Value:
        """The value with its elements in the order of the tensor, as one pixel."""
        kind, order = value.type, np.arange(value.type.size)
        if np.array_equal(order, value.order):
            return self.grouped(value, 1, kind.size, op)
        plain = dataclasses.replace(value.stream, pixels=1, channels=kind.size, lanes=1)
        return self.reordered(value, order, Value(plain, order, kind), op)

    def pixel_major(self, value: Value, op: Op) -> Value:
        """The value of a tensor [C, *spatial] pixel by pixel, channels ascending."""
        kind = value.type
        channels = kind.shape[0] if kind.shape else 1
        pixels, order = kind.size // channels, canonical_order(kind.shape)
        if np.array_equal(order, value.order):
            return self.grouped(value, pixels, channels, op)
        plain = dataclasses.replace(value.stream, pixels=pixels, channels=channels, lanes=1)
        return self.reordered(value, order, Value(plain, order, kind), op)


def _together(source: np.ndarray, stream: Stream, channels: int) -> int:
    """The most elements that stay side by side in a reordering, at most as many as a beat has."""
    most = math.gcd(math.gcd(channels, len(source)), stream.elements)
    for lanes in range(min(stream.lanes, most), 1, -1):
        if most % lanes or len(source) % lanes:
            continue
        groups = source.reshape(-1, lanes)
        first = groups[:, :1]
        same = np.where(first == FILL, groups == FILL, groups == first + np.arange(lanes))
        if bool(same.all()) and bool((first[first != FILL] % lanes == 0).all()):
            return lanes
    return 1


def repeating(rows: np.ndarray, beats: int) -> np.ndarray:
    """The shortest prefix of rows [beats, n] that, repeated, gives all of them; its length divides `beats`."""
    for length in range(1, beats + 1):
        if beats % length == 0 and bool((rows.reshape(beats // length, length, -1) == rows[:length]).all()):
            return rows[:length]
    return rows


__all__ = [
    "FILL", "Circuit", "Known", "Listed", "Parameters", "Value", "canonical_order", "encoding", "literal", "repeating",
    "stream_of", "width_of",
]  # fmt: skip
