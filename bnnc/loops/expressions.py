"""Expressions of the «loop» level: immutable typed trees, and the functions that make them pleasant to write.

What joins and parts the lanes of vectors is in vectors.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bnnc.loops.types import F32, I1, I32, I64, Buffer, Type, with_element


# ---------------------------------------------------------------------------------------------------- expressions
@dataclass(frozen=True, eq=False)
class Expression:
    """A typed tree. Operators build trees; integers and floats become constants of the other operand's type."""

    type: Type = field(init=False)

    def _typed(self, type_: Type) -> None:
        object.__setattr__(self, "type", type_)

    @property
    def children(self) -> tuple[Expression, ...]:
        """The expressions that it is made of."""
        found: list[Expression] = []
        for value in self.__dict__.values():
            if isinstance(value, Expression):
                found.append(value)
            elif isinstance(value, tuple):
                found.extend(item for item in value if isinstance(item, Expression))
        return tuple(found)

    def __add__(self, other: Operand) -> Expression:
        return binary("add", self, other)

    def __radd__(self, other: Operand) -> Expression:
        return binary("add", other, self)

    def __sub__(self, other: Operand) -> Expression:
        return binary("sub", self, other)

    def __rsub__(self, other: Operand) -> Expression:
        return binary("sub", other, self)

    def __mul__(self, other: Operand) -> Expression:
        return binary("mul", self, other)

    def __rmul__(self, other: Operand) -> Expression:
        return binary("mul", other, self)

    def __truediv__(self, other: Operand) -> Expression:
        return binary("div", self, other)

    def __and__(self, other: Operand) -> Expression:
        return binary("and", self, other)

    def __or__(self, other: Operand) -> Expression:
        return binary("or", self, other)

    def __xor__(self, other: Operand) -> Expression:
        return binary("xor", self, other)

    def __lshift__(self, other: Operand) -> Expression:
        return binary("shl", self, other)

    def __lt__(self, other: Operand) -> Expression:
        return compare("lt", self, other)

    def __le__(self, other: Operand) -> Expression:
        return compare("le", self, other)

    def __gt__(self, other: Operand) -> Expression:
        return compare("gt", self, other)

    def __ge__(self, other: Operand) -> Expression:
        return compare("ge", self, other)

    def __invert__(self) -> Expression:
        return Unary("not", self)

    def __neg__(self) -> Expression:
        return Unary("neg", self)


Operand = Expression | int | float


def check(condition: bool, message: str) -> None:
    """Raises TypeError with the message, for an expression that cannot be made."""
    if not condition:
        raise TypeError(message)


@dataclass(frozen=True, eq=False)
class Constant(Expression):
    """A number; of a vector type, the number in every lane. Integers are kept in two's complement range (signed)."""

    value: int | float
    of: Type

    def __post_init__(self) -> None:
        self._typed(self.of)
        if self.of.element.is_float:
            object.__setattr__(self, "value", float(np.float32(self.value)))
            return
        check(isinstance(self.value, int | np.integer), f"{self.value!r} is no {self.of}")
        bits = self.of.element.bits
        value = int(self.value) & ((1 << bits) - 1)
        object.__setattr__(self, "value", value - (1 << bits) if bits > 1 and value >> (bits - 1) else value)


@dataclass(frozen=True)
class Promise:
    """What a kernel knows of an integer variable, whatever the input; bounds of the time are made of it.

    It is never below 0 nor above `most`. In one call of its function it is assigned at most `times` times, and all
    numbers that it is given are at most `total` together."""

    most: int
    total: int | None = None
    times: int | None = None


@dataclass(frozen=True, eq=False)
class Variable(Expression):
    """A local of a function. An immutable one is assigned once (`Builder.let`, loop counters, scalar parameters)."""

    name: str
    of: Type
    mutable: bool = False
    promise: Promise | None = None

    def __post_init__(self) -> None:
        self._typed(self.of)


