"""From text to the tree: the grammar at work, and its complaints in the words of the user."""

from __future__ import annotations

import functools
import json
import re
from fractions import Fraction
from importlib.resources import files
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput
from lark.exceptions import VisitError

from bnnc.frontends.dsl import syntax as s
from bnnc.frontends.dsl.problems import Problems, Source
from bnnc.frontends.dsl.slips import explained

Parts = list[Any]
MAX_NESTING = 40
MAX_DIGITS = 18
MOST_SYNTAX_ERRORS = 10


class _Malformed(Exception):
    """A token that the grammar takes and no number or name can be."""

    def __init__(self, span: s.Span, code: str, text: str, label: str) -> None:
        super().__init__(text)
        self.span, self.code, self.text, self.label = span, code, text, label


def _span(*parts: Any) -> s.Span:
    return s.Span(_start(parts[0]), _end(parts[-1]))


def _start(part: Any) -> int:
    return int(part.start_pos or 0) if isinstance(part, Token) else int(part.span.start)


def _end(part: Any) -> int:
    return int(part.end_pos or 0) if isinstance(part, Token) else int(part.span.end)


def _whole(text: str, span: s.Span) -> int:
    if len(text) > MAX_DIGITS:
        raise _Malformed(span, "B0213", "a number is too large", f"more than {MAX_DIGITS} digits")
    return int(text)


class _Builder(Transformer[Token, Any]):
    """Makes tree nodes while the text is parsed, so that nothing recurses. Brackets and keywords are tokens too."""

    def start(self, parts: Parts) -> s.Net:
        _, name, _, *statements, _ = parts
        return s.Net(name, tuple(statements), _span(*parts))

    def let(self, parts: Parts) -> s.Let:
        return s.Let(self._name(parts[1]), parts[3], _span(*parts))

    def input(self, parts: Parts) -> s.InputLine:
        parts = [part for part in parts if part is not None]
        pixels = next((part for part in parts if isinstance(part, s.Call)), None)
        stages = tuple(part for part in parts if isinstance(part, s.Stage))
        return s.InputLine(parts[1], parts[3], pixels, stages, _span(*parts))

    def output(self, parts: Parts) -> s.OutputLine:
        parts = [part for part in parts if part is not None]
        arguments = tuple(part for part in parts if isinstance(part, s.Argument))
        chain = next((part for part in parts if isinstance(part, s.Chain)), None)
        return s.OutputLine(parts[1], arguments, chain, _span(*parts))

    def weights(self, parts: Parts) -> s.WeightsLine:
        return s.WeightsLine(parts[1], _span(*parts))

    def train(self, parts: Parts) -> s.TrainBlock:
        return s.TrainBlock(tuple(part for part in parts if isinstance(part, s.Field)), _span(*parts))

    def field(self, parts: Parts) -> s.Field:
        values = tuple(part for part in parts[1:] if not isinstance(part, Token))
        return s.Field(self._name(parts[0]), values, _span(parts[0], values[-1]))

    def branch(self, parts: Parts) -> s.Branch:
        return s.Branch(parts[0], parts[2], _span(*parts))

    def flow(self, parts: Parts) -> s.Flow:
        return s.Flow(parts[0], _span(*parts))

    def chain(self, parts: Parts) -> s.Chain:
        return s.Chain(tuple(part for part in parts if isinstance(part, s.Stage)), _span(*parts))

    def stage(self, parts: Parts) -> s.Stage:
        return s.Stage(None, parts[0], _span(*parts))

    def labelled(self, parts: Parts) -> s.Stage:
        return s.Stage(parts[0], parts[2], _span(*parts))

    def call(self, parts: Parts) -> s.Call:
        arguments = tuple(part for part in parts if isinstance(part, s.Argument))
        return s.Call(self._name(parts[0]), arguments, _span(*parts))

    def named(self, parts: Parts) -> s.Argument:
        return s.Argument(self._name(parts[0]), parts[2], _span(*parts))

    def positional(self, parts: Parts) -> s.Argument:
        return s.Argument(None, parts[0], _span(*parts))

    def nested(self, parts: Parts) -> s.Chain:
        first, stages = parts[0], tuple(part for part in parts if isinstance(part, s.Stage))
        if isinstance(first, s.Call | s.Word):
            return s.Chain((s.Stage(None, first, first.span), *stages), _span(*parts))
        return s.Chain(stages, _span(*parts), first)

    def arithmetic(self, parts: Parts) -> s.Arithmetic:
        rest = tuple((str(sign), value) for sign, value in zip(parts[1::2], parts[2::2], strict=True))
        return s.Arithmetic(parts[0], rest, _span(*parts))

    def signed(self, parts: Parts) -> Any:
        sign, value = parts
        if sign == "+":
            return value
        if isinstance(value, s.Number):
            return s.Number(-value.value, _span(*parts))
        span = _span(*parts)
        return s.Arithmetic(s.Number(Fraction(0), s.Span(span.start, span.start)), (("-", value),), span)

    def atom(self, parts: Parts) -> Any:
        return parts[1]  # what stands between parentheses

    def type(self, parts: Parts) -> s.TypeName:
        items = tuple(part for part in parts[2:] if part is not None and not isinstance(part, Token))
        return s.TypeName(parts[0], items, _span(*parts))

    def list(self, parts: Parts) -> s.List:
        items = tuple(part for part in parts if part is not None and not isinstance(part, Token))
        return s.List(items, _span(*parts))

    def word(self, parts: Parts) -> s.Word:
        return self._name(parts[0])

    def name(self, parts: Parts) -> s.Word:
        return self._name(parts[0])

    def string(self, parts: Parts) -> s.Word:
        return self._name(parts[0])

    def number(self, parts: Parts) -> s.Number:
        text, span = str(parts[0]), _span(parts[0])
        mantissa, _, exponent = text.lower().partition("e")
        if len(mantissa.replace(".", "").lstrip("0")) > MAX_DIGITS or abs(int(exponent[:9] or 0)) > 60:
            raise _Malformed(span, "B0213", "a number is too large", f"more than {MAX_DIGITS} digits, or beyond 1e60")
        return s.Number(Fraction(text), span)

    def size(self, parts: Parts) -> s.Size:
        span = _span(parts[0])
        numbers = str(parts[0]).split("x")
        if len(numbers) > 8:
            raise _Malformed(span, "B0213", "a size has too many axes", "more than 8")
        return s.Size(tuple(_whole(number, span) for number in numbers), span)

    def dtype(self, parts: Parts) -> s.DTypeName:
        span, text = _span(parts[0]), re.sub(r"\s", "", str(parts[0]))
        for number in re.findall(r"\d+", text):
            _whole(number, span)
        return s.DTypeName(text, span)

    def _name(self, token: Any) -> s.Word:
        if not isinstance(token, Token):
            return token  # type: ignore[no-any-return]
        span = _span(token)
        if token.type != "STRING":
            return s.Word(str(token), span)
        try:
            return s.Word(str(json.loads(str(token))), span, quoted=True)
        except ValueError:
            raise _Malformed(span, "B0202", "a string cannot be read", 'as in JSON: \\", \\\\, \\n, \\u0041') from None


