"""What a syntax error is called: the commonest slips by example, and everything else by what was expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lark import UnexpectedCharacters, UnexpectedInput

from bnnc.frontends.dsl.problems import Problems, Source, near
from bnnc.frontends.dsl.syntax import Span

WORDS = {
    "NAME": "a name",
    "STRING": "a string",
    "NUMBER": "a number",
    "SIZE": "a size such as 3x3",
    "DTYPE": "a type such as int<-3,4>",
    "SIGN": "`+` or `-`",
    "TIMES": "`*` or `/`",
    "EQUAL": "`=`",
    "COLON": "`:`",
    "COMMA": "`,`",
    "SEMICOLON": "`;`",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "LSQB": "`[`",
    "RSQB": "`]`",
    "__ANON_0": "`->`",
    "NET": "`net`",
    "_LET": "`let`",
    "_INPUT": "`input`",
    "_OUTPUT": "`output`",
    "_WEIGHTS": "`weights`",
    "_TRAIN": "`train`",
    "_AS": "`as`",
    "$END": "the end of the file",
}
STATEMENTS = ("let", "input", "output", "weights", "train")

# What is wrong, what to do, and texts that stop the parser in the same place.
_BRACE = ("the net is not closed", "put `}` at its end")
_ARROW = ("`->` leads nowhere", "write a layer behind `->`, or take it away")
_COLON = ("a colon is missing in the declaration of an input", "write it as: input x: u8[1, 28, 28]")
_SQUARE = ("a shape stands in square brackets", "write it as: u8[1, 28, 28]")
_NAMED = ("arguments are given with `=`", "write it as: conv(32, 3x3, stride=2)")
_LABEL = ("a layer is named with `:`", "write it as: x -> fc1: dense(100)")
_COMMA = ("arguments are separated by commas", "put `,` or `)` before it")
_OPEN = ("a net starts with its name and `{`", "write it as: net mnist { … }")
_SPEC = ("a setting of `train` is a name and a value, without `=` or `:`", "write it as: train { rule lbe  epochs 50 }")

SLIPS: dict[tuple[str, str], list[str]] = {
    _BRACE: ["net a { input x: bit[1]", "net a { input x: bit[1] -> sign", "net a { input x: bit[1] y = x", "net a {"],
    _ARROW: [
        "net a { input x: bit[1] -> -> sign }",
        "net a { input x: bit[1] -> }",
        "net a { y = x -> }",
    ],
    _COLON: ["net a { input x u8[1] }", "net a { input x = u8[1] }", 'net a { input "x" [1] }'],
    _SQUARE: ["net a { input x: u8(1) }", "net a { input x: u8 -> sign }", "net a { input x: u8 }"],
    _NAMED: ["net a { x -> conv(3, stride: 2) }", "net a { x -> conv(stride: 2) }"],
    _LABEL: ["net a { x -> fc1 = dense(3) }", "net a { x -> sign -> fc1 = dense(3) -> sign }"],
    _COMMA: [
        "net a { x -> conv(3 3) }",
        "net a { x -> conv(3, 3x3 stride=1) }",
        "net a { x -> conv(a b) }",
        "net a { x -> conv(3, 4 4) }",
    ],
    _OPEN: ["net a input x: bit[1]", "net { input x: bit[1] }", "input x: bit[1]", "x -> sign"],
    _SPEC: [
        "net a { train { rule = lbe } }",
        "net a { train { rule: lbe } }",
        "net a { train { rule lbe epochs = 3 } }",
    ],
}


def explained(
    fault: UnexpectedInput, source: Source, at: int, text: str, problems: Problems, parse: Callable[[str], Any]
) -> None:
    """Add the message for where the parser stopped."""
    end = _word_end(source.text, at)
    found = source.text[at:end]
    span = Span(at, max(end, at + 1)) if at < len(source.text.rstrip()) else _last_character(source.text)
    label = f"found `{found}`" if found.strip() and len(found) <= 40 else "the file ends here"
    if isinstance(fault, UnexpectedCharacters):
        problems.add("B0202", f"`{_shown(source.text[at])}` has no meaning here", span, helps=_instead(source.text[at]))
        return
    slip = _slip(fault, parse)
    if slip is not None:
        message, help = slip
        problems.add("B0202", message, span, label, helps=(help,))
        return
    expected = _expected(fault)
    typo: tuple[str, ...] = ()
    if "`let`" in expected:
        typo = near(_first_word(source.text, at), STATEMENTS)
    wanted = "a statement, a layer or `}`" if "`let`" in expected else _listed(expected)
    problems.add("B0202", f"expected {wanted}", span, label, helps=typo)


def _slip(fault: UnexpectedInput, parse: Callable[[str], Any]) -> tuple[str, str] | None:
    """The slip whose examples stop the parser in the same state at the same kind of token; or in the same state, where
    that says enough.

    lark's own `match_examples` also compares how deep the parser stands, and so would miss the slip in a longer net.
    """
    of_state: dict[object, set[tuple[str, str]]] = {}
    for label, examples in SLIPS.items():
        for example in examples:
            found = _stop(example, parse)
            if found == _position(fault):
                return label
            of_state.setdefault(found[0], set()).add(label)
    labels = of_state.get(_position(fault)[0], set())
    return next(iter(labels)) if len(labels) == 1 else None


def _stop(example: str, parse: Callable[[str], Any]) -> tuple[object, str]:
    try:
        parse(example)
    except UnexpectedInput as fault:
        return _position(fault)
    raise AssertionError(f"the example of a slip parses: {example}")


def _position(fault: UnexpectedInput) -> tuple[object, str]:
    state, token = getattr(fault, "state", None), getattr(fault, "token", None)
    return getattr(state, "position", state), token.type if token is not None else ""


def _expected(fault: UnexpectedInput) -> list[str]:
    names = getattr(fault, "accepts", None) or getattr(fault, "expected", None) or set()
    return sorted({WORDS.get(name, f"`{name.lower()}`") for name in names})


def _listed(words: list[str]) -> str:
    if len(words) > 6:
        words = [word for word in words if word[0] != "`"] + [word for word in words if word[0] == "`"][:4]
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words) or "something else"


def _word_end(text: str, at: int) -> int:
    end = at
    while end < len(text) and (text[end].isalnum() or text[end] == "_"):
        end += 1
    if end == at and text[at : at + 2] == "->":
        return at + 2
    return end if end > at else min(at + 1, len(text))


def _first_word(text: str, at: int) -> str:
    """The word that the line of `at` starts with, behind `{` where the net starts on it."""
    line = text[text.rfind("\n", 0, at) + 1 : at].rpartition("{")[2].split()
    return line[0] if line else ""


def _last_character(text: str) -> Span:
    end = len(text.rstrip())
    return Span(max(end - 1, 0), max(end, 1))


def _shown(character: str) -> str:
    return character if character.isprintable() else f"U+{ord(character):04X}"


def _instead(character: str) -> tuple[str, ...]:
    words = {
        "'": 'strings stand in double quotes: "weights.npz"',
        "“": 'strings stand in double quotes: "weights.npz"',
        "”": 'strings stand in double quotes: "weights.npz"',
        '"': "close the string on the line it starts",
        "→": "write the arrow as `->`",
        "×": "write sizes with the letter x: 3x3",
        "/": "comments start with `#`",
        "<": "types are written as int<-3,4> or code<2,1,0>",
        ">": "write the arrow as `->`",
    }
    return (words[character],) if character in words else ()
