"""Walks a «bit» module in order and writes one call for each tensor that has to exist in memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bnnc.diagnostics import BnncError, error
from bnnc.ir import bit, fixed, move, nn
from bnnc.ir.location import Location
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.rewrite import rebuild
from bnnc.ir.types import Bit, Code, Fix, Int, Trit, is_integer, value_range
from bnnc.loops import ir as loop
from bnnc.loops.builder import Builder, at
from bnnc.loops.ir import Buffer, Call, Function, Program, statements_of
from bnnc.loops.kernels.copies import copy_in, copy_out
from bnnc.loops.kernels.elementwise import CONSTANTS, ELEMENTWISE, can_stand_beside, elementwise, tree
from bnnc.loops.kernels.halo import fill_halo
from bnnc.loops.layout import NO_HALO, Elements, Halo, Layout, elements, image_shape, natural, packed
from bnnc.loops.lower.fusion import flattened, fused_steps, inlined
from bnnc.loops.lower.kernels import Choices, LayerKernels
from bnnc.loops.lower.places import Place, Storage
from bnnc.loops.lower.preparation import prepared
from bnnc.loops.lower.sharing import shared
from bnnc.loops.machine import Machine
from bnnc.loops.memory import Interval, plan_memory

STORAGE_OF: dict[str, loop.Scalar] = {
    "bool": loop.I8,
    "int8": loop.I8,
    "uint8": loop.I8,
    "int16": loop.I16,
    "uint16": loop.I32,
    "int32": loop.I32,
    "uint32": loop.I64,
    "int64": loop.I64,
    "uint64": loop.I64,
}


@dataclass(frozen=True)
class CallFact:
    """One call of the entry, in order: which op's value it makes, and where the user's model has it."""

    function: str
    op: Op
    loc: Location


@dataclass(frozen=True)
class Lowered:
    """A program and what is known of it."""

    program: Program
    calls: tuple[CallFact, ...]
    kernels: tuple[LayerKernels, ...] = ()

    @property
    def weight_bytes(self) -> int:
        """All constants of the program."""
        return sum(buffer.bytes for buffer in self.program.constants())


@dataclass(eq=False)
class _Call:
    function: Function
    reads: tuple[Place, ...]
    write: Place
    op: Op
    once: bool = False
    beside: Place | None = None

    @property
    def places(self) -> tuple[Place, ...]:
        """Its arguments, in order."""
        return (*self.reads, self.write, *([] if self.beside is None else [self.beside]))


def lower(module: Module, machine: Machine, kernels: Mapping[str, str] | None = None) -> Lowered:
    """The program of a «bit» module; `kernels`: of layers that are not to take the machine's favourite (kernels.py).

    Raises BnncError B0603 for an op that has no kernel, B0618 for a kernel that cannot do its layer.
    """
    return Network(rebuild(module, prepared), machine, kernels or {}).finish()


def input_scalar(op: Input) -> loop.Scalar:
    """The element type of the user's array for an input: one byte where the integers fit, else 32 bits."""
    if not is_integer(op.dtype):
        return loop.F32
    lo, hi = value_range(op.dtype)
    fits = lo >= -128 and hi <= (127 if lo < 0 else 255)
    return loop.I8 if fits else loop.I32


def output_scalar(output: Output) -> loop.Scalar:
    """The element type of the user's array for an output: fixed-point numbers are given as they are, q of q * 2^-f."""
    if isinstance(output.value.type.dtype, Fix):
        return loop.I32
    return STORAGE_OF.get(output.storage, loop.F32)