@dataclass(frozen=True, eq=False)
class Load(Expression):
    """buffer[index], or for a vector type buffer[index + lane]. `alignment` in bytes; 0: the element's own."""

    buffer: Buffer
    index: Expression
    of: Type
    alignment: int = 0

    def __post_init__(self) -> None:
        check(self.of.element == self.buffer.element, f"{self.buffer.name} holds {self.buffer.element}, not {self.of}")
        check(self.index.type in (I32, I64), f"an index is i32 or i64, not {self.index.type}")
        self._typed(self.of)


@dataclass(frozen=True, eq=False)
class Gather(Expression):
    """buffer[index + offsets[lane]] in each lane: offsets are a vector of i32, taken as unsigned."""

    buffer: Buffer
    index: Expression
    offsets: Expression

    def __post_init__(self) -> None:
        check(self.index.type in (I32, I64), f"an index is i32 or i64, not {self.index.type}")
        check(self.offsets.type.element == I32, f"offsets are of i32, not {self.offsets.type}")
        self._typed(with_element(self.offsets.type, self.buffer.element))


UNARY_INTEGER = ("neg", "not", "abs", "popcount", "count_trailing_zeros")
UNARY_FLOAT = ("neg", "abs", "sqrt", "floor", "ceil", "round_even", "truncate")


@dataclass(frozen=True, eq=False)
class Unary(Expression):
    """neg, abs; not, popcount, count_trailing_zeros (of 0: the width); sqrt, floor, ceil, round_even, truncate."""

    operator: str
    value: Expression

    def __post_init__(self) -> None:
        known = UNARY_FLOAT if self.value.type.element.is_float else UNARY_INTEGER
        check(self.operator in known, f"no {self.operator} of {self.value.type}")
        self._typed(self.value.type)


