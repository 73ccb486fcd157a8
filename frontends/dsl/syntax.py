"""The tree of a .bnn file: what was written, and where. It holds no meaning yet."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Span:
    """A stretch of the source, as offsets of characters; `end` is behind the last one."""

    start: int
    end: int


@dataclass(frozen=True)
class Number:
    """A number, exactly as it was written."""

    value: Fraction
    span: Span


@dataclass(frozen=True)
class Size:
    """`3x3`."""

    values: tuple[int, ...]
    span: Span


@dataclass(frozen=True)
class Word:
    """A bare name: a value, a `let` parameter, a layer without arguments, or a word such as `median`."""

    text: str
    span: Span
    quoted: bool = False


@dataclass(frozen=True)
class DTypeName:
    """`code<2,1,0>` or `int<-3,4>`, without blanks."""

    text: str
    span: Span


@dataclass(frozen=True)
class List:
    """`[a, b]`."""

    items: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True)
class Arithmetic:
    """`first op second op third …` with operators of one precedence, from the left."""

    first: Expression
    rest: tuple[tuple[str, Expression], ...]
    span: Span


@dataclass(frozen=True)
class Argument:
    """`name=value`, or a value by its place (name is None)."""

    name: Word | None
    value: Expression
    span: Span


@dataclass(frozen=True)
class Call:
    """`name(arguments)`; a layer without parentheses is a call without arguments."""

    name: Word
    arguments: tuple[Argument, ...]
    span: Span


@dataclass(frozen=True)
class Stage:
    """One layer of a chain, or the value at its head, with the name it was given."""

    label: Word | None
    layer: Call | Word
    span: Span


@dataclass(frozen=True)
class Chain:
    """`head -> layer -> layer`. Where the head is an expression in parentheses or a number, it stands in `start`."""

    stages: tuple[Stage, ...]
    span: Span
    start: Expression | None = None


Expression = Number | Size | Word | DTypeName | List | Arithmetic | Call | Chain


@dataclass(frozen=True)
class Let:
    """`let name = number`."""

    name: Word
    value: Expression
    span: Span


@dataclass(frozen=True)
class TypeName:
    """`u8[1, 28, 28]`."""

    dtype: Word | DTypeName
    shape: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True)
class InputLine:
    """`input name: type -> layer …`."""

    name: Word
    type: TypeName
    pixels: Call | None
    stages: tuple[Stage, ...]
    span: Span


@dataclass(frozen=True)
class OutputLine:
    """`output name = chain`."""

    name: Word
    arguments: tuple[Argument, ...]
    chain: Chain | None
    span: Span


@dataclass(frozen=True)
class WeightsLine:
    """`weights "file"` or `weights random(seed)`."""

    source: Word | Call
    span: Span


@dataclass(frozen=True)
class Field:
    """`name value, value` in a train block."""

    name: Word
    values: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True)
class TrainBlock:
    """`train { … }`."""

    fields: tuple[Field, ...]
    span: Span


@dataclass(frozen=True)
class Branch:
    """`name = chain`."""

    name: Word
    chain: Chain
    span: Span


@dataclass(frozen=True)
class Flow:
    """A chain that stands alone."""

    chain: Chain
    span: Span


Statement = Let | InputLine | OutputLine | WeightsLine | TrainBlock | Branch | Flow


@dataclass(frozen=True)
class Net:
    """The whole file."""

    name: Word
    statements: tuple[Statement, ...]
    span: Span