@functools.cache
def _parser() -> Lark:
    grammar = (files("bnnc.frontends.dsl") / "grammar.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", transformer=_Builder(), keep_all_tokens=True, maybe_placeholders=False)


def _parse(text: str) -> s.Net:
    try:
        return _parser().parse(text)  # type: ignore[return-value]
    except VisitError as wrapped:
        raise wrapped.orig_exc from None


def parse(source: Source) -> s.Net:
    """The tree of a source. Raises BnncError with every syntax error that can be told apart: B0202, B0213."""
    problems = Problems(source)
    _check_nesting(source, problems)
    problems.stop()
    text, last = source.text, -1
    for _ in range(MOST_SYNTAX_ERRORS):
        try:
            net = _parse(text)
        except _Malformed as fault:
            at = fault.span.start
            if at <= last:
                break
            problems.add(fault.code, fault.text, fault.span, fault.label)
        except UnexpectedInput as fault:
            at = _offset(fault, text)
            if at <= last or (problems.found and at >= len(text.rstrip())):
                break
            explained(fault, source, at, text, problems, _parse)
            if at >= len(text.rstrip()) or "net" in text[text.rfind("\n", 0, at) + 1 : at].split():
                break
        else:
            problems.stop()
            return net
        # Go on behind the statement that is wrong, to find the next error.
        last, text = at, _without_statement(text, at)
    problems.stop()
    raise AssertionError("a text that cannot be parsed has an error")


def _offset(fault: UnexpectedInput, text: str) -> int:
    """Where the parser stopped; at the end of the text, behind the last thing that stands there."""
    position = fault.pos_in_stream
    token = getattr(fault, "token", None)
    if isinstance(fault, UnexpectedCharacters) and position is not None:
        return int(position)
    if token is not None and token.type != "$END":
        return int(token.start_pos)
    return len(text.rstrip())


_STATEMENT = re.compile(r'[ \t]*(?:(?:let|input|output|weights|train)\b|(?:[^\W\d]\w*|"[^"\n]*")[ \t]*(?:=|->)|\})')


def _without_statement(text: str, at: int) -> str:
    """The text with the statement around `at` made blank, from its line to the next line that starts one."""
    start = text.rfind("\n", 0, at) + 1
    while start > 0 and re.match(r"[ \t]*(?:->|#|\n)", text[start : start + 200] or "x"):
        start = text.rfind("\n", 0, start - 1) + 1
    if re.match(r"[ \t]*net\b", text[start : start + 200]):
        start = at
    end = text.find("\n", at)
    while end != -1 and not _STATEMENT.match(text, end + 1):
        end = text.find("\n", end + 1)
    end = len(text) if end == -1 else end
    blank = re.sub(r"[^\n{}]", " ", text[start:end])
    return text[:start] + blank + text[end:]


_BRACKETS = re.compile(r'#[^\n]*|"(?:[^"\\\n]|\\.)*"|[(\[{]|[)\]}]')


def _check_nesting(source: Source, problems: Problems) -> None:
    """Nobody nests this deep by hand, and everything behind here may recurse."""
    depth = 0
    for match in _BRACKETS.finditer(source.text):
        if match[0] in ("(", "[", "{"):
            depth += 1
            if depth > MAX_NESTING:
                span = s.Span(match.start(), match.end())
                problems.add("B0213", "brackets are nested too deep", span, f"more than {MAX_NESTING} levels")
                return
        elif match[0] in (")", "]", "}"):
            depth -= 1