class Network:
    """The program under construction: places of tensors and calls, in order."""

    def __init__(self, module: Module, machine: Machine, kernels: Mapping[str, str]) -> None:
        self.module, self.machine = module, machine
        self.choices = Choices(kernels)
        self.users = module.users()
        self.steps = fused_steps(module)
        self.inside = inlined(module, self.steps)
        self.images = flattened(module)
        self.places: dict[Op, Place] = {}
        self.calls: list[_Call] = []
        self._copies: dict[tuple[Op, Layout], Place] = {}
        self._names: dict[str, int] = {}
        self._inputs = tuple(
            Buffer(f"in_{identifier(op.name)}", input_scalar(op), op.type.size, "parameter", "read")
            for op in module.inputs
        )
        self._outputs = tuple(
            Buffer(f"out_{identifier(o.name)}", output_scalar(o), o.value.type.size, "parameter", "write")
            for o in module.outputs
        )

    # ------------------------------------------------------------------------------------------------- walking
    def finish(self) -> Lowered:
        """Lower every op and plan the memory."""
        from bnnc.loops.lower import fixed as streams
        from bnnc.loops.lower import layers, movement, reductions

        families = (layers.lower, streams.lower, movement.lower, reductions.lower)
        fused = set(self.steps.values())
        for op in self.module.ops():
            if isinstance(op, CONSTANTS) or op in self.inside or op in fused or self._only_flattens(op):
                continue
            if isinstance(op, Input):
                self._read_input(op)
            elif isinstance(op, ELEMENTWISE):
                if op not in self.places:  # a step may have been written beside its stream
                    self.elementwise(op)
            elif not any(family(self, op) for family in families):
                raise _no_kernel(op)
        for position, output in enumerate(self.module.outputs):
            self._write_output(output.value, self._outputs[position], output.name)
        self.choices.check()
        self._drop_unread()
        return self._assemble()

    def _drop_unread(self) -> None:
        """Without calls whose result nothing reads: copies of inputs that a kernel took from the user's array."""
        kept: list[_Call] = []
        read: set[Storage] = set()
        for call in reversed(self.calls):
            needed = call.beside is not None or call.write.storage in read
            if call.write.storage.buffer is not None or needed:
                kept.append(call)
                read.update(place.storage for place in call.reads)
        if len(kept) < len(self.calls):
            for call in self.calls:
                for place in call.places:
                    place.storage.first = place.storage.last = None
            self.calls = kept[::-1]
            for number, call in enumerate(self.calls):
                for place in call.places:
                    place.storage.touch(number)

    def _only_flattens(self, op: Op) -> bool:
        """A reshape that only dense layers read, which take the image itself."""
        readers = self.users[op]
        results = {output.value for output in self.module.outputs}
        return (
            isinstance(op, move.Reshape)
            and bool(readers)
            and op not in results
            and all(r in self.images for r in readers)
        )

    def _read_input(self, op: Input) -> None:
        position = self.module.inputs.index(op)
        buffer = self._inputs[position]
        halo = self.halo(op)
        layout = natural(op.type.dtype, op.type.shape, halo)
        users_own = Elements(layout.channels, layout.height, layout.width, buffer.element)
        storage = Storage(buffer.name, buffer.bytes, buffer)
        signed = not (isinstance(op.dtype, Int) and op.dtype.lo >= 0 and op.dtype.hi > 127)
        one_order = layout.channels == 1 or layout.height * layout.width == 1
        if isinstance(layout, Elements) and halo.empty and one_order and signed and layout.element == buffer.element:
            self.places[op] = Place(users_own, storage)
            return
        function = copy_in(
            self.name("input", op.name), op.loc, op.dtype, op.type.shape, buffer.element, layout, self.machine.lanes
        )
        self.places[op] = self.emit(function, (Place(users_own, storage),), layout, op)

    def _write_output(self, op: Op, buffer: Buffer, name: str) -> None:
        place = self.place(op)
        function = copy_out(
            self.name("output", name),
            op.loc,
            op.type.dtype,
            op.type.shape,
            place.layout,
            buffer.element,
            self.machine.lanes,
        )
        target = Place(
            Elements(*image_shape(op.type.shape), buffer.element),
            Storage(buffer.name, buffer.bytes, buffer),
        )
        self._call(function, (place,), target, op)

    # -------------------------------------------------------------------------------------------------- places
    def halo(self, op: Op) -> Halo:
        """The halo that the padded layers reading op want; the value is that of the first of them."""
        sides, value = [0, 0, 0, 0], None
        for reader in self._layers_reading(op):
            if isinstance(reader, bit.Conv | fixed.Conv | nn.Conv) and any(reader.pads):
                pads = window_pads(reader.pads)
                sides = [max(a, b) for a, b in zip(sides, pads, strict=True)]
                if value is None:
                    value = reader.pad_value if isinstance(reader, bit.Conv) else 0
        if value is None:
            return NO_HALO
        if isinstance(op.type.dtype, Code) and value < 0 <= value_range(op.type.dtype)[0]:
            value = 0  # unsigned planes cannot hold -1; the layer puts the difference right
        top, left, bottom, right = sides
        return Halo(top, left, bottom, right, value)

    def _layers_reading(self, op: Op) -> list[Op]:
        return self.users[op]

    def place(self, op: Op) -> Place:
        """Where the value of op lies (constants are given a place when first asked for)."""
        if op not in self.places and isinstance(op, CONSTANTS):
            layout = elements(op.type.dtype, op.type.shape)
            data = np.moveaxis(op.values.reshape(layout.channels, layout.height, layout.width), 0, -1)
            buffer = loop.constant_buffer(self.name("constant", ""), np.ascontiguousarray(data))
            self.places[op] = Place(layout, Storage(buffer.name, buffer.bytes, buffer))
        return self.places[op]

    def as_layout(self, op: Op, layout: Layout) -> Place:
        """The value of op in exactly this layout: its own place, or a converted copy."""
        place = self.place(op)
        if place.layout == layout:
            return place
        key = (op, layout)
        if key not in self._copies:
            function = elementwise(
                self.name("convert", op.loc.name), op.loc, op, {op: place.layout}, layout, self.machine.lanes
            )
            self._copies[key] = self.emit(function, (place,), layout, op)
        return self._copies[key]

    def plain(self, op: Op) -> Place:
        """The value of op as elements without a halo."""
        return self.as_layout(op, elements(op.type.dtype, op.type.shape))

    def users_bytes(self, op: Op) -> tuple[Place, tuple[int, int, int]] | None:
        """As `users_array`, for numbers of any sort of which one byte holds each: signs and small integers too."""
        source, perm = (op.x, op.perm) if isinstance(op, move.Transpose) else (op, (0, 1, 2))
        if not isinstance(source, Input) or not is_integer(source.dtype) or len(source.shape) != 3:
            return None
        if input_scalar(source) != loop.I8:
            return None
        return self._users(source, perm)

    def users_array(self, op: Op) -> tuple[Place, tuple[int, int, int]] | None:
        """Where 8-bit pixels [C, H, W] lie in the user's array: the array, and its steps along C, H and W.

        None for anything but such an input, or one with its channels last that was only turned round.
        """
        source, perm = (op.x, op.perm) if isinstance(op, move.Transpose) else (op, (0, 1, 2))
        if not isinstance(source, Input) or not isinstance(source.dtype, Int) or len(source.shape) != 3:
            return None
        lo, hi = value_range(source.dtype)
        if lo < 0 or hi > 255:
            return None
        return self._users(source, perm)

    def _users(self, source: Input, perm: tuple[int, ...]) -> tuple[Place, tuple[int, int, int]]:
        """An input's array, and its steps along the axes that `perm` names."""
        buffer = self._inputs[self.module.inputs.index(source)]
        strides = (source.shape[1] * source.shape[2], source.shape[2], 1)
        layout = Elements(1, 1, buffer.length, buffer.element)
        steps = (strides[perm[0]], strides[perm[1]], strides[perm[2]])
        return Place(layout, Storage(buffer.name, buffer.bytes, buffer)), steps

    # --------------------------------------------------------------------------------------------------- calls
    def elementwise(self, op: Op) -> None:
        """One kernel for op and everything inlined into it."""
        leaves: dict[Op, Layout] = {}
        for inner in tree(op, dict.fromkeys(self._stored_below(op))):
            for x in inner.operands:
                if not isinstance(x, CONSTANTS) and x not in self.inside:
                    leaves[x] = self.place(x).layout
        layout = natural(op.type.dtype, op.type.shape, self.halo(op))
        name = self.name(op.opcode.split(".")[-1], op.loc.name)
        step = self._step_beside(op)
        if step is None:
            function = elementwise(name, op.loc, op, leaves, layout, self.machine.lanes)
            self.places[op] = self.emit(function, [self.place(x) for x in leaves], layout, op)
            return
        bits = packed(step.dtype, step.type.shape, self.halo(step))
        function = elementwise(name, op.loc, op, leaves, layout, self.machine.lanes, (step, bits))
        beside = Place(bits, Storage(f"{name}_bits", bits.length * bits.element.bytes))
        if not bits.halo.empty:
            self._call(fill_halo(self.name("halo", step.loc.name), step.loc, bits), (), beside, step)
        self.places[op] = self.emit(function, [self.place(x) for x in leaves], layout, op, beside)
        self.places[step] = beside

    def _step_beside(self, op: Op) -> bit.Step | None:
        """The first step that reads a stream which others read too: its bits are written with the stream."""
        readers = dict.fromkeys(self.users[op])
        if len(readers) < 2 or not isinstance(natural(op.type.dtype, op.type.shape), Elements):
            return None
        for reader in readers:
            last = reader
            while last in self.inside and len(dict.fromkeys(self.users[last])) == 1:
                last = self.users[last][0]
            if (
                isinstance(last, bit.Step)
                and isinstance(last.dtype, Bit | Trit | Code)
                and last not in self.inside
                and last.type.shape == op.type.shape
                and can_stand_beside(last, self.machine.lanes)
                and self._stored_below(last) == {op}
            ):
                return last
        return None

    def _stored_below(self, root: Op) -> set[Op]:
        """The operands of root's tree that lie in memory."""
        found: set[Op] = set()
        seen, stack = {root}, [root]
        while stack:
            for x in stack.pop().operands:
                if x in self.inside:
                    if x not in seen:
                        seen.add(x)
                        stack.append(x)
                elif not isinstance(x, CONSTANTS):
                    found.add(x)
        return found

    def name(self, what: str, of: str) -> str:
        """A fresh function name that bears the user's name of the layer."""
        stem = f"{identifier(of)}_{what}" if of else what
        count = self._names.get(stem, 0)
        self._names[stem] = count + 1
        return f"{stem}_{count}" if count else stem

    def emit(
        self, function: Function, reads: Sequence[Place], layout: Layout, op: Op, beside: Place | None = None
    ) -> Place:
        """Call `function` on the places it reads and a new one that it writes; its halo is filled first.

        `beside`: a second one that it writes.
        """
        storage = Storage(function.name, layout.length * layout.element.bytes)
        place = Place(layout, storage)
        if not layout.halo.empty:
            filling = fill_halo(self.name("halo", op.loc.name), op.loc, layout)
            self._call(filling, (), place, op)
        self._call(function, tuple(reads), place, op, beside=beside)
        return place

    def emit_once(self, function: Function, layout: Layout, op: Op) -> Place:
        """Call `function` on a new place that it writes, for the first sample only: what it writes stays."""
        place = Place(layout, Storage(function.name, layout.length * layout.element.bytes, lasting=True))
        self._call(function, (), place, op, once=True)
        return place

    def _call(
        self,
        function: Function,
        reads: tuple[Place, ...],
        write: Place,
        op: Op,
        once: bool = False,
        beside: Place | None = None,
    ) -> None:
        call = _Call(function, reads, write, op, once, beside)
        for place in call.places:
            place.storage.touch(len(self.calls))
        self.calls.append(call)

    # ------------------------------------------------------------------------------------------------ assembly
    def _assemble(self) -> Lowered:
        arena, arena_bytes = self._arena()
        same = shared(dict.fromkeys(call.function for call in self.calls))
        b = Builder("run", comment="n samples, one after the other")
        parameters: dict[Buffer, Buffer] = {}
        for buffer in (*self._inputs, *self._outputs):
            made = b.parameter(buffer.name, buffer.element, buffer.length, buffer.access)
            parameters[buffer] = made
        n = b.scalar("n", loop.I64)
        with b.loop(n, "sample") as sample:
            for call in self.calls:
                arguments = []
                for place in call.places:
                    storage = place.storage
                    if storage.buffer is None:
                        arguments.append(at(_view(arena[storage], place.layout, self.machine.alignment)))
                    elif storage.buffer.space == "constant":
                        arguments.append(at(storage.buffer))
                    else:
                        mine = parameters[storage.buffer]
                        arguments.append(at(mine, sample * mine.length))
                if call.once:
                    with b.when(loop.compare("eq", sample, loop.constant(0, loop.I64))):
                        b.call(same[call.function], *arguments)
                else:
                    b.call(same[call.function], *arguments)
        entry = b.function()
        inputs = tuple(parameters[buffer] for buffer in self._inputs)
        outputs = tuple(parameters[buffer] for buffer in self._outputs)
        functions = tuple(with_callees(dict.fromkeys(same.values())))
        program = Program(identifier(self.module.name), functions, entry, inputs, outputs, arena_bytes)
        facts = tuple(CallFact(same[call.function].name, call.op, call.op.loc) for call in self.calls)
        return Lowered(program, facts, tuple(self.choices.made))

    def _arena(self) -> tuple[dict[Storage, int], int]:
        storages: dict[Storage, None] = {}
        for call in self.calls:
            for place in call.places:
                if place.storage.buffer is None:
                    storages[place.storage] = None
        last = len(self.calls)
        intervals = [
            Interval(s.bytes, 0, last) if s.lasting else Interval(s.bytes, s.first or 0, s.last or 0) for s in storages
        ]
        found = plan_memory(intervals, self.machine.alignment)
        return dict(zip(storages, found.offsets, strict=True)), found.bytes


