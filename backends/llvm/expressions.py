"""Prints «loop» expressions as LLVM instructions, one line each."""

from __future__ import annotations

import struct

from bnnc.loops.ir import (
    F32,
    I1,
    Binary,
    Compare,
    Constant,
    Convert,
    Expression,
    Extract,
    Fma,
    Gather,
    LaneIndex,
    Load,
    Pack,
    PairProducts,
    Reduce,
    Select,
    Splat,
    Ticks,
    Type,
    Unary,
    Unpack,
    Variable,
    Vector,
)

_INTEGER = {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "div": "sdiv",
    "rem": "srem",
    "udiv": "udiv",
    "urem": "urem",
    "and": "and",
    "or": "or",
    "xor": "xor",
    "shl": "shl",
    "lshr": "lshr",
    "lshr_exact": "lshr exact",
    "ashr": "ashr",
}
_INTEGER_CALLS = {"min": "smin", "max": "smax", "umin": "umin", "umax": "umax"}
_FLOAT = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_FLOAT_CALLS = {
    "abs": "fabs",
    "sqrt": "sqrt",
    "floor": "floor",
    "ceil": "ceil",
    "round_even": "roundeven",
    "truncate": "trunc",
}
_SIGNED = {"lt": "slt", "le": "sle", "gt": "sgt", "ge": "sge"}
_ORDERED = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}
_REDUCE = {"min": "smin", "max": "smax"}
_CONVERT = {"sext": "sext", "zext": "zext", "trunc": "trunc", "bitcast": "bitcast", "to_float": "sitofp"}


def type_text(type_: Type) -> str:
    """The LLVM type."""
    element = "float" if type_.element == F32 else type_.element.name
    return f"<{type_.lanes} x {element}>" if isinstance(type_, Vector) else element


def _mangled(type_: Type) -> str:
    element = "f32" if type_.element == F32 else type_.element.name
    return f"v{type_.lanes}{element}" if isinstance(type_, Vector) else element


def constant_text(value: int | float, type_: Type) -> str:
    """The constant, without its type. Floats are written by their bits."""
    text = str(value)
    if type_.element.is_float:
        text = f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"
    if not isinstance(type_, Vector):
        return text
    return "zeroinitializer" if str(value) in ("0", "0.0") else f"splat ({type_text(type_.element)} {text})"


