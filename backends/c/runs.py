"""Loads of neighbours, `buffer[v]`, `buffer[v + 1]`, …, which 8-bit processors read by one pointer.

AVR has two pointers that reach neighbours without being moved, and compilers do not know which loads are worth one.
"""

from __future__ import annotations

from bnnc.loops.ir import (
    Assign,
    Binary,
    Buffer,
    Constant,
    Expression,
    Load,
    Statement,
    Variable,
    expressions_of,
    nodes_of,
)

LEAST = 4
"""Loads that make a pointer worth it."""
REACH = 64
"""Bytes that an instruction reaches from a pointer."""

NEAR = """/* A pointer whose neighbours are read: in a register that reaches them. */
#if defined(__AVR__) && defined(__GNUC__)
#define BNNC_NEAR(pointer) __asm__("" : "+b"(pointer))
#else
#define BNNC_NEAR(pointer) ((void)0)
#endif
"""

Run = tuple[Buffer, Variable]


def place_of(load: Load) -> tuple[Run, int] | None:
    """The run that a load belongs to, and its place there; None for other loads."""
    match load.index:
        case Variable() as variable:
            place = 0
        case Binary("add", Variable() as variable, Constant(value, _)):
            place = int(value)
        case _:
            return None
    if load.type.lanes != 1 or variable.mutable or not 0 <= place * load.buffer.element.bytes < REACH:
        return None
    return (load.buffer, variable), place


def runs_of(body: tuple[Statement, ...]) -> dict[Variable, list[Buffer]]:
    """By the variable of the index, the buffers that a body reads many neighbours of; it names the variable itself."""
    own = {s.variable for s in body if isinstance(s, Assign)}
    counts: dict[Run, int] = {}
    for statement in body:
        for root in expressions_of(statement):
            for node in _loads(root):
                found = place_of(node)
                if found and found[0][1] in own and node.buffer.space == "parameter" and node.buffer.access == "read":
                    counts[found[0]] = counts.get(found[0], 0) + 1
    runs: dict[Variable, list[Buffer]] = {}
    for (buffer, variable), count in counts.items():
        if count >= LEAST:
            runs.setdefault(variable, []).append(buffer)
    return runs


def _loads(root: Expression) -> list[Load]:
    return [node for node in nodes_of(root) if isinstance(node, Load)]


__all__ = ["NEAR", "place_of", "runs_of"]
