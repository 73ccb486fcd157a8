"""Types: what values a tensor can hold, and its shape for one sample (the batch is never part of a shape)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class F32:
    """IEEE 754 binary32."""

    def __str__(self) -> str:
        return "f32"


@dataclass(frozen=True)
class Bit:
    """-1 or +1; stored as 0 or 1."""

    def __str__(self) -> str:
        return "bit"


@dataclass(frozen=True)
class Trit:
    """-1, 0 or +1; stored as two planes: non-zero and negative."""

    def __str__(self) -> str:
        return "trit"


@dataclass(frozen=True)
class Code:
    """A `bits`-bit unsigned code c that stands for the integer `multiplier * c + offset`.

    FracBNN's two-bit activations are code<2,2,-3> (the integers -3, -1, 1, 3), DoReFa's code<2,1,0>.
    """

    bits: int
    multiplier: int = 1
    offset: int = 0

    def __str__(self) -> str:
        return f"code<{self.bits},{self.multiplier},{self.offset}>"


@dataclass(frozen=True)
class Int:
    """An integer known to lie in lo..hi (both included)."""

    lo: int
    hi: int

    def __str__(self) -> str:
        return "u8" if (self.lo, self.hi) == (0, 255) else f"int<{self.lo},{self.hi}>"


@dataclass(frozen=True)
class Fix:
    """A 32-bit fixed-point number with `whole` bits (sign included) before the point and `fraction` after it."""

    whole: int
    fraction: int

    def __str__(self) -> str:
        return f"fix<{self.whole},{self.fraction}>"


DType = F32 | Bit | Trit | Code | Int | Fix
U8 = Int(0, 255)

_PARAMETRIC = re.compile(r"(code|int|fix)<(-?\d+(?:,-?\d+)*)>")


def parse_dtype(text: str) -> DType:
    """The dtype that prints as `text`. Raises ValueError for anything else."""
    plain: dict[str, DType] = {"f32": F32(), "bit": Bit(), "trit": Trit(), "u8": U8}
    if text in plain:
        return plain[text]
    match = _PARAMETRIC.fullmatch(text)
    if match:
        numbers = [int(number) for number in match[2].split(",")]
        maker = {"code": Code, "int": Int, "fix": Fix}[match[1]]
        if len(numbers) == (3 if maker is Code else 2):
            return maker(*numbers)  # type: ignore[no-any-return]
    raise ValueError(f"`{text}` is not a dtype")


def value_range(dtype: DType) -> tuple[int, int]:
    """Smallest and largest integer that a value of an integer dtype can be. Raises TypeError for f32 and fix."""
    match dtype:
        case Bit() | Trit():
            return -1, 1
        case Code(bits, multiplier, offset):
            ends = (offset, offset + multiplier * (2**bits - 1))
            return min(ends), max(ends)
        case Int(lo, hi):
            return lo, hi
    raise TypeError(f"{dtype} is not an integer dtype")


def stored_range(dtype: DType) -> tuple[int, int]:
    """Smallest and largest integer that stands in memory: value_range, or all of 32 bits for fix."""
    return (-(2**31), 2**31 - 1) if isinstance(dtype, Fix) else value_range(dtype)


def is_integer(dtype: DType) -> bool:
    """Whether every value of the dtype is an integer (bit, trit, code, int)."""
    return isinstance(dtype, Bit | Trit | Code | Int)


@dataclass(frozen=True)
class TensorType:
    """dtype and shape of one sample; channels come first: [C], [C, L] or [C, H, W]."""

    dtype: DType
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many elements one sample has."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"
