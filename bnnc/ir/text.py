"""The text form of a module: SSA, one op a line, arrays by digest. It prints as it was read, bit for bit.

module "mnist"
%0 = input {name="x", dtype=u8, shape=[1, 28, 28]} : u8[1, 28, 28]
%1 = bit.conv %0 {weights=#3f9a…, strides=[1, 1], …} : int<-2295,2295>[16, 26, 26] loc("conv1")
output %1 {name="y", storage="float32", batch_axis=0}
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bnnc.ir.location import UNKNOWN, Location
from bnnc.ir.module import Module, Note, Output, PixelMap
from bnnc.ir.op import Op
from bnnc.ir.parse import parse_module
from bnnc.ir.syntax import attribute_fields, digest, fields, is_inline, operand_fields, quote, show


def print_module(module: Module) -> str:
    """The text form. Equal modules give equal text; together with `arrays(module)` nothing is lost."""
    lines = [f"module {quote(module.name)}"]
    lines += [f"fact {quote(key)} {quote(value)}" for key, value in module.facts]
    lines += [f"pixels {{{_fields_of(pixels, PixelMap)}}}" for pixels in module.pixels]
    lines += [f"note {{{_fields_of(note, Note, ('loc',))}}}{_show_location(note.loc)}" for note in module.notes]
    numbers: dict[Op, int] = {}
    for op in module.ops():
        numbers[op] = len(numbers)
        lines.append(f"%{numbers[op]} = {print_op(op, numbers)}")
    for output in module.outputs:
        lines.append(f"output %{numbers[output.value]} {{{_fields_of(output, Output, ('value',))}}}")
    return "\n".join(lines) + "\n"


def print_op(op: Op, numbers: dict[Op, int]) -> str:
    """One op without its number, such as `nn.add %1, %2 : f32[8]`; `numbers` names its operands."""
    operands: list[str] = []
    for name, kind in operand_fields(type(op)):
        value = getattr(op, name)
        found = value if kind == "many" else (value,)
        operands += ["none" if operand is None else f"%{numbers[operand]}" for operand in found]
    attributes = ", ".join(f"{name}={show(getattr(op, name), kind)}" for name, kind in attribute_fields(type(op)))
    words = [op.opcode, ", ".join(operands), f"{{{attributes}}}" if attributes else "", f": {op.type}"]
    return " ".join(word for word in words if word) + _show_location(op.loc)


def arrays(module: Module) -> dict[str, np.ndarray]:
    """The arrays that the text names by digest, in the order in which it does."""
    found: dict[str, np.ndarray] = {}
    for op in module.ops():
        for value in op.attributes().values():
            if isinstance(value, np.ndarray) and not is_inline(value):
                found.setdefault(digest(value), value)
    return found


def _fields_of(value: Any, cls: type[Any], without: tuple[str, ...] = ()) -> str:
    return ", ".join(f"{name}={show(getattr(value, name), kind)}" for name, kind in fields(cls, without))


def _show_location(loc: Location) -> str:
    if loc == UNKNOWN:
        return ""
    if loc == Location(loc.name):
        return f" loc({quote(loc.name)})"
    return f" loc({quote(loc.name)}, {quote(loc.file)}, {loc.line}, {loc.column})"


__all__ = ["arrays", "parse_module", "print_module", "print_op"]
