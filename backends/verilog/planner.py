"""From a «bit» module to a circuit: every op becomes engines, in order; readers of one value get a fork."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bnnc.backends.verilog import plan_fixed
from bnnc.backends.verilog.boundary import Boundary
from bnnc.backends.verilog.circuit import Circuit, Known, Value, canonical_order, stream_of
from bnnc.backends.verilog.classes import Ranking, classes, ranking_of
from bnnc.backends.verilog.design import Design, Fold, Folding, Layer, Stream
from bnnc.backends.verilog.fifos import sized
from bnnc.backends.verilog.layers import FoldedOp, divisors, folded, layer_of
from bnnc.backends.verilog.names import Names, module_name
from bnnc.backends.verilog.plan_joins import add, concat
from bnnc.backends.verilog.plan_layers import sums
from bnnc.backends.verilog.plan_moves import moved
from bnnc.backends.verilog.plan_pools import pool
from bnnc.backends.verilog.plan_steps import step
from bnnc.backends.verilog.plan_unrolled import Chain, Unrolling, chains, chosen_ops, unrolled
from bnnc.diagnostics import error
from bnnc.ir import bit, fixed, move
from bnnc.ir.module import Input
from bnnc.ir.op import Op
from bnnc.reference.run import evaluate

MOST_WIRES = 512
"""Wires of an input, unless one element has more."""
FOLDED = Unrolling()
Handler = Callable[[Circuit, Any, Value], Value]
ONE: dict[type[Op], Handler] = {
    bit.Step: step,
    bit.Pool: pool,
    fixed.Map: plan_fixed.lines,
    fixed.Table: plan_fixed.table,
    fixed.Pool: plan_fixed.pool,
    **dict.fromkeys((move.Reshape, move.Transpose, move.Slice, move.Gather, move.Expand, move.Pad), moved),
}
"""Ops of one operand."""
MANY: dict[type[Op], Callable[[Circuit, Any, Sequence[Value]], Value]] = {bit.Add: add, move.Concat: concat}
"""Ops of any number of operands."""
BROADCASTING: dict[type[Op], Callable[[Circuit, Any, Sequence[Value | Known]], Value]] = {
    fixed.Add: plan_fixed.add,
    fixed.Mul: plan_fixed.mul,
}
"""Ops of any number of operands, which are brought to one shape."""


def labels_of(boundary: Boundary) -> dict[Op, str]:
    """A name for each op, different from all others, that is like the user's."""
    names = Names()
    return {
        op: names.fresh((op.name if isinstance(op, Input) else op.loc.name) or op.opcode)
        for op in (*boundary.entries, *boundary.ops)
    }


def layers_of(boundary: Boundary, unrolling: Unrolling = FOLDED) -> tuple[Layer, ...]:
    """The layers that are folded, in order. Raises BnncError B0621 for unrolled layers that are none."""
    labels = labels_of(boundary)
    unfolded = chosen_ops(unrolling, boundary.ops, labels)
    ops = [op for op in boundary.ops if folded(op) and op not in unfolded]
    return tuple(layer_of(op, labels[op]) for op in ops)  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """A circuit and what crosses its ends: the values of the boundary's entries and cuts.

    `ranking` is how the class is found; where it is not, `unclassed` says why. `values`: where the result of each op
    crosses, one op for each stream.
    """

    design: Design
    entries: tuple[Value, ...]
    cuts: tuple[Value, ...]
    ranking: Ranking | None
    unclassed: str
    values: tuple[tuple[Op, Value], ...] = ()


