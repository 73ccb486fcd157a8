"""What engines are made of: registers, adders, comparators, tables, memories, and the units that several engines have.

cost.py says how many cells each kind of part takes in a technology.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bnnc.backends.verilog.memories import blocks, kept_in, luts_of, rows_of


@dataclass(frozen=True)
class Table:
    """Constants: so many words, of so many bits that are not the same in all of them, of which so many differ."""

    words: int
    varying: int
    different: int


@dataclass(frozen=True)
class Shape:
    """What the cost of an engine depends on: its whole-number parameters and its constants."""

    module: str
    parameters: Mapping[str, int]
    tables: tuple[Table, ...] = ()


def table_of(words: np.ndarray) -> Table:
    """What tools leave of a table: uint8 [words, bytes], bits packed. In LUTs they merge equal columns, too."""
    bits = np.packbits(np.unpackbits(words, axis=1), axis=0).T
    rows = np.packbits(np.ones(len(words), np.uint8))
    varying = bits[(bits != 0).any(1) & (bits != rows).any(1)]
    return Table(len(words), len(varying), len({column.tobytes() for column in varying}))


def nominal(words: int, width: int) -> Table:
    """A table of which only the size is known."""
    return Table(words, width if words > 1 else 0, min(width, (1 << min(words, 60)) - 2))


def clog2(number: int) -> int:
    """$clog2 of Verilog."""
    return (max(1, number) - 1).bit_length()


@dataclass
class Parts:
    """How much there is of each kind of part."""

    technology: str
    amounts: dict[str, float] = field(default_factory=dict)
    blocks: int = 0

    def add(self, kind: str, amount: float) -> None:
        """More of a part."""
        if amount:
            self.amounts[kind] = self.amounts.get(kind, 0.0) + amount

    def registers(self, bits: float) -> None:
        """Flip-flops."""
        self.add("register", bits)

    def line(self, bits: float, cycles: int) -> None:
        """A delay without reset, which may become a shift register of LUTs."""
        if cycles < 3 or self.technology != "xc7":
            self.registers(bits * cycles)
        else:
            self.add("line register", bits * cycles)
            self.add("line", bits)

    def adders(self, bits: int, count: float = 1) -> None:
        """Adders or subtractors; short ones become plain logic."""
        self._chains("adder", bits, count)

    def comparators(self, bits: int, count: float = 1, fixed: bool = False) -> None:
        """x >= y; `fixed`: y is a constant."""
        self._chains("fixed comparator" if fixed else "comparator", bits, count)

    def _chains(self, kind: str, bits: int, count: float) -> None:
        least, step = {"ecp5": (5, 2), "xc7": (3, 4), "ice40": (1, 1)}[self.technology]
        if bits < least:
            self.add(f"short {kind} bit", bits * count)
        else:
            self.add(f"{kind} bit", bits * count)
            self.add(f"{kind} chain", -(-bits // step) * count)

    def logic(self, kind: str, amount: float) -> None:
        """Gates of some kind, by their number."""
        self.add(kind, amount)

    def choice(self, count: int, bits: float) -> None:
        """One of count + 1 words, by so many comparators. From three on they have too many inputs for one LUT."""
        self.add("mux bit" if count < 3 else "wide mux bit", count * bits)

    def counter(self, count: int, ahead: bool = True) -> None:
        """A counter of `count` steps; `ahead`: with a register that says when it is at its last."""
        bits = clog2(count)
        if bits:
            self.registers(bits + ahead)
            self.adders(bits)
            self.add("counter bit", bits)
            self.add("counter", 1)

    def up_and_down(self, count: int) -> None:
        """A register that counts up and down to `count`."""
        bits = clog2(count + 1)
        self.registers(bits)
        self.adders(bits, 2)
        self.add("counter bit", bits)

    def constants(self, table: Table, style: int | None) -> int:
        """bnnc_rom: a table and its two registers; the bits of the last. `style`: where it lies, if that is said."""
        if style == 2 or (style is None and kept_in(self.technology, table.words, table.varying, True) == "block"):
            self.blocks += blocks(self.technology, table.words, table.varying)
            self.registers(table.varying)
            self.add("wide memory bit", table.varying * (table.words >> 14))
            return table.varying
        size = 1 << max(4, clog2(table.words))
        if size <= 64:
            self.add(f"bit of a table of {size}", table.different)
        else:
            self.add("bit of a deep table", table.different * table.words / 64)
        self.registers(2 * table.different)
        return table.different

    def memory(self, words: int, width: int) -> None:
        """A memory that is written, with a registered output; a word is never read while it is written."""
        place = kept_in(self.technology, words, width, False)
        if place == "block":
            self.blocks += blocks(self.technology, words, width)
        elif place == "luts":
            self.add("memory LUT", luts_of(self.technology, words, width))
            self.add("memory bit of more words", width * (rows_of(self.technology, words) - 1))
            self.registers(width)
        else:
            self.registers(width * (words + 1))
            self.add("memory bit in registers", width * (words - 1))


def fifo(parts: Parts, width: int, depth: int) -> None:
    if depth <= 2:
        parts.registers(width * depth + depth)
        parts.logic("mux bit", width * (depth - 1))
        return
    parts.memory(depth, width)
    parts.registers(1)
    parts.counter(depth, ahead=False)
    parts.counter(depth, ahead=False)
    parts.up_and_down((2 << clog2(depth)) - 1)
    parts.add("ring", 1)


def adder_tree(
    parts: Parts, lanes: int, wide: int, most: int, neurons: int, carries: bool, fixed: bool = False
) -> None:
    """bnnc_adder_tree, `neurons` times; `fixed`: the weights never change, so that equal sums are made once."""
    level = 0
    while lanes > 1:
        level += 1
        copies = min(neurons, 2 ** min(1 << level, 30)) if fixed else neurons
        bits = min(wide + level, most)
        pairs = lanes // 2
        parts.adders(bits + carries, copies * pairs)
        lanes = -(-lanes // 2)
        parts.registers(copies * lanes * (bits + carries))


def multiplier(parts: Parts, a: int, b: int, count: int) -> None:
    """bnnc_multiply: blocks of 18 x 18 where the factors are large enough, else sums of their bits."""
    if a <= 18 and b <= 18:
        inside = _product(parts, a, b, count)
        parts.add("product register" if inside else "register", count * (a + b))
        return
    rows, columns = (1 if n == 1 else (n + 15) // 17 for n in (a, b))
    parts.add("product register", count * (rows * (a + b if columns > 1 else min(36, 18 + b)) + a + b))
    for row in range(rows):
        for column in range(columns):
            high, wide = (
                (18 if row < rows - 1 else a - 17 * row + 1),
                (18 if column < columns - 1 else b - 17 * column + 1),
            )
            _product(parts, min(18, high), min(18, wide), count)
            parts.add("product register", count * (min(18, high) + min(18, wide)))
            if column:
                parts.adders(b + 18 - 17 * column, count)
        if row:
            parts.adders(a + b - 17 * row, count)


def _product(parts: Parts, a: int, b: int, count: int) -> bool:
    """A product of at most 18 x 18; whether it is made by a block."""
    least = {"ecp5": 9, "xc7": 9, "ice40": 1 << 30}[parts.technology]
    if min(a, b) >= 2 and a + b >= least:
        parts.add("multiplier", count)
        return True
    parts.add("product bit", count * a * b)
    parts.add("product row", count * (min(a, b) - 1))
    parts.add("product row bit", count * (min(a, b) - 1) * (max(a, b) + 1))
    return False


def valid(parts: Parts, stages: int) -> None:
    """bnnc_valid."""
    parts.registers(stages)


def table_reader(parts: Parts, shape: Shape, chunks: int) -> None:
    """bnnc_table."""
    parts.counter(chunks, ahead=False)
    for table in shape.tables:
        parts.constants(table, shape.parameters.get("ROM_STYLE"))


__all__ = [
    "Parts", "Shape", "Table", "adder_tree", "clog2", "fifo", "multiplier", "nominal", "table_of", "table_reader",
    "valid",
]  # fmt: skip
