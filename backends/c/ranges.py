"""Which numbers the integers of a function can be: proves that 64-bit indices fit the `int` of a small CPU."""

from __future__ import annotations

from collections.abc import Mapping

from bnnc.loops.ir import (
    Assign,
    Binary,
    Compare,
    Constant,
    Convert,
    Expression,
    For,
    Function,
    Load,
    Select,
    Unary,
    Variable,
    statements_of,
)

Interval = tuple[int, int]


def full(bits: int) -> Interval:
    """All signed numbers of so many bits; 0 and 1 for one bit."""
    return (0, 1) if bits == 1 else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


class Ranges:
    """Intervals of a function's integer expressions, taken as signed numbers; wrapping counts as "anything"."""

    def __init__(self, function: Function, given: Mapping[Variable, Interval] | None = None) -> None:
        """given: intervals of parameters, where all callers are known."""
        self._known: dict[Variable, Interval] = dict(given or {})
        self._wide: set[Variable] = set()
        # What a round assigns must lie in what it assumed. What keeps growing is tried with room to grow, and in the
        # end may be anything.
        for number in range(8):
            assumed = dict(self._known)
            self._round(function)
            if assumed == self._known:
                return
            for variable, (lo, hi) in self._known.items():
                if variable.mutable and number and assumed.get(variable) != (lo, hi):
                    room = max(-lo, hi, 1) * 16
                    widest = full(variable.of.element.bits)
                    self._known[variable] = max(widest[0], -room if lo < 0 else 0), min(widest[1], room)
        self._wide = {variable for variable in self._known if variable.mutable}
        self._known = dict(given or {})
        self._round(function)

    def _round(self, function: Function) -> None:
        """One pass over all statements."""
        for statement in statements_of(function.body):
            if isinstance(statement, Assign):
                variable = statement.variable
                if variable.of.element.is_float or variable.of.lanes != 1:
                    continue
                if not variable.mutable:
                    self._known[variable] = self.of(statement.value)
                elif variable in self._wide:
                    self._known[variable] = full(variable.of.element.bits)
                else:
                    lo, hi = self.of(statement.value)
                    before = self._known.get(variable, (lo, hi))
                    self._known[variable] = min(lo, before[0]), max(hi, before[1])
            elif isinstance(statement, For):
                first, last = self.of(statement.start)[0], self.of(statement.stop)[1] - 1
                self._known[statement.variable] = (first, max(first, last))

    def fix(self, variable: Variable, interval: Interval) -> None:
        """A variable is known to be in an interval."""
        self._known[variable] = interval

    def of(self, node: Expression) -> Interval:
        """The interval of a scalar integer expression."""
        bits = node.type.element.bits
        match node:
            case Constant(value, _):
                return int(value), int(value)
            case Variable():
                return self._known.get(node, full(bits))
            case Load(buffer, _, _, _):
                if buffer.data is not None and buffer.data.size and not buffer.element.is_float:
                    return int(buffer.data.min()), int(buffer.data.max())
                return full(bits)
            case Compare():
                return 0, 1
            case Select(condition, yes, no):
                (a, b), (c, d) = self._where(condition, True, yes), self._where(condition, False, no)
                return min(a, c), max(b, d)
            case Unary("popcount", value) | Unary("count_trailing_zeros", value):
                return 0, value.type.element.bits
            case Convert(kind, value, _) if not value.type.element.is_float:
                return self._converted(kind, value, bits)
            case Binary(operator, left, right):
                return self._binary(operator, self.of(left), self.of(right), bits)
        return full(bits)

    def _where(self, condition: Expression, holds: bool, value: Expression) -> Interval:
        """The interval of a value where `variable < constant` holds, or does not."""
        if not (isinstance(condition, Compare) and condition.operator == "lt"):
            return self.of(value)
        left, right = condition.left, condition.right
        if not (isinstance(left, Variable) and isinstance(right, Constant)) or left not in self._known:
            return self.of(value)
        before = self._known[left]
        edge = int(right.value)
        now = (before[0], min(before[1], edge - 1)) if holds else (max(before[0], edge), before[1])
        self._known[left] = now if now[0] <= now[1] else before
        found = self.of(value)
        self._known[left] = before
        return found

    def _converted(self, kind: str, value: Expression, bits: int) -> Interval:
        lo, hi = self.of(value)
        if kind == "zext" and lo < 0:
            return 0, (1 << value.type.element.bits) - 1
        if kind in ("zext", "sext"):
            return lo, hi
        inside = full(bits)
        return (lo, hi) if kind == "trunc" and inside[0] <= lo and hi <= inside[1] else inside

    @staticmethod
    def _binary(operator: str, left: Interval, right: Interval, bits: int) -> Interval:
        (a, b), (c, d) = left, right
        whole = found = full(bits)
        if operator == "add":
            found = a + c, b + d
        elif operator == "sub":
            found = a - d, b - c
        elif operator == "mul":
            products = (a * c, a * d, b * c, b * d)
            found = min(products), max(products)
        elif operator == "min":
            found = min(a, c), min(b, d)
        elif operator == "max":
            found = max(a, c), max(b, d)
        elif operator == "and" and (a >= 0 or c >= 0):
            found = 0, min(b if a >= 0 else d, d if c >= 0 else b)
        elif operator in ("or", "xor") and a >= 0 and c >= 0:
            found = 0, (1 << max(b.bit_length(), d.bit_length())) - 1
        elif operator in ("div", "udiv") and a >= 0 and c > 0:
            found = a // d, b // c
        elif operator in ("rem", "urem") and a >= 0 and c > 0:
            found = 0, min(b, d - 1)
        elif operator in ("lshr", "lshr_exact", "ashr") and a >= 0 and 0 <= c == d < bits:
            found = a >> c, b >> c
        elif operator == "shl" and 0 <= c == d < bits:
            found = a << c, b << c
        return found if whole[0] <= found[0] and found[1] <= whole[1] else whole


__all__ = ["Interval", "Ranges", "full"]
