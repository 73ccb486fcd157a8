"""How single values look in the text form: strings, numbers, lists, dtypes, arrays; and the fields of a class."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from typing import Any

import numpy as np

ARRAY_DTYPES = ("int8", "int16", "int32", "int64", "uint8", "bool", "float32")
# What the array of an output may be stored as.
STORAGES = (
    *("float16", "float32", "float64", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
INLINE_ELEMENTS = 4
# Printed bare, these would break lines or make the file unreadable as UTF-8.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")
OPERAND_FIELDS = {"Op": "one", "Op | None": "optional", "tuple[Op, ...]": "many"}


def quote(text: str) -> str:
    """A JSON string on one line; unicode stays readable."""
    return _UNPRINTABLE.sub(lambda m: f"\\u{ord(m[0]):04x}", json.dumps(text, ensure_ascii=False))


def digest(array: np.ndarray) -> str:
    """The name of an array in the text: 16 hexadecimal digits of the SHA-256 of its dtype, shape and bytes."""
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    content = hashlib.sha256(f"{array.dtype.name}{list(array.shape)}".encode())
    content.update(little.tobytes())
    return content.hexdigest()[:16]


def is_inline(array: np.ndarray) -> bool:
    """Whether the array is printed where it stands: it is small, and its text gives back every bit."""
    return array.size <= INLINE_ELEMENTS and (array.dtype.kind != "f" or not bool(np.isnan(array).any()))


def show_array(array: np.ndarray) -> str:
    """`#digest`, or `dtype[shape](values)` for a few values."""
    if not is_inline(array):
        return f"#{digest(array)}"
    shape = ", ".join(map(str, array.shape))
    return f"{array.dtype.name}[{shape}]({', '.join(_show_element(v) for v in array.reshape(-1))})"


def _show_element(value: Any) -> str:
    if value.dtype.kind != "f":
        return str(int(value))  # a bool is 0 or 1
    short = str(value)  # shortest for its own width; read back through float64, so make sure that it survives
    return short if np.float32(float(short)) == value else repr(float(value))


def show(value: Any, annotation: str) -> str:
    """A field's value, by the field's annotation."""
    match annotation:
        case "str":
            return quote(value)
        case "bool":
            return "true" if value else "false"
        case "int":
            return str(int(value))
        case "float":
            return repr(float(value))
        case "tuple[int, ...]":
            return f"[{', '.join(str(int(v)) for v in value)}]"
        case "tuple[float, ...]":
            return f"[{', '.join(repr(float(v)) for v in value)}]"
        case "DType":
            return str(value)
        case "np.ndarray":
            return show_array(value)
        case "np.ndarray | None":
            return "none" if value is None else show_array(value)
    raise NotImplementedError(f"the text form has no syntax for a field of type `{annotation}`")


def fields(cls: type[Any], without: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """(name, annotation) of the fields of a dataclass in order. The annotations are the text of the class body."""
    return [(f.name, str(f.type)) for f in dataclasses.fields(cls) if f.name not in without]


def attribute_fields(cls: type[Any]) -> list[tuple[str, str]]:
    """The fields of an op class that are printed between braces."""
    hidden = ("loc", "type", "function") if cls.code == "nn.map" else ("loc", "type")
    return [(name, kind) for name, kind in fields(cls, hidden) if kind not in OPERAND_FIELDS]


def operand_fields(cls: type[Any]) -> list[tuple[str, str]]:
    """The fields of an op class that hold operands: (name, `one`, `optional` or `many`)."""
    return [(name, OPERAND_FIELDS[kind]) for name, kind in fields(cls) if kind in OPERAND_FIELDS]
