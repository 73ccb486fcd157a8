"""Elementwise functions of two fixed-point streams, made of what there is: sums, products, steps and lines."""

from __future__ import annotations

import numpy as np

from bnnc.ir import bit, fixed, nn
from bnnc.ir.op import Op, TypeRuleError
from bnnc.ir.types import Code, Fix, is_integer, stored_range
from bnnc.passes.formats import constant, lines_op
from bnnc.passes.lines import identity

# Where a - b must be at least so many units, and what holds before and after.
_COMPARED = {
    "greater": ((1,), (0, 1)),
    "greater_equal": ((0,), (0, 1)),
    "less": ((0,), (1, 0)),
    "less_equal": ((1,), (1, 0)),
    "equal": ((0, 1), (0, 1, 0)),
}


def joined(op: nn.Map, operands: list[Op], dtype: Fix) -> Op | None:
    """op of these integers and streams, as a stream of this format; None for a function that has no such form.

    Raises TypeRuleError where the format is too fine.
    """
    if op.function in _COMPARED:
        return _compared(operands, op)
    match op.function:
        case "add" | "sub":
            return fixed.Add(tuple(operands), (1, 1 if op.function == "add" else -1), dtype, loc=op.loc)
        case "mul":
            return fixed.Mul(operands[0], operands[1], dtype, loc=op.loc)
        case "div" if isinstance(op.xs[1], nn.Constant) and op.xs[1].values.all():
            inverse = constant(nn.Constant((1 / op.xs[1].values.astype(np.float64)).astype(np.float32)))
            return None if inverse is None else fixed.Mul(operands[0], inverse, dtype, loc=op.loc)
        case "max" | "min":
            return _larger(operands[0], operands[1], 1 if op.function == "max" else -1, dtype, op)
        case "where":
            return _chosen(operands, dtype, op)
        case "prelu":
            return _sloped(operands[0], operands[1], dtype, op)
    return None


def _compared(operands: list[Op], op: nn.Map) -> Op:
    """a compared with b: a step on a - b, which a rounded difference may blur by half a unit."""
    difference = fixed.Add(tuple(operands), (1, -1), _wider(*operands), loc=op.loc)
    thresholds, levels = _COMPARED[op.function]
    limits, values = np.array([thresholds], np.int32), np.array([levels], np.int32)
    return bit.Step(difference, limits, values, Code(1), loc=op.loc)


def _larger(a: Op, b: Op, sign: int, dtype: Fix, op: Op) -> Op:
    """max(a, b) = b + _relu(a - b); min(a, b) = b - _relu(b - a)."""
    difference = fixed.Add((a, b), (sign, -sign), _wider(a, b), loc=op.loc)
    rest = _relu(difference, op)
    return fixed.Add((b, rest), (1, sign), dtype, loc=op.loc)


def _chosen(operands: list[Op], dtype: Fix, op: Op) -> Op | None:
    """b + condition * (a - b), for a condition that is 0 or 1."""
    condition, a, b = operands
    if not is_integer(condition.type.dtype) or stored_range(condition.type.dtype) != (0, 1):
        return None
    difference = fixed.Add((a, b), (1, -1), _wider(a, b), loc=op.loc)
    part = fixed.Mul(condition, difference, format_of_stream(difference), loc=op.loc)
    return fixed.Add((b, part), (1, 1), dtype, loc=op.loc)


def _sloped(x: Op, slope: Op, dtype: Fix, op: Op) -> Op:
    """_relu(x) + slope * min(x, 0), for slopes that differ within a channel."""
    above = _relu(x, op)
    below = fixed.Add((x, above), (1, -1), format_of_stream(above), loc=op.loc)
    return fixed.Add((above, fixed.Mul(slope, below, dtype, loc=op.loc)), (1, 1), dtype, loc=op.loc)


def format_of_stream(op: Op) -> Fix:
    """Raises TypeRuleError for what is no stream."""
    dtype = op.type.dtype
    if not isinstance(dtype, Fix):
        raise TypeRuleError(f"{op.type} is not fixed point")
    return dtype


def _wider(a: Op, b: Op) -> Fix:
    """A format that holds every difference of two."""
    whole = min(32, max(_holding(a).whole, _holding(b).whole) + 1)
    return Fix(whole, 32 - whole)


def _holding(x: Op) -> Fix:
    """The format of a stream, or the one with the most fractional bits that holds an integer tensor."""
    dtype = x.type.dtype
    if isinstance(dtype, Fix):
        return dtype
    whole = min(32, max(map(abs, stored_range(dtype))).bit_length() + 1)
    return Fix(whole, 32 - whole)


def _relu(x: Op, op: Op) -> Op:
    dtype = _holding(x)
    made = lines_op(
        x, identity(1).bent(np.zeros(1), (np.zeros(1), np.zeros(1)), (np.ones(1), np.zeros(1))), dtype, op.loc
    )
    if made is None:
        raise TypeRuleError("no format holds it")
    return made


__all__ = ["format_of_stream", "joined"]