class ExpressionPrinter:
    """Appends instructions to `lines`; subclasses add control flow."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.declarations: dict[str, None] = {}
        self.values: dict[Variable, str] = {}
        self.pointers: dict[object, str] = {}
        self._count = 0

    def name(self, hint: str = "") -> str:
        """A new SSA name; numbers run through the whole function, so equal programs print equally."""
        self._count += 1
        return f"%{hint or 't'}.{self._count}"

    def emit(self, text: str, hint: str = "") -> str:
        """Appends `name = text` and gives the name."""
        name = self.name(hint)
        self.lines.append(f"  {name} = {text}")
        return name

    def intrinsic(self, base: str, result: Type, overload: Type, *operands: tuple[Type | str, str]) -> str:
        """Calls @llvm.base.overload and declares it."""
        shown = [(type_ if isinstance(type_, str) else type_text(type_), value) for type_, value in operands]
        symbol = f"@llvm.{base}.{_mangled(overload)}"
        self.declarations[f"declare {type_text(result)} {symbol}({', '.join(type_ for type_, _ in shown)})"] = None
        return self.emit(f"call {type_text(result)} {symbol}({', '.join(f'{t} {v}' for t, v in shown)})")

    def address(self, buffer: object, element: Type, index: Expression) -> str:
        """A pointer to buffer[index]."""
        base = self.pointers[buffer]
        if isinstance(index, Constant) and index.value == 0:
            return base
        where = self.value(index)
        return self.emit(f"getelementptr inbounds {type_text(element)}, ptr {base}, {type_text(index.type)} {where}")

    def value(self, expression: Expression) -> str:
        """Prints what computes the expression; gives its name or its literal."""
        type_ = expression.type
        match expression:
            case Constant(number, of):
                return constant_text(number, of)
            case Variable():
                return self.values[expression]
            case Load(buffer, index, of, alignment):
                place = self.address(buffer, buffer.element, index)
                return self.emit(f"load {type_text(of)}, ptr {place}, align {alignment or buffer.element.bytes}")
            case Gather(buffer, index, offsets):
                return self._gather(
                    self.address(buffer, buffer.element, index), self.value(offsets), offsets.type, type_
                )
            case Unary(operator, operand):
                return self._unary(operator, self.value(operand), type_)
            case Binary(operator, left, right):
                return self._binary(operator, self.value(left), self.value(right), type_)
            case Compare(operator, left, right):
                names = _ORDERED if left.type.element.is_float else _SIGNED
                verb = f"{'fcmp' if left.type.element.is_float else 'icmp'} {names.get(operator, operator)}"
                return self.emit(f"{verb} {type_text(left.type)} {self.value(left)}, {self.value(right)}")
            case Select(condition, yes, no):
                parts = (f"{type_text(part.type)} {self.value(part)}" for part in (condition, yes, no))
                return self.emit(f"select {', '.join(parts)}")
            case Fma(left, right, addend):
                return self.intrinsic("fma", type_, type_, *((type_, self.value(x)) for x in (left, right, addend)))
            case Convert(kind, operand, of):
                value = self.value(operand)
                if kind == "to_int":
                    symbol = f"@llvm.fptosi.sat.{_mangled(of)}.{_mangled(operand.type)}"
                    self.declarations[f"declare {type_text(of)} {symbol}({type_text(operand.type)})"] = None
                    return self.emit(f"call {type_text(of)} {symbol}({type_text(operand.type)} {value})")
                return self.emit(f"{_CONVERT[kind]} {type_text(operand.type)} {value} to {type_text(of)}")
            case Splat(operand, of):
                inner = self.value(operand)
                if of.lanes == 1:
                    return inner
                single = self.emit(f"insertelement {type_text(of)} poison, {type_text(operand.type)} {inner}, i64 0")
                zeros = f"<{of.lanes} x i32> zeroinitializer"
                return self.emit(f"shufflevector {type_text(of)} {single}, {type_text(of)} poison, {zeros}")
            case LaneIndex(of):
                if of.lanes == 1:
                    return "0"
                return "<" + ", ".join(f"{of.element} {lane}" for lane in range(of.lanes)) + ">"
            case Extract(operand, lane):
                value = self.value(operand)
                if operand.type.lanes == 1:
                    return value
                return self.emit(f"extractelement {type_text(operand.type)} {value}, i64 {lane}")
            case PairProducts(left, right):
                return self._pair_products(self.value(left), self.value(right), type_)
            case Pack(values, of):
                return self._pack(values, of)
            case Ticks():
                self.declarations["declare i64 @llvm.readcyclecounter()"] = None
                return self.emit("call i64 @llvm.readcyclecounter()")
            case Unpack(operand, lanes):
                return self._unpack(self.value(operand), operand.type, lanes)
            case Reduce(operator, operand):
                value = self.value(operand)
                if operand.type.lanes == 1:
                    return value
                base = f"vector.reduce.{_REDUCE.get(operator, operator)}"
                return self.intrinsic(base, type_, operand.type, (operand.type, value))
        raise TypeError(f"no LLVM form for {type(expression).__name__}")

    def _gather(self, base: str, offsets: str, lanes: Type, type_: Type) -> str:
        """Loads lane by lane, which is what most processors do with such an instruction too."""
        result = "poison"
        element = type_text(type_.element)
        for lane in range(type_.lanes):
            offset = (
                self.emit(f"extractelement {type_text(lanes)} {offsets}, i64 {lane}") if type_.lanes > 1 else offsets
            )
            wide = self.emit(f"zext i32 {offset} to i64")
            place = self.emit(f"getelementptr inbounds {element}, ptr {base}, i64 {wide}")
            loaded = self.emit(f"load {element}, ptr {place}, align {type_.element.bytes}")
            if type_.lanes == 1:
                return loaded
            result = self.emit(f"insertelement {type_text(type_)} {result}, {element} {loaded}, i64 {lane}")
        return result

    def _unary(self, operator: str, value: str, type_: Type) -> str:
        if type_.element.is_float:
            if operator == "neg":
                return self.emit(f"fneg {type_text(type_)} {value}")
            return self.intrinsic(_FLOAT_CALLS[operator], type_, type_, (type_, value))
        match operator:
            case "neg":
                return self.emit(f"sub {type_text(type_)} {constant_text(0, type_)}, {value}")
            case "not":
                return self.emit(f"xor {type_text(type_)} {value}, {constant_text(-1, type_)}")
            case "popcount":
                return self.intrinsic("ctpop", type_, type_, (type_, value))
        return self.intrinsic({"abs": "abs"}.get(operator, "cttz"), type_, type_, (type_, value), ("i1", "false"))

    def _binary(self, operator: str, left: str, right: str, type_: Type) -> str:
        text = type_text(type_)
        if type_.element.is_float and operator in ("min", "max"):
            ordering = "olt" if operator == "min" else "ogt"
            flags = type_text(Vector(I1, type_.lanes) if isinstance(type_, Vector) else I1)
            better = self.emit(f"fcmp {ordering} {text} {right}, {left}")
            return self.emit(f"select {flags} {better}, {text} {right}, {text} {left}")
        if operator in _INTEGER_CALLS and not type_.element.is_float:
            return self.intrinsic(_INTEGER_CALLS[operator], type_, type_, (type_, left), (type_, right))
        verb = (_FLOAT if type_.element.is_float else _INTEGER)[operator]
        return self.emit(f"{verb} {text} {left}, {right}")

    def _pair_products(self, left: str, right: str, type_: Type) -> str:
        # In this spelling LLVM knows the multiply-add instructions of its targets.
        lanes = type_.lanes
        wide = [self.emit(f"sext <{2 * lanes} x i16> {side} to <{2 * lanes} x i32>") for side in (left, right)]
        product = self.emit(f"mul nsw <{2 * lanes} x i32> {wide[0]}, {wide[1]}")
        parts = []
        for first in (0, 1):
            order = ", ".join(f"i32 {2 * lane + first}" for lane in range(lanes))
            vectors = f"<{2 * lanes} x i32> {product}, <{2 * lanes} x i32> poison"
            if lanes == 1:
                parts.append(self.emit(f"extractelement <2 x i32> {product}, i64 {first}"))
            else:
                parts.append(self.emit(f"shufflevector {vectors}, <{lanes} x i32> <{order}>"))
        return self.emit(f"add {type_text(type_)} {parts[0]}, {parts[1]}")

    def _pack(self, values: tuple[Expression, ...], of: Type) -> str:
        parts = [(self.value(value), value.type.lanes) for value in values]
        # Neighbours of equal width are joined as vectors: on AVX-512 a join is one instruction on mask registers.
        while len(parts) > 1 and len(parts) % 2 == 0 and len({lanes for _, lanes in parts}) == 1 and parts[0][1] > 1:
            parts = [self._join(parts[i], parts[i + 1]) for i in range(0, len(parts), 2)]
        word, shift = "", 0
        for value, lanes in parts:
            if lanes > 1:
                value = self.emit(f"bitcast <{lanes} x i1> {value} to i{lanes}")
            if lanes < of.element.bits:
                value = self.emit(f"zext i{lanes} {value} to {of}")
            if shift:
                value = self.emit(f"shl {of} {value}, {shift}")
            word = self.emit(f"or {of} {word}, {value}") if word else value
            shift += lanes
        return word

    def _join(self, first: tuple[str, int], second: tuple[str, int]) -> tuple[str, int]:
        lanes = first[1]
        order = ", ".join(f"i32 {lane}" for lane in range(2 * lanes))
        vectors = f"<{lanes} x i1> {first[0]}, <{lanes} x i1> {second[0]}"
        return self.emit(f"shufflevector {vectors}, <{2 * lanes} x i32> <{order}>"), 2 * lanes

    def _unpack(self, value: str, type_: Type, lanes: int) -> str:
        if lanes < type_.element.bits:
            value = self.emit(f"trunc {type_} {value} to i{lanes}")
        return value if lanes == 1 else self.emit(f"bitcast i{lanes} {value} to <{lanes} x i1>")
