"""Sums as heaps of wires: columns of literals by weight, and one integer; reduced by adders, compared without sums.

Every step keeps the integer that the heap stands for, exactly: no carry is lost unless it is known to be 0.
"""

from __future__ import annotations

from bnnc.backends.verilog.unrolled.netlist import FALSE, TRUE, Netlist


class Heap:
    """constant + Σ 2^i * (the literals of columns[i] that are true)."""

    def __init__(self, constant: int = 0) -> None:
        self.columns: list[list[int]] = []
        self.constant = constant

    def add(self, literal: int, coefficient: int) -> None:
        """Add coefficient * literal. A negative one becomes the inverted literal and a constant."""
        if coefficient < 0:
            self.constant += coefficient
            literal, coefficient = literal ^ 1, -coefficient
        if literal == TRUE:
            self.constant += coefficient
        if literal <= TRUE:
            return
        while len(self.columns) < coefficient.bit_length():
            self.columns.append([])
        for i in range(coefficient.bit_length()):
            if coefficient >> i & 1:
                self.columns[i].append(literal)

    def add_heap(self, other: Heap, coefficient: int = 1) -> None:
        """Add coefficient * other."""
        self.constant += coefficient * other.constant
        for i, column in enumerate(other.columns):
            for literal in column:
                self.add(literal, coefficient << i)

    @property
    def most(self) -> int:
        """The sum of all literals if each were true, without the constant."""
        return sum(len(column) << i for i, column in enumerate(self.columns))

    @property
    def size(self) -> int:
        """How many literals it has."""
        return sum(map(len, self.columns))


def reduced(netlist: Netlist, heap: Heap) -> Heap:
    """An equal heap with at most two literals a column.

    No half adders: one leaves as many literals as it takes, and costs as much as it saves its readers.
    """
    result = Heap(heap.constant)
    result.columns = columns = [list(column) for column in heap.columns]
    i = 0
    while i < len(columns):
        while len(columns[i]) > 2:
            while len(columns) < i + 3:
                columns.append([])
            _add(netlist, columns, i, len(columns))
        i += 1
    return result


def _add(netlist: Netlist, columns: list[list[int]], i: int, end: int) -> None:
    """Adds the literals of column i that are ready first: seven, where a counter does it, else three.

    end: a column that carries of counters must stay below.
    """
    column = columns[i]
    column.sort(key=netlist.level, reverse=True)
    counted = netlist.counter(column[-7:]) if netlist.counters and len(column) >= 7 and i + 2 < end else None
    if counted:
        del column[-7:]
        column.append(counted[0])
        columns[i + 1].append(counted[1])
        columns[i + 2].append(counted[2])
        return
    value, carry = netlist.full_adder(column.pop(), column.pop(), column.pop())
    column.append(value)
    columns[i + 1].append(carry)


def at_least(netlist: Netlist, heap: Heap, threshold: int, lowest: int, highest: int) -> int:
    """The literal of `heap >= threshold`, made of carries alone: no sum bit of the last addition is ever computed.

    lowest, highest: a bound on the value of the heap (constant included); thresholds outside it give constants.
    """
    if threshold <= lowest:
        return TRUE
    if threshold > highest:
        return FALSE
    needed = threshold - heap.constant
    # The literals and `rest` together reach 2^top if and only if the literals reach `needed`, and never 2^(top + 1).
    top = max(needed, heap.most).bit_length()
    rest = (1 << top) - needed
    columns = [list(column) for column in heap.columns] + [[] for _ in range(top + 1 - len(heap.columns))]
    for i in range(top):
        column, one = columns[i], rest >> i & 1
        while len(column) > 4:
            _add(netlist, columns, i, len(columns))
        for literal in _carries(netlist, column, one):
            if literal == TRUE:
                rest += 2 << i
            elif literal != FALSE:
                columns[i + 1].append(literal)
    return TRUE if rest >> top else columns[top][0] if columns[top] else FALSE


def _carries(netlist: Netlist, column: list[int], one: int) -> list[int]:
    """The literals of floor((sum of the column + one) / 2): the k-th says that the sum reaches 2k - one."""
    count = len(column)
    return [
        netlist.lookup(column, sum((bin(row).count("1") >= 2 * k - one) << row for row in range(1 << count)))
        for k in range(1, (count + one) // 2 + 1)
    ]


def total(netlist: Netlist, heap: Heap, width: int) -> list[int]:
    """The literals of the heap's value modulo 2^width, lowest first."""
    columns = [list(column) for column in heap.columns[:width]]
    columns += [[] for _ in range(width + 1 - len(columns))]
    rest = heap.constant % (1 << width)
    for i in range(width):
        column = columns[i]
        one = rest >> i & 1
        while len(column) > 2:
            _add(netlist, columns, i, width)
        if len(column) == 2:
            value, carry = netlist.half_adder(column.pop(), column.pop(), one=bool(one))
            one = 0
            column.append(value)
            columns[i + 1].append(carry)
        if one:
            # w + 1 is not(w), carry w.
            columns[i + 1] += column
            column[:] = [column[0] ^ 1] if column else [TRUE]
    return [column[0] if column else FALSE for column in columns[:width]]
