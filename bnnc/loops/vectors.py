"""Expressions of the «loop» level that are about the lanes of a vector: filled, numbered, taken out, joined."""

from __future__ import annotations

from dataclasses import dataclass

from bnnc.loops.expressions import Expression, check
from bnnc.loops.types import I1, I16, I32, Scalar, Type, Vector, vector_of


@dataclass(frozen=True, eq=False)
class Splat(Expression):
    """A scalar in every lane."""

    value: Expression
    of: Type

    def __post_init__(self) -> None:
        check(self.value.type == self.of.element, f"splat of {self.value.type} to {self.of}")
        self._typed(self.of)


@dataclass(frozen=True, eq=False)
class LaneIndex(Expression):
    """0, 1, 2, … in the lanes of an integer vector."""

    of: Type

    def __post_init__(self) -> None:
        check(not self.of.element.is_float, f"lane numbers are integers, not {self.of}")
        self._typed(self.of)


@dataclass(frozen=True, eq=False)
class Extract(Expression):
    """One lane of a vector."""

    value: Expression
    lane: int

    def __post_init__(self) -> None:
        check(0 <= self.lane < self.value.type.lanes, f"no lane {self.lane} in {self.value.type}")
        self._typed(self.value.type.element)


@dataclass(frozen=True, eq=False)
class Pack(Expression):
    """The I1 lanes of all `values`, one after the other, as the low bits of an integer; the first lane is bit 0."""

    values: tuple[Expression, ...]
    of: Scalar

    def __post_init__(self) -> None:
        check(all(value.type.element == I1 for value in self.values), "pack takes vectors of i1")
        lanes = sum(value.type.lanes for value in self.values)
        check(0 < lanes <= self.of.bits and not self.of.is_float, f"{lanes} bits do not fit {self.of}")
        self._typed(self.of)


@dataclass(frozen=True, eq=False)
class Unpack(Expression):
    """The low bits of an integer as I1 lanes; bit 0 is the first lane."""

    value: Expression
    lanes: int

    def __post_init__(self) -> None:
        source = self.value.type
        check(isinstance(source, Scalar) and not source.is_float, f"unpack takes an integer, not {source}")
        check(1 <= self.lanes <= source.element.bits, f"{source} has no {self.lanes} bits")
        self._typed(vector_of(I1, self.lanes))


@dataclass(frozen=True, eq=False)
class Reduce(Expression):
    """All lanes of an integer vector joined by `add`, `and`, `or`, `xor`, `min`, `max`, `umin` or `umax`.

    Not for floats: their sums have an order, which is written out lane by lane."""

    operator: str
    value: Expression

    def __post_init__(self) -> None:
        check(self.operator in ("add", "and", "or", "xor", "min", "max", "umin", "umax"), f"reduce {self.operator}")
        check(not self.value.type.element.is_float, "a float sum has an order")
        self._typed(self.value.type.element)


@dataclass(frozen=True, eq=False)
class PairProducts(Expression):
    """left[2i] * right[2i] + left[2i+1] * right[2i+1] in lane i: from i16 to half as many i32 lanes, wrapping.

    One instruction wherever there are vectors."""

    left: Expression
    right: Expression

    def __post_init__(self) -> None:
        lanes = self.left.type.lanes
        check(self.left.type == self.right.type == Vector(I16, lanes), f"pairs of {self.left.type}, {self.right.type}")
        check(lanes % 2 == 0, f"{lanes} lanes are no pairs")
        self._typed(vector_of(I32, lanes // 2))


def splat(value: Expression, of: Type) -> Expression:
    """The scalar in every lane; the scalar itself when the type has one lane."""
    return value if of.lanes == 1 else Splat(value, of)


def pack(values: tuple[Expression, ...], of: Scalar = I32) -> Expression:
    """Bits of I1 lanes as an integer."""
    return Pack(values, of)
