"""What an argument can be: each kind reads an evaluated expression, or says in words what it takes instead."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from bnnc.ir.types import Code, DType, Int, parse_dtype

LARGEST = 2**31 - 1


class Refused(Exception):
    """The value is not of the kind; the text says what was expected."""


class Kind:
    """Reads the value of an argument: Fraction, tuple (of a size or a list), str (a word) or DType."""

    words: tuple[str, ...] = ()
    takes = ""

    def read(self, value: Any) -> Any:
        """The value for the layer. Raises Refused."""
        raise NotImplementedError

    def refuse(self) -> Refused:
        return Refused(f"takes {self.takes}")


def whole(value: Any) -> int | None:
    """The whole number that a value is, if it is one."""
    if isinstance(value, Fraction) and value.denominator == 1 and abs(value) <= LARGEST + 1:
        return int(value)
    return None


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number in low..high."""

    low: int = 1
    high: int = LARGEST

    @property
    def takes(self) -> str:  # type: ignore[override]
        if self.high == LARGEST:
            return "a whole number" if self.low < -1 else f"a whole number from {self.low}"
        return f"a whole number from {self.low} to {self.high}"

    def read(self, value: Any) -> int:
        number = whole(value)
        if number is None or not self.low <= number <= self.high:
            raise self.refuse()
        return number


@dataclass(frozen=True)
class Exact(Kind):
    """A fraction in low..high, kept exact."""

    low: Fraction = Fraction(0)
    high: Fraction = Fraction(1)

    @property
    def takes(self) -> str:  # type: ignore[override]
        return "a number" if self.high > 10**9 else f"a number from {self.low} to {self.high}"

    def read(self, value: Any) -> Fraction:
        if not isinstance(value, Fraction) or not self.low <= value <= self.high:
            raise self.refuse()
        return value


class Real(Kind):
    """A number, rounded to float64."""

    takes = "a number"

    def read(self, value: Any) -> float:
        if not isinstance(value, Fraction):
            raise self.refuse()
        return float(value)


@dataclass(frozen=True)
class Window(Kind):
    """A whole number for every axis, or one for all of them: `3`, `3x3`, `[3, 3]`."""

    low: int = 1
    high: int = 1 << 20
    takes: str = "a size such as 3 or 3x3"

    def read(self, value: Any) -> int | tuple[int, ...]:
        if isinstance(value, tuple):
            return tuple(self._one(item) for item in value)
        return self._one(value)

    def _one(self, value: Any) -> int:
        number = whole(value)
        if number is None or not self.low <= number <= self.high:
            raise self.refuse()
        return number


@dataclass(frozen=True)
class Wholes(Kind):
    """A list of whole numbers; a single number is a list of one."""

    low: int = 0
    takes: str = "a list of whole numbers such as [0, 1]"

    def read(self, value: Any) -> tuple[int, ...]:
        items = value if isinstance(value, tuple) else (value,)
        numbers = [whole(item) for item in items]
        if any(number is None or number < self.low for number in numbers):
            raise self.refuse()
        return tuple(number for number in numbers if number is not None)


class Table(Kind):
    """Numbers: one, a list, or a list of lists of one length."""

    takes = "numbers such as [0.5, 1] or [[0, 1], [2, 3]]"

    def read(self, value: Any) -> np.ndarray:
        """float64, of rank 0, 1, 2 …"""

        def plain(item: Any) -> Any:
            if isinstance(item, tuple):
                return [plain(inner) for inner in item]
            if not isinstance(item, Fraction):
                raise self.refuse()
            return float(item)

        try:
            array = np.array(plain(value), np.float64)
        except ValueError:
            raise Refused("takes lists of one length") from None
        if array.size == 0:
            raise self.refuse()
        return array


@dataclass(frozen=True)
class Words(Kind):
    """One of some words, or, with `other`, a value of another kind."""

    words: tuple[str, ...]
    other: Kind | None = None

    @property
    def takes(self) -> str:  # type: ignore[override]
        listed = [f"`{word}`" for word in self.words] + ([self.other.takes] if self.other else [])
        return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} or {listed[-1]}"

    def read(self, value: Any) -> Any:
        if isinstance(value, str) and value in self.words:
            return value
        if self.other is None or isinstance(value, str):
            raise self.refuse()
        try:
            return self.other.read(value)
        except Refused:
            raise self.refuse() from None


class Flag(Kind):
    """true or false."""

    words = ("true", "false")
    takes = "`true` or `false`"

    def read(self, value: Any) -> bool:
        if value not in self.words:
            raise self.refuse()
        return bool(value == "true")


@dataclass(frozen=True)
class Type(Kind):
    """A dtype: `bit`, `trit`, `u8`, `f32`, `code<bits,multiplier,offset>`, `int<low,high>`."""

    floats: bool = True
    words: tuple[str, ...] = ("bit", "trit", "u8", "f32")

    @property
    def takes(self) -> str:  # type: ignore[override]
        return "a type: bit, trit, u8, code<2,1,0>, int<-3,4>" + (" or f32" if self.floats else "")

    def read(self, value: Any) -> DType:
        if isinstance(value, str) and value in self.words and (self.floats or value != "f32"):
            return parse_dtype(value)
        if isinstance(value, Code | Int):
            return value
        raise self.refuse()


def checked_dtype(text: str) -> DType:
    """The dtype of `code<…>` or `int<…>`. Raises Refused for one that no tensor can have."""
    try:
        dtype = parse_dtype(text)
    except ValueError:
        raise Refused("a code has three numbers, code<bits,multiplier,offset>, an int two, int<low,high>") from None
    match dtype:
        case Code(bits, multiplier, offset):
            good = 1 <= bits <= 16 and multiplier != 0 and max(abs(multiplier), abs(offset)) <= 2**15
            if not good:
                raise Refused("a code has 1 to 16 bits, a multiplier that is not 0, and both numbers within 2^15")
        case Int(lo, hi):
            if not -(2**31) <= lo <= hi < 2**31:
                raise Refused("an int goes from a smaller to a larger number within 32 bits")
    return dtype
