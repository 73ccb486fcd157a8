"""From the tree to a module: names are looked up, arguments read, layers built; every error is told, then it stops."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from bnnc.diagnostics import BnncError
from bnnc.frontends.dsl import syntax as s
from bnnc.frontends.dsl.catalogue import (
    ANY_NUMBER,
    REQUIRED,
    Arrays,
    BadArgument,
    Layer,
    Mismatch,
    Parameter,
    Use,
)
from bnnc.frontends.dsl.kinds import Kind, Real, Refused, Table, Type, Whole, Words, checked_dtype, whole
from bnnc.frontends.dsl.layers import LAYERS
from bnnc.frontends.dsl.problems import Problems, Source, near
from bnnc.frontends.dsl.weights import Absent, Budget, Drawn, TooMany, Unfit, from_file
from bnnc.ir import nn
from bnnc.ir.module import Input, Module, Note, Output, PixelMap
from bnnc.ir.op import Op, TypeRuleError
from bnnc.ir.syntax import STORAGES
from bnnc.ir.types import U8, is_integer

MAX_TENSOR = 1 << 28
MAX_LAYERS = 1 << 16
MAX_RANK = 8
MAX_NUMBER = 10**40


class Poison(Exception):
    """Something this depends on is wrong, and has been told already."""


@dataclass(frozen=True)
class Placed:
    """A layer as it stands in the net: for the trainer, which looks at layers, not at ops."""

    layer: str
    name: str
    xs: tuple[Op, ...]
    result: Op
    values: dict[str, Any]
    span: s.Span


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
        self.numbers: dict[str, Fraction] = {}
        self.values: dict[str, Op | None] = {}
        self.where: dict[str, s.Span] = {}
        self.labels: dict[str, s.Span] = {}
        self.counts: dict[str, int] = {}
        self.spans: dict[Op, s.Span] = {}
        self.placed: dict[Op, Placed] = {}
        self.inputs: list[Input] = []
        self.pixels: list[PixelMap] = []
        self.outputs: list[tuple[s.OutputLine, Op | None]] = []
        self.loose: list[tuple[s.Span, Op | None]] = []
        self.last: Op | None = None
        self.layers = 0

    # ------------------------------------------------------------------------------------------------------- the net
    def run(self) -> Elaborated:
        """The whole net; raises BnncError."""
        train = self._single(s.TrainBlock, "train")
        weights = self._single(s.WeightsLine, "weights")
        self._collect_labels()
        if weights is not None:
            self._weights(weights)
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
        module = Module(name, tuple(self.inputs), outputs, notes, tuple(self.pixels))
        return Elaborated(self.net, self.source, module, self.placed, self.arrays, train, self.has_weights, self.where)

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
        if label.text in self.labels:
            self.problems.add(
                "B0206",
                f"two layers are named `{label.text}`",
                label.span,
                "the second",
                others=[(self.labels[label.text], "the first")],
            )
        self.labels.setdefault(label.text, label.span)

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
                self.problems.add(
                    "B0208",
                    f"the weights cannot be read: {first.message}",
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
                seed = whole(self._evaluate(arguments[0].value, ()))
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
                value = self._chain_or_none(statement.chain)
                self._define(statement.name, value)
                self.last = value
            case s.Flow():
                self.loose.append((statement.span, self._chain_or_none(statement.chain)))
            case s.OutputLine():
                if statement.chain is not None:
                    value = self._chain_or_none(statement.chain)
                    if statement.name.text not in self.values:
                        self.values[statement.name.text] = value
                        self.where[statement.name.text] = statement.name.span
                else:
                    value = self._value_or_none(statement.name)
                self.outputs.append((statement, value))

    def _define(self, name: s.Word, value: Op | None) -> None:
        if name.text in self.where:
            self.problems.add(
                "B0206",
                f"`{name.text}` is defined twice",
                name.span,
                "the second",
                others=[(self.where[name.text], "the first")],
            )
            return
        self.where[name.text] = name.span
        self.values[name.text] = value

    def _let(self, line: s.Let) -> None:
        try:
            value = self._evaluate(line.value, ())
        except Poison:
            value = None
        if value is not None and not isinstance(value, Fraction):
            self.problems.add("B0205", "`let` names a number", line.value.span, "not a number")
            value = None
        if line.name.text in self.where:
            self._define(line.name, None)
            return
        self.where[line.name.text] = line.name.span
        self.numbers[line.name.text] = value  # type: ignore[assignment]

    def _input(self, line: s.InputLine) -> None:
        op: Op | None = None
        try:
            op = self._declared(line)
        except Poison:
            pass
        self._define(line.name, op)
        if isinstance(op, Input):
            self.inputs.append(op)
            self.spans[op] = line.type.span
        if line.pixels is not None and isinstance(op, Input):
            self._pixels(line, op)
        if line.stages:
            self.loose.append((line.span, self._stages_or_none(op, line.stages)))

    def _declared(self, line: s.InputLine) -> Input:
        name = line.type.dtype
        try:
            if isinstance(name, s.DTypeName):
                dtype = checked_dtype(name.text)
            else:
                dtype = Type().read(name.text)
        except Refused as refusal:
            known = ["bit", "trit", "u8", "f32", "int", "code"]
            helps = near(name.text, known) or ("types: bit, trit, u8, f32, int<-3,4>, code<2,1,0>",)
            message = f"`{name.text}` is no type" if isinstance(name, s.Word) else f"`{name.text}`: {refusal}"
            self.problems.add("B0204", message, name.span, "no type of this name", helps=helps)
            raise Poison from None
        shape = []
        for item in line.type.shape:
            length = whole(self._evaluate(item, ()))
            if length is None or not 1 <= length <= MAX_TENSOR:
                self.problems.add("B0205", "a shape is made of whole numbers from 1", item.span, "is none")
                raise Poison
            shape.append(length)
        if math.prod(shape) > MAX_TENSOR or len(shape) > MAX_RANK:
            limit = f"at most {MAX_TENSOR} elements on {MAX_RANK} axes"
            self.problems.add("B0213", "the input is too large", line.type.span, limit)
            raise Poison
        return Input(
            name=line.name.text, dtype=dtype, shape=tuple(shape), loc=self._location(line.name, line.name.text)
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
            given, _ = self._arguments(call, parameters, "pixels")
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
                given, _ = self._arguments(call, parameters, "output")
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

    # -------------------------------------------------------------------------------------------------------- chains
    def _chain_or_none(self, chain: s.Chain) -> Op | None:
        try:
            return self._chain(chain)
        except Poison:
            return None

    def _stages_or_none(self, value: Op | None, stages: tuple[s.Stage, ...]) -> Op | None:
        for stage in stages:
            try:
                value = self._layer(stage, value)
            except Poison:
                value = None
        return value

    def _chain(self, chain: s.Chain) -> Op:
        if chain.start is not None:
            self.problems.add("B0204", "a chain starts with a value", chain.start.span, "a number is none")
            raise Poison
        head, *rest = chain.stages
        try:
            value: Op | None = self._head(head)
        except Poison:
            value = None
        value = self._stages_or_none(value, tuple(rest))
        if value is None:
            raise Poison
        return value

    def _head(self, stage: s.Stage) -> Op:
        layer = stage.layer
        if isinstance(layer, s.Word):
            if layer.text in self.values and layer.text in self.where:
                if stage.label is not None:
                    self.problems.add(
                        "B0202",
                        f"`{layer.text}` is a value, and only layers are named with `:`",
                        stage.span,
                        "",
                        helps=(f"{stage.label.text} = {layer.text}",),
                    )
                return self._known(layer)
            if layer.text in LAYERS and not layer.quoted and LAYERS[layer.text].operands:
                self._no_operand(layer)
            if layer.text not in LAYERS or layer.quoted:
                self._unknown_value(layer)
        elif layer.name.text in LAYERS and LAYERS[layer.name.text].operands:
            positional = [a for a in layer.arguments if a.name is None]
            if not any(self._is_value(a.value) for a in positional[:1]):
                self._no_operand(layer.name)
        return self._layer(stage, None, head=True)

    def _no_operand(self, word: s.Word) -> None:
        self.problems.add(
            "B0202",
            f"`{word.text}` has no input",
            word.span,
            "nothing leads here",
            helps=(f"put `->` before it, or start with a value: x -> {word.text}",),
        )
        raise Poison

    def _known(self, word: s.Word) -> Op:
        value = self.values[word.text]
        if value is None:
            raise Poison
        return value

    def _value_or_none(self, word: s.Word) -> Op | None:
        try:
            if word.text not in self.values:
                self._unknown_value(word)
            return self._known(word)
        except Poison:
            return None

    def _unknown_value(self, word: s.Word) -> None:
        if word.text in self.numbers:
            self.problems.add("B0204", f"`{word.text}` is a number, not a value", word.span, "a value is needed here")
        else:
            helps = near(word.text, self.values)
            if not helps and any(isinstance(st, s.Branch) and st.name.text == word.text for st in self.net.statements):
                helps = ("a value is defined before it is used",)
            self.problems.add("B0204", f"unknown value `{word.text}`", word.span, "no value of this name", helps=helps)
        raise Poison

    def _is_value(self, expression: s.Expression) -> bool:
        match expression:
            case s.Word(text=text):
                return text in self.values or (text not in self.numbers and text not in _WORDS)
            case s.Chain() | s.Call():
                return True
        return False

    def _location(self, word: s.Word, name: str) -> Any:
        return self.source.location(word.span, name)

    def _name(self, stage: s.Stage, layer: str) -> str:
        if stage.label is not None:
            return stage.label.text
        while True:
            self.counts[layer] = self.counts.get(layer, 0) + 1
            name = f"{layer}{self.counts[layer]}"
            if name not in self.labels:
                return name

    def _layer(self, stage: s.Stage, value: Op | None, head: bool = False) -> Op:
        """The result of one layer on `value` (None: at the head of a chain, or something is wrong before it)."""
        written = stage.layer
        call = written if isinstance(written, s.Call) else s.Call(written, (), written.span)
        word = call.name
        layer = None if word.quoted else LAYERS.get(word.text)
        if layer is None:
            self._unknown_layer(word)
        assert layer is not None
        self.layers += 1
        if self.layers > MAX_LAYERS:
            raise TooMany(f"the net has more than {MAX_LAYERS} layers")
        name = self._name(stage, layer.name)
        values, rest = self._arguments(call, layer.parameters, layer.name, layer.operands, head)
        if value is None and not head:
            raise Poison
        operands = ([] if value is None else [value]) + [self._operand(each) for each in rest]
        if layer.operands != ANY_NUMBER and len(operands) != layer.operands:
            takes = {0: "no value", 1: "one value"}.get(layer.operands, f"{layer.operands} values")
            extra = " (the one before `->` is the first)" if layer.operands > 1 else ""
            self.problems.add(
                "B0205", f"`{layer.name}` takes {takes}{extra}, but gets {len(operands)}", call.span, f"takes {takes}"
            )
            raise Poison
        place = self.source.location(call.span, name)
        use = Use(layer.name, tuple(operands), values, name, place, self.arrays)
        result = self._built(layer, use, call)
        self.spans[result] = call.span
        self.placed[result] = Placed(layer.name, name, use.xs, result, values, call.span)
        return result

    def _built(self, layer: Layer, use: Use, call: s.Call) -> Op:
        def told(code: str, message: str, span: s.Span, label: str, helps: tuple[str, ...] = ()) -> Poison:
            others = (
                [(self.spans[x], f"gives {x.type}") for x in use.xs if x in self.spans][:2] if code == "B0301" else []
            )
            self.problems.add(code, message, span, label, others=others, helps=helps)
            return Poison()

        try:
            result = layer.build(use)
        except Mismatch as wrong:
            raise told("B0301", wrong.message, call.span, wrong.label, wrong.helps) from None
        except BadArgument as wrong:
            span = next((a.span for a in call.arguments if a.name and a.name.text == wrong.name), call.span)
            raise told("B0205", f"`{wrong.name}` of `{layer.name}` {wrong.message}", span, "") from None
        except Unfit as wrong:
            raise told("B0208", wrong.message, call.span, wrong.label, wrong.helps) from None
        except TypeRuleError as wrong:
            raise told("B0301", f"`{layer.name}`: {wrong}", call.span, "does not fit") from None
        except (ValueError, IndexError, OverflowError) as wrong:
            raise told("B0205", f"`{layer.name}` cannot be made: {wrong}", call.span, "") from None
        if result.type.size > MAX_TENSOR or len(result.type.shape) > MAX_RANK:
            raise told("B0213", f"`{layer.name}` gives {result.type}, which is too large", call.span, "too large")
        return result

    def _unknown_layer(self, word: s.Word) -> None:
        if word.text in self.values:
            self.problems.add(
                "B0203",
                f"`{word.text}` is a value, not a layer",
                word.span,
                "a layer is needed here",
                helps=(f"add({word.text}) or concat({word.text}) joins a value",),
            )
        else:
            others = {
                "linear": "dense",
                "fc": "dense",
                "relu6": "clip",
                "batchnorm": "norm",
                "bn": "norm",
                "conv2d": "conv",
            }
            others |= {
                "maxpool2d": "maxpool",
                "permute": "transpose",
                "argmin": "argmin",
                "pool": "maxpool",
                "cat": "concat",
            }
            helps = near(word.text, LAYERS)
            if word.text.lower() in others:
                helps = (f"did you mean `{others[word.text.lower()]}`?",)
            self.problems.add("B0203", f"unknown layer `{word.text}`", word.span, "no layer of this name", helps=helps)
        raise Poison

    def _operand(self, argument: s.Argument) -> Op:
        expression = argument.value
        match expression:
            case s.Word() if expression.text in self.values or expression.text not in self.numbers:
                if expression.text not in self.values:
                    self._unknown_value(expression)
                return self._known(expression)
            case s.Chain():
                return self._chain(expression)
            case s.Call():
                return self._head(s.Stage(None, expression, expression.span))
        value = self._evaluate(expression, ())
        try:
            array = Table().read(value)
        except Refused:
            self.problems.add("B0205", "a value or numbers are needed here", expression.span, "neither")
            raise Poison from None
        return nn.Constant(values=array.astype(np.float32), loc=self.source.location(expression.span))

    # ----------------------------------------------------------------------------------------------------- arguments
    def _arguments(
        self, call: s.Call, parameters: tuple[Parameter, ...], layer: str, operands: int = 0, head: bool = False
    ) -> tuple[dict[str, Any], list[s.Argument]]:
        """The arguments by name, with defaults, and those that are operands."""
        known = {parameter.name: parameter for parameter in parameters}
        given: dict[str, s.Argument] = {}
        positional = [argument for argument in call.arguments if argument.name is None]
        wanted = len(positional) if operands == ANY_NUMBER else max(0, operands - (0 if head else 1))
        rest, positional = positional[:wanted], positional[wanted:]
        wrong = False

        def told(code: str, message: str, span: s.Span, label: str, helps: tuple[str, ...] = ()) -> None:
            nonlocal wrong
            wrong = True
            self.problems.add(code, message, span, label, helps=helps)

        for parameter, argument in zip(parameters, positional, strict=False):
            given[parameter.name] = argument
        for argument in positional[len(parameters) :]:
            told("B0205", f"`{layer}` has no more arguments", argument.span, "one too many")
        for argument in call.arguments:
            if argument.name is None:
                continue
            name = argument.name.text
            if name not in known:
                helps = near(name, known) or ((f"its arguments: {', '.join(known)}",) if known else ())
                told("B0205", f"`{layer}` has no argument `{name}`", argument.name.span, "not known", helps)
            elif name in given:
                told("B0205", f"`{name}` of `{layer}` is given twice", argument.span, "the second")
            else:
                given[name] = argument
        values: dict[str, Any] = {}
        for name, parameter in known.items():
            if name in given:
                try:
                    values[name] = self._read(given[name].value, parameter.kind, f"`{name}` of `{layer}`")
                except Poison:
                    wrong = True
            elif parameter.default is REQUIRED:
                example = LAYERS[layer].example if layer in LAYERS else ""
                helps = (f"write it as: {example}",) if example else ()
                told("B0205", f"`{layer}` needs `{name}`: {parameter.summary}", call.span, f"no `{name}`", helps)
            else:
                values[name] = parameter.default
        if wrong:
            raise Poison
        return values, rest

    def _read(self, expression: s.Expression, kind: Kind, what: str) -> Any:
        value = self._evaluate(expression, kind.words)
        try:
            return kind.read(value)
        except Refused as refusal:
            helps = near(value, kind.words) if isinstance(value, str) else ()
            self.problems.add("B0205", f"{what} {refusal}", expression.span, "", helps=helps)
            raise Poison from None

    def _evaluate(self, expression: s.Expression, words: tuple[str, ...]) -> Any:
        """A Fraction, a tuple, a word out of `words`, or a dtype. Raises Poison."""
        match expression:
            case s.Number():
                return expression.value
            case s.Size():
                return tuple(Fraction(value) for value in expression.values)
            case s.List():
                return tuple(self._evaluate(item, ()) for item in expression.items)
            case s.DTypeName():
                try:
                    return checked_dtype(expression.text)
                except Refused as refusal:
                    self.problems.add("B0204", f"`{expression.text}`: {refusal}", expression.span, "")
                    raise Poison from None
            case s.Word():
                return self._word(expression, words)
            case s.Arithmetic():
                return self._arithmetic(expression)
        self.problems.add("B0205", "a number or a word is needed here", expression.span, "a value is none")
        raise Poison

    def _word(self, word: s.Word, words: tuple[str, ...]) -> Any:
        if word.text in words and not word.quoted:
            return word.text
        if word.text in self.numbers:
            number = self.numbers[word.text]
            if number is None:
                raise Poison
            return number
        if words and not word.quoted and word.text not in self.values:
            return word.text  # the kind says what it takes instead
        if word.text in self.values:
            self.problems.add("B0205", f"`{word.text}` is a value, not a number", word.span, "a number is needed here")
        else:
            helps = near(word.text, (*self.numbers, *words)) or (f"let {word.text} = 100  defines it",)
            self.problems.add("B0204", f"unknown number `{word.text}`", word.span, "no `let` of this name", helps=helps)
        raise Poison

    def _arithmetic(self, expression: s.Arithmetic) -> Fraction:
        total = self._number(expression.first)
        for sign, item in expression.rest:
            number = self._number(item)
            if sign == "/" and number == 0:
                self.problems.add("B0205", "division by zero", item.span, "is 0")
                raise Poison
            total = {
                "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b
            }[sign](total, number)  # fmt: skip
            if abs(total.numerator) > MAX_NUMBER or total.denominator > MAX_NUMBER * 10**60:
                self.problems.add("B0213", "a number is too large", expression.span, "beyond 1e40")
                raise Poison
        return total

    def _number(self, expression: s.Expression) -> Fraction:
        value = self._evaluate(expression, ())
        if not isinstance(value, Fraction):
            self.problems.add("B0205", "a number is needed here", expression.span, "is none")
            raise Poison
        return value


def _storage(value: Op) -> str:
    if isinstance(value, nn.ArgMax):
        return "int64"
    return "int32" if is_integer(value.type.dtype) else "float32"


_BATCH = Whole(0, MAX_RANK)
_WORDS = frozenset(word for layer in LAYERS.values() for p in layer.parameters for word in p.kind.words)
