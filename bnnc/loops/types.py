"""What the «loop» level works on: element types, short vectors, and buffers in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np


# ---------------------------------------------------------------------------------------------------------- types
@dataclass(frozen=True)
class Scalar:
    """An element type: an integer without sign, or IEEE binary32."""

    name: str
    bits: int
    is_float: bool = False

    @property
    def element(self) -> Scalar:
        """Itself; so that code can ask any type."""
        return self

    @property
    def lanes(self) -> int:
        """1; so that code can ask any type."""
        return 1

    @property
    def bytes(self) -> int:
        """What one element takes in memory (an I1 is never stored)."""
        return max(1, self.bits // 8)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Vector:
    """`lanes` elements that are worked on at once."""

    element: Scalar
    lanes: int

    def __str__(self) -> str:
        return f"{self.element}x{self.lanes}"


Type = Scalar | Vector
I1, I8, I16, I32, I64 = (Scalar(f"i{bits}", bits) for bits in (1, 8, 16, 32, 64))
F32 = Scalar("f32", 32, is_float=True)


def vector_of(element: Scalar, lanes: int) -> Type:
    """A vector of so many lanes; the element itself when it is one."""
    return element if lanes == 1 else Vector(element, lanes)


def with_element(shape: Type, element: Scalar) -> Type:
    """The type with the lanes of `shape` and another element."""
    return vector_of(element, shape.lanes)


# -------------------------------------------------------------------------------------------------------- buffers
Space = Literal["parameter", "constant", "arena"]
Access = Literal["read", "write", "both"]


@dataclass(frozen=True, eq=False)
class Buffer:
    """A flat array in memory. `length` counts elements; `alignment` (bytes, 0: the element's) is a promise.

    A parameter of length 0 is a place in some array of the caller's, which it may leave on neither side: functions for
    layers of any size have such. Of an array of words that is only read, the place may even lie outside.
    """

    name: str
    element: Scalar
    length: int
    space: Space = "parameter"
    access: Access = "read"
    alignment: int = 0
    offset: int = 0
    data: np.ndarray | None = field(default=None, repr=False)
    comment: str = ""

    @property
    def bytes(self) -> int:
        """Its size in memory."""
        return self.length * self.element.bytes


NUMPY: dict[Scalar, np.dtype[Any]] = {
    I8: np.dtype("<i1"),
    I16: np.dtype("<i2"),
    I32: np.dtype("<i4"),
    I64: np.dtype("<i8"),
    F32: np.dtype("<f4"),
}
"""The numpy dtype of a buffer's elements; unsigned arrays are taken by their bits."""


def constant_buffer(name: str, data: np.ndarray, comment: str = "", alignment: int = 64) -> Buffer:
    """A constant that holds `data` (int8…int64, uint8…uint64 or float32; any shape, taken row by row)."""
    unsigned = {np.dtype(f"u{n}"): np.dtype(f"<i{n}") for n in (1, 2, 4, 8)}
    flat = np.ascontiguousarray(data).reshape(-1)
    flat = flat.view(unsigned[flat.dtype]) if flat.dtype in unsigned else flat
    element = next((scalar for scalar, dtype in NUMPY.items() if dtype == flat.dtype), None)
    if element is None:
        raise TypeError(f"a constant cannot hold {data.dtype}")
    flat = flat.copy()
    flat.flags.writeable = False
    return Buffer(name, element, flat.size, "constant", "read", alignment, 0, flat, comment)
