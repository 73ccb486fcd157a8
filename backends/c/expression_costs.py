"""What expressions cost a processor, in instructions."""

from __future__ import annotations

from bnnc.backends.c.instruction_costs import Costs
from bnnc.backends.c.ranges import Ranges
from bnnc.loops.ir import (
    F32,
    I64,
    Binary,
    Buffer,
    Compare,
    Constant,
    Convert,
    Expression,
    Fma,
    Load,
    Pack,
    Select,
    Unary,
    Unpack,
    Variable,
)

UNKNOWN = 1 << 31
"""Numbers from which on nothing is known of them."""


class Unbounded(Exception):
    """Nothing is known of how long it takes."""


class ExpressionCosts:
    """The costs of one function's expressions, whose numbers lie in `ranges`."""

    def __init__(self, costs: Costs, ranges: Ranges) -> None:
        self.costs, self.ranges = costs, ranges

    def value(self, node: Expression) -> float:
        """Of a tree. Raises Unbounded."""
        if isinstance(node, Load):
            return self._node(node) + self.place(node.buffer, node.index)
        return self._node(node) + sum(self.value(child) for child in node.children)

    def place(self, buffer: Buffer, index: Expression) -> float:
        """Of the address of an element. Raises Unbounded."""
        apart = isinstance(index, Constant) or buffer.element.bytes == 1
        return self.value(index) + (0 if apart else self.costs.place)

    def _node(self, node: Expression) -> float:
        costs = self.costs
        if node.type.lanes != 1:
            raise Unbounded
        floats = node.type.element == F32 and not isinstance(node, Load | Variable | Constant | Select)
        if floats and costs.floats is None:
            raise Unbounded
        match node:
            case Constant(value, _):
                return 0 if isinstance(value, int) and -8 < value < 128 else costs.constant
            case Variable():
                return 0
            case Load():
                return costs.load
            case Unary("popcount", _):
                return costs.popcount * self._width(node)
            case Unary("count_trailing_zeros", _):
                return costs.lowest_bit * self._width(node)
            case Unary("sqrt" | "floor" | "ceil" | "round_even" | "truncate"):
                return self._only(costs.square_root)
            case Binary("div" | "rem" | "udiv" | "urem", left, right) if not floats:
                return self._divide(left, right)
            case Binary("lshr_exact", _, _):
                return 0  # an offset in bytes is what processors add to addresses
            case Binary("min" | "max" | "umin" | "umax", _, _) | Select():
                return costs.choice
            case Convert("zext" | "sext" | "trunc", value, _):
                return 0 if isinstance(value, Load) else costs.operation / 2
            case Unpack():
                return 2 * costs.operation
            case Pack(values, _):
                return (costs.choice + 3 * costs.operation) * len(values)
            case Fma() | Binary() | Unary() | Compare() | Convert() if floats:
                return self._only(costs.floats)
            case Fma():
                return self._only(costs.floats)
            case Binary() | Unary() | Compare() | Convert():
                return costs.operation * self._width(node)
        raise Unbounded  # of vectors, and clocks

    def _divide(self, left: Expression, right: Expression) -> float:
        """A division; by powers of two it is a shift, with a correction for negative numbers."""
        if self._width(left) != 1:
            raise Unbounded
        low, high = self.ranges.of(left)
        bits, each = left.type.element.bits, 1
        if isinstance(right, Constant) and int(right.value) > 0:
            each = int(right.value)
            if each & (each - 1) == 0:
                return 3 * self.costs.operation
        if low >= 0:
            bits = (high // each).bit_length()
        once, more = self.costs.divide
        return once + more * bits

    def _width(self, node: Expression) -> float:
        """How much more 64 bits cost, where these are no indices."""
        if node.type != I64:
            return 1
        low, high = self.ranges.of(node)
        return 1 if low >= -UNKNOWN and high < UNKNOWN else self.costs.wide

    @staticmethod
    def _only(cost: float | None) -> float:
        if cost is None:
            raise Unbounded
        return cost


__all__ = ["UNKNOWN", "ExpressionCosts", "Unbounded"]
