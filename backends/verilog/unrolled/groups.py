"""The netlist of one group of neurons: from the bits of a layer's inputs to those of its outputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnc.backends.verilog.design import Stream
from bnnc.backends.verilog.unrolled.classes import row_sums
from bnnc.backends.verilog.unrolled.heap import Heap, at_least, total
from bnnc.backends.verilog.unrolled.layers import Sums
from bnnc.backends.verilog.unrolled.netlist import FALSE, TRUE, Netlist
from bnnc.backends.verilog.unrolled.technology import COUNTERS


@dataclass(frozen=True, eq=False)
class Group:
    """Neurons that share a netlist. inputs: which bits of the layer it reads; outputs: its literals.

    meaning[o] says what output o is: a bit of the element of `neuron` with this coefficient (a layer in the middle), or
    bit `place` of the raw number of `neuron` (the last layer).
    """

    name: str
    neurons: tuple[int, ...]
    netlist: Netlist
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    neuron: tuple[int, ...]
    coefficient: tuple[int, ...]


def hidden_group(name: str, sums: Sums, neurons: list[int], technology: str) -> tuple[Group, dict[int, int]]:
    """The group of neurons of a layer in the middle, and the offset of the element of each neuron.

    A neuron with three or more equal steps gives a binary number, else a bit for each step.
    """
    netlist, inputs, heaps = _heaps(sums, neurons, technology)
    outputs: list[int] = []
    owner: list[int] = []
    coefficients: list[int] = []
    offsets: dict[int, int] = {}
    for n, heap in zip(neurons, heaps, strict=True):
        bits = _steps(netlist, sums, n, heap)
        changes = {change for _, change in bits}
        if len(bits) >= 3 and len(changes) == 1:
            counted = Heap()
            for literal, _ in bits:
                counted.add(literal, 1)
            places = total(netlist, counted, len(bits).bit_length())
            bits = [(literal, changes.copy().pop() << place) for place, literal in enumerate(places)]
        offset = sums.start[n]
        for literal, change in bits:
            literal = netlist.positive(literal)
            if literal == TRUE:
                offset += change
            elif literal != FALSE:
                outputs.append(literal)
                owner.append(n)
                coefficients.append(change)
        offsets[n] = offset
    return Group(name, tuple(neurons), netlist, inputs, tuple(outputs), tuple(owner), tuple(coefficients)), offsets


def last_group(name: str, sums: Sums, neurons: list[int], result: Stream, technology: str) -> Group:
    """The group of neurons of the last layer: the raw numbers of the stream `result`, neuron by neuron.

    Raises ValueError where a value is not `multiplier * raw + offset` for an integer raw.
    """
    netlist, inputs, heaps = _heaps(sums, neurons, technology)
    outputs: list[int] = []
    for n, heap in zip(neurons, heaps, strict=True):
        raw = Heap(_divided(sums.start[n] - result.offset, result.multiplier))
        if sums.steps:
            for literal, change in _steps(netlist, sums, n, heap):
                raw.add(literal, _divided(change, result.multiplier))
        else:
            raw.add_heap(heap, _divided(sums.factor[n], result.multiplier))
        outputs += [netlist.positive(literal) for literal in total(netlist, raw, result.width)]
    owner = tuple(n for n in neurons for _ in range(result.width))
    places = tuple(1 << place for _ in neurons for place in range(result.width))
    return Group(name, tuple(neurons), netlist, inputs, tuple(outputs), owner, places)


def _heaps(sums: Sums, neurons: list[int], technology: str) -> tuple[Netlist, tuple[int, ...], list[Heap]]:
    inputs = tuple(int(bit) for bit in np.flatnonzero(sums.rows[neurons].any(axis=0)))
    netlist = Netlist(len(inputs), technology in COUNTERS)
    literals = [2 * net for net in range(1, len(inputs) + 1)]
    return netlist, inputs, row_sums(netlist, sums.rows[neurons][:, inputs], literals)


def _steps(netlist: Netlist, sums: Sums, n: int, heap: Heap) -> list[tuple[int, int]]:
    """The literal of every step of neuron n, with the change of the value there."""
    low, high = sums.lowest(n), sums.highest(n)
    return [(at_least(netlist, heap, threshold, low, high), change) for threshold, change in sums.steps[n]]


def _divided(value: int, divisor: int) -> int:
    if value % divisor:
        raise ValueError(f"{value} is no multiple of {divisor}")
    return value // divisor
