"""What the C functions take and give: the network with integer outputs where it can have them, and its C types."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bnnc.backends.c.names import Locals
from bnnc.ir import bit, move, nn
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.rewrite import replace
from bnnc.ir.types import Fix, is_integer, value_range
from bnnc.loops.ir import F32, I8, I16, I32, I64, Buffer, Program
from bnnc.loops.lower.names import identifier
from bnnc.reference.fixed import to_float

_SIGNED = {I8: "int8_t", I16: "int16_t", I32: "int32_t", I64: "int64_t", F32: "float"}


@dataclass(frozen=True)
class Scale:
    """An output is value * scale + offset, each step rounded to fp32; `steps` are these steps, in order."""

    steps: tuple[tuple[str, np.float32], ...] = ()

    @property
    def scale(self) -> float:
        """What the integers are multiplied by."""
        return next((float(v) for kind, v in self.steps if kind == "mul"), 1.0)

    @property
    def offset(self) -> float:
        """What is added to them then."""
        return next((float(v) for kind, v in self.steps if kind == "add"), 0.0)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """float32 numbers of integers."""
        numbers = values.astype(np.float32)
        for kind, constant in self.steps:
            numbers = numbers * constant if kind == "mul" else numbers + constant
        return numbers


@dataclass(frozen=True)
class Interface:
    """`module` computes what the C code computes; `scales` say what its integers stand for, by output name.

    `transposed`: inputs that the user gives with the channels first and the C code takes with them last.
    `channels_last`: those, and images that the model itself takes with the channels last (Keras).
    """

    original: Module
    module: Module
    scales: Mapping[str, Scale]
    transposed: frozenset[str]
    channels_last: frozenset[str]

    def given(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The user's arrays, batch first, in the order in which the C code reads them."""
        return {name: np.moveaxis(array, 1, -1) if name in self.transposed else array for name, array in inputs.items()}

    def taken(self, output: Output, values: np.ndarray) -> np.ndarray:
        """Numbers of the C code, batch first, as the user's model gives them."""
        original = next(o for o in self.original.outputs if o.name == output.name)
        scale, dtype = self.scales[output.name], output.value.type.dtype
        if scale.steps:
            values = scale.apply(values)
        if isinstance(dtype, Fix):
            values = to_float(values, dtype)
        shaped = values.reshape(len(values), *output.value.type.shape).astype(original.storage, copy=False)
        return np.moveaxis(shaped, 0, original.batch_axis) if original.batch_axis else shaped


def interface_of(module: Module, channels_last: bool) -> Interface:
    """The interface of a «bit» module."""
    changes: dict[Op, Op] = {}
    transposed, already = set(), {op.name for op in module.inputs if _turns_itself(module, op)}
    inputs = []
    for op in module.inputs:
        if channels_last and len(op.type.shape) == 3 and op.name not in already:
            channels, height, width = op.type.shape
            turned = dataclasses.replace(op, shape=(height, width, channels))
            changes[op] = move.Transpose(turned, (2, 0, 1), loc=op.loc)
            transposed.add(op.name)
            inputs.append(turned)
        else:
            inputs.append(op)
    outputs, scales = [], {}
    for output in module.outputs:
        value, scale = _peeled(output.value)
        storage = output.storage
        dtype = value.type.dtype
        if is_integer(dtype):
            storage = "int8" if storage == "bool" else "int32"
        outputs.append(Output(output.name, value, storage))
        scales[output.name] = scale
    made = dataclasses.replace(module, outputs=tuple(outputs))
    if changes:
        made = _with_inputs(made, tuple(inputs), changes)
    return Interface(module, made, scales, frozenset(transposed), frozenset(transposed | already))


def _turns_itself(module: Module, op: Input) -> bool:
    """Whether a model takes an image with the channels last, and only to turn it round."""
    readers = module.users()[op]
    outputs = {output.value for output in module.outputs}
    turned = all(isinstance(reader, move.Transpose) and reader.perm == (2, 0, 1) for reader in readers)
    return len(op.type.shape) == 3 and bool(readers) and turned and op not in outputs


def _with_inputs(module: Module, inputs: tuple[Input, ...], changes: dict[Op, Op]) -> Module:
    replaced = replace(dataclasses.replace(module, inputs=inputs), changes)
    return dataclasses.replace(replaced, inputs=inputs)


