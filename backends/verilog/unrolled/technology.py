"""Cells of the technologies: how one or two tables over the same nets are written as an instance.

generic: plain Verilog modules of rtl/tech whose structure synthesis keeps. ecp5: LUT4. xc7: LUT6_2, LUT6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bnnc.backends.verilog.unrolled.netlist import Table, count_table

TECHNOLOGIES = ("generic", "ecp5", "xc7")
# Modules of rtl/tech that the cells are instances of; those of vendors are models that only simulators read.
LIBRARY: dict[str, tuple[str, ...]] = {
    "generic": ("bnnc_adder", "bnnc_lut4"),
    "ecp5": ("LUT4",),
    "xc7": ("LUT6", "LUT6_2", "CARRY4", "bnnc_counter7"),
}
# Technologies with a cell that counts seven bits.
COUNTERS = ("xc7",)


def size(cells: Sequence[Table], technology: str) -> int:
    """Lookup tables of the technology that the cells need: of LUT6 with two outputs for xc7."""
    if technology != "xc7":
        return len(cells)
    return len(_pairs([cell for cell in cells if len(cell.inputs) < 7], 5)) + sum(len(c.inputs) == 7 for c in cells)


def instances(cells: Sequence[Table], technology: str, name: Callable[[int, int], str]) -> list[str]:
    """One line of Verilog for each cell. name(net, reader): the signal that carries a net to the cell with output
    `reader`; name(net, net) is the net itself."""
    if technology == "ecp5":
        return [_lut4(cell, name) for cell in cells]
    seven = [cell for cell in cells if len(cell.inputs) == 7]
    lines = [_counter(seven[i : i + 3], name) for i in range(0, len(seven), 3)]
    for cell, mate in _pairs([cell for cell in cells if len(cell.inputs) < 7], 3 if technology == "generic" else 5):
        if technology == "generic":
            lines.append(_adder(cell, mate, name) if mate else _generic(cell, name))
        else:
            lines.append(_lut6_2(cell, mate, name) if mate else _lut6(cell, name))
    return lines


def _pairs(cells: Sequence[Table], most: int) -> list[tuple[Table, Table | None]]:
    """Cells, two at a time where they read the same nets (at most `most`) in the same stage."""
    waiting: dict[tuple[int, ...], int] = {}
    result: list[tuple[Table, Table | None]] = []
    for cell in cells:
        at = waiting.pop(cell.inputs, None) if len(cell.inputs) <= most else None
        if at is None:
            waiting[cell.inputs] = len(result)
            result.append((cell, None))
        else:
            result[at] = (result[at][0], cell)
    return result


def spread(table: int, inputs: int, width: int) -> int:
    """The table with `width` inputs, of which the last ones do not matter."""
    for i in range(inputs, width):
        table |= table << (1 << i)
    return table


def _ports(cell: Table, names: Sequence[str], name: Callable[[int, int], str]) -> str:
    signals = [name(net, cell.output) for net in cell.inputs] + ["1'b0"] * (len(names) - len(cell.inputs))
    return ", ".join(f".{port}({signal})" for port, signal in zip(names, signals, strict=True))


def _lut4(cell: Table, name: Callable[[int, int], str]) -> str:
    init = spread(cell.table, len(cell.inputs), 4)
    ports = _ports(cell, "ABCD", name)
    return f"LUT4 #(.INIT(16'h{init:04x})) u{cell.output} ({ports}, .Z({name(cell.output, cell.output)}));"


def _adder(cell: Table, mate: Table, name: Callable[[int, int], str]) -> str:
    first, second = (f"8'h{spread(one.table, len(one.inputs), 3):02x}" for one in (cell, mate))
    ports = _ports(cell, "abc", name)
    outputs = f".sum({name(cell.output, cell.output)}), .carry({name(mate.output, mate.output)})"
    return f"bnnc_adder #(.SUM({first}), .CARRY({second})) u{cell.output} ({ports}, {outputs});"


def _generic(cell: Table, name: Callable[[int, int], str]) -> str:
    init = spread(cell.table, len(cell.inputs), 4)
    ports = _ports(cell, "abcd", name)
    return f"bnnc_lut4 #(.TABLE(16'h{init:04x})) u{cell.output} ({ports}, .y({name(cell.output, cell.output)}));"


def _lut6(cell: Table, name: Callable[[int, int], str]) -> str:
    init = spread(cell.table, len(cell.inputs), 6)
    ports = _ports(cell, [f"I{i}" for i in range(6)], name)
    return f"LUT6 #(.INIT(64'h{init:016x})) u{cell.output} ({ports}, .O({name(cell.output, cell.output)}));"


def _lut6_2(cell: Table, mate: Table, name: Callable[[int, int], str]) -> str:
    high, low = (spread(one.table, len(one.inputs), 5) for one in (cell, mate))
    ports = _ports(cell, [f"I{i}" for i in range(5)], name)
    outputs = f".O6({name(cell.output, cell.output)}), .O5({name(mate.output, mate.output)})"
    return f"LUT6_2 #(.INIT(64'h{high << 32 | low:016x})) u{cell.output} ({ports}, .I5(1'b1), {outputs});"


def _counter(cells: Sequence[Table], name: Callable[[int, int], str]) -> str:
    """The three outputs of a counter, lowest first."""
    inverted = next(mask for mask in range(127) if cells[2].table == count_table(mask, 2))
    # The carry chain takes the last two inputs as they are.
    order = sorted(range(7), key=lambda i: (-(inverted >> i & 1), i))
    ports = ("x0", "x1", "x2", "x3", "x4", "a", "e")
    inputs = [f".{port}({name(cells[0].inputs[i], cells[0].output)})" for port, i in zip(ports, order, strict=True)]
    ones = [sum((row >> i & 1) ^ (inverted >> order[i] & 1) for i in range(5)) for row in range(32)]
    tables = [
        sum((ones[row & 31] + (row >> 5) & 1) << row for row in range(64)),
        sum((one >> 1 & 1) << (32 + row) for row, one in enumerate(ones)),
        sum((one >> 2 & 1) << (32 + row) for row, one in enumerate(ones)),
    ]
    inits = ", ".join(f".INIT{i}(64'h{table:016x})" for i, table in enumerate(tables))
    outputs = ", ".join(f".y{i}({name(cell.output, cell.output)})" for i, cell in enumerate(cells))
    return f"bnnc_counter7 #({inits}) u{cells[0].output} ({', '.join(inputs)}, {outputs});"
