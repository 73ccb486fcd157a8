"""From the tree to a module: names are looked up, arguments read, layers built; every error is told, then it stops."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from bnnc.diagnostics import BnncError
from bnnc.frontends.dsl import syntax as s
from bnnc.frontends.dsl.catalogue import Arrays, Parameter
from bnnc.frontends.dsl.chains import MAX_RANK, MAX_TENSOR, Chains, Placed
from bnnc.frontends.dsl.evaluation import Evaluation, Poison, Scope
from bnnc.frontends.dsl.kinds import Real, Refused, Table, Type, Whole, Words, checked_dtype, whole
from bnnc.frontends.dsl.problems import Problems, Source, near
from bnnc.frontends.dsl.weights import Absent, Budget, Drawn, TooMany, from_file
from bnnc.ir import nn
from bnnc.ir.module import Input, Module, Note, Output, PixelMap, topological
from bnnc.ir.op import Op
from bnnc.ir.syntax import STORAGES
from bnnc.ir.types import U8, is_integer


@dataclass
class Elaborated:
    """What a tree stands for. `placed` finds the layer that made a value."""

    net: s.Net
    source: Source
    module: Module
    placed: dict[Op, Placed]
    arrays: Arrays
    train: s.TrainBlock | None
    has_weights: bool
    input_spans: dict[str, s.Span] = field(default_factory=dict)


def elaborate(net: s.Net, source: Source, folder: Path, problems: Problems) -> Elaborated:
    """Types and builds the whole net. Without a `weights` line stand-ins take the place of weights.

    Adds to `problems` what is wrong, and raises BnncError with all of it.
    """
    work = _Elaboration(net, source, folder, problems)
    return work.run()


class _Elaboration:
    def __init__(self, net: s.Net, source: Source, folder: Path, problems: Problems) -> None:
        self.net, self.source, self.folder, self.problems = net, source, folder, problems
        self.budget = Budget()
        self.arrays: Arrays = Absent(self.budget)
        self.has_weights = False
        later = frozenset(st.name.text for st in net.statements if isinstance(st, s.Branch | s.InputLine))
        self.scope = Scope(problems)
        self.evaluation = Evaluation(self.scope)
        self.chains = Chains(self.scope, self.evaluation, later)
        self.inputs: list[Input] = []
        self.pixels: list[PixelMap] = []
        self.outputs: list[tuple[s.OutputLine, Op | None]] = []
        self.loose: list[tuple[s.Span, Op | None]] = []
        self.last: Op | None = None

    # ------------------------------------------------------------------------------------------------------- the net
    def run(self) -> Elaborated:
        """The whole net; raises BnncError."""
        train = self._single(s.TrainBlock, "train")
        weights = self._single(s.WeightsLine, "weights")
        self._collect_labels()
        if weights is not None:
            self._weights(weights)
        self.chains.arrays = self.arrays
        try:
            for statement in self.net.statements:
                self._statement(statement)
        except TooMany as limit:
            self.problems.add("B0213", str(limit), self.net.name.span, "this net")
        outputs = self._outputs()
        self.problems.stop()
        if not self.inputs:
            self.problems.add("B0207", f"net `{self.net.name.text}` has no input", self.net.name.span, "this net")
            self.problems.stop()
        notes = () if self.has_weights or not self._wanted() else (self._made_up(),)
        name = self.net.name.text
        notes = (*notes, *self._unread(outputs))
        module = Module(name, tuple(self.inputs), outputs, notes, tuple(self.pixels))
        return Elaborated(
            self.net, self.source, module, self.chains.placed, self.arrays, train, self.has_weights, self.scope.where
        )

    def _unread(self, outputs: tuple[Output, ...]) -> list[Note]:
        """A warning for every name that leads to no output."""
        reached = set(topological([output.value for output in outputs]))
        return [
            Note("warning", f"`{name}` leads to no output", self.source.location(self.scope.where[name], name), "B0216")
            for name, value in self.scope.values.items()
            if value is not None and value not in reached
        ]

    def _wanted(self) -> bool:
        return isinstance(self.arrays, Absent) and bool(self.arrays.asked)

    def _made_up(self) -> Note:
        return Note("warning", "the net has no weights: those shown stand in for them", code="B0209")

    def _single(self, kind: type[Any], word: str) -> Any:
        found = [statement for statement in self.net.statements if isinstance(statement, kind)]
        for extra in found[1:]:
            self.problems.add(
                "B0206",
                f"there are two `{word}` lines",
                extra.span,
                "the second",
                others=[(found[0].span, "the first")],
            )
        return found[0] if found else None

    def _collect_labels(self) -> None:
        """Names that were given come first: an unnamed layer never takes one of them."""

        def walk(stages: tuple[s.Stage, ...]) -> None:
            for stage in stages:
                if stage.label is not None:
                    self._label(stage.label)
                if isinstance(stage.layer, s.Call):
                    for argument in stage.layer.arguments:
                        if isinstance(argument.value, s.Chain):
                            walk(argument.value.stages)

        for statement in self.net.statements:
            match statement:
                case s.InputLine():
                    walk(statement.stages)
                case s.Branch() | s.Flow():
                    walk(statement.chain.stages)
                case s.OutputLine(chain=s.Chain() as chain):
                    walk(chain.stages)

    def _label(self, label: s.Word) -> None:
        if label.text in self.chains.labels:
            self.problems.add(
                "B0206",
                f"two layers are named `{label.text}`",
                label.span,
                "the second",
                others=[(self.chains.labels[label.text], "the first")],
            )
        self.chains.labels.setdefault(label.text, label.span)

    def _weights(self, line: s.WeightsLine) -> None:
        self.has_weights = True
        source = line.source
        if isinstance(source, s.Word):
            path = Path(source.text)
            if "\0" in source.text or path.suffix.lower() not in (".npz", ".bnnm"):
                self.problems.add(
                    "B0208",
                    "weights come from a .npz or .bnnm file",
                    source.span,
                    "neither",
                    helps=('write it as: weights "net.npz"  or  weights random(1)',),
                )
                return
            try:
                self.arrays = from_file(self.folder / path, source.text, self.budget)
            except BnncError as fault:
                first = fault.diagnostics[0]
                message = first.message.replace(str(self.folder / path), source.text)
                self.problems.add(
                    "B0208",
                    f"the weights cannot be read: {message}",
                    source.span,
                    first.code,
                    notes=first.notes,
                    helps=first.helps,
                )
            except OSError as fault:
                reason = (fault.strerror or "it cannot be opened").lower()
                self.problems.add("B0208", f"`{source.text}` cannot be read: {reason}", source.span, "this file")
            except TooMany as limit:
                self.problems.add("B0213", str(limit), source.span, "this file")
            return
        arguments = source.arguments
        seed = None
        if source.name.text == "random" and len(arguments) == 1 and arguments[0].name is None:
            try:
                seed = whole(self.evaluation.evaluate(arguments[0].value, ()))
            except Poison:
                return
        if seed is None or seed < 0:
            help = ('write it as: weights "net.npz"  or  weights random(1)',)
            self.problems.add("B0208", "weights are a file, or random(seed)", source.span, "neither", helps=help)
            return
        self.arrays = Drawn(seed, self.budget)

    # ---------------------------------------------------------------------------------------------------- statements
    def _statement(self, statement: s.Statement) -> None:
        match statement:
            case s.Let():
                self._let(statement)
            case s.InputLine():
                self._input(statement)
            case s.Branch():
                value = self.chains.chain_or_none(statement.chain)
                self._define(statement.name, value)
                self.last = value
            case s.Flow():
                self.loose.append((statement.span, self.chains.chain_or_none(statement.chain)))
            case s.OutputLine():
                if statement.chain is not None:
                    value = self.chains.chain_or_none(statement.chain)
                    if statement.name.text not in self.scope.values:
                        self.scope.values[statement.name.text] = value
                        self.scope.where[statement.name.text] = statement.name.span
                else:
                    value = self.chains.value_or_none(statement.name)
                self.outputs.append((statement, value))

    def _define(self, name: s.Word, value: Op | None) -> None:
        if name.text in self.scope.where:
            self.problems.add(
                "B0206",
                f"`{name.text}` is defined twice",
                name.span,
                "the second",
                others=[(self.scope.where[name.text], "the first")],
            )
            return
        self.scope.where[name.text] = name.span
        self.scope.values[name.text] = value

    def _let(self, line: s.Let) -> None:
        try:
            value = self.evaluation.evaluate(line.value, ())
        except Poison:
            value = None
        if value is not None and not isinstance(value, Fraction):
            self.problems.add("B0205", "`let` names a number", line.value.span, "not a number")
            value = None
        if line.name.text in self.scope.where:
            self._define(line.name, None)
            return
        self.scope.where[line.name.text] = line.name.span
        self.scope.numbers[line.name.text] = value

    def _input(self, line: s.InputLine) -> None:
        op: Op | None = None
        with contextlib.suppress(Poison):
            op = self._declared(line)
        self._define(line.name, op)
        if isinstance(op, Input):
            self.inputs.append(op)
            self.chains.spans[op] = line.type.span
        if line.pixels is not None and isinstance(op, Input):
            self._pixels(line, op)
        if line.stages:
            self.loose.append((line.span, self.chains.stages_or_none(op, line.stages)))

    def _declared(self, line: s.InputLine) -> Input:
        name = line.type.dtype
        try:
            dtype = checked_dtype(name.text) if isinstance(name, s.DTypeName) else Type().read(name.text)
        except Refused as refusal:
            known = ["bit", "trit", "u8", "f32", "int", "code"]
            helps = near(name.text, known) or ("types: bit, trit, u8, f32, int<-3,4>, code<2,1,0>",)
            message = f"`{name.text}` is no type" if isinstance(name, s.Word) else f"`{name.text}`: {refusal}"
            self.problems.add("B0204", message, name.span, "no type of this name", helps=helps)
            raise Poison from None
        shape = []
        for item in line.type.shape:
            length = whole(self.evaluation.evaluate(item, ()))
            if length is None or not 1 <= length <= MAX_TENSOR:
                self.problems.add("B0205", "a shape is made of whole numbers from 1", item.span, "is none")
                raise Poison
            shape.append(length)
        if math.prod(shape) > MAX_TENSOR or len(shape) > MAX_RANK:
            limit = f"at most {MAX_TENSOR} elements on {MAX_RANK} axes"
            self.problems.add("B0213", "the input is too large", line.type.span, limit)
            raise Poison
        return Input(
            name=line.name.text,
            dtype=dtype,
            shape=tuple(shape),
            loc=self.source.location(line.name.span, line.name.text),
        )

    def _pixels(self, line: s.InputLine, op: Input) -> None:
        call = line.pixels
        assert call is not None
        if call.name.text != "pixels":
            self.problems.add(
                "B0203", f"unknown pixel map `{call.name.text}`", call.name.span, "only `pixels` is known"
            )
            return
        if op.dtype != U8:
            self.problems.add(
                "B0301",
                f"pixels are u8, but `{op.name}` is {op.type}",
                call.span,
                "",
                others=[(line.type.span, "is not u8")],
            )
            return
        parameters = (
            Parameter("scale", Real(), ""),
            Parameter("mean", Table(), "", 0.0),
            Parameter("std", Table(), "", 1.0),
        )
        try:
            given, _ = self.evaluation.arguments(call, parameters, "pixels")
        except Poison:
            return
        mean, std = (np.atleast_1d(given[name]) for name in ("mean", "std"))
        if mean.ndim > 1 or std.ndim > 1 or not given["scale"] or not bool(std.all()):
            self.problems.add("B0205", "scale and std are not 0, mean and std one number or a list", call.span, "")
            return
        for name, numbers in (("mean", mean), ("std", std)):
            if len(numbers) not in (1, *op.shape[:1]):
                self.problems.add(
                    "B0205", f"`{name}` has {len(numbers)} numbers for {op.type}", call.span, "one a channel"
                )
                return
        self.pixels.append(
            PixelMap(op.name, given["scale"], tuple(float(m) for m in mean), tuple(float(d) for d in std))
        )

    # ------------------------------------------------------------------------------------------------------- outputs
    def _outputs(self) -> tuple[Output, ...]:
        if not self.outputs:
            return self._default_output()
        outputs: list[Output] = []
        seen: dict[str, s.Span] = {}
        parameters = (
            Parameter("storage", Words(STORAGES), "", None),
            Parameter("batch", _BATCH, "", 0),
        )
        for line, value in self.outputs:
            name = line.name.text
            if name in seen:
                others = [(seen[name], "the first")]
                self.problems.add(
                    "B0206", f"two outputs are named `{name}`", line.name.span, "the second", others=others
                )
            seen[name] = line.name.span
            call = s.Call(s.Word("output", line.name.span), line.arguments, line.span)
            try:
                given, _ = self.evaluation.arguments(call, parameters, "output")
            except Poison:
                continue
            if value is None:
                continue
            if given["batch"] > len(value.type.shape):
                self.problems.add("B0205", f"{value.type} has no place {given['batch']} for the batch", line.span, "")
                continue
            outputs.append(Output(name, value, given["storage"] or _storage(value), given["batch"]))
        return tuple(outputs)

    def _default_output(self) -> tuple[Output, ...]:
        if len(self.loose) > 1:
            span, other = self.loose[1][0], self.loose[0][0]
            self.problems.add(
                "B0207",
                "two chains end, and no output is named",
                span,
                "this one",
                others=[(other, "and this one")],
                helps=("name what comes out: output scores = x -> …", "name what is used again: skip = x -> …"),
            )
            return ()
        value = self.loose[0][1] if self.loose else self.last
        if value is None:
            if not self.problems.found:
                self.problems.add(
                    "B0207",
                    f"net `{self.net.name.text}` has no output",
                    self.net.name.span,
                    "this net",
                    helps=("add layers behind an input: input x: u8[1, 28, 28] -> flatten -> …",),
                )
            return ()
        return (Output("y", value, _storage(value)),)


def _storage(value: Op) -> str:
    if isinstance(value, nn.ArgMax):
        return "int64"
    return "int32" if is_integer(value.type.dtype) else "float32"


_BATCH = Whole(0, MAX_RANK)
