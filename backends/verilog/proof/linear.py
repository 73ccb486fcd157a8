"""Integer rewriting: what adders add, without ever looking at more than one cell.

Cells over the same inputs are a family. A full adder is a family (s, k) with s + 2k = a + b + c, whatever inverters
are folded into its tables; the carries of a comparison are a family whose sum bit was never made: 2k = a + b + c - v
for some bit v. Replacing families by their inputs, from the outputs back, turns a sum of output bits into a sum of
input bits. Every replacement is an identity of integers, true for all inputs: nothing is assumed about the circuit.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

from bnnc.backends.verilog.proof.circuit import Circuit

# Halved once for every column of a sum: enough for sums of hundreds of bits.
SCALE = 1 << 256
Nodes = tuple[int, ...]


@dataclass(frozen=True)
class Linear:
    """constant + Σ coefficients[node] * node."""

    coefficients: dict[int, int]
    constant: int


class Unproven(Exception):
    """A bit is not what it should be, or not in a way that the rewriting sees."""


@cache
def _identity(tables: tuple[tuple[int, bool, int], ...], inputs: int) -> tuple[tuple[int, ...], int, int, int] | None:
    """(signs, constant, v, u): u * Σ weight * table = Σ signs * inputs + constant - rest for all inputs, where the rest
    is below u (2 or 4), and v is the table of its lowest bit.

    tables: each with whether it is inverted, and its weight. None, if there is no such identity.
    """
    rows = range(1 << inputs)
    sums = [sum(weight * ((table >> row & 1) ^ inverted) for table, inverted, weight in tables) for row in rows]
    signs = []
    for i in range(inputs):
        changes = {sums[row | 1 << i] - sums[row] for row in rows if not row >> i & 1} - {0}
        if len({change > 0 for change in changes}) != 1:
            return None
        signs.append(1 if max(changes) > 0 else -1)
    for unit in (2, 4):
        rest = [sum(signs[i] for i in range(inputs) if row >> i & 1) - unit * sums[row] for row in rows]
        least = min(rest)
        if 0 < max(rest) - least < unit:
            v = sum(((value - least) & 1) << row for row, value in zip(rows, rest, strict=True))
            return tuple(signs), -least, v, unit
    return None


@cache
def _is_parity(table: int, inputs: int) -> bool:
    """Whether a table is the parity of all its inputs (a circuit has no table of its inverse)."""
    return table == sum((bin(row).count("1") & 1) << row for row in range(1 << inputs))


class Rewriter:
    """Rewrites bits of a circuit in terms of others."""

    def __init__(self, circuit: Circuit) -> None:
        self.circuit = circuit
        self.levels = [0] * len(circuit.tables)
        # The node of the sum bit of each family.
        self.sums: dict[Nodes, int] = {}
        for node, cell in enumerate(circuit.tables):
            if cell is not None:
                self.levels[node] = 1 + max(self.levels[one] for one in cell[1])
                if _is_parity(cell[0], len(cell[1])):
                    self.sums.setdefault(cell[1], node)

    def comparison(self, bit: int, stop: frozenset[int]) -> Linear:
        """The bit as `linear >= 0` over nodes of `stop`. Raises Unproven.

        The rewriting gives SCALE * bit = L - V, where V is a sum of bits with factors below SCALE in total: so the bit
        is 1 exactly where L >= SCALE.
        """
        work = _Expression(self, {bit >> 1: SCALE}, stop)
        slack = 0
        for family, members in work.families():
            carries = {node: factor for node, factor in members.items() if node != self.sums.get(family)}
            if carries:
                slack += self._expand(work, family, carries)
            factor = work.factors.pop(self.sums.get(family, -1), 0)
            work.constant += max(factor, 0)
            slack += abs(factor)
        if slack >= SCALE:
            raise Unproven("the sum bits that are never made can carry further")
        if not set(work.factors) <= stop:
            raise Unproven("it depends on more than the bits of its layer")
        result = Linear(work.factors, work.constant - SCALE)
        # The inverse of L >= 0 is -L - 1 >= 0.
        return Linear({n: -f for n, f in result.coefficients.items()}, -result.constant - 1) if bit & 1 else result

    def _expand(self, work: _Expression, family: Nodes, carries: Mapping[int, int]) -> int:
        """Replaces the carries of a family; the factor of its sum bit if there is no node for it."""
        factor = min(map(abs, carries.values()))
        if factor % 2 or any(other % factor for other in carries.values()):
            raise Unproven("carries of one adder have different weights")
        tables = tuple((self._table(node), other < 0, abs(other) // factor) for node, other in sorted(carries.items()))
        identity = _identity(tables, len(family))
        if identity is None:
            raise Unproven("a cell is no adder")
        for node, other in carries.items():
            del work.factors[node]
            work.constant += min(other, 0)
        signs, constant, v, unit = identity
        part = factor // unit
        if part * unit != factor:
            raise Unproven("the weight of a carry is odd")
        work.constant += part * constant
        for node, sign in zip(family, signs, strict=True):
            work.add(node, part * sign)
        # The rest is v, and for unit 4 a bit of weight 2 that nobody reads.
        slack = part * (unit - 2)
        total = self.sums.get(family)
        if total is None:
            return slack + part
        if self._table(total) == v:
            work.add(total, -part)
        else:
            work.add(total, part)
            work.constant -= part
        return slack

    def sum(self, terms: Sequence[tuple[int, int]], modulus: int, stop: frozenset[int]) -> Linear:
        """Σ factor * bit of `terms` modulo a number, over nodes of `stop` and others that no adder explains."""
        work = _Expression(self, {}, stop)
        for bit, factor in terms:
            work.constant += (bit & 1) * factor
            work.add(bit >> 1, -factor if bit & 1 else factor)
        for family, members in work.families():
            total = self.sums.get(family)
            if total not in members:
                continue
            factor = members.pop(total)
            if members:
                self._replace(work, family, total, factor, members, modulus)
            elif 2 * factor % modulus == 0:
                # Modulo 2, the sum bit is the sum; its carry has no weight.
                del work.factors[total]
                for node in family:
                    work.add(node, factor)
        factors = {node: factor % modulus for node, factor in work.factors.items() if factor % modulus}
        return Linear(factors, work.constant % modulus)

    def _replace(
        self, work: _Expression, family: Nodes, total: int, factor: int, carries: Mapping[int, int], modulus: int
    ) -> None:
        """Replaces the sum and the carries of a family, if their weights are those of an adder."""
        for sign, *weights in product((1, -1), *[(1, 2)] * len(carries)):
            # factor * s + Σ carry * k = sign * factor * (s or 1 - s, + 2 * Σ weight * (k or 1 - k)).
            twice = [2 * sign * factor * weight for weight in weights]
            inverted = [(carry - two) % modulus != 0 for carry, two in zip(carries.values(), twice, strict=True)]
            if any((c + two) % modulus for c, two, i in zip(carries.values(), twice, inverted, strict=True) if i):
                continue
            tables = tuple((self._table(n), i, w) for n, i, w in zip(carries, inverted, weights, strict=True))
            identity = _identity(tables, len(family))
            if identity is None or identity[3] != 2 or (identity[2] == self._table(total)) != (sign == 1):
                continue
            signs, constant, *_ = identity
            for node in (total, *carries):
                del work.factors[node]
            work.constant += sign * factor * constant + (factor if sign < 0 else 0)
            work.constant -= sum(two for two, i in zip(twice, inverted, strict=True) if i)
            for node, one in zip(family, signs, strict=True):
                work.add(node, sign * factor * one)
            return

    def _table(self, node: int) -> int:
        cell = self.circuit.tables[node]
        assert cell is not None
        return cell[0]


class _Expression:
    """constant + Σ factors[node] * node. Nodes outside `stop` are visited family by family, the last ones first."""

    def __init__(self, rewriter: Rewriter, factors: dict[int, int], stop: frozenset[int]) -> None:
        self.rewriter = rewriter
        self.factors: dict[int, int] = {}
        self.constant = 0
        self.stop = stop
        self._waiting: list[tuple[int, Nodes]] = []
        self._members: dict[Nodes, set[int]] = {}
        for node, factor in factors.items():
            self.add(node, factor)

    def add(self, node: int, factor: int) -> None:
        """Add factor * node."""
        if node == 0:
            return
        if node not in self.factors:
            cell = self.rewriter.circuit.tables[node]
            if cell is not None and node not in self.stop:
                family = cell[1]
                if family not in self._members:
                    self._members[family] = set()
                    heapq.heappush(self._waiting, (-self.rewriter.levels[node], family))
                self._members[family].add(node)
        self.factors[node] = self.factors.get(node, 0) + factor
        if self.factors[node] == 0:
            del self.factors[node]

    def families(self) -> Iterator[tuple[Nodes, dict[int, int]]]:
        """Families with the factors of their nodes; each when all that reads it has been replaced."""
        while self._waiting:
            _, family = heapq.heappop(self._waiting)
            members = {node: self.factors[node] for node in sorted(self._members[family]) if node in self.factors}
            if members:
                yield family, members
