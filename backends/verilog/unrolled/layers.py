"""What an unrolled layer computes, as integer sums of wires: what its netlist is made from, and proven against.

Every element between two layers is an affine function of bits: `offset + Σ coefficient * bit`. One bit with a rising
or a falling step, ternary values, and k-bit codes all have this form, so a layer is always integer weights on bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnc.backends.verilog.design import Stream


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """acc[n] = Σ_k weights[n, k] * x[k], and y[n] = values[n, how many of the ascending thresholds[n] are <= acc[n]].

    weights: integers [N, K]. thresholds: integers [N or 1, t], values: integers [N or 1, t + 1], as in `bit.step`;
    both None: y is acc.
    """

    name: str
    weights: np.ndarray
    thresholds: np.ndarray | None = None
    values: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Elements:
    """x[e] = offset[e] + Σ coefficient[b] * bit b over the bits b with element[b] = e; int64 [bits], [bits], [K]."""

    element: np.ndarray
    coefficient: np.ndarray
    offset: np.ndarray

    @property
    def bits(self) -> int:
        """How many bits there are."""
        return len(self.element)


def elements_of(stream: Stream) -> Elements:
    """The elements of a beat of a stream, by the bits of its `data`."""
    bit = np.arange(stream.lanes * stream.width, dtype=np.int64)
    place = bit % stream.width
    weight = np.left_shift(np.int64(1), place)
    if stream.signed:
        weight = np.where(place == stream.width - 1, -weight, weight)
    offset = np.full(stream.lanes, stream.offset, np.int64)
    return Elements(bit // stream.width, weight * stream.multiplier, offset)


@dataclass(frozen=True, eq=False)
class Sums:
    """The comparisons of a layer, neuron by neuron, on integer rows of its input bits.

    rows: int64 [N, bits], each divided by its greatest common divisor. steps[n]: the thresholds of neuron n that some
    input reaches and some does not, with the change of the value there; start[n]: the value below all of them.
    For a layer without thresholds `steps` is empty and acc[n] = start[n] + factor[n] * rows[n] @ bits.
    """

    rows: np.ndarray
    factor: tuple[int, ...]
    start: tuple[int, ...]
    steps: tuple[tuple[tuple[int, int], ...], ...]

    def lowest(self, row: int) -> int:
        """The least value of rows[row] @ bits."""
        return int(np.minimum(self.rows[row], 0).sum())

    def highest(self, row: int) -> int:
        """The greatest value of rows[row] @ bits."""
        return int(np.maximum(self.rows[row], 0).sum())


def sums_of(layer: DenseLayer, inputs: Elements) -> Sums:
    """A layer on the bits of its inputs."""
    weights = layer.weights.astype(np.int64)
    rows = weights[:, inputs.element] * inputs.coefficient
    constants = weights @ inputs.offset
    factors = np.maximum(np.gcd.reduce(rows, axis=1), 1)
    rows = rows // factors[:, None]
    factor = tuple(int(value) for value in factors)
    count = len(rows)
    if layer.thresholds is None or layer.values is None:
        return Sums(rows, factor, tuple(int(value) for value in constants), ())
    thresholds = np.broadcast_to(layer.thresholds, (count, layer.thresholds.shape[1])).astype(np.int64)
    values = np.broadcast_to(layer.values, (count, layer.values.shape[1])).astype(np.int64)
    lowest, highest = np.minimum(rows, 0).sum(1), np.maximum(rows, 0).sum(1)
    start, steps = [], []
    for n in range(count):
        value = int(values[n, 0])
        found: list[tuple[int, int]] = []
        for threshold, change in zip(thresholds[n], np.diff(values[n]), strict=True):
            # factor * sum + constant >= threshold
            needed = -((int(constants[n]) - int(threshold)) // factor[n])
            if needed <= lowest[n]:
                value += int(change)
            elif needed <= highest[n]:
                if found and found[-1][0] == needed:
                    change += found.pop()[1]
                found.append((needed, int(change)))
        start.append(value)
        steps.append(tuple((needed, change) for needed, change in found if change))
    return Sums(rows, factor, tuple(start), tuple(steps))
