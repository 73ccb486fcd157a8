"""The graph's inputs: their types and shapes, the number that stands for the batch, and `--shape` and `--pixels`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from bnnc.diagnostics import error
from bnnc.frontends.onnx.node import World
from bnnc.frontends.onnx.problems import Problem
from bnnc.frontends.onnx.tensors import LARGEST, element_type
from bnnc.frontends.onnx.values import FLOATS, INTEGER_RANGES, Batch, Shape, Value, elements
from bnnc.ir import nn
from bnnc.ir.location import Location
from bnnc.ir.module import Input, Note, PixelMap
from bnnc.ir.op import Op
from bnnc.ir.types import F32, U8, DType, Int
from bnnc.protocols import ImportOptions

_EXACT = 2**24
_STANDS_FOR_THE_BATCH = 10_007


@dataclass(frozen=True)
class Declared:
    """What the file says about an input. An open size is its name; without any shape, `shape` is None."""

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None


@dataclass(frozen=True)
class Inputs:
    """All inputs with their sizes worked out; `baked` is the batch size that the file insists on, or None."""

    declared: tuple[Declared, ...]
    shapes: Mapping[str, Shape]
    baked: int | None


def read_inputs(model: onnx.ModelProto, options: ImportOptions, file: str) -> Inputs:
    """The graph inputs that are not initialisers. Raises BnncError B0404, B0405, B0410, B0413."""
    initialisers = {tensor.name for tensor in model.graph.initializer}
    initialisers |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    declared = tuple(_declared(info, file) for info in model.graph.input if info.name not in initialisers)
    if not declared:
        raise error("B0404", f"`{file}` has no input", places=(Location(file=file),), helps=("bnnc explain B0404",))
    _known_names(options.shapes, declared, file, "--shape", "1,3,32,32")
    given = {_meant(name, declared): tuple(shape) for name, shape in options.shapes.items()}
    shapes, batches = {}, set()
    for entry in declared:
        sizes = _sizes(entry, given.get(entry.name), file)
        batch = entry.shape[0] if entry.shape else "batch"
        if isinstance(batch, int):
            batches.add(batch)
        shapes[entry.name] = sizes
    if len(batches) > 1:
        listed = ", ".join(f"`{entry.name}` {list(entry.shape or ())}" for entry in declared)
        raise error(
            "B0405",
            f"the inputs of `{file}` do not have the same batch as their first axis: {listed}",
            places=(Location(file=file),),
            helps=("export the model with the batch as axis 0 of every input",),
        )
    return Inputs(declared, shapes, batches.pop() if batches else None)


def _declared(info: onnx.ValueInfoProto, file: str) -> Declared:
    place = (Location(info.name, file),)
    if not info.type.HasField("tensor_type"):
        raise error(
            "B0404",
            f"input `{info.name}` is not a tensor",
            places=place,
            helps=("export the model with tensor inputs",),
        )
    tensor = info.type.tensor_type
    try:
        dtype = element_type(tensor.elem_type)
    except Problem as reason:
        raise error(
            "B0404", f"input `{info.name}` {reason.text}", places=place, helps=("export the model with float inputs",)
        ) from None
    if not tensor.HasField("shape"):
        return Declared(info.name, dtype, None)
    sizes: list[int | str] = []
    for index, dim in enumerate(tensor.shape.dim):
        if dim.HasField("dim_value") and (dim.dim_value > 0 or (index and dim.dim_value == 0)):
            sizes.append(int(dim.dim_value))
        else:
            sizes.append(str(dim.dim_param) or ("batch" if index == 0 else "?"))
    return Declared(info.name, dtype, tuple(sizes))


def _meant(name: str, declared: tuple[Declared, ...]) -> str:
    return declared[0].name if name == "" and len(declared) == 1 else name


def _known_names(
    given: Mapping[str, object], declared: tuple[Declared, ...], file: str, option: str, example: str
) -> None:
    names = [entry.name for entry in declared]
    for name in given:
        if _meant(name, declared) not in names:
            raise error(
                "B0410",
                f"{option}: `{file}` has no input `{name}`"
                if name
                else f"{option}: `{file}` has several inputs; name one",
                places=(Location(file=file),),
                notes=(f"its inputs are {', '.join(f'`{n}`' for n in names)}",),
                helps=(f"{option} {names[0]}={example}",),
            )


def _sizes(entry: Declared, given: Shape | None, file: str) -> Shape:
    """The sizes without the batch."""
    name, place = entry.name, (Location(entry.name, file),)
    shape = entry.shape
    if given is not None:
        if not given or any(n < 1 for n in given):
            raise error(
                "B0410", f"--shape: {list(given)} is not a shape", places=place, helps=(f"--shape {name}=1,3,32,32",)
            )
        fits = shape is None or (
            len(shape) == len(given)
            and all(isinstance(n, str) or n == g for n, g in zip(shape[1:], given[1:], strict=True))
        )
        if not fits:
            raise error(
                "B0410",
                f"--shape: input `{name}` is {_spelled(shape or ())} in the file, which {list(given)} does not fit",
                places=place,
                notes=("axis 0 is the batch; it may be any number",),
                helps=(f"--shape {name}={_example(shape)}",),
            )
        sizes = given[1:]
    elif shape is None or any(isinstance(n, str) for n in shape[1:]):
        spelled = "no shape at all" if shape is None else f"no fixed shape: {_spelled(shape)}"
        raise error(
            "B0404",
            f"input `{name}` has {spelled}",
            places=place,
            helps=(f"bnnc compile {file} --shape {name}={_example(shape)}",),
        )
    elif not shape:
        raise error(
            "B0404",
            f"input `{name}` is a single number: it has no batch axis",
            places=place,
            helps=("export the model with the batch as axis 0 of every input",),
        )
    else:
        sizes = tuple(int(n) for n in shape[1:])
    if any(n < 1 for n in sizes):
        raise error(
            "B0413",
            f"input `{name}` has an axis of length 0: {_spelled(shape or sizes)}",
            places=place,
            helps=("export the model again with an example input that is not empty",),
        )
    if elements(sizes) > LARGEST:
        raise error(
            "B0413",
            f"input `{name}` of shape {list(sizes)} is too large: {elements(sizes)} elements",
            places=place,
            helps=("bnnc explain B0413",),
        )
    return sizes


def _spelled(shape: tuple[int | str, ...]) -> str:
    return "[" + ", ".join(f'"{n}"' if isinstance(n, str) else str(n) for n in shape) + "]"


def _example(shape: tuple[int | str, ...] | None) -> str:
    if not shape:
        return "1,3,32,32"
    guesses = (1, 3, 32, 32) if len(shape) == 4 else (1, *(16,) * (len(shape) - 1))
    return ",".join(
        str(n if isinstance(n, int) and i else guess) for i, (n, guess) in enumerate(zip(shape, guesses, strict=True))
    )


def stand_in(model: onnx.ModelProto, inputs: Inputs) -> int:
    """A prime that divides no size in the file: what contains it came from the batch."""
    sizes = {size for tensor in model.graph.initializer for size in tensor.dims}
    sizes |= {size for shape in inputs.shapes.values() for size in shape}
    candidate = _STANDS_FOR_THE_BATCH
    while any(size % candidate == 0 for size in sizes if size) or any(candidate % k == 0 for k in range(2, 110)):
        candidate += 2
    return candidate


def make_inputs(
    world: World, inputs: Inputs, options: ImportOptions
) -> tuple[dict[str, Value], list[Input], list[PixelMap]]:
    """The values that the graph sees under its input names, the module's inputs, and the pixel maps."""
    _known_names(options.pixels, inputs.declared, world.file, "--pixels", "1/255")
    pixels = {_meant(name, inputs.declared): given for name, given in options.pixels.items()}
    scope: dict[str, Value] = {}
    ops: list[Input] = []
    maps: list[PixelMap] = []
    for entry in inputs.declared:
        shape = inputs.shapes[entry.name]
        loc = Location(entry.name, world.file)
        given = pixels.get(entry.name)
        op = Input(name=entry.name, dtype=U8 if given else _dtype(entry, world), shape=shape, loc=loc)
        ops.append(op)
        value: Op = op
        if given is not None:
            scale, mean, std = given
            found = PixelMap(entry.name, scale, tuple(mean), tuple(std))
            maps.append(found)
            value = _pixel_chain(op, entry, found, world.file)
        scope[entry.name] = Value(entry.dtype, (world.n, *shape), Batch(0), value, name=entry.name)
    return scope, ops, maps


