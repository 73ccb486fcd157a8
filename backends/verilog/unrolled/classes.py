"""Popcounts shared by the neurons of a group: a row's weights sort the inputs into classes that are counted once.

Inputs whose weights agree in all k rows of a group (up to one sign and a power of two) are one class; its sum is the
same for every row. Row by row, from the last to the first, a row's sum is formed of the classes, and then the classes
that only this row told apart are merged. Where all weights are +1 or -1, row j is 2 * (the classes in which it agrees
with row 0) - row 0 + a constant, so that only half of the classes are added.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bnnc.backends.verilog.unrolled.heap import Heap, reduced
from bnnc.backends.verilog.unrolled.netlist import Netlist

Pattern = tuple[int, ...]


def row_sums(netlist: Netlist, rows: np.ndarray, literals: Sequence[int]) -> list[Heap]:
    """Heaps of Σ_i rows[j, i] * literals[i] for every row j of a group; rows: integers [k, inputs]."""
    found, constants = _classes(rows, literals)
    signs = all(abs(weight) == 1 for pattern in found for weight in pattern)
    sums = {pattern: reduced(netlist, heap) for pattern, heap in found.items()}
    result = [Heap(constant) for constant in constants]
    shares = [0] * len(rows)
    for j in reversed(range(1, len(rows))):
        terms = {pattern: pattern[j] for pattern in sums}
        if signs:
            # row j = agree - other = 2 * agree - row 0 = row 0 - 2 * other: the smaller side is added.
            agree = sum(sums[pattern].size for pattern in sums if pattern[j] > 0)
            side = 1 if 2 * agree <= sum(heap.size for heap in sums.values()) else -1
            terms = {pattern: 2 * side if pattern[j] == side else 0 for pattern in sums}
            shares[j] = -side
        for pattern, factor in terms.items():
            if factor:
                result[j].add_heap(sums[pattern], factor)
        sums = _merged(netlist, sums, j)
    for pattern, heap in sums.items():
        result[0].add_heap(heap, pattern[0])
        for j in range(1, len(rows)):
            if shares[j]:
                result[j].add_heap(heap, shares[j])
    return result


def _classes(rows: np.ndarray, literals: Sequence[int]) -> tuple[dict[Pattern, Heap], list[int]]:
    """The literals of each class by its pattern, and for each row the constant that inverted literals leave."""
    classes: dict[Pattern, Heap] = {}
    constants = [0] * len(rows)
    for i, literal in enumerate(literals):
        weights = tuple(int(weight) for weight in rows[:, i])
        sign = next((1 if weight > 0 else -1 for weight in weights if weight), 0)
        if not sign:
            continue
        pattern, shift = _odd(tuple(sign * weight for weight in weights))
        classes.setdefault(pattern, Heap()).add(literal if sign > 0 else literal ^ 1, 1 << shift)
        if sign < 0:
            # w * b = -w * not(b) + w.
            constants = [constant + weight for constant, weight in zip(constants, weights, strict=True)]
    for pattern, heap in classes.items():
        # Constant inputs: they leave the class.
        for j, weight in enumerate(pattern):
            constants[j] += weight * heap.constant
        heap.constant = 0
    return classes, constants


def _odd(pattern: Pattern) -> tuple[Pattern, int]:
    """The pattern without its common power of two, and that power's exponent."""
    shift = 0
    while not any(weight >> shift & 1 for weight in pattern):
        shift += 1
    return tuple(weight >> shift for weight in pattern), shift


def _merged(netlist: Netlist, sums: dict[Pattern, Heap], j: int) -> dict[Pattern, Heap]:
    """The sums of the classes when the rows from j on are no longer told apart."""
    result: dict[Pattern, Heap] = {}
    for pattern, heap in sums.items():
        if any(pattern[:j]):
            key, shift = _odd(pattern[:j])
            result.setdefault(key, Heap()).add_heap(heap, 1 << shift)
    return {key: reduced(netlist, heap) for key, heap in result.items()}