def _peeled(value: Op) -> tuple[Op, Scale]:
    """The integers behind an output that is integer * positive number + number, one for all elements."""
    steps: list[tuple[str, np.float32]] = []
    op = value
    while isinstance(op, nn.Map) and op.function in ("mul", "add") and len(steps) < 2:
        constants = [x for x in op.xs if isinstance(x, nn.Constant) and x.values.size == 1]
        others = [x for x in op.xs if not isinstance(x, nn.Constant)]
        if len(constants) != 1 or len(others) != 1 or others[0].type.shape != op.type.shape:
            return value, Scale()
        number = np.float32(constants[0].values.reshape(-1)[0])
        if op.function == "mul" and not (np.isfinite(number) and number > 0):
            return value, Scale()
        steps.insert(0, (op.function, number))
        op = others[0]
    kinds = [kind for kind, _ in steps]
    if not isinstance(op, bit.Decode) or kinds not in ([], ["mul"], ["add"], ["mul", "add"]):
        return value, Scale()
    return op.x, Scale(tuple(steps))


@dataclass(frozen=True)
class Parameter:
    """An array of NAME_run. `cast` is how the code inside sees it."""

    name: str
    label: str
    kind: str
    length: int
    shape: tuple[int, ...]
    meaning: str
    cast: str

    @property
    def element_bytes(self) -> int:
        """Bytes of one element."""
        return {"float": 4, "int8_t": 1, "uint8_t": 1, "int16_t": 2, "int32_t": 4, "int64_t": 8}[self.kind]


@dataclass(frozen=True)
class Signature:
    """The arrays of NAME_run, in order."""

    inputs: tuple[Parameter, ...]
    outputs: tuple[Parameter, ...]


def signature_of(interface: Interface, program: Program, prefix: str) -> Signature:
    """The C parameters of a program."""
    names = Locals(("arena", "input", "output"))
    inputs = []
    for op, buffer in zip(interface.module.inputs, program.inputs, strict=True):
        unsigned = buffer.element == I8 and is_integer(op.dtype) and value_range(op.dtype)[1] > 127
        kind = "uint8_t" if unsigned else _SIGNED[buffer.element]
        last = op.name in interface.channels_last
        inputs.append(
            _parameter(names, "in", op.name, len(program.inputs), kind, buffer, op.type.shape, _input(op, last))
        )
    outputs = []
    for output, buffer in zip(interface.module.outputs, program.outputs, strict=True):
        kind = _SIGNED[buffer.element]
        scale = interface.scales[output.name]
        dtype = output.value.type.dtype
        meaning = f"{dtype}"
        if scale.steps:
            meaning += f"; the model's numbers are value * {scale.scale!r} + {scale.offset!r}"
        elif isinstance(dtype, Fix):
            meaning += f"; the model's numbers are value / 2^{dtype.fraction}"
        outputs.append(
            _parameter(names, "out", output.name, len(program.outputs), kind, buffer, output.value.type.shape, meaning)
        )
    return Signature(tuple(inputs), tuple(outputs))


def _input(op: Input, channels_last: bool) -> str:
    axes = {3: "[height][width][channel]" if channels_last else "[channel][height][width]", 2: "[channel][position]"}
    order = axes.get(len(op.type.shape), "row-major")
    values = f"{op.dtype}"
    if is_integer(op.dtype):
        lo, hi = value_range(op.dtype)
        values = "-1 or 1" if (lo, hi) == (-1, 1) and str(op.dtype) == "bit" else f"{lo}..{hi}"
    return f"{order}, {values}"


def _parameter(
    names: Locals, kind_of: str, user: str, count: int, kind: str, buffer: Buffer, shape: tuple[int, ...], meaning: str
) -> Parameter:
    short = kind_of if count == 1 else f"{kind_of}_{identifier(user)[:40]}"
    name = names.fresh(short)
    word = {I8: "uint8_t", I16: "uint16_t", I32: "uint32_t", I64: "uint64_t", F32: "float"}[buffer.element]
    constant = "const " if kind_of == "in" else ""
    cast = name if kind == word else f"({constant}{word} *){name}"
    if buffer.element == I64:
        cast = f"({constant}bnnc_u64 *){name}"
    return Parameter(name, user, kind, buffer.length, shape, meaning, cast)


__all__ = ["Interface", "Parameter", "Scale", "Signature", "interface_of", "signature_of"]
