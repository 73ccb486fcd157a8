"""One number in memory, whatever its form: conversions between elements, and numbers taken from or put into planes."""

from __future__ import annotations

from collections.abc import Sequence

from bnnc.loops.ir import F32, I32, Convert, Expression, Scalar, binary, compare, constant, select, with_element

BIT = (0,)


def converted(value: Expression, element: Scalar, unsigned: bool = False) -> Expression:
    """The number as another element: integers of any width, or an integer as f32. `unsigned`: of the value given.

    Raises TypeError for f32 as an integer: that is a rounding, not a movement.
    """
    source = value.type.element
    if source == element:
        return value
    if source.is_float:
        raise TypeError(f"{source} does not become {element} by moving it")
    if element.is_float:
        wide = converted(value, I32, unsigned) if source.bits < I32.bits else value
        return Convert("to_float", wide, with_element(value.type, F32))
    kind = ("zext" if unsigned else "sext") if source.bits < element.bits else "trunc"
    return Convert(kind, value, with_element(value.type, element))


def plane_bits(value: Expression, planes: Sequence[int]) -> tuple[Expression, ...]:
    """An i1 for each plane of an integer, which must be one that the planes can hold."""
    if tuple(planes) == BIT:
        return (compare("gt", value, 0),)
    return tuple(compare("ne", value & _weight_bit(value, plane), 0) for plane in range(len(planes)))


def _weight_bit(value: Expression, plane: int) -> Expression:
    # A sign plane may lie at the top of the element or beyond it (0..255 read as i8): there the top bit repeats.
    return constant(1 << min(plane, value.type.element.bits - 1), value.type)


def planes_of(value: int, planes: Sequence[int]) -> tuple[bool, ...]:
    """The bit in every plane that an integer known here has; a bit that is 0 (padding of bits) is all zeros."""
    if tuple(planes) == BIT:
        return (value > 0,)
    return tuple(bool(value >> plane & 1) for plane in range(len(planes)))


def number_of(bits: Sequence[Expression], planes: Sequence[int]) -> Expression:
    """The integer (i32) whose plane bits are given as i32 of 0 or 1."""
    if tuple(planes) == BIT:
        return binary("shl", bits[0], 1) - 1
    total: Expression = constant(0, bits[0].type)
    for bit, weight in zip(bits, planes, strict=True):
        total = total + bit * weight
    return total


def bit_as(condition: Expression, element: Scalar = I32) -> Expression:
    """An i1 as an integer of 0 or 1."""
    return select(condition, constant(1, element), constant(0, element))
