"""What the cells of the technologies compute: a truth table for each output."""

from __future__ import annotations

from dataclasses import dataclass

from bnnc.backends.verilog.proof.reader import Instance, Unreadable


@dataclass(frozen=True)
class Cell:
    """A cell of lookup tables. parameters: their widths. outputs: port -> (the parameter with its table, how many of
    the inputs choose a bit of it; the first is the lowest)."""

    inputs: str
    parameters: dict[str, int]
    outputs: dict[str, tuple[str, int]]

    @property
    def ports(self) -> tuple[str, ...]:
        """The names of its inputs."""
        return tuple(self.inputs.split())


CELLS = {
    "bnnc_adder": Cell("a b c", {"SUM": 8, "CARRY": 8}, {"sum": ("SUM", 3), "carry": ("CARRY", 3)}),
    "bnnc_lut4": Cell("a b c d", {"TABLE": 16}, {"y": ("TABLE", 4)}),
    "LUT4": Cell("A B C D", {"INIT": 16}, {"Z": ("INIT", 4)}),
    "LUT6": Cell("I0 I1 I2 I3 I4 I5", {"INIT": 64}, {"O": ("INIT", 6)}),
    "bnnc_counter7": Cell(
        "x0 x1 x2 x3 x4 a e", {"INIT0": 64, "INIT1": 64, "INIT2": 64}, {"y0": ("", 7), "y1": ("", 7), "y2": ("", 7)}
    ),
    "LUT6_2": Cell("I0 I1 I2 I3 I4 I5", {"INIT": 64}, {"O6": ("INIT", 6), "O5": ("INIT", 5)}),
}


def outputs_of(instance: Instance) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Output port -> (table, ports that index it, lowest first) of an instance of a cell. Raises Unreadable."""
    cell = CELLS[instance.module]
    if set(instance.ports) != {*cell.ports, *cell.outputs} or set(instance.parameters) != set(cell.parameters):
        raise Unreadable(f"{instance.module} `{instance.name}` has other ports or parameters than its cell")
    for name, width in cell.parameters.items():
        if instance.parameters[name].width != width:
            raise Unreadable(f"{name} of `{instance.name}` has {instance.parameters[name].width} bits, not {width}")
    if instance.module == "bnnc_counter7":
        inits = [instance.parameters[f"INIT{i}"].value for i in range(3)]
        return {f"y{i}": (_chained(inits, i), cell.ports) for i in range(3)}
    return {
        port: (instance.parameters[parameter].value & ((1 << (1 << count)) - 1), cell.ports[:count])
        for port, (parameter, count) in cell.outputs.items()
    }


def _chained(inits: list[int], place: int) -> int:
    """The table of output `place` of bnnc_counter7: its lookup tables, then the carry chain."""
    result = 0
    for row in range(128):
        carry = row >> 6
        for i, init in enumerate(inits[: place + 1]):
            # I5 is input a for the first table, and 1 for the others; O5 is the lower half.
            high = row >> 5 & 1 if i == 0 else 1
            propagate, generate = init >> (32 * high + (row & 31)) & 1, init >> (row & 31) & 1
            total, carry = propagate ^ carry, carry if propagate else generate
        result |= total << row
    return result
