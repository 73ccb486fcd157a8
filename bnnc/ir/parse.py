"""Reads the text form of a module. The text is never trusted: every number and size is checked before it is used."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from bnnc.diagnostics import BnncError, error
from bnnc.ir.location import UNKNOWN, Location
from bnnc.ir.module import Input, Module, Note, Output, PixelMap
from bnnc.ir.nn import FUNCTIONS, Map
from bnnc.ir.op import Op
from bnnc.ir.syntax import ARRAY_DTYPES, INLINE_ELEMENTS, STORAGES, attribute_fields, fields, operand_fields
from bnnc.ir.types import Code, DType, parse_dtype
from bnnc.ir.vocabulary import OPS

MAX_TEXT = 1 << 26
MAX_LINE = 1 << 20
MAX_LIST = 1 << 16
MAX_RANK = 16
MAX_ELEMENTS = 1 << 32

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\\x00-\x1f]|\\.)*")
    |(?P<number>%\d{1,9}|-?(?:inf|nan)\b|-?\d[\d.]*(?:e[+-]?\d+)?)
    |(?P<word>(?:code|int|fix)<[-\d,]*>|[a-z_][\w.]*)
    |(?P<digest>\#[0-9a-f]+)
    |(?P<sign>[\[\](){}=,:]))""",
    re.VERBOSE,
)


class _Fault(Exception):
    """What is wrong with the line being read."""