def _dtype(entry: Declared, world: World) -> DType:
    if entry.dtype == "bool":
        return Int(0, 1)
    if entry.dtype in FLOATS:
        return F32()
    low, high = INTEGER_RANGES[entry.dtype]
    if low < -_EXACT or high > _EXACT:
        world.notes.append(
            Note(
                "warning",
                f"input `{entry.name}` is {entry.dtype}: only numbers within ±2^24 are taken, which fp32 can hold",
                Location(entry.name, world.file),
                "B0412",
            )
        )
    return Int(max(low, -_EXACT), min(high, _EXACT))


def _pixel_chain(op: Input, entry: Declared, pixels: PixelMap, file: str) -> Op:
    """(u * scale - mean) / std, every step rounded to fp32; a step that changes nothing is left out."""
    place = (Location(entry.name, file),)
    if entry.dtype not in FLOATS:
        raise error(
            "B0410",
            f"--pixels: input `{entry.name}` is {entry.dtype} already; --pixels is for float inputs",
            places=place,
            helps=("leave --pixels out",),
        )
    numbers = (pixels.scale, *pixels.mean, *pixels.std)
    if not all(np.isfinite(np.float32(number)) for number in numbers) or pixels.scale == 0 or 0 in pixels.std:
        raise error(
            "B0410",
            f"--pixels: scale and deviation of `{entry.name}` must be finite and not 0",
            places=place,
            helps=(f"--pixels {entry.name}=1/255,0.5,0.5",),
        )
    scale, mean, std = (_numbers(given, op, place[0]) for given in ((pixels.scale,), pixels.mean, pixels.std))
    value: Op = nn.Map(function="mul", xs=(op, scale), loc=place[0])
    if any(pixels.mean):
        value = nn.Map(function="sub", xs=(value, mean), loc=place[0])
    if any(number != 1 for number in pixels.std):
        value = nn.Map(function="div", xs=(value, std), loc=place[0])
    return value


def _numbers(numbers: tuple[float, ...], op: Input, place: Location) -> nn.Constant:
    """One number, or one for each channel: of the first axis, or of the last where only that has the length."""
    if len(numbers) == 1:
        return nn.Constant(values=np.array(numbers[0], np.float32), loc=place)
    shape = op.shape
    if shape and len(numbers) == shape[0]:
        return nn.Constant(values=np.array(numbers, np.float32).reshape(-1, *(1,) * (len(shape) - 1)), loc=place)
    if shape and len(numbers) == shape[-1]:
        return nn.Constant(values=np.array(numbers, np.float32), loc=place)
    raise error(
        "B0410",
        f"--pixels: {len(numbers)} numbers for `{op.name}` of shape {list(shape)}; one is needed, or one a channel",
        places=(place,),
        helps=(f"--pixels {op.name}=1/255,0.5,0.5",),
    )
