"""Registers: after every `levels` tables a stage ends, and what is read in a later stage is carried along.

The first stage is shorter: the inputs of a layer come from afar, and many groups read each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bnnc.backends.verilog.unrolled.netlist import Netlist, Table


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Where every net is registered.

    stages[net] is the stage in which the net is made; registers[s] are the nets kept from stage s to stage s + 1, in
    ascending order. Inputs are made in stage 0; the outputs can be read after the last registers.
    """

    cells: tuple[Table, ...]
    stages: dict[int, int]
    registers: tuple[tuple[int, ...], ...]

    @property
    def latency(self) -> int:
        """Cycles from the inputs to the outputs."""
        return len(self.registers)


def pipelined(netlist: Netlist, outputs: Sequence[int], levels: int) -> Pipeline:
    """The registers of a netlist, at most `levels` tables between two of them, half as many before the first."""
    cells = tuple(netlist.alive(outputs))
    travel = levels // 2
    stages = dict.fromkeys(range(netlist.inputs + 1), 0)
    stages.update((cell.output, (netlist.levels[cell.output] - 1 + travel) // levels) for cell in cells)
    # A net is needed until the last stage that reads it.
    until = dict(stages)
    for cell in cells:
        for net in cell.inputs:
            until[net] = max(until[net], stages[cell.output])
    nets = {literal >> 1 for literal in outputs} - {0}
    latency = max((stages[net] + 1 for net in nets), default=1)
    for net in nets:
        until[net] = latency
    kept: list[list[int]] = [[] for _ in range(latency)]
    for net in sorted(until):
        for stage in range(stages[net], until[net]):
            kept[stage].append(net)
    return Pipeline(cells, stages, tuple(map(tuple, kept)))
