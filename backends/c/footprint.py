"""What a network takes on its processor: all memory, all flash, and where the peak of the memory is."""

from __future__ import annotations

from dataclasses import dataclass

from bnnc.backends.c.interface import Parameter
from bnnc.backends.c.rows import RowInput
from bnnc.loops.ir import Program, expressions_of, nodes_of, statements_of
from bnnc.loops.lower.program import Lowered
from bnnc.loops.machine import Machine

SHOWN = 5
"""So many tensors are named at the peak."""
# Bytes of code a node of the program, and besides: above what gcc -O2 makes of a dozen networks, by at most a half.
CODE = {"cortex": (1.5, 300), "rv32": (1.6, 300), "xtensa": (1.8, 300), "avr": (2.0, 1900)}
OTHER_CODE = (2.5, 500)


@dataclass(frozen=True)
class Footprint:
    """Bytes. `ram`: arena, inputs, outputs and stack of a run; `ram_by_rows`: the same with an input that comes row by
    row; `code` is an estimate."""

    tables: int
    code: int
    ram: int
    ram_by_rows: int | None
    notes: tuple[str, ...]

    @property
    def least_ram(self) -> int:
        """With the better of both ways to give the input."""
        return self.ram if self.ram_by_rows is None else min(self.ram, self.ram_by_rows)


def footprint(
    lowered: Lowered,
    machine: Machine,
    inputs: tuple[Parameter, ...],
    outputs: tuple[Parameter, ...],
    arena_words: int,
    rows: RowInput | None,
    stack: int,
) -> Footprint:
    """Of a lowered network; `arena_words` are those of a run with the whole input."""
    given, results = (sum(p.length * p.element_bytes for p in array) for array in (inputs, outputs))
    ram = arena_words * 4 + given + results + stack
    by_rows = None if rows is None else rows.arena_words * 4 + results + stack
    per_node, base = next((cost for name, cost in CODE.items() if machine.name.startswith(name)), OTHER_CODE)
    code = int(base + per_node * _nodes(lowered.program))
    parts = f"{arena_words * 4} of working memory, {given} of input, {results} of output, {stack} of stack"
    notes = [f"the whole input in memory: {ram} bytes, {parts}"]
    if by_rows is not None and rows is not None and rows.streamed:
        notes.append(f"row by row, by the function for rows: {by_rows} bytes, {rows.arena_words * 4} of working memory")
    if lowered.alive:
        peak = max(lowered.alive, key=lambda alive: alive.total)
        sizes = sorted(peak.bytes, key=lambda item: -item[2])
        shown = ", ".join(f"{size} of {op.loc.name or op.opcode} ({_what(name)})" for op, name, size in sizes[:SHOWN])
        more = f" and {len(sizes) - SHOWN} more" if len(sizes) > SHOWN else ""
        layer = peak.op.loc.name or peak.op.opcode
        notes.append(f"the peak of the working memory is at `{layer}`, {peak.total} bytes: {shown}{more}")
    return Footprint(lowered.weight_bytes, code, ram, by_rows, tuple(notes))


def _what(name: str) -> str:
    return "scratch" if "scratch" in name else "rows of the input" if name.startswith("in_") else "tensor"


def _nodes(program: Program) -> int:
    """Statements, and nodes of expressions."""
    found = 0
    for function in (*program.functions, program.entry):
        for statement in statements_of(function.body):
            found += 1 + sum(1 for root in expressions_of(statement) for _ in nodes_of(root))
    return found


__all__ = ["Footprint", "footprint"]
