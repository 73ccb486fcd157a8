"""Layers as netlists instead of folded engines: which ones (`-X unroll=…`), in chains, as one engine each.

A dense layer, its step, the next dense layer, … become one pipeline, if nobody else reads what lies between. A
convolution is one engine on windows: for every output pixel a beat with all its taps.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bnnc.backends.verilog.circuit import Circuit, Value, encoding, width_of
from bnnc.backends.verilog.design import Block, Engine, Pace, Port, Stream
from bnnc.backends.verilog.plan_layers import channel_major, wide_windowed, windowed
from bnnc.backends.verilog.unrolled.engine import Unrolled, unrolled_engine
from bnnc.backends.verilog.unrolled.layers import DenseLayer
from bnnc.backends.verilog.windows import window_of
from bnnc.diagnostics import Exit, error
from bnnc.ir import bit
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, is_integer, value_range

LayerOp = bit.Conv | bit.Dense


@dataclass(frozen=True)
class Unrolling:
    """What the user asked for: `layers` is "", "all", or names and numbers (from 1) of layers with commas.

    Raises BnncError B0621 for levels that are none.
    """

    layers: str = ""
    technology: str = "generic"
    levels: int = 3

    def __post_init__(self) -> None:
        if self.levels < 1:
            text = f"`-X levels={self.levels}`: between two registers there is at least one lookup table"
            raise error("B0621", text, helps=("-X levels=1, the shortest paths",), exit_code=Exit.USAGE)


@dataclass(frozen=True, eq=False)
class Chain:
    """Ops that become one engine: a layer, perhaps its step, and so on. Only the last one is read by others."""

    ops: tuple[Op, ...]

    @property
    def first(self) -> LayerOp:
        """The layer that reads the input."""
        op = self.ops[0]
        assert isinstance(op, bit.Conv | bit.Dense)
        return op

    @property
    def last(self) -> Op:
        """The op whose value comes out."""
        return self.ops[-1]


def unrollable(op: Op) -> bool:
    """Whether an op can be a netlist: whole numbers in, one group, padding that the input can hold."""
    if isinstance(op, bit.Dense):
        return is_integer(op.x.type.dtype)
    if not isinstance(op, bit.Conv) or op.groups != 1 or len(op.x.type.shape) > 3:
        return False
    zero_on_bits = isinstance(op.x.type.dtype, Bit) and op.pad_value == 0
    lo, hi = value_range(op.x.type.dtype)
    return not any(op.pads) or (lo <= op.pad_value <= hi and not zero_on_bits)


def chosen_ops(unrolling: Unrolling, ops: Sequence[Op], labels: Mapping[Op, str]) -> list[Op]:
    """The layers to unroll. Raises BnncError B0621 for unknown names, and layers that must be folded."""
    layers: list[Op] = [op for op in ops if isinstance(op, bit.Conv | bit.Dense)]
    if unrolling.layers in ("", "none"):
        return []
    if unrolling.layers == "all":
        return [op for op in layers if unrollable(op)]
    found: list[Op] = []
    for word in unrolling.layers.split(","):
        named = [op for number, op in enumerate(layers, 1) if word in (labels[op], str(number))]
        if not named:
            raise error(
                "B0621",
                f"`-X unroll={unrolling.layers}`: there is no layer `{word}`",
                notes=(f"the layers are: {', '.join(labels[op] for op in layers)}",),
                helps=("-X unroll=all", f"-X unroll={labels[layers[-1]]}" if layers else "-X unroll=none"),
                exit_code=Exit.USAGE,
            )
        if not unrollable(named[0]):
            raise error(
                "B0621",
                f"layer `{labels[named[0]]}` cannot be unrolled",
                places=(named[0].loc,),
                notes=("unrolled layers have one group, and no zeros around an input of -1 and +1",),
                helps=("leave it out: it is folded then",),
                exit_code=Exit.USAGE,
            )
        found.append(named[0])
    return found


def chains(chosen: Sequence[Op], ops: Sequence[Op], reads: Mapping[Op, int]) -> list[Chain]:
    """The chains that the chosen layers form."""
    readers = {operand: op for op in ops for operand in op.operands}
    wanted, result = list(chosen), []
    while wanted:
        found: list[Op] = [wanted.pop(0)]
        while reads[found[-1]] == 1 and found[-1] in readers:
            reader = readers[found[-1]]
            step = (
                isinstance(reader, bit.Step) and is_integer(reader.type.dtype) and not isinstance(found[-1], bit.Step)
            )
            dense = isinstance(reader, bit.Dense) and reader in wanted and isinstance(found[-1], bit.Step)
            if not step and not (dense and isinstance(found[0], bit.Dense)):
                break
            found.append(reader)
            if dense:
                wanted.remove(reader)
        result.append(Chain(tuple(found)))
    return result


def unrolled(circuit: Circuit, chain: Chain, value: Value, unrolling: Unrolling) -> Value:
    """The engine of a chain."""
    op = chain.first
    stream, weights, order, pixels = _vectors(circuit, op, value)
    layers = _layers(chain, weights, circuit)
    name = circuit.fresh(op, "unrolled")
    width, signed, multiplier, offset = _code(chain)
    outputs = len(layers[-1].weights)
    result = Stream(name, pixels, outputs, outputs, width, signed, multiplier, offset)
    # Names of modules keep clear of the library's.
    made = unrolled_engine(f"net_{name}", layers, stream, result, unrolling.technology, unrolling.levels)
    engine = Engine(
        name,
        made.module,
        (),
        (Port("in", dataclasses.replace(stream, pads=0)),),
        (Port("out", result),),
        Pace((Block(1, 1),), latency=made.latency, ahead=(made.latency,)),
        op.opcode,
        op.loc,
        unrolled=made,
    )
    circuit.engines.append(engine)
    return Value(result, order if isinstance(op, bit.Conv) else np.arange(outputs), chain.last.type)


def _vectors(circuit: Circuit, op: LayerOp, value: Value) -> tuple[Stream, np.ndarray, np.ndarray, int]:
    """A beat for every vector, weights [outputs, inputs] in its order, the order of the result, and its pixels."""
    if isinstance(op, bit.Dense):
        flat = circuit.width(circuit.grouped(value, 1, value.type.size, op), value.type.size, op)
        return flat.stream, op.weights[:, flat.order], np.arange(len(op.weights)), 1
    window = window_of(op, op.weights.shape[2:])
    value, channels = channel_major(circuit, value, op)
    # The taps of a chunk of channels follow one another, or, one by one, all channels of a tap.
    lanes = value.stream.lanes if window.wide and not window.trivial else len(channels)
    taps = op.weights.reshape(len(op.weights), len(channels), window.taps)[:, channels]
    chunks = taps.reshape(len(op.weights), -1, lanes, window.taps)
    weights = chunks.transpose(0, 1, 3, 2).reshape(len(op.weights), -1)
    pixels = math.prod(window.out)
    order = (np.arange(len(op.weights))[None, :] * pixels + np.arange(pixels)[:, None]).reshape(-1)
    inputs = weights.shape[1]
    if window.trivial:
        stream = circuit.width(value, inputs, op).stream
    else:
        raw = (op.pad_value - value.stream.offset) // value.stream.multiplier if window.outside else 0
        if window.wide:
            windows = wide_windowed(circuit, value, window, op, 1, value.stream.lanes, window.taps, raw, False)
        else:
            windows = windowed(circuit, value, window, op, 1, value.stream.lanes, raw, False)
        stream = circuit.width(dataclasses.replace(value, stream=windows), inputs, op).stream
    return dataclasses.replace(stream, pixels=pixels, channels=inputs), weights, order, pixels


def _layers(chain: Chain, weights: np.ndarray, circuit: Circuit) -> list[DenseLayer]:
    """The chain as layers; `weights` are those of the first one."""
    layers: list[DenseLayer] = []
    for op in chain.ops:
        if isinstance(op, bit.Step):
            before = layers.pop()
            layers.append(DenseLayer(before.name, before.weights, op.thresholds, op.values))
        elif isinstance(op, bit.Dense | bit.Conv):
            layers.append(DenseLayer(circuit.label(op), op.weights if layers else weights))
    return layers


def _code(chain: Chain) -> tuple[int, bool, int, int]:
    """How the last op's values cross: width, signed, multiplier, offset."""
    last = chain.last
    if isinstance(last, bit.Step):
        return encoding(last.type.dtype)
    assert isinstance(last, bit.Dense | bit.Conv)
    inputs = last.weights[0].size
    if isinstance(last.x.type.dtype, Bit) and bool((np.abs(last.weights) == 1).all()):
        return inputs.bit_length(), False, 2, -inputs
    return (*width_of(*value_range(last.type.dtype)), 1, 0)


__all__ = ["Chain", "Unrolled", "Unrolling", "chains", "chosen_ops", "unrollable", "unrolled"]
