"""From a module back to source: a net that computes the same, and the arrays that are too large to stand in it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import numpy as np

from bnnc.diagnostics import BnncError, error
from bnnc.frontends.dsl.layer_text import Written, layer_text
from bnnc.ir import nn
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.syntax import quote
from bnnc.ir.types import Fix, is_integer

WIDTH = 100
KEYWORDS = frozenset(("net", "let", "input", "output", "weights", "train", "as"))


def refused(what: str, op: Op | None = None) -> BnncError:
    """The error for what the language has no words for."""
    places = (op.loc,) if op is not None and (op.loc.name or op.loc.line) else ()
    return error(
        "B0212",
        f"the network cannot be written as .bnn: {what}",
        places=places,
        helps=("bnnc show prints every network in the form of the compiler",),
    )


def written(module: Module, weights: str) -> tuple[str, dict[str, np.ndarray]]:
    """The source, and the arrays by the names it knows them under; `weights` is the file it will find them in.

    Raises BnncError B0212 for a network that the language cannot express.
    """
    return _Printer(module).text(weights)


def name_text(name: str) -> str:
    """A name as it stands in source: bare where it can, else as a string."""
    return name if re.fullmatch(r"[^\W\d]\w*", name) and name not in KEYWORDS else quote(name)


@dataclass
class _Printer:
    module: Module
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.users = self.module.users()
        self.names: dict[Op, str] = {}
        self.taken = {op.name for op in self.module.inputs} | {output.name for output in self.module.outputs}
        self.labels: set[str] = set()
        self.count = 0

    def text(self, weights: str) -> tuple[str, dict[str, np.ndarray]]:
        """The whole net."""
        lines = [f"net {name_text(self.module.name or 'net')} {{"]
        if weights:
            lines.append(f"    weights {quote(weights)}")
        for note in self.module.notes:
            lines += [f"    # {line}" for line in note.text.splitlines()[:3]]
        lines += [f"    {self._input(op)}" for op in self.module.inputs]
        only = {output.value for output in self.module.outputs if self._ends_here(output)}
        for op in self.module.ops():
            if not (isinstance(op, Input) or op in only or self._joined(op) or self._number(op) is not None):
                lines += self._chain(self._fresh(op), op)
        for output in self.module.outputs:
            start = self._output(output)
            if output.value in only:
                lines += self._chain(start, output.value)
            else:
                lines.append(f"    {start} = {self.names[output.value]}")
        if weights and not self.arrays:
            del lines[1]
        return "\n".join(lines) + "\n}\n", self.arrays

    def _ends_here(self, output: Output) -> bool:
        readers = [other for other in self.module.outputs if other.value is output.value]
        return not self.users[output.value] and len(readers) == 1 and not isinstance(output.value, Input)

    def _input(self, op: Input) -> str:
        if isinstance(op.dtype, Fix):
            raise refused(f"input `{op.name}` is {op.type}", op)
        line = f"input {name_text(op.name)}: {op.dtype}{list(op.shape)}"
        self.names[op] = name_text(op.name)
        for pixels in self.module.pixels:
            if pixels.name == op.name:
                mean, std = ([repr(v) for v in values] for values in (pixels.mean, pixels.std))
                line += f" as pixels({pixels.scale!r}, mean=[{', '.join(mean)}], std=[{', '.join(std)}])"
        return line

    def _output(self, output: Output) -> str:
        given = []
        if output.storage != _storage(output.value):
            given.append(f"storage={output.storage}")
        if output.batch_axis:
            given.append(f"batch={output.batch_axis}")
        return f"output {name_text(output.name)}" + (f"({', '.join(given)})" if given else "")

    def _fresh(self, op: Op) -> str:
        while True:
            self.count += 1
            name = f"v{self.count}"
            if name not in self.taken:
                self.names[op] = name
                return name

    def _joined(self, op: Op) -> bool:
        """Whether the op stands inside the chain of its only reader."""
        readers = self.users[op]
        if len(readers) != 1 or any(output.value is op for output in self.module.outputs):
            return False
        if isinstance(op, nn.Constant):
            return _is_parameter(readers[0], op)
        return bool(readers[0].operands) and readers[0].operands[0] is op and readers[0].operands.count(op) == 1

    def _number(self, op: Op) -> str | None:
        """A constant that is written where it is read: one number, by maps only and not as their first operand."""
        if (
            not isinstance(op, nn.Constant)
            or op.values.ndim
            or any(output.value is op for output in self.module.outputs)
        ):
            return None
        good = all(isinstance(r, nn.Map) and r.xs[0] is not op for r in self.users[op])
        return number_text(float(op.values)) if good else None

    def _chain(self, start: str, last: Op) -> list[str]:
        """The statement that ends in `last`, from the first op that is not inside another chain."""
        stages: list[str] = []
        op = last
        while True:
            stages.insert(0, self._stage(op))
            if not op.operands or isinstance(op, nn.Constant):
                break
            first = op.operands[0]
            if not self._joined(first) or isinstance(first, Input):
                stages.insert(0, self.names[first])
                break
            op = first
        line = f"    {start} = {' -> '.join(stages)}"
        if len(line) <= WIDTH:
            return [line]
        return [f"    {start} = {stages[0]}", *(f"        -> {stage}" for stage in stages[1:])]

    def _stage(self, op: Op) -> str:
        known = self._operand
        text: Written | str = layer_text(op, known)
        if isinstance(text, str):
            raise refused(text, op)
        label = self._label(op, text)
        for array, values in text.arrays.items():
            self.arrays[f"{label}.{array}"] = values
        stage = f"{name_text(label)}: {text.layer}" if label else text.layer
        return " -> ".join([*text.before, stage])

    def _operand(self, op: Op) -> str:
        number = self._number(op)
        return number if number is not None else self.names[op]

    def _label(self, op: Op, text: Written) -> str:
        name = op.loc.name
        layer = text.layer.partition("(")[0]
        unnamed = not text.keeps_name or re.fullmatch(rf"{layer}\d+", name) is not None
        if not text.arrays and (not name or unnamed):
            return ""
        name = name or layer
        if text.arrays:  # the name goes into a zip file
            name = "".join(c if c.isprintable() and c not in "\\" else "_" for c in name)[:200]
        base, number = name, 1
        while name in self.labels:
            number += 1
            name = f"{base}_{number}"
        self.labels.add(name)
        return name


def number_text(value: float) -> str | None:
    """A float that reads back with every bit, or None for NaN, infinities and -0."""
    if not math.isfinite(value) or (value == 0 and math.copysign(1, value) < 0):
        return None
    return str(int(value)) if value == int(value) and abs(value) < 1e9 else repr(value)


def _storage(value: Op) -> str:
    if isinstance(value, nn.ArgMax):
        return "int64"
    return "int32" if is_integer(value.type.dtype) else "float32"


def _is_parameter(reader: Op, constant: Op) -> bool:
    """Whether a constant is the weights of its reader, and so a part of it."""
    match reader:
        case nn.Conv() | nn.Dense():
            return constant is not reader.x
        case nn.BatchNorm():
            return constant is not reader.x
        case nn.MultiThreshold():
            return constant is not reader.x
    return False