class _Line:
    """The tokens of one line, taken from the left."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        position, text = 0, text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise _Fault(f"cannot read `{text[position : position + 20].strip()}`")
            self.tokens.append((str(match.lastgroup), match[match.lastgroup or 0]))
            position = match.end()
        self.tokens.append(("end", "end of line"))
        self.next = 0

    def take(self, kind: str = "", text: str = "") -> str:
        """The next token, which must be of this kind or be this text."""
        found_kind, found = self.tokens[self.next]
        if (kind and found_kind != kind) or (text and found != text):
            raise _Fault(f"expected {f'`{text}`' if text else f'a {kind}'}, found `{found}`")
        self.next += 1
        return found

    def sees(self, text: str) -> bool:
        return self.tokens[self.next][1] == text and self.tokens[self.next][0] != "string"

    def accept(self, text: str) -> bool:
        if self.sees(text):
            self.next += 1
            return True
        return False


def parse_module(text: str, arrays: Mapping[str, np.ndarray], file: str = "module.ir") -> Module:
    """The module that prints as `text` and has these arrays by digest.

    Raises BnncError B0423 with the line for text that is not a module.
    """
    if len(text) > MAX_TEXT:
        raise error("B0423", f"`{file}` is larger than a module can be ({len(text)} characters)")
    parser = _Parser(arrays)
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("//"):
            continue
        try:
            if len(line) > MAX_LINE:
                raise _Fault("the line is too long")
            parser.read(_Line(line))
        except _Fault as fault:
            raise _wrong(str(fault), file, number) from None
        except (ValueError, TypeError, IndexError, KeyError, AttributeError, ArithmeticError) as fault:
            # The rules of an op may trip over attributes that no compiler pass would give it.
            raise _wrong(f"the op cannot be made: {fault}", file, number) from None
    try:
        return parser.finish()
    except _Fault as fault:
        raise _wrong(str(fault), file, 0) from None


def _wrong(text: str, file: str, line: int) -> BnncError:
    place = Location(file=file, line=line, column=1 if line else 0)
    return error("B0423", f"`{file}` is not a module of bnnc: {text}", places=(place,))


class _Parser:
    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = arrays
        self.name: str | None = None
        self.facts: list[tuple[str, str]] = []
        self.pixels: list[PixelMap] = []
        self.notes: list[Note] = []
        self.values: list[Op] = []
        self.outputs: list[Output] = []

    def finish(self) -> Module:
        if self.name is None:
            raise _Fault("it has no `module` line")
        if not self.outputs:
            raise _Fault("it has no output")
        inputs = tuple(op for op in self.values if isinstance(op, Input))
        names = [op.name for op in inputs] + [f"output {output.name}" for output in self.outputs]
        if len(set(names)) != len(names):
            raise _Fault("two inputs or two outputs have the same name")
        return Module(self.name, inputs, tuple(self.outputs), tuple(self.notes), tuple(self.pixels), tuple(self.facts))

    def read(self, line: _Line) -> None:
        if line.tokens[0][0] == "number" and line.tokens[0][1].startswith("%"):
            self._read_op(line)
        else:
            keyword = line.take("word")
            if keyword == "module" and self.name is None:
                self.name = _string(line)
            elif keyword == "fact":
                self.facts.append((_string(line), _string(line)))
            elif keyword == "pixels":
                self.pixels.append(PixelMap(**self._attributes(line, fields(PixelMap))))
            elif keyword == "note":
                values = self._attributes(line, fields(Note, ("loc",)))
                self.notes.append(Note(**values, loc=_location(line)))
            elif keyword == "output":
                value = self._operand(line)
                self.outputs.append(self._output(value, self._attributes(line, fields(Output, ("value",)))))
            else:
                raise _Fault(f"unexpected `{keyword}`")
        line.take("end")

    def _output(self, value: Op, attributes: dict[str, Any]) -> Output:
        if not 0 <= attributes["batch_axis"] <= len(value.type.shape):
            raise _Fault(f"there is no batch axis {attributes['batch_axis']} in {value.type}")
        if attributes["storage"] not in STORAGES:
            raise _Fault(f"`{attributes['storage']}` is not a number format")
        return Output(value=value, **attributes)

    def _read_op(self, line: _Line) -> None:
        number = line.take("number")
        if number != f"%{len(self.values)}":
            raise _Fault(f"expected %{len(self.values)}, found {number}")
        line.take(text="=")
        opcode = line.take("word")
        values: dict[str, Any] = {}
        cls = OPS.get(opcode)
        if cls is None and opcode.startswith("nn.") and opcode[3:] in FUNCTIONS:
            cls, values["function"] = Map, opcode[3:]
        if cls is None or opcode == Map.code:
            raise _Fault(f"there is no op `{opcode}`")
        values |= self._operands(line, cls, opcode)
        if attribute_fields(cls):
            values |= self._attributes(line, attribute_fields(cls))
        line.take(text=":")
        declared = (_dtype(line.take("word")), _shape(line))
        op = cls(**values, loc=_location(line))
        if (op.type.dtype, op.type.shape) != declared:
            raise _Fault(f"`{opcode}` gives {op.type}, not {declared[0]}{list(declared[1])}")
        if op.type.size > MAX_ELEMENTS or len(op.type.shape) > MAX_RANK:
            raise _Fault(f"{op.type} is larger than a tensor can be")
        self.values.append(op)

    def _operands(self, line: _Line, cls: type[Op], opcode: str) -> dict[str, Any]:
        found: list[Op | None] = []
        while line.tokens[line.next][1].startswith("%") or line.sees("none"):
            found.append(None if line.accept("none") else self._operand(line))
            if not line.accept(","):
                break
        slots = operand_fields(cls)
        if slots and slots[0][1] == "many":
            if not found or None in found:
                raise _Fault(f"`{opcode}` needs operands")
            return {slots[0][0]: tuple(found)}
        if len(found) != len(slots):
            raise _Fault(f"`{opcode}` takes {len(slots)} operands, not {len(found)}")
        values: dict[str, Any] = {}
        for (name, kind), operand in zip(slots, found, strict=True):
            if operand is None and kind != "optional":
                raise _Fault(f"`{opcode}` cannot do without its operand `{name}`")
            values[name] = operand
        return values

    def _operand(self, line: _Line) -> Op:
        text = line.take("number")
        if not text.startswith("%") or int(text[1:]) >= len(self.values):
            raise _Fault(f"`{text}` is not a value above this line")
        return self.values[int(text[1:])]

    def _attributes(self, line: _Line, wanted: list[tuple[str, str]]) -> dict[str, Any]:
        """`{name=value, …}`: all the wanted fields in order."""
        line.take(text="{")
        values: dict[str, Any] = {}
        for index, (name, annotation) in enumerate(wanted):
            if index:
                line.take(text=",")
            line.take(text=name)
            line.take(text="=")
            values[name] = self._value(line, annotation)
        line.take(text="}")
        return values

    def _value(self, line: _Line, annotation: str) -> Any:
        match annotation:
            case "str":
                return _string(line)
            case "bool":
                text = line.take("word")
                if text not in ("true", "false"):
                    raise _Fault(f"expected true or false, found `{text}`")
                return text == "true"
            case "int":
                return _integer(line.take("number"))
            case "float":
                return _float(line.take("number"))
            case "tuple[int, ...]":
                return tuple(_integer(text) for text in _list(line, "[", "]"))
            case "tuple[float, ...]":
                return tuple(_float(text) for text in _list(line, "[", "]"))
            case "DType":
                return _dtype(line.take("word"))
            case "np.ndarray":
                return self._array(line)
            case "np.ndarray | None":
                return None if line.accept("none") else self._array(line)
        raise NotImplementedError(annotation)

    def _array(self, line: _Line) -> np.ndarray:
        if line.tokens[line.next][0] == "digest":
            name = line.take("digest")[1:]
            if name not in self.arrays:
                raise _Fault(f"there is no array #{name}")
            return self.arrays[name]
        dtype = line.take("word")
        if dtype not in ARRAY_DTYPES:
            raise _Fault(f"`{dtype}` is not the dtype of an array")
        shape, texts = _shape(line), _list(line, "(", ")")
        if len(texts) > INLINE_ELEMENTS or math.prod(shape) != len(texts):
            raise _Fault(f"{len(texts)} values do not fill an array of shape {list(shape)}")
        if dtype == "float32":
            with np.errstate(over="ignore"):
                return np.array([_float(t) for t in texts], np.float64).astype(np.float32).reshape(shape)
        numbers = [_integer(t) for t in texts]
        low, high = (0, 1) if dtype == "bool" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
        if any(not low <= n <= high for n in numbers):
            raise _Fault(f"a value leaves {dtype}")
        return np.array(numbers, dtype).reshape(shape)


def _string(line: _Line) -> str:
    try:
        return str(json.loads(line.take("string")))
    except json.JSONDecodeError as fault:
        raise _Fault(f"a string is not well formed: {fault.msg}") from None


def _integer(text: str) -> int:
    if not re.fullmatch(r"-?\d{1,19}", text):
        raise _Fault(f"`{text}` is not an integer of 64 bits")
    return int(text)


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _Fault(f"`{text}` is not a number") from None


def _list(line: _Line, opening: str, closing: str) -> list[str]:
    line.take(text=opening)
    found: list[str] = []
    while not line.sees(closing):
        found.append(line.take("number"))
        if len(found) > MAX_LIST:
            raise _Fault("a list is too long")
        if not line.accept(","):
            break
    line.take(text=closing)
    return found


def _shape(line: _Line) -> tuple[int, ...]:
    shape = tuple(_integer(text) for text in _list(line, "[", "]"))
    if len(shape) > MAX_RANK or any(n < 0 for n in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise _Fault(f"{list(shape)} is not a shape")
    return shape


def _dtype(text: str) -> DType:
    if len(text) > 64:
        raise _Fault("a dtype is too long")
    try:
        dtype = parse_dtype(text)
    except ValueError as fault:
        raise _Fault(str(fault)) from None
    # The range of a code is 2^bits: a large exponent would take all memory.
    if isinstance(dtype, Code) and not 1 <= dtype.bits <= 16:
        raise _Fault(f"{dtype} has more bits than a code can have")
    return dtype


def _location(line: _Line) -> Location:
    if not line.accept("loc"):
        return UNKNOWN
    line.take(text="(")
    name = _string(line)
    if not line.accept(","):
        line.take(text=")")
        return Location(name)
    file = _string(line)
    line.take(text=",")
    first = _integer(line.take("number"))
    line.take(text=",")
    place = Location(name, file, first, _integer(line.take("number")))
    line.take(text=")")
    return place
