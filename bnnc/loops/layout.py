"""Where the elements of a tensor lie in memory: channels last, bits packed along the channels, a static halo around.

A tensor of any rank is seen as [channels, height, width]: [C] has height and width 1, [C, L] height 1; of more axes
than three, all but the first two are taken together as the width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from bnnc.ir.types import F32, Bit, Code, DType, Trit, stored_range, value_range
from bnnc.loops import ir as loop

WORD = 32


@dataclass(frozen=True)
class Halo:
    """Rows above and below, pixels left and right, that hold `value` (an integer: the padding of the reader)."""

    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0
    value: int = 0

    @property
    def empty(self) -> bool:
        """No halo at all."""
        return not (self.top or self.left or self.bottom or self.right)


NO_HALO = Halo()


def image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """channels, height, width of a tensor shape."""
    if len(shape) <= 2:
        return (*shape, 1, 1, 1)[0], 1, shape[1] if len(shape) == 2 else 1
    return shape[0], shape[1], math.prod(shape[2:])


def plane_weights(dtype: DType) -> tuple[int, ...]:
    """What each bit plane of a packed dtype counts: its integer is the sum over its set planes.

    A bit is the exception: its one plane means +1 where set and -1 where not, and is written (0,). Others are unsigned
    or two's complement: a trit is (1, -2), which is the planes non-zero and negative.
    """
    if isinstance(dtype, Bit):
        return (0,)
    lo, hi = value_range(dtype)
    if lo >= 0:
        return tuple(1 << k for k in range(max(1, hi.bit_length())))
    bits = max(hi.bit_length(), (-lo - 1).bit_length()) + 1
    return (*(1 << k for k in range(bits - 1)), -(1 << (bits - 1)))


class _Rows:
    """What layouts have in common: rows of pixels, all alike, and a halo around. Sizes count elements of the buffer."""

    height: int
    width: int
    halo: Halo

    @property
    def pixel(self) -> int:
        """Elements of one pixel."""
        raise NotImplementedError

    @property
    def row(self) -> int:
        """Elements of one row, halo included."""
        return (self.width + self.halo.left + self.halo.right) * self.pixel

    @property
    def origin(self) -> int:
        """Index of the first element of pixel (0, 0)."""
        return self.halo.top * self.row + self.halo.left * self.pixel

    @property
    def length(self) -> int:
        """Elements in all."""
        return (self.height + self.halo.top + self.halo.bottom) * self.row


@dataclass(frozen=True)
class Packed(_Rows):
    """[height + halo][width + halo][planes][words] of 32-bit words; channel c is bit c % 32 of word c // 32.

    Bits above the last channel are 0 in every plane.
    """

    channels: int
    height: int
    width: int
    planes: tuple[int, ...]
    halo: Halo = NO_HALO

    @property
    def words(self) -> int:
        """Words of one plane of one pixel."""
        return -(-self.channels // WORD)

    @property
    def pixel(self) -> int:
        """Words of one pixel."""
        return len(self.planes) * self.words

    @property
    def element(self) -> loop.Scalar:
        """What the buffer holds."""
        return loop.I32


@dataclass(frozen=True)
class Elements(_Rows):
    """[height + halo][width + halo][channels] of numbers, one each."""

    channels: int
    height: int
    width: int
    element: loop.Scalar
    halo: Halo = NO_HALO

    @property
    def pixel(self) -> int:
        """Elements of one pixel."""
        return self.channels


Layout = Packed | Elements


def packed(dtype: DType, shape: tuple[int, ...], halo: Halo = NO_HALO) -> Packed:
    """The packed layout of an integer tensor."""
    return Packed(*image_shape(shape), plane_weights(dtype), halo)


def elements(dtype: DType, shape: tuple[int, ...], halo: Halo = NO_HALO) -> Elements:
    """One number each, in the smallest signed element that holds the dtype (and the halo's value)."""
    return Elements(*image_shape(shape), element_of(dtype), halo)


def element_of(dtype: DType) -> loop.Scalar:
    """f32, or the smallest of i8, i16, i32 whose signed range holds every value."""
    if isinstance(dtype, F32):
        return loop.F32
    lo, hi = stored_range(dtype)
    for scalar in (loop.I8, loop.I16):
        if -(1 << (scalar.bits - 1)) <= lo and hi < 1 << (scalar.bits - 1):
            return scalar
    return loop.I32


def natural(dtype: DType, shape: tuple[int, ...], halo: Halo = NO_HALO) -> Layout:
    """Packed for bits, trits and codes; elements for wide integers and f32."""
    if isinstance(dtype, Bit | Trit | Code):
        return packed(dtype, shape, halo)
    return elements(dtype, shape, halo)


def without_halo(layout: Layout) -> Layout:
    """The same layout without a halo."""
    return replace(layout, halo=NO_HALO)


__all__ = [
    "NO_HALO",
    "WORD",
    "Elements",
    "Halo",
    "Layout",
    "Packed",
    "element_of",
    "elements",
    "image_shape",
    "natural",
    "packed",
    "plane_weights",
    "without_halo",
]
