"""The proof of a whole circuit: what every stream carries, followed from the inputs through the engines of the top.

Each engine is taken for what the head of its library file says, with the parameters of the emitted text and the words
of the emitted memories. Where an op of the model is complete, its stream is shown to carry the op's result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bnnc.backends.verilog.circuit import Value
from bnnc.backends.verilog.design import Engine, Stream
from bnnc.backends.verilog.package import Package
from bnnc.backends.verilog.planner import labels_of
from bnnc.backends.verilog.proof.arithmetic import ARITHMETIC, atoms
from bnnc.backends.verilog.proof.claims import carried, code_of
from bnnc.backends.verilog.proof.contents import Atoms, Contents, Curve, Largest, Sum, Wrong, numbers
from bnnc.backends.verilog.proof.fixed_point import FIXED
from bnnc.backends.verilog.proof.meaning import Meanings
from bnnc.backends.verilog.proof.moves import MOVES
from bnnc.backends.verilog.proof.pieces import different, steps
from bnnc.backends.verilog.proof.reader import Unreadable
from bnnc.backends.verilog.proof.reading import Reading
from bnnc.backends.verilog.proof.top import End, Placed, Top, read_top
from bnnc.backends.verilog.proof.unrolled import Refuted
from bnnc.backends.verilog.proof.weights import compare_layer
from bnnc.backends.verilog.unrolled.layers import DenseLayer
from bnnc.ir import bit
from bnnc.ir.op import Op

LIBRARY = {**MOVES, **ARITHMETIC, **FIXED}


@dataclass(frozen=True)
class Shown:
    """An op that a stream was shown to carry. engines: what it passed since the ops before; unrolled: layers whose
    netlist must be proven too."""

    label: str
    op: Op
    statement: str
    engines: tuple[str, ...]
    modules: tuple[str, ...]
    memories: tuple[str, ...]
    unrolled: tuple[str, ...] = ()


def prove_streams(package: Package, files: Mapping[str, str]) -> list[Shown]:
    """Every op of the circuit, in order. files: path -> text of rtl/ and mem/. Raises Refuted, with the layer named."""
    design = package.design
    try:
        top = read_top(files.get(f"rtl/{design.name}.v", ""))
        if top.name != design.name:
            raise Unreadable(f"the top is called `{top.name}`")
    except Unreadable as reason:
        raise Refuted(design.name, str(reason)) from None
    return _Walk(package, files, top).walk()


class _Walk:
    def __init__(self, package: Package, files: Mapping[str, str], top: Top) -> None:
        self.package, self.files, self.top = package, files, top
        boundary = package.boundary
        self.labels = labels_of(boundary)
        self.meanings = Meanings()
        for op in boundary.entries:
            self.meanings.enter(op)
        self.made = [op for op in boundary.ops if self.meanings.add(op)]
        self.claims = {value.stream.name: (op, value) for op, value in package.plan.values}
        self.engines = {engine.name: engine for engine in package.design.engines}
        self.contents: dict[str, Contents] = {}
        self.readings: dict[str, Reading] = {}
        self.shown: list[Shown] = []
        self.proven: set[Op] = set()

    def walk(self) -> list[Shown]:
        self._enter()
        waiting = list(self.top.engines)
        while waiting:
            ready = [one for one in waiting if all(t.stream in self.contents for t in one.inputs.values())]
            if not ready:
                raise Refuted(self._label(waiting[0].name), "its input never comes")
            for placed in ready:
                waiting.remove(placed)
                try:
                    self._engine(placed)
                except Wrong as reason:
                    raise Refuted(self._label(placed.name), f"`{placed.name}`: {reason}") from None
        missing = [op for op in self.made if op not in self.proven]
        if missing:
            raise Refuted(self.labels[missing[0]], "no stream carries its result")
        self._leave()
        return self.shown

    def _label(self, name: str) -> str:
        """The layer that an engine belongs to, as the user knows it."""
        engine = self.engines.get(name)
        return (engine.loc.name if engine else "") or name

    def _enter(self) -> None:
        plan = self.package.plan
        if len(self.top.inputs) != len(plan.entries):
            raise Refuted(self.top.name, f"it has {len(self.top.inputs)} inputs, not {len(plan.entries)}")
        for end, op, value in zip(self.top.inputs, self.package.boundary.entries, plan.entries, strict=True):
            stream = value.stream
            if end.taken.bits != stream.bits or end.width != -(-stream.bits // 8) * 8:
                raise Refuted(self.labels[op], f"`{end.prefix}` has {end.taken.bits} bits, not {stream.bits}")
            ids = self.meanings.ids(op).reshape(-1)[value.order]
            form = Atoms(ids, code_of(stream))
            self.contents[end.taken.stream] = Contents(form, stream.lanes, stream.width, stream.elements)

    def _engine(self, placed: Placed) -> None:
        engine = self.engines.get(placed.name)
        stream = engine.outputs[0].stream if engine else None
        reading = Reading(placed, self.files, stream)
        self.readings[placed.name] = reading
        inputs = []
        prefixes = ["in"] if len(placed.inputs) == 1 else ["a", "b"] if placed.inputs else []
        if set(prefixes) != set(placed.inputs):
            raise Wrong(f"its inputs are {', '.join(placed.inputs)}")
        for prefix in prefixes:
            taken = placed.inputs[prefix]
            inputs.append(self.contents[taken.stream].cut(taken.bits))
        via = (*(name for one in inputs for name in one.via), placed.name)
        if engine is not None and engine.unrolled is not None:
            self._unrolled(placed, engine, inputs[0], via)
            return
        if placed.module not in LIBRARY:
            raise Wrong(f"nothing is known of a module `{placed.module}`")
        found = replace(LIBRARY[placed.module](reading, inputs, self.meanings.elements), via=via)
        reading.finish()
        _deep_enough(reading, engine)
        for output in placed.outputs:
            self._carry(output, found)

    def _carry(self, stream: str, found: Contents) -> None:
        if self.top.widths.get(f"{stream}_data") != found.bits:
            raise Wrong(f"`{stream}_data` has {self.top.widths.get(f'{stream}_data')} bits, not {found.bits}")
        if stream in self.claims:
            op, value = self.claims[stream]
            found = self._show(found, op, value)
        self.contents[stream] = found

    def _show(self, found: Contents, op: Op, value: Value) -> Contents:
        after, statement = carried(found, op, value, self.meanings)
        self._note(op, found.via, statement)
        return after

    def _note(self, op: Op, via: tuple[str, ...], statement: str, unrolled: tuple[str, ...] = ()) -> None:
        if op in self.proven:
            return
        self.proven.add(op)
        placed = [self.readings[name] for name in dict.fromkeys(via)]
        modules = tuple(sorted({one.placed.module for one in placed}))
        memories = tuple(path for one in placed for path in one.used)
        names = tuple(one.placed.name for one in placed)
        self.shown.append(Shown(self.labels[op], op, statement, names, modules, memories, unrolled))

    def _unrolled(self, placed: Placed, engine: Engine, found: Contents, via: tuple[str, ...]) -> None:
        """An engine whose netlist is proven by itself; here, that the layers it is proven for are the model's."""
        made, (output,) = engine.unrolled, placed.outputs
        assert made is not None
        if placed.module != made.module or output not in self.claims or placed.parameters:
            raise Wrong(f"`{placed.module}` is not `{made.module}`")
        op, value = self.claims[output]
        source, result = made.network.source, made.network.result
        form = atoms(numbers(found, self.meanings.elements, source.lanes, source.width, source.signed))
        if form.code != code_of(source):
            raise Wrong("its input is coded in another way than it was proven for")
        if (result.width, result.lanes) != (value.stream.width, value.stream.lanes):
            raise Wrong("its results cross in another way than they were proven for")
        first, ops = _chain(op, made.layers)
        weights, vectors = made.layers[0].weights.astype(np.int64), found.size // source.lanes
        neurons, rows = np.tile(np.arange(len(weights)), vectors), np.repeat(np.arange(vectors), len(weights))
        ids, zeros = form.ids.reshape(vectors, source.lanes), np.zeros(vectors * len(weights), np.int64)
        order = value.order if len(ops) < 3 else np.arange(len(weights))  # of several layers the first is dense
        plain = Value(replace(value.stream, multiplier=1, offset=0), order, first.type)
        statement = compare_layer(
            Sum(ids, rows, weights, neurons, zeros), first, plain, self.meanings, np.zeros(len(weights), np.int64)
        )
        for inner in ops:
            self._note(inner, via, statement if inner is first else "within the same netlist", (made.module,))
        if self.top.widths.get(f"{output}_data") != value.stream.bits:
            raise Wrong(f"`{output}_data` has {self.top.widths.get(f'{output}_data')} bits, not {value.stream.bits}")
        ids = self.meanings.ids(op).reshape(-1)[value.order]
        self.contents[output] = Contents(Atoms(ids, code_of(value.stream)), result.lanes, result.width, len(ids))

    def _leave(self) -> None:
        plan, design = self.package.plan, self.package.design
        ends = list(self.top.outputs)
        wanted: list[tuple[Op, Value | None, Stream]] = [
            (op, value, value.stream) for op, value in zip(self.package.boundary.cuts, plan.cuts, strict=True)
        ]
        if design.classes is not None and plan.ranking is not None:
            wanted.append((plan.ranking.cut, None, design.classes))
        if len(ends) != len(wanted):
            raise Refuted(self.top.name, f"it has {len(ends)} outputs, not {len(wanted)}")
        for end, (op, value, stream) in zip(ends, wanted, strict=True):
            self._end(end, op, value, stream)

    def _end(self, end: End, op: Op, value: Value | None, stream: Stream) -> None:
        try:
            self._left(end, op, value, stream)
        except Wrong as reason:
            raise Refuted(self.labels[op], f"`{end.prefix}`: {reason}") from None

    def _left(self, end: End, op: Op, value: Value | None, stream: Stream) -> None:
        found = self.contents[end.taken.stream]
        if end.taken.bits != stream.bits or end.width != -(-stream.bits // 8) * 8:
            raise Wrong(f"it has {end.taken.bits} bits, not {stream.bits}")
        if end.last != found.beats:
            raise Wrong(f"tlast comes after {end.last} beats, not {found.beats}")
        if value is None:
            self._class(found, op)
            return
        ids = self.meanings.ids(op).reshape(-1)[value.order]
        form = found.form
        if not isinstance(form, Atoms) or form.code != code_of(stream) or not np.array_equal(form.ids, ids):
            raise Wrong("it does not carry the result of the layer, in the order that report.json states")

    def _class(self, found: Contents, op: Op) -> None:
        """The class is the place of the largest of the integers, or of their ranks."""
        ranking, form = self.package.plan.ranking, found.form
        assert ranking is not None
        ids = self.meanings.ids(op).reshape(-1)
        if not isinstance(form, Largest) or not np.array_equal(form.of.ids, ids):
            raise Wrong("it compares other numbers")
        if ranking.ranks is None:
            if not isinstance(form.of, Atoms) or form.of.code.factor <= 0:
                raise Wrong("it compares other numbers")
            return
        if not isinstance(form.of, Curve):
            raise Wrong("it does not compare ranks")
        lo, hi = self.meanings.elements.ranges(ids)
        code = form.of.code
        for n, row in enumerate(form.of.row.tolist()):
            low, high = int(-((-code.factor * lo[n] - code.offset) // code.divisor)), int(code.raw(hi[n]))
            raws = np.arange(low, high + 1)
            wanted = steps(raws[None, 1:], ranking.ranks[n][code.value(raws) - ranking.low][None])
            found_one = different((form.of.pieces, row), (wanted, 0), low, high)
            if found_one is not None:
                raise Wrong(f"class {n} has the rank {found_one[1]} for {int(code.value(np.array(found_one[0])))}")


def _chain(last: Op, layers: Sequence[DenseLayer]) -> tuple[bit.Conv | bit.Dense, list[Op]]:
    """The ops that the layers of a netlist are, in order, and the first. Raises Wrong where they are others."""
    found: list[Op] = []
    first: bit.Conv | bit.Dense | None = None
    op = last
    for number in reversed(range(len(layers))):
        layer = layers[number]
        if layer.thresholds is not None:
            if not isinstance(op, bit.Step) or not (
                np.array_equal(layer.thresholds, op.thresholds) and np.array_equal(np.array(layer.values), op.values)
            ):
                raise Wrong(f"`{layer.name}` has other thresholds than the model")
            found.append(op)
            op = op.x
        if not isinstance(op, bit.Dense | bit.Conv) or (number and not np.array_equal(layer.weights, op.weights)):
            raise Wrong(f"`{layer.name}` has other weights than the model")
        found.append(op)
        first, op = op, op.x
    assert first is not None
    return first, found[::-1]


def _deep_enough(reading: Reading, engine: Engine | None) -> None:
    """A buffer is as deep as the cycle model had it, which found that no engines wait for one another."""
    if reading.placed.module != "bnnc_fifo":
        return
    wanted = engine.parameter("DEPTH") if engine is not None and engine.module == "bnnc_fifo" else 0
    if engine is None or reading.number("DEPTH") < wanted:
        raise Wrong(f"DEPTH is {reading.number('DEPTH')}, but {wanted} beats have to wait there")


__all__ = ["Shown", "prove_streams"]
