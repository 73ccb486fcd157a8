"""A netlist of lookup tables over one-bit nets, built with structural hashing.

A literal is `2 * net + inverted`. Net 0 is the constant, so literal 0 is false and literal 1 is true. Inverters never
become cells: they are folded into the tables of the readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

FALSE, TRUE = 0, 1
XOR2, AND2, OR2 = 0b0110, 0b1000, 0b1110
XOR3, MAJORITY3 = 0x96, 0xE8


@dataclass(frozen=True)
class Table:
    """output = bit number Σ 2^i inputs[i] of `table`; the inputs are nets in ascending order, and each one matters."""

    output: int
    inputs: tuple[int, ...]
    table: int


class Netlist:
    """Tables in topological order over the input nets 1 … inputs.

    Equal functions of equal nets are made once. `levels[net]` is the number of tables between the inputs and the net.
    counters: whether the technology counts seven bits at once; `counted[nets]` are the inverted ones of each counter,
    bit i for nets[i].
    """

    def __init__(self, inputs: int, counters: bool = False) -> None:
        self.inputs = inputs
        self.counters = counters
        self.counted: dict[tuple[int, ...], int] = {}
        self.levels = [0] * (inputs + 1)
        self.cells: list[Table] = []
        self._made: dict[int, Table] = {}
        self._known: dict[tuple[tuple[int, ...], int], int] = {}

    def level(self, literal: int) -> int:
        """Depth of a literal."""
        return self.levels[literal >> 1]

    def lookup(self, literals: Sequence[int], table: int) -> int:
        """The literal of a function of literals: bit Σ 2^i literals[i] of `table`."""
        nets, table = _canonical(literals, table)
        inverted = table & 1
        if inverted:
            table ^= (1 << (1 << len(nets))) - 1
        if not nets:
            return inverted
        if len(nets) == 1:
            return 2 * nets[0] + inverted
        output = self._known.get((nets, table))
        if output is None:
            output = self._known[nets, table] = len(self.levels)
            self.levels.append(1 + max(self.levels[net] for net in nets))
            self._append(Table(output, nets, table))
        return 2 * output + inverted

    def positive(self, literal: int) -> int:
        """The literal without an inverter behind a table: the table is made once more, inverted (not of a counter)."""
        cell = self._made.get(literal >> 1)
        if not literal & 1 or cell is None or len(cell.inputs) == 7:
            return literal
        self.levels.append(self.levels[literal >> 1])
        table = cell.table ^ ((1 << (1 << len(cell.inputs))) - 1)
        self._append(Table(len(self.levels) - 1, cell.inputs, table))
        return 2 * (len(self.levels) - 1)

    def _append(self, cell: Table) -> None:
        self.cells.append(cell)
        self._made[cell.output] = cell

    def full_adder(self, a: int, b: int, c: int) -> tuple[int, int]:
        """Literals (s, k) with s + 2k = a + b + c."""
        return self.lookup((a, b, c), XOR3), self.lookup((a, b, c), MAJORITY3)

    def counter(self, literals: Sequence[int]) -> tuple[int, int, int] | None:
        """Literals (s, k, q) with s + 2k + 4q = the sum of seven literals; None where that is no counter."""
        nets = tuple(sorted(literal >> 1 for literal in literals))
        inverted = sum((literal & 1) << nets.index(literal >> 1) for literal in literals)
        # Two inputs of the cell have no inverter: four inverted bits and more are counted by what is missing to seven.
        missing = bin(inverted).count("1") > 3
        inverted ^= 0x7F * missing
        if len(set(nets)) < 7 or self.counted.get(nets, inverted) != inverted:
            return None
        if nets not in self.counted:
            self.counted[nets] = inverted
            for place in range(3):
                self.levels.append(1 + max(self.levels[net] for net in nets))
                self._append(Table(len(self.levels) - 1, nets, count_table(inverted, place)))
                self._known[nets, -1 - place] = len(self.levels) - 1
        first, second, third = (2 * self._known[nets, -1 - place] + missing for place in range(3))
        return first, second, third

    def half_adder(self, a: int, b: int, one: bool = False) -> tuple[int, int]:
        """Literals (s, k) with s + 2k = a + b, plus 1 if `one`."""
        if one:
            return self.lookup((a, b), XOR2) ^ 1, self.lookup((a, b), OR2)
        return self.lookup((a, b), XOR2), self.lookup((a, b), AND2)

    def alive(self, outputs: Sequence[int]) -> list[Table]:
        """The tables that the output literals depend on, in order."""
        used = bytearray(len(self.levels))
        for literal in outputs:
            used[literal >> 1] = 1
        found = []
        for cell in reversed(self.cells):
            # The three outputs of a counter are one cell.
            if used[cell.output] or (
                len(cell.inputs) == 7 and any(used[self._known[cell.inputs, -p]] for p in (1, 2, 3))
            ):
                found.append(cell)
                for net in cell.inputs:
                    used[net] = 1
        return found[::-1]


@cache
def count_table(inverted: int, place: int) -> int:
    """The table of bit `place` of the number of ones among seven inputs, some of them inverted."""
    return sum((bin(row ^ inverted).count("1") >> place & 1) << row for row in range(128))


def _canonical(literals: Sequence[int], table: int) -> tuple[tuple[int, ...], int]:
    """The same function over ascending, distinct nets that all matter."""
    nets = tuple(sorted({literal >> 1 for literal in literals} - {0}))
    place = {net: i for i, net in enumerate(nets)}
    result = 0
    for row in range(1 << len(nets)):
        index = 0
        for i, literal in enumerate(literals):
            net = literal >> 1
            index |= ((((row >> place[net]) & 1) if net else 0) ^ (literal & 1)) << i
        result |= ((table >> index) & 1) << row
    for i in reversed(range(len(nets))):
        without = _unless(result, i, len(nets))
        if without is not None:
            nets, result = nets[:i] + nets[i + 1 :], without
    return nets, result


def _unless(table: int, i: int, inputs: int) -> int | None:
    """The table without input i, or None if the function depends on it."""
    rows = [row for row in range(1 << inputs) if not row >> i & 1]
    low = [table >> row & 1 for row in rows]
    if low != [table >> (row | 1 << i) & 1 for row in rows]:
        return None
    return sum(bit << at for at, bit in enumerate(low))
