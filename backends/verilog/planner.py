"""From a «bit» module to a circuit: every op becomes engines, in order; readers of one value get a fork."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from bnnc.backends.verilog.boundary import Boundary
from bnnc.backends.verilog.circuit import Circuit, Value, canonical_order, stream_of
from bnnc.backends.verilog.classes import Ranking, classes, ranking_of
from bnnc.backends.verilog.design import Design, Folding, Layer, Stream
from bnnc.backends.verilog.fifos import sized
from bnnc.backends.verilog.layers import FoldedOp, divisors, folded, layer_of
from bnnc.backends.verilog.names import Names, module_name
from bnnc.backends.verilog.plan_joins import add, concat
from bnnc.backends.verilog.plan_layers import sums
from bnnc.backends.verilog.plan_moves import moved
from bnnc.backends.verilog.plan_pools import pool
from bnnc.backends.verilog.plan_steps import step
from bnnc.diagnostics import error
from bnnc.ir import bit, move
from bnnc.ir.module import Input
from bnnc.ir.op import Op

MOST_WIRES = 512
"""Wires of an input, unless one element has more."""
Handler = Callable[[Circuit, Any, Value], Value]
ONE: dict[type[Op], Handler] = {
    bit.Step: step,
    bit.Pool: pool,
    **dict.fromkeys((move.Reshape, move.Transpose, move.Slice, move.Gather, move.Expand, move.Pad), moved),
}
"""Ops of one operand."""
MANY: dict[type[Op], Callable[[Circuit, Any, Sequence[Value]], Value]] = {bit.Add: add, move.Concat: concat}
"""Ops of any number of operands."""


def labels_of(boundary: Boundary) -> dict[Op, str]:
    """A name for each op, different from all others, that is like the user's."""
    names = Names()
    return {
        op: names.fresh((op.name if isinstance(op, Input) else op.loc.name) or op.opcode)
        for op in (*boundary.entries, *boundary.ops)
    }


def layers_of(boundary: Boundary) -> tuple[Layer, ...]:
    """The layers that can be folded, in order."""
    labels = labels_of(boundary)
    return tuple(layer_of(op, labels[op]) for op in boundary.ops if folded(op))  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """A circuit and what crosses its ends: the values of the boundary's entries and cuts.

    `ranking` is how the class is found; where it is not, `unclassed` says why.
    """

    design: Design
    entries: tuple[Value, ...]
    cuts: tuple[Value, ...]
    ranking: Ranking | None
    unclassed: str


def plan(boundary: Boundary, folding: Folding) -> Plan:
    """The circuit of a network. Raises BnncError B0622 for what no engine does."""
    labels = labels_of(boundary)
    names = Names()
    circuit = Circuit(names, labels)
    reads = _reads(boundary)
    ranking = ranking_of(boundary)
    if isinstance(ranking, Ranking):
        reads[ranking.cut] += 1
    values: dict[Op, list[Value]] = {}
    entries = []
    for op in boundary.entries:
        stream = _entry_stream(boundary, op, labels, folding)
        stream = dataclasses.replace(stream, name=names.fresh(f"{labels[op]}_in"))
        value = Value(stream, canonical_order(op.type.shape), op.type)
        entries.append(value)
        circuit.entries.add(stream.name)
        values[op] = circuit.forked(value, reads[op], op)
    for op in boundary.ops:
        value = _planned(circuit, op, [values[x].pop(0) for x in op.operands], folding)
        values[op] = circuit.forked(value, reads[op], op)
    cuts = tuple(values[op].pop(0) for op in boundary.cuts)
    found = classes(circuit, ranking, values[ranking.cut].pop(0)) if isinstance(ranking, Ranking) else None
    engines = sized(tuple(circuit.engines))
    design = Design(
        module_name(boundary.module.name),
        engines,
        tuple(value.stream for value in entries),
        tuple(value.stream for value in cuts),
        tuple(circuit.layers),
        folding,
        found,
    )
    reason = ranking if isinstance(ranking, str) else ""
    return Plan(design, tuple(entries), cuts, ranking if isinstance(ranking, Ranking) else None, reason)


def _planned(circuit: Circuit, op: Op, operands: list[Value], folding: Folding) -> Value:
    if folded(op):
        layer: FoldedOp = op  # type: ignore[assignment]
        return sums(circuit, layer, operands[0], folding)
    if type(op) in ONE:
        return ONE[type(op)](circuit, op, operands[0])
    if type(op) in MANY:
        return MANY[type(op)](circuit, op, operands)
    raise error("B0622", f"the verilog target has no engine for `{op.opcode}`", places=(op.loc,))


def _entry_stream(boundary: Boundary, entry: Op, labels: dict[Op, str], folding: Folding) -> Stream:
    """How an input crosses: as few wires as its first layer needs to be fed in time, at most MOST_WIRES."""
    stream = stream_of("", entry.type, 1)
    layers = {op: layer_of(op, labels[op]) for op in boundary.ops if folded(op)}  # type: ignore[arg-type]
    slowest = max((layer.cycles(folding.of(layer)) for layer in layers.values()), default=1)
    first = _first_layer(boundary, entry)
    simd = folding.of(layers[first]).simd if first in layers else stream.channels
    if first is not None and layers[first].vectors == 1:
        stream = dataclasses.replace(stream, pixels=1, channels=stream.elements)
    fitting = [n for n in divisors(stream.channels) if n == 1 or n * stream.width <= MOST_WIRES]
    fitting = [n for n in fitting if simd % n == 0 or n % simd == 0]
    lanes = next((n for n in fitting if stream.elements // n <= slowest), fitting[-1])
    return dataclasses.replace(stream, lanes=lanes)


def _first_layer(boundary: Boundary, entry: Op) -> Op | None:
    """The first layer behind an entry."""
    behind = {entry}
    for op in boundary.ops:
        if any(x in behind for x in op.operands):
            if folded(op):
                return op
            behind.add(op)
    return None


def _reads(boundary: Boundary) -> dict[Op, int]:
    reads = dict.fromkeys((*boundary.entries, *boundary.ops), 0)
    for op in boundary.ops:
        for operand in op.operands:
            reads[operand] += 1
    for op in boundary.cuts:
        reads[op] += 1
    return reads


__all__ = ["Plan", "labels_of", "layers_of", "plan"]
