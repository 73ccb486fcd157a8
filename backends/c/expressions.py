"""Prints scalar «loop» expressions as C: unsigned words that wrap, and signed numbers where they are proven small.

A number of type I64 whose interval fits the machine's index type is printed in that type, in which nothing can
overflow; all other integers are unsigned, and signed operators cast. So no expression has undefined behaviour.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from bnnc.backends.c.ranges import Ranges
from bnnc.backends.c.runs import place_of
from bnnc.backends.c.vectors import function_name, vector_name
from bnnc.diagnostics import error
from bnnc.loops.ir import (
    F32,
    I1,
    I16,
    I32,
    I64,
    Binary,
    Buffer,
    Compare,
    Constant,
    Convert,
    Expression,
    Extract,
    Fma,
    Gather,
    Load,
    Pack,
    Reduce,
    Select,
    Splat,
    Type,
    Unary,
    Unpack,
    Variable,
    Vector,
)

_SIGNS = {"add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^", "udiv": "/", "urem": "%", "shl": "<<"}
_SIGNED = {"div": "/", "rem": "%"}
_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_FLOAT_CALLS = {
    "sqrt": "sqrtf",
    "floor": "floorf",
    "ceil": "ceilf",
    "round_even": "rintf",
    "truncate": "truncf",
    "abs": "fabsf",
}
_LEVELS = {"*": 3, "/": 3, "%": 3, "+": 4, "-": 4}
ATOM, UNARY, COMPARED, LOOSE = 0, 2, 6, 9


def word_type(type_: Type) -> str:
    """The C type of a number or vector of that type, where it is not an index."""
    if name := vector_name(type_):
        return name
    if type_ == I1:
        return "int"
    return "float" if type_.element == F32 else f"uint{type_.element.bits}_t"


class ExpressionPrinter:
    """Prints the expressions of one function. `used` collects primitives, `headers` what they need."""

    def __init__(
        self,
        ranges: Ranges,
        index_bits: int,
        index_type: str,
        rom: bool,
        shared: set[Buffer],
        name_of: Callable[[Buffer], str],
    ) -> None:
        self.ranges, self.index_bits, self.index_type = ranges, index_bits, index_type
        self.rom, self.shared, self.name_of = rom, shared, name_of
        self.names: dict[Variable, str] = {}
        self.runs: dict[tuple[Buffer, Variable], str] = {}
        self.used: set[str] = set()
        self.headers: set[str] = set()

    # -------------------------------------------------------------------------------------------------------- types
    def is_index(self, node: Expression) -> bool:
        """Whether the number is printed as a signed number of the index type."""
        if node.type != I64:
            return False
        lo, hi = self.ranges.of(node)
        return -(1 << (self.index_bits - 1)) < lo and hi < (1 << (self.index_bits - 1)) - 1

    def type_of(self, node: Expression) -> str:
        """The C type in which the value is computed."""
        if node.type.lanes != 1 and vector_name(node.type) is None:
            raise error("B0603", f"the C target has no vectors of {node.type}")
        return self.index_type if self.is_index(node) else word_type(node.type)

    # ---------------------------------------------------------------------------------------------------- expressions
    def value(self, node: Expression) -> str:
        """The expression, as the whole right side of an assignment or an argument."""
        return self._print(node)[0]

    def atom(self, node: Expression, level: int = ATOM) -> str:
        """The expression, in parentheses unless it binds at least as tightly as `level`."""
        text, own = self._print(node)
        return text if own <= level else f"({text})"

    def index(self, node: Expression) -> str:
        """An expression in brackets."""
        if isinstance(node, Constant):
            return str(int(node.value))
        return self.value(node)

    def wide(self, node: Expression) -> str:
        """An I64 as uint64_t, whatever it is printed as; other words as they are."""
        if node.type == I64 and self.is_index(node):
            if isinstance(node, Constant):
                return _literal(int(node.value), 64)
            return f"(uint64_t){self.atom(node, UNARY)}"
        return self.atom(node)

    def _signed(self, node: Expression) -> str:
        return f"(int{node.type.element.bits}_t){self.wide(node)}"

    def _call(self, name: str, *arguments: str) -> tuple[str, int]:
        if name.startswith("bnnc_"):
            self.used.add(name)
            if name.endswith(("float_bits", "float_of")):
                self.headers.add("string.h")
        else:
            self.headers.add("math.h")
        return f"{name}({', '.join(arguments)})", ATOM

    def _print(self, node: Expression) -> tuple[str, int]:
        if node.type.lanes != 1 or isinstance(node, Extract):
            return self._vector(node), ATOM
        match node:
            case Constant(value, of):
                if of.element.is_float:
                    return self._float(float(value))
                if self.is_index(node):
                    return (str(int(value)), ATOM if value >= 0 else UNARY)
                return _literal(int(value), of.element.bits), ATOM
            case Variable():
                return self.names[node], ATOM
            case Load(buffer, index, _, _):
                offset = self._byte_offset(node)
                if offset is not None:
                    return self._call("bnnc_word_at", self.name_of(buffer), self.value(offset))
                run = place_of(node)
                if run is not None and run[0] in self.runs:
                    return f"{self.runs[run[0]]}[{run[1]}]", ATOM
                place = f"{self.name_of(buffer)}[{self.index(index)}]"
                if self.rom and buffer.space == "constant" and buffer not in self.shared:
                    bits = self.index_bits if self.is_index(node) else buffer.element.bits
                    place = f"BNNC_READ{'F' if buffer.element.is_float else bits}({place})"
                    # What is read from there is unsigned.
                    return (f"(int16_t){place}", UNARY) if self.is_index(node) else (place, ATOM)
                return place, ATOM
            case Unary(operator, operand):
                return self._unary(operator, operand)
            case Binary(operator, left, right):
                return self._binary(node, operator, left, right)
            case Compare(operator, left, right):
                return self._compare(operator, left, right), COMPARED
            case Select(condition, yes, no):
                narrow = self.is_index(node)
                sides = [self.atom(x) if narrow or x.type != I64 else self.wide(x) for x in (yes, no)]
                text = f"{self.atom(condition)} ? {sides[0]} : {sides[1]}"
                if node.type.element.bits in (8, 16):
                    return f"({word_type(node.type)})({text})", UNARY
                return text, LOOSE
            case Fma(left, right, addend):
                return self._call("fmaf", self.value(left), self.value(right), self.value(addend))
            case Convert(kind, operand, of):
                return self._convert(node, kind, operand, of)
            case Splat(operand, _) | Reduce(_, operand):
                return self._print(operand)
            case Pack(values, of):
                word = word_type(of)
                parts = [f"({word}){self.atom(x, UNARY)}" + (f" << {n}" if n else "") for n, x in enumerate(values)]
                if len(parts) == 1:
                    return parts[0], UNARY
                text = " | ".join(f"({part})" if " << " in part else part for part in parts)
                return (f"({word})({text})", UNARY) if of.element.bits < 32 else (text, LOOSE)
            case Unpack(operand, _):
                return f"({self.atom(operand)} & 1u) != 0u", COMPARED
        raise error("B0603", f"the C target has no `{type(node).__name__}`")

    def _vector(self, node: Expression) -> str:
        """A vector, or a lane of one: each operation is a function, for which processors have an instruction."""

        def call(what: str, of: Type, *arguments: str) -> str:
            name = function_name(what, of)
            self.used.add(name)
            return f"{name}({', '.join(arguments)})"

        match node:
            case Extract(operand, lane) if vector_name(operand.type):
                return call("lane", operand.type, self.value(operand), str(lane))
            case _ if vector_name(node.type) is None:
                raise error("B0603", f"the C target has no vectors of {node.type}")
            case Variable():
                return self.names[node]
            case Constant(value, of):
                return call("splat", of, _literal(int(value), of.element.bits))
            case Splat(operand, of):
                return call("splat", of, self.value(operand))
            case Load(buffer, index, of, _):
                return call("load", of, self.place(buffer, index))
            case Convert("zext", Load(buffer, index, Vector(element, _), _), of) if element == I16:
                return call("widen", of, self.place(buffer, index))
            case Gather(buffer, index, offsets):
                return call("gather", node.type, self.place(buffer, index), self.value(offsets))
            case Unary("not", operand):
                return call("not", node.type, self.value(operand))
            case Binary("and" | "or" | "xor" | "add" as operator, left, right):
                return call(operator, node.type, self.value(left), self.value(right))
        raise error("B0603", f"the C target has no `{type(node).__name__}` of vectors")

    def place(self, buffer: Buffer, index: Expression) -> str:
        """A pointer to an element."""
        name = self.name_of(buffer)
        return name if self.ranges.of(index) == (0, 0) else f"{name} + {self.atom(index, 4)}"

    def _byte_offset(self, node: Load) -> Expression | None:
        """Where a word lies in bytes, if its index is made of that: small processors then need no shift."""
        index, buffer = node.index, node.buffer
        if (self.rom and buffer.space == "constant") or buffer.element != I32 or buffer.access != "read":
            return None
        match index:
            case Binary("lshr_exact", offset, Constant(2, _)):
                return offset
        return None

    def _float(self, value: float) -> tuple[str, int]:
        if math.isfinite(value):
            return f"{'-' if math.copysign(1, value) < 0 else ''}{float.hex(abs(value))}f", UNARY
        self.headers.add("math.h")
        return ("NAN", ATOM) if math.isnan(value) else ("INFINITY" if value > 0 else "-INFINITY", UNARY)

    def _unary(self, operator: str, operand: Expression) -> tuple[str, int]:
        type_ = operand.type
        if type_.element.is_float:
            if operator == "neg":
                return f"-{self.atom(operand)}", UNARY
            return self._call(_FLOAT_CALLS[operator], self.value(operand))
        bits = type_.element.bits
        if type_ == I1:
            return f"!{self.atom(operand)}", UNARY
        if operator == "popcount":
            return self._cast(bits, self._call(f"bnnc_popcount{'64' if bits == 64 else ''}", self.wide(operand)))
        if operator == "count_trailing_zeros":
            name = f"bnnc_trailing_zeros{'64' if bits == 64 else ''}"
            guard = f" | {_literal(1 << bits, 32)}" if bits < 32 else ""
            return self._cast(bits, self._call(name, f"{self.wide(operand)}{guard}"))
        if operator == "not":
            return self._cast(bits, (f"~{self.wide(operand)}", UNARY))
        zero = _literal(0, bits)
        if operator == "neg":
            return self._cast(bits, (f"{zero} - {self.wide(operand)}", 4))
        inner = self.wide(operand)
        return self._cast(bits, (f"{self._signed(operand)} < 0 ? {zero} - {inner} : {inner}", LOOSE))

    @staticmethod
    def _cast(bits: int, printed: tuple[str, int]) -> tuple[str, int]:
        """Narrow words are computed as int or unsigned; what leaves them is cut."""
        if bits >= 32:
            return printed
        text, level = printed
        return f"(uint{bits}_t){text if level <= UNARY else f'({text})'}", UNARY

    def _binary(self, node: Expression, operator: str, left: Expression, right: Expression) -> tuple[str, int]:
        type_ = node.type
        bits = type_.element.bits
        if type_.element.is_float:
            if operator in ("min", "max"):
                return self._call(f"bnnc_{operator}f", self.value(left), self.value(right))
            sign = {"add": "+", "sub": "-", "mul": "*", "div": "/"}[operator]
            return f"{self.atom(left)} {sign} {self.atom(right)}", LOOSE
        if self.is_index(node) and self.is_index(left) and self.is_index(right):
            return self._index(operator, left, right)
        if type_ == I1:
            signs = {"and": "&", "or": "|", "xor": "!="}
            return f"{self.atom(left)} {signs[operator]} {self.atom(right)}", LOOSE
        return self._back(node, self._words(bits, operator, left, right))

    def _back(self, node: Expression, printed: tuple[str, int]) -> tuple[str, int]:
        """What was computed with 64 bits, as the index that it is."""
        if not self.is_index(node):
            return printed
        text, level = printed
        return f"({self.index_type}){text if level <= UNARY else f'({text})'}", UNARY

    def _index(self, operator: str, left: Expression, right: Expression) -> tuple[str, int]:
        if operator in ("min", "max"):
            return self._call(f"bnnc_{operator}", self.value(left), self.value(right))
        if operator in ("lshr", "lshr_exact", "ashr"):
            return f"{self.atom(left)} >> {self.atom(right)}", LOOSE
        sign = _SIGNS.get(operator) or _SIGNED[operator]
        level = _LEVELS.get(sign, ATOM)
        # a - (b - c) and a / (b * c) need their parentheses; a + b + c and a * b * c do not.
        tight = level if operator in ("add", "mul") else level - 1
        return f"{self.atom(left, level)} {sign} {self.atom(right, tight)}", level or LOOSE

    def _words(self, bits: int, operator: str, left: Expression, right: Expression) -> tuple[str, int]:
        if operator in ("min", "max", "umin", "umax"):
            name = operator if operator.startswith("u") else f"s{operator}"
            return self._call(f"bnnc_{name}{bits}", self.wide(left), self.wide(right))
        if operator == "ashr":
            if bits < 32:
                wide = f"(uint32_t)(int32_t){self._signed(left)}"
                return self._cast(bits, self._call("bnnc_shift_right", wide, self.wide(right)))
            name = f"bnnc_shift_right{'64' if bits == 64 else ''}"
            return self._call(name, self.wide(left), self.wide(right))
        if operator in _SIGNED:
            word = f"uint{bits}_t"
            return f"({word})({self._signed(left)} {_SIGNED[operator]} {self._signed(right)})", UNARY
        sign = ">>" if operator in ("lshr", "lshr_exact") else _SIGNS[operator]
        if bits < 32:
            # uint16_t * uint16_t is an int, and may overflow one.
            sides = [f"(uint32_t){self.wide(side)}" for side in (left, right)]
            return self._cast(bits, (f"{sides[0]} {sign} {sides[1]}", LOOSE))
        return f"{self.wide(left)} {sign} {self.wide(right)}", LOOSE

    def _compare(self, operator: str, left: Expression, right: Expression) -> str:
        type_ = left.type
        if type_.element.is_float or type_ == I1:
            return f"{self.atom(left)} {_COMPARE[operator]} {self.atom(right)}"
        unsigned = operator.startswith("u")
        sign = _COMPARE[operator[1:] if unsigned else operator]
        if self.is_index(left) and self.is_index(right):
            low = min(self.ranges.of(left)[0], self.ranges.of(right)[0])
            if not unsigned or low >= 0:
                return f"{self.atom(left, 4)} {sign} {self.atom(right, 4)}"
        if unsigned or operator in ("eq", "ne"):
            return f"{self.wide(left)} {sign} {self.wide(right)}"
        if isinstance(right, Constant):
            return f"{self._signed(left)} {sign} {_signed_literal(int(right.value), type_.element.bits)}"
        return f"{self._signed(left)} {sign} {self._signed(right)}"

    def _convert(self, node: Expression, kind: str, operand: Expression, of: Type) -> tuple[str, int]:
        source, target = operand.type.element, of.element
        if kind == "bitcast":
            if source == target:
                return self._print(operand)
            return self._call("bnnc_float_of" if target.is_float else "bnnc_float_bits", self.value(operand))
        if kind == "to_int":
            return self._call("bnnc_whole", self.value(operand))
        inner = self.atom(operand, UNARY)
        if kind == "to_float":
            if self.is_index(operand):
                return f"(float){inner}", UNARY
            sign = "" if source == I1 else f"(int{source.bits}_t)"
            return f"(float){sign}{inner}", UNARY
        if source == I1:
            text = f"({word_type(of)}){inner}"
            if kind == "sext":
                text = f"(({word_type(of)})0 - {text})"
                return self._cast(target.bits, (text, ATOM)) if target.bits < 32 else (text, ATOM)
            return (f"({self.index_type}){inner}", UNARY) if self.is_index(node) else (text, UNARY)
        if target == I1:
            return f"({self.wide(operand)} & 1u) != 0u", COMPARED
        if self.is_index(node):
            if self.is_index(operand):
                return self._print(operand)
            sign = f"(int{source.bits}_t)" if kind == "sext" else ""
            return f"({self.index_type}){sign}{inner}", UNARY
        if kind == "sext":
            return f"({word_type(of)})(int{target.bits}_t)(int{source.bits}_t){inner}", UNARY
        return f"({word_type(of)}){inner}", UNARY


def _literal(value: int, bits: int) -> str:
    """An unsigned constant of that width."""
    value &= (1 << bits) - 1
    text = str(value) if value < 1000 else f"0x{value:x}"
    if bits == 1:
        return str(value)
    if bits <= 16:
        return f"{text}u"
    return f"UINT{bits}_C({text})" if value > 0x7FFF or bits == 64 else f"{text}u"


def _signed_literal(value: int, bits: int) -> str:
    if value == -(1 << (bits - 1)):
        return f"(-INT{max(bits, 16)}_C({-(value + 1)}) - 1)"
    return str(value) if abs(value) < 1 << 15 else f"{'-' if value < 0 else ''}INT{bits}_C({abs(value)})"


__all__ = ["ATOM", "UNARY", "ExpressionPrinter", "word_type"]