def _no_kernel(op: Op) -> BnncError:
    volume = len(getattr(op, "strides", ())) > 2
    return error(
        "B0603",
        f"`{op.opcode}` over three spatial axes has no kernel" if volume else f"`{op.opcode}` has no kernel",
        places=(op.loc,),
        notes=(f"its result is {op.type}",),
        helps=("bnnc run MODEL --on reference",),
    )


def with_callees(functions: Iterable[Function]) -> dict[Function, None]:
    """The functions in order, each after those that it calls."""
    found: dict[Function, None] = {}
    for function in functions:
        called = (s.function for s in statements_of(function.body) if isinstance(s, Call))
        found.update(with_callees(called))
        found[function] = None
    return found


def _view(offset: int, layout: Layout, alignment: int) -> Buffer:
    return Buffer(f"arena_{offset}", layout.element, layout.length, "arena", "both", alignment, offset)


def window_pads(pads: tuple[int, ...]) -> tuple[int, int, int, int]:
    """top, left, bottom, right of ONNX padding over one or two axes."""
    if len(pads) == 2:
        return 0, pads[0], 0, pads[1]
    return pads[0], pads[1], pads[2], pads[3]


def identifier(name: str) -> str:
    """A name for generated code: letters, digits and underscores, never empty, never starting with a digit."""
    cleaned = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    return f"n{cleaned}" if not cleaned or cleaned[0].isdigit() else cleaned


__all__ = ["CallFact", "Lowered", "Network", "identifier", "lower", "window_pads"]
