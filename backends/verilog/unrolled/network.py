"""A chain of layers as one pipeline: groups of neurons, relays of the inputs, and registers that align the results.

A layer with many inputs would send every one of them across the whole chip to all its groups in one cycle. Instead the
inputs pass from one pair of groups to the next, a register at each: pair p sees them p cycles later, and no net has to
reach far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bnnc.backends.verilog.design import Stream
from bnnc.backends.verilog.unrolled.grouping import best_groups
from bnnc.backends.verilog.unrolled.groups import Group, hidden_group, last_group
from bnnc.backends.verilog.unrolled.layers import DenseLayer, Elements, Sums, elements_of, sums_of
from bnnc.backends.verilog.unrolled.pipeline import Pipeline, pipelined

# Relays pay where a layer has many inputs, and several groups to read them; two groups next to each other share one.
RELAY_INPUTS = 128
RELAY_GROUPS = 3
RELAY_SHARED = 2
# Registers behind a layer with relays, which its results need to reach the next layer from wherever its groups lie.
TRAVEL = 2


@dataclass(frozen=True, eq=False)
class Part:
    """A group in its layer. inputs: the bits of the layer that it reads, in the order of its port x; outputs: which of
    its literals are wires; relay: how many cycles later than the layer's first group it sees the inputs."""

    group: Group
    pipeline: Pipeline
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    relay: int


@dataclass(frozen=True, eq=False)
class LayerNet:
    """A layer as parts. `done` is the cycle, from its inputs, in which all its outputs are there."""

    name: str
    sums: Sums
    inputs: Elements
    parts: tuple[Part, ...]
    done: int


@dataclass(frozen=True, eq=False)
class Network:
    """A chain of layers. `results` are the bits of one output beat: (part, output of the part) or a constant."""

    name: str
    layers: tuple[LayerNet, ...]
    source: Stream
    result: Stream
    results: tuple[tuple[int, int] | int, ...]

    @property
    def latency(self) -> int:
        """Cycles from the input beat to the output beat: a register for the inputs, then the layers."""
        return 1 + sum(layer.done for layer in self.layers)


def network(
    name: str, layers: Sequence[DenseLayer], source: Stream, result: Stream, levels: int, technology: str
) -> Network:
    """The netlists of a chain of layers, from the bits of `source` to those of `result` (one beat a sample)."""
    nets: list[LayerNet] = []
    inputs = elements_of(source)
    results: tuple[tuple[int, int] | int, ...] = ()
    for number, layer in enumerate(layers):
        sums = sums_of(layer, inputs)
        prefix = f"{name}_l{number}"
        if number + 1 < len(layers):
            moving = [n for n in range(len(sums.rows)) if sums.steps and sums.steps[n]]
            made = [
                hidden_group(f"{prefix}_g{i}", sums, group, technology)
                for i, group in enumerate(_grouped(sums, moving, technology))
            ]
            net = _layer_net(layer.name, sums, inputs, [group for group, _ in made], levels)
            inputs = _elements(sums, net, {n: value for _, offsets in made for n, value in offsets.items()})
        else:
            groups = _grouped(sums, list(range(len(sums.rows))), technology)
            last = [last_group(f"{prefix}_g{i}", sums, group, result, technology) for i, group in enumerate(groups)]
            net = _layer_net(layer.name, sums, inputs, last, levels)
            results = _results(net, len(sums.rows), result.width)
        nets.append(net)
    return Network(name, tuple(nets), source, result, results)


def _grouped(sums: Sums, neurons: list[int], technology: str) -> list[list[int]]:
    return best_groups(sums.rows, neurons, technology) if neurons else []


def _layer_net(name: str, sums: Sums, inputs: Elements, groups: list[Group], levels: int) -> LayerNet:
    relays = inputs.bits >= RELAY_INPUTS and len(groups) >= RELAY_GROUPS
    parts = []
    for number, group in enumerate(groups):
        pipeline = pipelined(group.netlist, group.outputs, levels)
        read = {net for cell in pipeline.cells for net in cell.inputs}
        read |= {literal >> 1 for literal in group.outputs}
        used = tuple(bit for net, bit in enumerate(group.inputs, 1) if net in read)
        wires = tuple(o for o, literal in enumerate(group.outputs) if literal >> 1)
        parts.append(Part(group, pipeline, used, wires, number // RELAY_SHARED if relays else 0))
    done = max((part.relay + part.pipeline.latency for part in parts if part.outputs), default=0)
    return LayerNet(name, sums, inputs, tuple(parts), done + TRAVEL * relays)


def _elements(sums: Sums, net: LayerNet, offsets: dict[int, int]) -> Elements:
    """The elements that a layer in the middle makes, over the wires of its parts in order."""
    wires = [(part.group, o) for part in net.parts for o in part.outputs]
    offset = np.array([offsets.get(n, start) for n, start in enumerate(sums.start)], np.int64)
    element = np.array([group.neuron[o] for group, o in wires], np.int64)
    return Elements(element, np.array([group.coefficient[o] for group, o in wires], np.int64), offset)


def _results(net: LayerNet, neurons: int, width: int) -> tuple[tuple[int, int] | int, ...]:
    """Where the bits of the output beat come from: neuron by neuron, lowest bit first."""
    found: dict[tuple[int, int], tuple[int, int] | int] = {}
    for p, part in enumerate(net.parts):
        seen: dict[int, int] = {}
        for o, literal in enumerate(part.group.outputs):
            n = part.group.neuron[o]
            place = seen.get(n, 0)
            seen[n] = place + 1
            found[n, place] = (p, part.outputs.index(o)) if literal >> 1 else literal
    return tuple(found[n, place] for n in range(neurons) for place in range(width))
