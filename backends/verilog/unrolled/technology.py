"""Cells of the technologies: how one or two tables over the same nets are written as an instance.

generic: plain Verilog modules of rtl/tech whose structure synthesis keeps. ecp5: LUT4. xc7: LUT6_2, LUT6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bnnc.backends.verilog.unrolled.netlist import Table

TECHNOLOGIES = ("generic", "ecp5", "xc7")
# Modules of rtl/tech that the cells are instances of; those of vendors are models that only simulators read.
LIBRARY: dict[str, tuple[str, ...]] = {
    "generic": ("bnnc_adder", "bnnc_lut4"),
    "ecp5": ("LUT4",),
    "xc7": ("LUT6", "LUT6_2"),
}


def instances(cells: Sequence[Table], technology: str, name: Callable[[int, int], str]) -> list[str]:
    """One line of Verilog for each cell. name(net, reader): the signal that carries a net to the cell with output
    `reader`; name(net, net) is the net itself."""
    if technology == "ecp5":
        return [_lut4(cell, name) for cell in cells]
    lines = []
    for cell, mate in _pairs(cells, 3 if technology == "generic" else 5):
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
