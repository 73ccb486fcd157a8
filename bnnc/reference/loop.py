"""Interprets «loop» programs: slow, checks every access, and needs no hardware of the machine they are for.

A value is a numpy array with one element a lane (a scalar has one lane). Memory is poisoned before use, so a value that
nobody wrote does not pass for a zero.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bnnc.loops.ir import (
    F32,
    I1,
    NUMPY,
    Assign,
    Barrier,
    Binary,
    Buffer,
    Call,
    Compare,
    Constant,
    Convert,
    Expression,
    Extract,
    Fetch,
    Fma,
    For,
    Function,
    Gather,
    If,
    LaneIndex,
    Load,
    Pack,
    PairProducts,
    Pointer,
    Program,
    Promise,
    Reduce,
    Scalar,
    Select,
    Splat,
    Statement,
    Store,
    Ticks,
    Unary,
    Unpack,
    Variable,
    While,
)
from bnnc.reference.numerics import fma

Value = np.ndarray[Any, np.dtype[Any]]
_POISON = 0xA5


class LoopError(Exception):
    """A program broke a rule of the level: an access outside a buffer, a broken promise of alignment, a wrong store."""


@dataclass(frozen=True)
class _Memory:
    """A buffer at run time: `room` elements from `start` on, and `below` before it. Addresses count from a multiple of
    64."""

    elements: Value
    start: int
    room: int
    writable: bool
    below: int = 0


def run_program(program: Program, inputs: Sequence[np.ndarray], samples: int) -> list[np.ndarray]:
    """Flat output arrays of `samples` samples; inputs as in the compiled program. Raises LoopError."""
    arena = np.full(program.arena_bytes, _POISON, np.uint8)
    arguments: list[_Memory | Value] = []
    for buffer, array in zip(program.inputs, inputs, strict=True):
        elements = np.ascontiguousarray(array).reshape(-1).view(NUMPY[buffer.element])
        if elements.size != buffer.length * samples:
            raise LoopError(f"input {buffer.name} has {elements.size} elements, not {buffer.length} x {samples}")
        arguments.append(_Memory(elements, 0, elements.size, writable=False))
    outputs: list[np.ndarray] = []
    for buffer in program.outputs:
        poisoned = np.full(buffer.length * samples * buffer.element.bytes, _POISON, np.uint8)
        outputs.append(poisoned.view(NUMPY[buffer.element]))
        arguments.append(_Memory(outputs[-1], 0, outputs[-1].size, writable=True))
    arguments.append(np.array([samples], np.int64))
    with np.errstate(all="ignore"):
        _Frame(arena).run(program.entry, arguments)
    return outputs


def run_entry(program: Program, arrays: Sequence[np.ndarray], numbers: Sequence[int], arena: np.ndarray) -> None:
    """Runs the entry once on flat arrays of any length (of the buffers' elements), which it reads and writes in place.

    `numbers` are the I64 parameters behind them; `arena` (uint8) keeps what it held. Raises LoopError."""
    if arena.size < program.arena_bytes:
        raise LoopError(f"an arena of {arena.size} bytes, not {program.arena_bytes}")
    arguments: list[_Memory | Value] = []
    for buffer, array in zip((*program.inputs, *program.outputs), arrays, strict=True):
        elements = array.reshape(-1).view(NUMPY[buffer.element])
        arguments.append(_Memory(elements, 0, elements.size, writable=buffer.access != "read"))
    arguments += [np.array([number], np.int64) for number in numbers]
    with np.errstate(all="ignore"):
        _Frame(arena).run(program.entry, arguments)


class _Frame:
    """One activation of a function."""

    def __init__(self, arena: Value) -> None:
        self._arena = arena
        self._values: dict[Variable, Value] = {}
        self._memory: dict[Buffer, _Memory] = {}
        self._given: dict[Variable, tuple[int, int]] = {}  # how often, and all together

    def run(self, function: Function, arguments: Sequence[_Memory | Value]) -> None:
        for parameter, argument in zip(function.parameters, arguments, strict=True):
            if isinstance(parameter, Variable):
                assert not isinstance(argument, _Memory)
                self._values[parameter] = argument
            else:
                assert isinstance(argument, _Memory)
                self._memory[parameter] = argument
        self._block(function.body)

    # --------------------------------------------------------------------------------------------------- statements
    def _block(self, body: tuple[Statement, ...]) -> None:
        for statement in body:
            match statement:
                case Assign(variable, value):
                    self._values[variable] = self.value(value)
                    if variable.promise is not None:
                        self._keeps(variable, variable.promise)
                case Store(buffer, index, value, alignment):
                    stored = self.value(value)
                    memory, first = self._place(buffer, index, stored.size, alignment)
                    if not memory.writable or buffer.access == "read":
                        raise LoopError(f"a store to {buffer.name}, which is only read")
                    memory.elements[first : first + stored.size] = stored
                case For(variable, start, stop, step, inner):
                    for number in range(int(self.value(start)[0]), int(self.value(stop)[0]), step):
                        self._values[variable] = np.array([number], NUMPY[variable.of.element])
                        self._block(inner)
                case While(condition, inner):
                    while self.value(condition)[0]:
                        self._block(inner)
                case If(condition, then, otherwise):
                    self._block(then if self.value(condition)[0] else otherwise)
                case Call(callee, arguments):
                    self._call(callee, arguments)
                case Fetch(target, source, _, runs, count, step):
                    from_ = self._place(source.buffer, source.index, step * (runs - 1) + count, 0)
                    to = self._place(target.buffer, target.index, runs * count, 0)
                    for run in range(runs):
                        first, begin = to[1] + run * count, from_[1] + run * step
                        to[0].elements[first : first + count] = from_[0].elements[begin : begin + count]
                case Barrier(_, threads):
                    if self.value(threads)[0] != 1:
                        raise LoopError("the interpreter runs one thread")

    def _keeps(self, variable: Variable, promise: Promise) -> None:
        """Raises LoopError where a variable is not what is promised of it."""
        number = int(self._values[variable][0])
        times, total = self._given.get(variable, (0, 0))
        times, total = self._given[variable] = times + 1, total + number
        if (
            not 0 <= number <= promise.most
            or (promise.total is not None and total > promise.total)
            or (promise.times is not None and times > promise.times)
        ):
            raise LoopError(f"{variable.name} is {number}, {total} in {times} times, against its {promise}")

    def _call(self, callee: Function, arguments: tuple[Pointer | Expression, ...]) -> None:
        passed: list[_Memory | Value] = []
        for parameter, argument in zip(callee.parameters, arguments, strict=True):
            if isinstance(argument, Expression):
                passed.append(self.value(argument))
                continue
            assert isinstance(parameter, Buffer)
            if not parameter.length:
                passed.append(self._open(argument))
                continue
            memory, first = self._place(argument.buffer, argument.index, parameter.length, parameter.alignment)
            passed.append(_Memory(memory.elements, first, parameter.length, memory.writable))
        _Frame(self._arena).run(callee, passed)

    def _open(self, argument: Pointer) -> _Memory:
        """The whole buffer, seen from a place of it."""
        memory, number = self._find(argument.buffer), int(self.value(argument.index)[0])
        room, below = memory.room - number, memory.below + number
        room = min(room, argument.length) if argument.length else room
        return _Memory(memory.elements, memory.start + number, room, memory.writable, below)

    def _find(self, buffer: Buffer) -> _Memory:
        found = self._memory.get(buffer)
        if found is None:
            if buffer.space == "constant":
                assert buffer.data is not None
                found = _Memory(buffer.data, 0, buffer.length, writable=False)
            elif buffer.space == "arena":
                if buffer.offset + buffer.bytes > self._arena.size:
                    raise LoopError(f"{buffer.name} ends beyond the arena")
                part = self._arena[buffer.offset : buffer.offset + buffer.bytes]
                found = _Memory(part.view(NUMPY[buffer.element]), 0, buffer.length, writable=True)
            else:
                raise LoopError(f"{buffer.name} is not a parameter here")
            self._memory[buffer] = found
        return found

    def _place(self, buffer: Buffer, index: Expression, count: int, alignment: int) -> tuple[_Memory, int]:
        """Where buffer[index : index + count] lies, checked."""
        memory, number = self._find(buffer), int(self.value(index)[0])
        first = memory.start + number
        if number < -memory.below or number + count > memory.room:
            raise LoopError(f"{buffer.name}[{number} : {number + count}] leaves its {memory.room} elements")
        address = first * buffer.element.bytes + (buffer.offset if buffer.space == "arena" else 0)
        if alignment and address % alignment:
            raise LoopError(f"{buffer.name}[{number}] is not aligned to {alignment} bytes")
        return memory, first

    # -------------------------------------------------------------------------------------------------- expressions
    def value(self, expression: Expression) -> Value:
        match expression:
            case Constant(number, of):
                return np.full(of.lanes, number, _dtype(of.element))
            case Variable():
                return self._values[expression]
            case Load(buffer, index, of, alignment):
                memory, first = self._place(buffer, index, of.lanes, alignment)
                return memory.elements[first : first + of.lanes].copy()
            case Gather(buffer, index, offsets):
                memory, first = self._place(buffer, index, 0, 0)
                places = first + _unsigned(self.value(offsets)).astype(np.int64)
                if places.max() >= memory.start + memory.room:
                    raise LoopError(f"{buffer.name}[{places.max() - memory.start}] leaves its {memory.room} elements")
                return memory.elements[places]
            case Unary(operator, operand):
                return _unary(operator, self.value(operand), operand.type.element)
            case Binary(operator, left, right):
                return _binary(operator, self.value(left), self.value(right))
            case Compare(operator, left, right):
                return _compare(operator, self.value(left), self.value(right))
            case Select(condition, yes, no):
                return np.where(self.value(condition), self.value(yes), self.value(no))
            case Fma(left, right, addend):
                return fma(self.value(left), self.value(right), self.value(addend))
            case Convert(kind, operand, of):
                return _convert(kind, self.value(operand), of.element)
            case Splat(operand, of):
                return np.repeat(self.value(operand), of.lanes)
            case LaneIndex(of):
                return np.arange(of.lanes).astype(_dtype(of.element))
            case Extract(operand, lane):
                return self.value(operand)[lane : lane + 1]
            case PairProducts(left, right):
                products = self.value(left).astype(np.int32) * self.value(right).astype(np.int32)
                pairs: Value = products[0::2] + products[1::2]
                return pairs
            case Pack(values, of):
                bits = np.concatenate([self.value(value) for value in values])
                word = sum(1 << position for position in np.flatnonzero(bits).tolist())
                return np.array([word], np.uint64).astype(_dtype(of))
            case Unpack(operand, lanes):
                word = int(self.value(operand)[0])
                return np.array([word >> lane & 1 for lane in range(lanes)], np.bool_)
            case Reduce(operator, operand):
                every = self.value(operand)
                result = every[:1]
                for lane in range(1, every.size):
                    result = _binary(operator, result, every[lane : lane + 1])
                return result
            case Ticks():
                return np.array([time.perf_counter_ns()], np.int64)
        raise LoopError(f"no meaning for {type(expression).__name__}")


def _dtype(element: Scalar) -> np.dtype[Any]:
    return np.dtype(np.bool_) if element == I1 else NUMPY[element]


def _unsigned(values: Value) -> Value:
    return values if values.dtype == np.bool_ else values.view(f"u{values.dtype.itemsize}")


def _popcount(values: Value) -> Value:
    octets = np.ascontiguousarray(values).view(np.uint8).reshape(values.size, -1)
    counts: Value = np.unpackbits(octets, axis=1).sum(axis=1).astype(values.dtype)
    return counts


def _unary(operator: str, values: Value, element: Scalar) -> Value:
    if element == F32:
        if operator == "truncate":
            whole: Value = np.trunc(values)
            return whole
        made: Value = {
            "neg": np.negative,
            "abs": np.abs,
            "sqrt": np.sqrt,
            "floor": np.floor,
            "ceil": np.ceil,
            "round_even": np.rint,
        }[operator](values)
        return made
    match operator:
        case "neg":
            return np.negative(values)
        case "not":
            return np.invert(values)
        case "abs":
            return np.abs(values)
        case "popcount":
            return _popcount(values)
    # The bits below the lowest 1; all of them when there is none.
    return _popcount((values & -values) - values.dtype.type(1))


def _binary(operator: str, a: Value, b: Value) -> Value:
    match operator:
        case "add":
            return a + b
        case "sub":
            return a - b
        case "mul":
            return a * b
        case "and":
            return a & b
        case "or":
            return a | b
        case "xor":
            return a ^ b
        case "shl":
            return a << b
        case "ashr":
            return a >> b
        case "lshr":
            return (_unsigned(a) >> _unsigned(b)).view(a.dtype)
        case "lshr_exact":
            shifted: Value = (_unsigned(a) >> _unsigned(b)).view(a.dtype)
            if ((shifted << b) != a).any():
                raise LoopError("lshr_exact loses a set bit")
            return shifted
        case "min":
            return np.where(b < a, b, a)
        case "max":
            return np.where(b > a, b, a)
        case "umin" | "umax":
            smaller = _unsigned(b) < _unsigned(a)
            return np.where(smaller == (operator == "umin"), b, a)
        case "udiv":
            return (_unsigned(a) // _unsigned(b)).view(a.dtype)
        case "urem":
            return (_unsigned(a) % _unsigned(b)).view(a.dtype)
        case "div" if a.dtype == np.float32:
            return a / b
        case "div":
            down = a // b
            return np.where((down < 0) & (down * b != a), down + 1, down).astype(a.dtype)
        case "rem":
            return np.fmod(a, b)
    raise LoopError(f"no meaning for {operator}")


def _compare(operator: str, a: Value, b: Value) -> Value:
    if operator in ("ult", "ule", "ugt", "uge"):
        a, b, operator = _unsigned(a), _unsigned(b), operator[1:]
    made: Value = {
        "eq": np.equal,
        "ne": np.not_equal,
        "lt": np.less,
        "le": np.less_equal,
        "gt": np.greater,
        "ge": np.greater_equal,
    }[operator](a, b)
    return made


def _convert(kind: str, values: Value, element: Scalar) -> Value:
    target = _dtype(element)
    match kind:
        case "bitcast":
            return values.view(target)
        case "sext" if values.dtype == np.bool_:
            spread: Value = np.negative(values.astype(target))
            return spread
        case "zext":
            return _unsigned(values).astype(target)
        case "to_int":
            clipped = np.clip(np.nan_to_num(values.astype(np.float64), nan=0.0), -(2.0**31), 2.0**31 - 1)
            return np.trunc(clipped).astype(np.int32)
        case "trunc" if element == I1:
            return (values & 1).astype(np.bool_)
    return values.astype(target)
