"""One layout for every net: tokens keep their order and comments their place; only blanks and line ends change.

Line breaks before `->` stay where the author put them, unless a line gets too long; the layout of a layout is itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bnnc.frontends.dsl import syntax as s
from bnnc.frontends.dsl.parsing import parse
from bnnc.frontends.dsl.problems import Source

WIDTH = 100
INDENT = "    "
_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)
    |(?P<string>"(?:[^"\\\x00-\x1f]|\\.)*")
    |(?P<dtype>(?:code|int)<\s*-?\d+(?:\s*,\s*-?\d+)*\s*>)
    |(?P<size>\d+(?:x\d+)+(?!\w))
    |(?P<number>(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?(?!\w))
    |(?P<word>[^\W\d]\w*)
    |(?P<sign>->|[{}()\[\]:;,=+*/-])
    |(?P<blank>\s+)""",
    re.VERBOSE,
)


@dataclass
class _Token:
    kind: str
    text: str
    start: int
    lines: int
    """Line ends before it."""


def formatted(source: Source) -> str:
    """The text, laid out. Raises BnncError for text that cannot be parsed."""
    net = parse(source)
    tokens = _tokens(source.text)
    return _Layout(tokens, net).text()


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = lines = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match is not None, "what was parsed consists of tokens"
        position = match.end()
        kind = str(match.lastgroup)
        if kind == "blank":
            lines += match[0].count("\n")
            continue
        written = re.sub(r"\s", "", match[0]) if kind == "dtype" else match[0].rstrip()
        tokens.append(_Token(kind, written, match.start(), lines))
        lines = 0
    return tokens


class _Layout:
    def __init__(self, tokens: list[_Token], net: s.Net) -> None:
        self.tokens = [token for token in tokens if token.text != ";"]
        # A comma before a closing bracket says nothing.
        self.tokens = [
            token
            for token, after in zip(self.tokens, [*self.tokens[1:], None], strict=True)
            if not (token.text == "," and after is not None and after.text in (")", "]"))
        ]
        self.statements = {statement.span.start for statement in net.statements}
        blocks = [statement for statement in net.statements if isinstance(statement, s.TrainBlock)]
        self.fields = {field.span.start for block in blocks for field in block.fields}
        self.lines: list[str] = []

    def text(self) -> str:
        """All lines. Statements are laid out one by one, so that a long one can be broken."""
        level, index = 0, 0
        while index < len(self.tokens):
            end = self._statement_end(index)
            part = self.tokens[index:end]
            if part[0].text == "}":
                level -= 1
            if part[0].lines >= 2 and self.lines and not self._opened() and part[0].text != "}":
                self.lines.append("")
            trailing = part[0].kind == "comment" and part[0].lines == 0 and bool(self.lines)
            if trailing:
                self.lines[-1] += f"  {part[0].text}"
                part = part[1:]
            if part:
                self.lines += self._laid_out(part, INDENT * level)
            if any(token.text == "{" for token in part):
                level += 1
            index = end
        return "\n".join(line.rstrip() for line in self.lines) + "\n"

    def _opened(self) -> bool:
        return self.lines[-1].split("#")[0].rstrip().endswith("{")

    def _statement_end(self, start: int) -> int:
        """A part ends before the next statement, field, brace, or comment on a line of its own between statements."""
        token = self.tokens[start]
        if token.kind == "comment" or token.text == "}":
            return start + 1
        end = start + 1
        while end < len(self.tokens):
            here = self.tokens[end]
            starts = here.start in self.statements or here.start in self.fields or here.text == "}"
            if starts or self.tokens[end - 1].text == "{":
                break
            end += 1
        # Comments at the end belong to the line they stand on, or to what follows.
        while end - 1 > start and self.tokens[end - 1].kind == "comment":
            end -= 1
        return end

    def _laid_out(self, part: list[_Token], indent: str) -> list[str]:
        lines = self._broken(part, indent, every=False)
        if any(len(line.split("  #")[0]) > WIDTH for line in lines):
            lines = self._broken(part, indent, every=True)
        return lines

    def _broken(self, part: list[_Token], indent: str, every: bool) -> list[str]:
        """The lines of a statement, broken before the arrows that the author broke at, or at every one."""
        lines, line, depth = [], indent, 0
        before: _Token | None = None
        for place, token in enumerate(part):
            after = part[place + 1] if place + 1 < len(part) else None
            if token.text in (")", "]"):
                depth -= 1
            arrow = token.text == "->" and depth == 0
            broken = arrow and (every or token.lines > 0 or (after is not None and after.lines > 0))
            full = depth > 0 and before is not None and before.text == "," and len(line) + len(token.text) >= WIDTH
            own_line = token.kind == "comment" and token.lines > 0
            if before is not None and (broken or full or own_line or before.kind == "comment"):
                lines.append(line)
                line = indent + INDENT
            elif before is not None:
                line += "  " if token.kind == "comment" else " " * self._spaced(before, token, part[: place - 1], depth)
            line += token.text
            if token.text in ("(", "["):
                depth += 1
            before = token
        return [*lines, line]

    def _spaced(self, before: _Token, token: _Token, earlier: list[_Token], depth: int) -> bool:
        if token.text in (",", ")", "]", ":") or before.text in ("(", "["):
            return False
        if before.text in ("-", "+") and self._unary(earlier):
            return False
        if token.text == "/" or before.text == "/":
            return False
        if token.text in ("(", "["):
            return (before.kind not in ("word", "dtype") and before.text != "=") or before.start in self.fields
        if token.text == "=" or before.text == "=":
            return depth == 0
        return True

    def _unary(self, earlier: list[_Token]) -> bool:
        """Whether a sign behind these tokens belongs to the number that follows."""
        if not earlier:
            return True
        last = earlier[-1]
        return (last.kind == "sign" and last.text not in (")", "]")) or last.start in self.fields
