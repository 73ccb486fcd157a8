"""Walks a «bit» module in order and writes one call for each tensor that has to exist in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bnnc.diagnostics import BnncError, error
from bnnc.ir import bit, fixed, move, nn
from bnnc.ir.module import Input, Module
from bnnc.ir.op import Op
from bnnc.ir.rewrite import rebuild
from bnnc.ir.types import Bit, Code, Int, Trit, value_range
from bnnc.loops import ir as loop
from bnnc.loops.ir import Buffer, Function
from bnnc.loops.kernels.copies import copy_in, copy_out
from bnnc.loops.kernels.elementwise import CONSTANTS, ELEMENTWISE, can_stand_beside, elementwise, tree
from bnnc.loops.kernels.halo import fill_halo
from bnnc.loops.kernels.tiling import Window
from bnnc.loops.layout import NO_HALO, Elements, Halo, Layout, Packed, elements, image_shape, natural, packed
from bnnc.loops.lower import banded
from bnnc.loops.lower.banded import Rows
from bnnc.loops.lower.calls import Step, touch_all
from bnnc.loops.lower.fusion import flattened, fused_pools, fused_steps, inlined
from bnnc.loops.lower.kernels import Choices
from bnnc.loops.lower.names import identifier
from bnnc.loops.lower.places import Place, Storage
from bnnc.loops.lower.preparation import prepared
from bnnc.loops.lower.program import Assembly, CallFact, Lowered, with_callees
from bnnc.loops.lower.stages import Need, Stage, Variant, band
from bnnc.loops.lower.users import UserArrays, image
from bnnc.loops.machine import Machine


def lower(module: Module, machine: Machine, kernels: Mapping[str, str] | None = None) -> Lowered:
    """The program of a «bit» module; `kernels`: of layers that are not to take the machine's favourite (kernels.py).

    Raises BnncError B0603 for an op that has no kernel, B0618 for a kernel that cannot do its layer.
    """
    return Network(rebuild(module, prepared), machine, kernels or {}).finish()


class Network:
    """The program under construction: places of tensors and calls, in order."""

    def __init__(self, module: Module, machine: Machine, kernels: Mapping[str, str]) -> None:
        self.module, self.machine = module, machine
        self.choices = Choices(kernels)
        self.additions = 0  # of rows of weights, at most; known where `bounded`
        self.bounded = True
        self.users = module.users()
        self.steps = fused_steps(module)
        self.inside = inlined(module, self.steps)
        self.images = flattened(module)
        self.arrays = UserArrays(module, machine)
        self.places: dict[Op, Place] = {}
        self.calls: list[Step] = []
        self.pools = fused_pools(module, self.steps)
        self._copies: dict[tuple[Op, Layout], Place] = {}
        self._names: dict[str, int] = {}

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
            if op in self.places:  # made together with what it reads
                continue
            source, last = image(op)
            if source is not None:
                self._read_image(op, source, last)
            elif isinstance(op, ELEMENTWISE):
                self.elementwise(op)
            elif not any(family(self, op) for family in families):
                raise _no_kernel(op)
        for position, output in enumerate(self.module.outputs):
            self._write_output(output.value, self.arrays.outputs[position], output.name)
        self.choices.check()
        self._drop_unread()
        touch_all(self.calls)
        name, arrays = identifier(self.module.name), self.arrays
        return Assembly(name, self.calls, arrays.inputs, arrays.outputs, arrays.sources, self.machine).lowered(
            tuple(self.choices.made), self.additions if self.bounded else 0
        )

    def _drop_unread(self) -> None:
        """Without steps whose result nothing reads: copies of inputs that a kernel took from the user's array."""
        kept: list[Step] = []
        read: set[Storage] = set()
        for step in reversed(self.calls):
            needed = step.beside is not None or step.write.storage in read
            if step.write.storage.buffer is not None or needed:
                kept.append(step)
                read.update(place.storage for place in step.reads)
        self.calls = kept[::-1]

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

    def _read_image(self, op: Op, source: Input, channels_last: bool) -> None:
        """An input, or what it is with its channels first, in the layout that is read, if the user's array is not."""
        buffer = self.arrays.inputs[self.module.inputs.index(source)]
        halo = self.halo(op)
        layout = natural(op.type.dtype, op.type.shape, halo)
        raw = self.arrays.storage(source, channels_last)
        whole = Place(Elements(layout.channels, layout.height, layout.width, buffer.element), raw)
        signed = not (isinstance(source.dtype, Int) and source.dtype.lo >= 0 and source.dtype.hi > 127)
        one_order = channels_last or layout.channels == 1 or layout.height * layout.width == 1
        if isinstance(layout, Elements) and halo.empty and one_order and signed and layout.element == buffer.element:
            self.places[op] = whole
            return
        name, shape = self.name("input", source.name), op.type.shape

        def made(shape: tuple[int, ...], target: Layout) -> Function:
            return copy_in(
                name, op.loc, source.dtype, shape, buffer.element, target, self.machine.lanes,
                channels_last=channels_last,
            )  # fmt: skip

        def rows(result: Place) -> tuple[Stage, ...] | None:
            if raw not in self.arrays.sources:
                return None
            height = result.layout.height
            need = Need(whole, 1, 0, 1, 0, height)
            function = made((shape[0], 1, shape[2]), band(result.layout, 1))
            return (Stage(height, (need,), result, (Variant(height, function, (need, result)),)),)

        self.places[op] = self.emit(made(shape, layout), (whole,), layout, op, rows=rows)

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
        self.calls.append(Step(function, (place,), target, op))

    # -------------------------------------------------------------------------------------------------- places
    def halo(self, op: Op) -> Halo:
        """The halo that the padded layers reading op want; the value is that of the first of them."""
        from bnnc.loops.lower import layers, small_layers

        sides, value = [0, 0, 0, 0], None
        for reader in self._layers_reading(op):
            if isinstance(reader, bit.Conv | fixed.Conv | nn.Conv) and any(reader.pads):
                pads = window_pads(reader.pads)
                if isinstance(reader, bit.Conv) and len(reader.x.type.shape) in (2, 3):
                    window, weights = layers.window_of(reader), layers.square(reader.weights)
                    if small_layers.knows_outside(self, reader, window, weights):
                        pads = (0, pads[1], 0, pads[3])
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
            name = self.name("convert", op.loc.name)

            def made(leaves: dict[Op, Layout], target: Layout) -> Function:
                return elementwise(name, op.loc, op, leaves, target, self.machine.lanes)

            rows = banded.elementwise(op, {op: place}, made)
            self._copies[key] = self.emit(made({op: place.layout}, layout), (place,), layout, op, rows=rows)
        return self._copies[key]

    def reaching(self, op: Op, halo: Halo) -> Place:
        """The value of op packed, with a halo of at least this size: as it is, or a copy."""
        at_hand = self.place(op).layout
        if isinstance(at_hand, Packed):
            there = at_hand.halo
            tall = there.top >= halo.top and there.bottom >= halo.bottom
            if tall and there.left >= halo.left and there.right >= halo.right:
                return self.place(op)
        return self.as_layout(op, packed(op.type.dtype, op.type.shape, halo))

    def plain(self, op: Op) -> Place:
        """The value of op as elements without a halo."""
        return self.as_layout(op, elements(op.type.dtype, op.type.shape))

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

            def made(layouts: dict[Op, Layout], target: Layout) -> Function:
                return elementwise(name, op.loc, op, layouts, target, self.machine.lanes)

            rows = banded.elementwise(op, {x: self.place(x) for x in leaves}, made)
            self.places[op] = self.emit(made(leaves, layout), [self.place(x) for x in leaves], layout, op, rows=rows)
            return
        bits = packed(step.dtype, step.type.shape, self.halo(step))
        function = elementwise(name, op.loc, op, leaves, layout, self.machine.lanes, (step, bits))
        beside = Place(bits, Storage(f"{name}_bits", bits.length * bits.element.bytes))
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

    def layer_name(self, op: Op, window: Window) -> str:
        """The name of a layer's function."""
        return self.name("conv" if window.kernel != (1, 1) else "dense", op.loc.name)

    def emit(
        self,
        function: Function | None,
        reads: Sequence[Place],
        layout: Layout,
        op: Op,
        beside: Place | None = None,
        *,
        rows: Rows | None = None,
        scratch: tuple[Place, ...] = (),
    ) -> Place:
        """A step that calls `function` on the places it reads and a new one that it writes; halos are filled first.

        `beside`: a second one that it writes. `rows`: the same as stages, for machines with little memory, on which a
        step may have no other form. `scratch`: working memory.
        """
        name = function.name if function is not None else self.name("rows", op.loc.name)
        place = Place(layout, Storage(name, layout.length * layout.element.bytes))
        filled = [p for p in (place, beside) if p is not None and not p.layout.halo.empty] if function else []
        fills = tuple((fill_halo(self.name("halo", op.loc.name), op.loc, p.layout), p) for p in filled)
        made = rows if self.machine.streams else None
        self.calls.append(Step(function, tuple(reads), place, op, False, beside, made, scratch, fills))
        return place

    def emit_once(self, function: Function, layout: Layout, op: Op) -> Place:
        """Call `function` on a new place that it writes, for the first sample only: what it writes stays."""
        place = Place(layout, Storage(function.name, layout.length * layout.element.bytes, lasting=True))
        self.calls.append(Step(function, (), place, op, once=True))
        return place


def _no_kernel(op: Op) -> BnncError:
    volume = len(getattr(op, "strides", ())) > 2
    return error(
        "B0603",
        f"`{op.opcode}` over three spatial axes has no kernel" if volume else f"`{op.opcode}` has no kernel",
        places=(op.loc,),
        notes=(f"its result is {op.type}",),
        helps=("bnnc run MODEL --on reference",),
    )


def window_pads(pads: tuple[int, ...]) -> tuple[int, int, int, int]:
    """top, left, bottom, right of ONNX padding over one or two axes."""
    if len(pads) == 2:
        return 0, pads[0], 0, pads[1]
    return pads[0], pads[1], pads[2], pads[3]


__all__ = ["CallFact", "Lowered", "Network", "identifier", "lower", "window_pads", "with_callees"]