def plan(boundary: Boundary, folding: Folding, unrolling: Unrolling = FOLDED) -> Plan:
    """The circuit of a network. Raises BnncError B0622 for what no engine does."""
    labels = labels_of(boundary)
    names = Names()
    reads = _reads(boundary)
    ranking = ranking_of(boundary)
    if isinstance(ranking, Ranking):
        reads[ranking.cut] += 1
    unfolded = chains(chosen_ops(unrolling, boundary.ops, labels), boundary.ops, reads)
    inside = {op: chain for chain in unfolded for op in chain.ops}
    values: dict[Op, list[Value]] = {}
    entries = []
    pace = _pace(boundary, labels, folding, inside)
    streams = {op: _entry_stream(boundary, op, labels, folding, inside, pace) for op in boundary.entries}
    circuit = Circuit(names, labels, max([pace, *(stream.beats for stream in streams.values())]))
    for op in boundary.entries:
        stream = dataclasses.replace(streams[op], name=names.fresh(f"{labels[op]}_in"))
        value = Value(stream, canonical_order(op.type.shape), op.type)
        entries.append(value)
        circuit.entries.add(stream.name)
        values[op] = circuit.forked(value, reads[op], op)
    constants: dict[Op, np.ndarray] = {}
    results: dict[str, tuple[Op, Value]] = {}
    for op in boundary.ops:
        if all(x in constants for x in op.operands):
            constants[op] = evaluate(op, [constants[x] for x in op.operands])
            continue
        if op in inside:
            if op is inside[op].last:
                value = unrolled(circuit, inside[op], values[inside[op].first.x].pop(0), unrolling)
                results.setdefault(value.stream.name, (op, value))
                values[op] = circuit.forked(value, reads[op], op)
            continue
        given = [values[x].pop(0) if x in values else Known(constants[x], x.type) for x in op.operands]
        value = _planned(circuit, op, given, folding)
        if value.stream.name not in circuit.entries:
            results.setdefault(value.stream.name, (op, value))
        values[op] = circuit.forked(value, reads[op], op)
    for op in boundary.cuts:
        if op in constants:
            raise error("B0622", f"`{op.opcode}` is the same for every input", places=(op.loc,))
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
    rank = ranking if isinstance(ranking, Ranking) else None
    return Plan(design, tuple(entries), cuts, rank, reason, tuple(results.values()))


def _planned(circuit: Circuit, op: Op, given: Sequence[Value | Known], folding: Folding) -> Value:
    if type(op) in BROADCASTING:
        return BROADCASTING[type(op)](circuit, op, given)
    like = next(value for value in given if isinstance(value, Value))
    operands = [value if isinstance(value, Value) else circuit.constant(op, value, like) for value in given]
    if isinstance(op, fixed.Conv | fixed.Dense):
        return plan_fixed.layer(circuit, op, operands[0], folding)
    if folded(op):
        layer: FoldedOp = op  # type: ignore[assignment]
        return sums(circuit, layer, operands[0], folding)
    if type(op) in ONE:
        return ONE[type(op)](circuit, op, operands[0])
    if type(op) in MANY:
        return MANY[type(op)](circuit, op, operands)
    raise error("B0622", f"the verilog target has no engine for `{op.opcode}`", places=(op.loc,))


def _pace(boundary: Boundary, labels: dict[Op, str], folding: Folding, inside: dict[Op, Chain]) -> int:
    """The cycles a sample of the slowest layer: as many as it takes folded, or as its windows take unrolled."""
    folded_ones = [layer_of(op, labels[op]) for op in boundary.ops if folded(op) and op not in inside]  # type: ignore[arg-type]
    windows = [layer_of(op, labels[op]) for op in inside if isinstance(op, bit.Conv)]
    cycles = [layer.cycles(folding.of(layer)) for layer in folded_ones]
    return max([1, *cycles, *(layer.cycles(Fold(layer.outputs, layer.inputs)) for layer in windows)])


def _entry_stream(
    boundary: Boundary, entry: Op, labels: dict[Op, str], folding: Folding, inside: dict[Op, Chain], pace: int
) -> Stream:
    """How an input crosses: as few wires as its first layer needs to be fed in time, at most MOST_WIRES.

    Unrolled dense layers take a whole sample at a time.
    """
    stream = stream_of("", entry.type, 1)
    if any(entry in op.operands and isinstance(op, bit.Dense) for op in inside):
        return dataclasses.replace(stream, pixels=1, channels=stream.elements, lanes=stream.elements)
    layers = {
        op: layer_of(op, labels[op])  # type: ignore[arg-type]
        for op in boundary.ops
        if folded(op) and op not in inside
    }
    first = _first_layer(boundary, entry)
    simd = folding.of(layers[first]).simd if first in layers else stream.channels
    if first in layers and layers[first].vectors == 1:
        stream = dataclasses.replace(stream, pixels=1, channels=stream.elements)
    fitting = [n for n in divisors(stream.channels) if n == 1 or n * stream.width <= MOST_WIRES]
    fitting = [n for n in fitting if simd % n == 0 or n % simd == 0]
    lanes = next((n for n in fitting if stream.elements // n <= pace), fitting[-1])
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
