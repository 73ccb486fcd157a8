"""Chains of layers: every layer is looked up, given its operands and arguments, and built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bnnc.frontends.dsl import syntax as s
from bnnc.frontends.dsl.catalogue import ANY_NUMBER, Arrays, BadArgument, Layer, Mismatch, Use
from bnnc.frontends.dsl.evaluation import Evaluation, Poison, Scope
from bnnc.frontends.dsl.kinds import Refused, Table
from bnnc.frontends.dsl.layers import LAYERS
from bnnc.frontends.dsl.problems import near
from bnnc.frontends.dsl.weights import TooMany, Unfit
from bnnc.ir import nn
from bnnc.ir.op import Op, TypeRuleError

MAX_TENSOR = 1 << 28
MAX_LAYERS = 1 << 16
MAX_RANK = 8
# What other tools call some layers.
ELSEWHERE = {
    "linear": "dense", "fc": "dense", "gemm": "dense", "conv2d": "conv", "conv1d": "conv", "relu6": "clip",
    "batchnorm": "norm", "batch_norm": "norm", "bn": "norm", "maxpool2d": "maxpool", "pool": "maxpool",
    "permute": "transpose", "cat": "concat", "binarize": "sign", "binarise": "sign", "view": "reshape",
}  # fmt: skip
_WORDS = frozenset(word for layer in LAYERS.values() for p in layer.parameters for word in p.kind.words)


@dataclass(frozen=True)
class Placed:
    """A layer as it stands in the net: for the trainer, which looks at layers, not at ops."""

    layer: str
    name: str
    xs: tuple[Op, ...]
    result: Op
    values: dict[str, Any]
    span: s.Span


class Chains:
    """Builds chains. `spans` and `placed` say where a value came from."""

    def __init__(self, scope: Scope, evaluation: Evaluation, later: frozenset[str]) -> None:
        self.scope, self.evaluation, self.problems = scope, evaluation, scope.problems
        self.later = later
        self.arrays: Arrays
        self.labels: dict[str, s.Span] = {}
        self.counts: dict[str, int] = {}
        self.spans: dict[Op, s.Span] = {}
        self.placed: dict[Op, Placed] = {}
        self.layers = 0

    def chain_or_none(self, chain: s.Chain) -> Op | None:
        try:
            return self._chain(chain)
        except Poison:
            return None

    def stages_or_none(self, value: Op | None, stages: tuple[s.Stage, ...]) -> Op | None:
        """What comes out of the stages, or None: then what is wrong has been told, in every stage."""
        for stage in stages:
            value = self._layer_or_none(stage, value)
        return value

    def _layer_or_none(self, stage: s.Stage, value: Op | None) -> Op | None:
        try:
            return self._layer(stage, value)
        except Poison:
            return None

    def _chain(self, chain: s.Chain) -> Op:
        if chain.start is not None:
            self.problems.add("B0204", "a chain starts with a value", chain.start.span, "a number is none")
            raise Poison
        head, *rest = chain.stages
        try:
            value: Op | None = self._head(head)
        except Poison:
            value = None
        value = self.stages_or_none(value, tuple(rest))
        if value is None:
            raise Poison
        return value

    def _head(self, stage: s.Stage) -> Op:
        layer = stage.layer
        if isinstance(layer, s.Word):
            if layer.text in self.scope.values and layer.text in self.scope.where:
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
        value = self.scope.values[word.text]
        if value is None:
            raise Poison
        return value

    def value_or_none(self, word: s.Word) -> Op | None:
        try:
            if word.text not in self.scope.values:
                self._unknown_value(word)
            return self._known(word)
        except Poison:
            return None

    def _unknown_value(self, word: s.Word) -> None:
        if word.text in self.scope.numbers:
            self.problems.add("B0204", f"`{word.text}` is a number, not a value", word.span, "a value is needed here")
        else:
            helps = near(word.text, self.scope.values)
            if not helps and word.text in self.later:
                helps = ("a value is defined before it is used",)
            self.problems.add("B0204", f"unknown value `{word.text}`", word.span, "no value of this name", helps=helps)
        raise Poison

    def _is_value(self, expression: s.Expression) -> bool:
        match expression:
            case s.Word(text=text):
                return text in self.scope.values or (text not in self.scope.numbers and text not in _WORDS)
            case s.Chain() | s.Call():
                return True
        return False

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
        values, rest = self.evaluation.arguments(call, layer.parameters, layer.name, layer.operands, head)
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
        place = self.problems.source.location(call.span, name)
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
        if word.text in self.scope.values:
            self.problems.add(
                "B0203",
                f"`{word.text}` is a value, not a layer",
                word.span,
                "a layer is needed here",
                helps=(f"add({word.text}) or concat({word.text}) joins a value",),
            )
        else:
            known = ELSEWHERE.get(word.text.lower())
            helps = (f"did you mean `{known}`?",) if known else near(word.text, LAYERS)
            if word.text == "output":
                helps = ("what comes out is named at the start: output scores = x -> …",)
            self.problems.add("B0203", f"unknown layer `{word.text}`", word.span, "no layer of this name", helps=helps)
        raise Poison

    def _operand(self, argument: s.Argument) -> Op:
        expression = argument.value
        match expression:
            case s.Word() if expression.text in self.scope.values or expression.text not in self.scope.numbers:
                if expression.text not in self.scope.values:
                    self._unknown_value(expression)
                return self._known(expression)
            case s.Chain():
                return self._chain(expression)
            case s.Call():
                return self._head(s.Stage(None, expression, expression.span))
        value = self.evaluation.evaluate(expression, ())
        try:
            array = Table().read(value)
        except Refused:
            self.problems.add("B0205", "a value or numbers are needed here", expression.span, "neither")
            raise Poison from None
        return nn.Constant(values=array.astype(np.float32), loc=self.problems.source.location(expression.span))