BINARY_BOTH = ("add", "sub", "mul", "div", "min", "max")
BINARY_INTEGER = (
    *BINARY_BOTH, "rem", "udiv", "urem", "umin", "umax", "and", "or", "xor", "shl", "lshr", "lshr_exact", "ashr",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Binary(Expression):
    """Two operands of one type. Integers: `add sub mul and or xor shl lshr ashr`, signed `div rem min max`, unsigned
    `udiv urem umin umax`; division truncates, a divisor is never 0, a shift is below the width. `lshr_exact` is an
    `lshr` that loses no set bit: as an index, `offset lshr_exact 2` is a word that is known by its bytes.
    f32: `add sub mul div`; `min(a, b)` is `b if b < a else a` and `max(a, b)` is `b if b > a else a` (so a NaN in a
    stays, one in b is dropped)."""

    operator: str
    left: Expression
    right: Expression

    def __post_init__(self) -> None:
        known = BINARY_BOTH if self.left.type.element.is_float else BINARY_INTEGER
        check(self.operator in known, f"no {self.operator} of {self.left.type}")
        check(self.left.type == self.right.type, f"{self.operator} of {self.left.type} and {self.right.type}")
        self._typed(self.left.type)


COMPARE_BOTH = ("eq", "ne", "lt", "le", "gt", "ge")
COMPARE_INTEGER = (*COMPARE_BOTH, "ult", "ule", "ugt", "uge")


@dataclass(frozen=True, eq=False)
class Compare(Expression):
    """I1 a lane. Signed unless `u…`. With a NaN, `ne` is true and all others are false, as in C."""

    operator: str
    left: Expression
    right: Expression

    def __post_init__(self) -> None:
        known = COMPARE_BOTH if self.left.type.element.is_float else COMPARE_INTEGER
        check(self.operator in known, f"no {self.operator} of {self.left.type}")
        check(self.left.type == self.right.type, f"{self.operator} of {self.left.type} and {self.right.type}")
        self._typed(with_element(self.left.type, I1))


@dataclass(frozen=True, eq=False)
class Select(Expression):
    """yes where the condition is 1, else no; both are evaluated. The condition is one I1, or one a lane."""

    condition: Expression
    yes: Expression
    no: Expression

    def __post_init__(self) -> None:
        check(self.yes.type == self.no.type, f"select of {self.yes.type} and {self.no.type}")
        wanted = (I1, with_element(self.yes.type, I1))
        check(self.condition.type in wanted, f"select by {self.condition.type}")
        self._typed(self.yes.type)


@dataclass(frozen=True, eq=False)
class Fma(Expression):
    """left * right + addend with a single rounding (f32)."""

    left: Expression
    right: Expression
    addend: Expression

    def __post_init__(self) -> None:
        check(self.left.type.element.is_float, f"fma of {self.left.type}")
        check(self.left.type == self.right.type == self.addend.type, "fma of different types")
        self._typed(self.left.type)


CONVERSIONS = ("sext", "zext", "trunc", "bitcast", "to_float", "to_int")


@dataclass(frozen=True, eq=False)
class Convert(Expression):
    """sext, zext, trunc between integers; bitcast between i32 and f32; to_float: signed integer to the nearest f32;
    to_int: f32 towards zero to i32, saturating, NaN to 0. Lanes are kept; but an integer vector may be bitcast to
    another of the same size, where a wide lane becomes several narrow ones, low bits first."""

    kind: str
    value: Expression
    of: Type

    def __post_init__(self) -> None:
        source, target = self.value.type.element, self.of.element
        sizes = [type_.lanes * type_.element.bits for type_ in (self.value.type, self.of)]
        cut = sizes[0] == sizes[1] and not source.is_float and not target.is_float and I1 not in (source, target)
        ok = {
            "sext": not source.is_float and not target.is_float and source.bits < target.bits,
            "zext": not source.is_float and not target.is_float and source.bits < target.bits,
            "trunc": not source.is_float and not target.is_float and source.bits > target.bits,
            "bitcast": {source, target} == {I32, F32} or cut,
            "to_float": not source.is_float and target == F32,
            "to_int": source == F32 and target == I32,
        }
        check(ok.get(self.kind, False), f"no {self.kind} from {self.value.type} to {self.of}")
        same = self.value.type.lanes == self.of.lanes or (self.kind == "bitcast" and cut)
        check(same, f"{self.kind} from {self.value.type} to {self.of}")
        self._typed(self.of)


@dataclass(frozen=True, eq=False)
class Ticks(Expression):
    """A clock that only measures: the difference of two readings, I64, is a time in some unit of the machine."""

    def __post_init__(self) -> None:
        self._typed(I64)


# ------------------------------------------------------------------------------------------- making expressions
def constant(value: int | float, type_: Type) -> Constant:
    """A constant of the type."""
    return Constant(value, type_)


def _pair(left: Operand, right: Operand) -> tuple[Expression, Expression]:
    if isinstance(left, Expression):
        return left, right if isinstance(right, Expression) else Constant(right, left.type)
    if isinstance(right, Expression):
        return Constant(left, right.type), right
    raise TypeError("one operand must be an expression")


def binary(operator: str, left: Operand, right: Operand) -> Expression:
    """A Binary; for integers, `+ - *` of constants and with 0 and 1 fold, so that index arithmetic stays readable."""
    a, b = _pair(left, right)
    if not a.type.element.is_float and operator in ("add", "sub", "mul"):
        if isinstance(a, Constant) and isinstance(b, Constant):
            x, y = int(a.value), int(b.value)
            return Constant({"add": x + y, "sub": x - y, "mul": x * y}[operator], a.type)
        if isinstance(b, Constant) and b.value == (1 if operator == "mul" else 0):
            return a
        if isinstance(a, Constant) and operator != "sub" and a.value == (1 if operator == "mul" else 0):
            return b
        if operator == "mul" and any(isinstance(side, Constant) and side.value == 0 for side in (a, b)):
            return Constant(0, a.type)
    return Binary(operator, a, b)


def compare(operator: str, left: Operand, right: Operand) -> Expression:
    """A Compare."""
    return Compare(operator, *_pair(left, right))


def load(buffer: Buffer, index: Operand, of: Type | None = None, alignment: int = 0) -> Expression:
    """buffer[index]: one element, or a vector of neighbours."""
    place = index if isinstance(index, Expression) else Constant(index, I64)
    return Load(buffer, place, buffer.element if of is None else of, alignment)


def popcount(value: Expression) -> Expression:
    """How many bits are 1, lane by lane."""
    return Unary("popcount", value)


def select(condition: Expression, yes: Operand, no: Operand) -> Expression:
    """yes where the condition holds, else no."""
    return Select(condition, *_pair(yes, no))
