"""Arguments of layers: what was written becomes numbers, lists, words and dtypes, in the scope of the net's names."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from bnnc.frontends.dsl import syntax as s
from bnnc.frontends.dsl.catalogue import ANY_NUMBER, REQUIRED, Parameter
from bnnc.frontends.dsl.kinds import Kind, Refused, checked_dtype
from bnnc.frontends.dsl.layers import LAYERS
from bnnc.frontends.dsl.problems import Problems, near
from bnnc.ir.op import Op

MAX_NUMBER = 10**40


class Poison(Exception):
    """Something this depends on is wrong, and has been told already."""


@dataclass
class Scope:
    """The names that are known so far: `let` numbers and values (None: what is wrong with it has been told)."""

    problems: Problems
    numbers: dict[str, Fraction | None] = field(default_factory=dict)
    values: dict[str, Op | None] = field(default_factory=dict)
    where: dict[str, s.Span] = field(default_factory=dict)


class Evaluation:
    """Evaluates arguments. Every error is added to the problems of the scope, and raised as Poison."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.problems = scope.problems

    def arguments(
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
                    values[name] = self.read(given[name].value, parameter.kind, f"`{name}` of `{layer}`")
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

    def read(self, expression: s.Expression, kind: Kind, what: str) -> Any:
        value = self.evaluate(expression, kind.words)
        try:
            return kind.read(value)
        except Refused as refusal:
            helps = near(value, kind.words) if isinstance(value, str) else ()
            self.problems.add("B0205", f"{what} {refusal}", expression.span, "", helps=helps)
            raise Poison from None

    def evaluate(self, expression: s.Expression, words: tuple[str, ...]) -> Any:
        """A Fraction, a tuple, a word out of `words`, or a dtype. Raises Poison."""
        match expression:
            case s.Number():
                return expression.value
            case s.Size():
                return tuple(Fraction(value) for value in expression.values)
            case s.List():
                return tuple(self.evaluate(item, ()) for item in expression.items)
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
        if word.text in self.scope.numbers:
            number = self.scope.numbers[word.text]
            if number is None:
                raise Poison
            return number
        if words and not word.quoted and word.text not in self.scope.values:
            return word.text  # the kind says what it takes instead
        if word.text in self.scope.values:
            self.problems.add("B0205", f"`{word.text}` is a value, not a number", word.span, "a number is needed here")
        else:
            helps = near(word.text, (*self.scope.numbers, *words)) or (f"let {word.text} = 100  defines it",)
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
        value = self.evaluate(expression, ())
        if not isinstance(value, Fraction):
            self.problems.add("B0205", "a number is needed here", expression.span, "is none")
            raise Poison
        return value
