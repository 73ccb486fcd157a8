"""The user's arrays: of what elements they are, and how images in them come row by row."""

from __future__ import annotations

from bnnc.ir import move
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import Fix, is_integer, value_range
from bnnc.loops.ir import F32, I8, I16, I32, I64, Buffer, Scalar
from bnnc.loops.layout import Elements
from bnnc.loops.lower.names import identifier
from bnnc.loops.lower.places import Place, Storage
from bnnc.loops.lower.program import Source
from bnnc.loops.machine import Machine

STORAGE_OF: dict[str, Scalar] = {
    "bool": I8,
    "int8": I8,
    "uint8": I8,
    "int16": I16,
    "uint16": I32,
    "int32": I32,
    "uint32": I64,
    "int64": I64,
    "uint64": I64,
}


class UserArrays:
    """The arrays of a program's inputs and outputs, in the order of the module's.

    `sources`: how rows come from images, for arrays that something reads.
    """

    def __init__(self, module: Module, machine: Machine) -> None:
        self.module, self.machine = module, machine
        self.inputs = tuple(
            Buffer(f"in_{identifier(op.name)}", _input_scalar(op), op.type.size, "parameter", "read")
            for op in module.inputs
        )
        self.outputs = tuple(
            Buffer(f"out_{identifier(o.name)}", _output_scalar(o), o.value.type.size, "parameter", "write")
            for o in module.outputs
        )
        self.sources: dict[Storage, Source] = {}
        self._storages: dict[tuple[Input, bool], Storage] = {}

    def storage(self, source: Input, channels_last: bool) -> Storage:
        """The array of an input. Of images it is known how a row comes from it."""
        buffer = self.inputs[self.module.inputs.index(source)]
        storage = self._storages.setdefault((source, channels_last), Storage(buffer.name, buffer.bytes, buffer))
        shape = source.type.shape
        if self.machine.streams and len(shape) == 3:
            height, width, channels = shape if channels_last else (shape[1], shape[2], shape[0])
            together = channels_last or channels == 1
            runs, count = (1, width * channels) if together else (channels, width)
            self.sources[storage] = Source(buffer, runs, count, height * width, count)
        return storage

    def rows(self, op: Op) -> tuple[Place, tuple[int, int]] | None:
        """An image [C, H, W] of a byte an element, as rows come from it, and how far channels and columns are apart in
        a row. None for anything but such an input, or one with its channels last that was only turned round."""
        source, last = image(op)
        if source is None or not is_integer(source.dtype) or not self.machine.streams:
            return None
        if _input_scalar(source) != I8 or len(op.type.shape) != 3:
            return None
        channels, height, width = op.type.shape
        layout = Elements(channels, height, width, I8)
        return Place(layout, self.storage(source, last)), (1, channels) if last else (width, 1)


def image(op: Op) -> tuple[Input | None, bool]:
    """The input that op is, perhaps with its channels brought to the front, and whether that is so."""
    if isinstance(op, Input):
        return op, False
    if isinstance(op, move.Transpose) and isinstance(op.x, Input) and op.perm == (2, 0, 1):
        return op.x, True
    return None, False


def _input_scalar(op: Input) -> Scalar:
    """The element type of the array for an input: one byte where the integers fit, else 32 bits."""
    if not is_integer(op.dtype):
        return F32
    lo, hi = value_range(op.dtype)
    fits = lo >= -128 and hi <= (127 if lo < 0 else 255)
    return I8 if fits else I32


def _output_scalar(output: Output) -> Scalar:
    """The element type of the array for an output: fixed-point numbers are given as they are, q of q * 2^-f."""
    if isinstance(output.value.type.dtype, Fix):
        return I32
    return STORAGE_OF.get(output.storage, F32)


__all__ = ["UserArrays", "image"]
