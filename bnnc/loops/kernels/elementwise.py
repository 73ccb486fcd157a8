"""Fused elementwise kernels: a tree of elementwise ops, evaluated once per element, from any layouts to any layout.

Lanes are channels. Packed operands are unpacked bit by bit into lanes, and a packed result is packed a word at a time,
so that a whole float chain with its sign at the end reads its input once and writes bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bnnc.ir import bit, fixed, nn
from bnnc.ir.location import Location
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, DType
from bnnc.loops import ir as loop
from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I1,
    I32,
    I64,
    Convert,
    Expression,
    Unpack,
    constant,
    constant_buffer,
    load,
    pack,
    select,
    splat,
    vector_of,
    with_element,
)
from bnnc.loops.kernels.fixed import ELEMENTWISE as FIXED
from bnnc.loops.kernels.fixed import value_of
from bnnc.loops.kernels.functions import apply
from bnnc.loops.kernels.steps import UNROLLED_STEPS, Tables, looked_up
from bnnc.loops.layout import WORD, Elements, Layout, Packed, image_shape

ELEMENTWISE = (nn.Map, nn.MultiThreshold, bit.Decode, bit.Step, bit.Add, *FIXED)
CONSTANTS = (nn.Constant, fixed.Constant)


@dataclass(frozen=True)
class Leaf:
    """An operand in memory: its buffer, where its elements lie, and its shape for broadcasting."""

    buffer: loop.Buffer
    layout: Layout
    dtype: DType
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Point:
    """Where a value is computed: `lanes` channels from `channel` on, of pixel (y, x)."""

    y: Expression
    x: Expression
    channel: Expression
    lanes: int


def tree(root: Op, leaves: Mapping[Op, object]) -> tuple[Op, ...]:
    """The ops from the leaves (not part of it) and constants to root, operands first."""
    order: dict[Op, None] = {}
    stack: list[tuple[Op, bool]] = [(root, False)]
    while stack:
        op, ready = stack.pop()
        if op in order or op in leaves or isinstance(op, CONSTANTS):
            continue
        if ready:
            order[op] = None
        else:
            stack.append((op, True))
            stack.extend((x, False) for x in reversed(op.operands))
    return tuple(order)


def elementwise(
    name: str,
    loc: Location,
    root: Op,
    leaves: Mapping[Op, Layout],
    target: Layout,
    lanes: int,
    beside: tuple[bit.Step, Packed] | None = None,
) -> loop.Function:
    """A kernel that computes `root` from `leaves` (its parameters, in this order) into `target` (its last).

    With root among the leaves it only converts the layout. The target's halo is left alone. `beside`: a step
    that reads nothing but root, directly or by way of other ops, and its layout: it is written into one more parameter
    while root is in registers; the target is then of elements.
    """
    kernel = _Kernel(name, loc, root, leaves, target, lanes, beside)
    return kernel.write()


def can_stand_beside(step: bit.Step, lanes: int) -> bool:
    """Whether a step can be written by the kernel that computes what it reads."""
    return lanes >= 8 and step.thresholds.shape[1] <= UNROLLED_STEPS and step.type.shape[0] >= WORD


class _Kernel:
    def __init__(
        self,
        name: str,
        loc: Location,
        root: Op,
        leaves: Mapping[Op, Layout],
        target: Layout,
        lanes: int,
        beside: tuple[bit.Step, Packed] | None = None,
    ) -> None:
        self.b = Builder(name, comment=f"{root.opcode} {root.type}", loc=loc)
        self.name, self.root, self.target = name, root, target
        self.rank = len(root.type.shape)
        self.leaves: dict[Op, Leaf] = {}
        for position, (op, layout) in enumerate(leaves.items()):
            buffer = self.b.parameter(f"x{position}", layout.element, layout.length)
            self.leaves[op] = Leaf(buffer, layout, op.type.dtype, op.type.shape)
        self.y = self.b.parameter("y", target.element, target.length, "write")
        self.beside = beside
        if beside is not None:
            self.z = self.b.parameter("z", I32, beside[1].length, "write", alignment=4)
        self.order = tree(root, self.leaves)
        self.behind = () if beside is None else tree(beside[0], {root: None})
        self.numbers = {op: number for number, op in enumerate((*self.order, *self.behind))}
        self.constants: dict[Op, Leaf | float] = {}
        self.tables = Tables(self.b, name)
        self.lanes = 1 if any(looked_up(op) for op in self.order) else lanes

    # ------------------------------------------------------------------------------------------------ loops
    def write(self) -> loop.Function:
        b, target = self.b, self.target
        with b.loop(target.height, "y") as y, b.loop(target.width, "x") as x:
            if isinstance(target, Packed):
                self._packed_pixel(target, y, x)
            elif self.beside is not None:
                self._pixel_with_step(target, *self.beside, y, x)
            else:
                self._elements_pixel(target, y, x)
        return b.function()

    def _elements_pixel(self, target: Elements, y: Expression, x: Expression) -> None:
        b, channels = self.b, target.channels
        start = b.let(y * target.row + x * target.pixel + target.origin, "start")
        whole = channels // self.lanes * self.lanes if self.lanes > 1 else 0
        for first, last, lanes in ((0, whole, self.lanes), (whole, channels, 1)):
            if first < last:
                with b.loop(last, "c", first, lanes) as c:
                    value = self._stored(self.value(_Point(y, x, c, lanes)), target.element)
                    b.store(self.y, start + c, value)

    def _pixel_with_step(self, target: Elements, step: bit.Step, bits: Packed, y: Expression, x: Expression) -> None:
        """The elements, and a word of every plane of the step for 32 of them."""
        b = self.b
        start = b.let(y * target.row + x * target.pixel + target.origin, "start")
        begin = b.let(y * bits.row + x * bits.pixel + bits.origin, "begin")
        full, rest = divmod(target.channels, WORD)
        for first, last, size, lanes in ((0, full, WORD, min(self.lanes, WORD)), (full, full + bool(rest), rest, 1)):
            if first == last:
                continue
            with b.loop(last, "word", first) as word:
                parts: list[Expression] = []
                for k in range(0, size, lanes):
                    point = _Point(y, x, word * WORD + k, lanes)
                    value = self.value(point)
                    b.store(self.y, start + point.channel, self._stored(value, target.element))
                    parts.append(self._computed(self.behind, step, {self.root: value}, point))
                for plane in range(len(bits.planes)):
                    flags = [self._plane(part, plane, step) for part in parts]
                    flags += [constant(0, I1)] * (-size % WORD if lanes == 1 else 0)
                    b.store(self.z, begin + word + plane * bits.words, pack(tuple(flags)))

    def _packed_pixel(self, target: Packed, y: Expression, x: Expression) -> None:
        b = self.b
        start = b.let(y * target.row + x * target.pixel + target.origin, "start")
        full, rest = divmod(target.channels, WORD)
        lanes = min(self.lanes, WORD)
        if full:
            with b.loop(full, "word") as word:
                parts = (
                    [self.value(_Point(y, x, word * WORD + k, lanes)) for k in range(0, WORD, lanes)]
                    if (lanes >= 8)
                    else None
                )
                if parts is None:
                    self._word_by_lanes(target, y, x, start, word, WORD, lanes)
                else:
                    for plane in range(len(target.planes)):
                        bits = tuple(self._plane(part, plane) for part in parts)
                        b.store(self.y, start + word + plane * target.words, pack(bits))
        if rest:
            self._word_by_lanes(target, y, x, start, constant(full, I64), rest, 1)

    def _word_by_lanes(
        self, target: Packed, y: Expression, x: Expression, start: Expression, word: Expression, bits: int, lanes: int
    ) -> None:
        """One word of every plane, `lanes` bits a round."""
        b = self.b
        words = [b.variable(f"bits{plane}", constant(0, I32)) for plane in range(len(target.planes))]
        with b.loop(bits, "k", 0, lanes) as k:
            part = self.value(_Point(y, x, word * WORD + k, lanes))
            shift = Convert("trunc", k, I32)
            for plane, collected in enumerate(words):
                b.assign(collected, collected | (pack((self._plane(part, plane),)) << shift))
        for plane, collected in enumerate(words):
            b.store(self.y, start + word + plane * target.words, collected)

    def _plane(self, value: Expression, plane: int, of: Op | None = None) -> Expression:
        """Which lanes of root (or `of`) have the bit of a plane set."""
        if isinstance((of or self.root).type.dtype, Bit):
            return value > 0
        mask = constant(1 << plane, value.type)
        return loop.compare("ne", value & mask, 0)

    def _stored(self, value: Expression, element: loop.Scalar) -> Expression:
        if value.type.element == element:
            return value
        return Convert("trunc", value, with_element(value.type, element))

    # ----------------------------------------------------------------------------------------------- values
    def value(self, point: _Point) -> Expression:
        """root at a point: f32, or i32 for integers."""
        return self._computed(self.order, self.root, {}, point)

    def _computed(self, order: tuple[Op, ...], root: Op, known: dict[Op, Expression], point: _Point) -> Expression:
        """root, by way of the ops in order, from what is known and the leaves."""

        def operand(op: Op) -> Expression:
            if op in known:
                return known[op]
            if isinstance(op, CONSTANTS):
                known[op] = self._constant(op, point)
            else:
                known[op] = self.b.let(self._leaf(self.leaves[op], point))
            return known[op]

        for op in order:
            known[op] = self.b.let(self._op(op, operand, point))
        return operand(root)

    def _op(self, op: Op, operand: Callable[[Op], Expression], point: _Point) -> Expression:
        match op:
            case nn.Map():
                return apply(self.b, op.function, [self._real(operand(x), x) for x in op.xs])
            case nn.MultiThreshold():
                return self.tables.count(op, self._real(operand(op.x), op.x), point.channel, self.order.index(op))
            case bit.Decode():
                return self._real(operand(op.x), op.x)
            case bit.Add():
                total: Expression | None = None
                for x, coefficient in zip(op.xs, op.coefficients, strict=True):
                    term = operand(x) if coefficient == 1 else operand(x) * coefficient
                    total = term if total is None else total + term
                assert total is not None
                return total
            case bit.Step():
                return self.tables.step(op, operand(op.x), point.channel, self.numbers[op])
            case _ if isinstance(op, FIXED):
                number = self.numbers[op]
                table = self.tables.table(f"table{number}", op.values) if isinstance(op, fixed.Table) else None

                def row(values: np.ndarray, name: str, element: loop.Scalar) -> Expression:
                    return self.tables.row(values, f"{name}_{number}", point.channel, vector_of(element, point.lanes))

                return value_of(self.b, op, tuple(operand(x) for x in op.operands), row, table)
        raise TypeError(f"{op.opcode} is not elementwise")

    def _real(self, value: Expression, op: Op) -> Expression:
        """An integer as f32."""
        if value.type.element.is_float:
            return value
        if isinstance(op, nn.Constant):
            raise TypeError("constants are f32")
        return Convert("to_float", value, with_element(value.type, loop.F32))

    def _leaf(self, leaf: Leaf, point: _Point) -> Expression:
        shape = (1,) * (self.rank - len(leaf.shape)) + leaf.shape
        channels, height, width = image_shape(shape)
        layout = leaf.layout
        index: Expression = constant(layout.origin, I64)
        if height > 1:
            index = index + point.y * layout.row
        if width > 1:
            index = index + point.x * layout.pixel
        spread = channels == 1 and self.target.channels > 1
        lanes = 1 if spread else point.lanes
        channel = constant(0, I64) if spread else point.channel
        if isinstance(layout, Packed):
            value = self._unpacked(leaf, layout, index, channel, lanes)
        else:
            value = load(leaf.buffer, index + channel, vector_of(layout.element, lanes))
            if not value.type.element.is_float and value.type.element != I32:
                value = Convert("sext", value, vector_of(I32, lanes))
        return splat(self.b.let(value), vector_of(value.type.element, point.lanes)) if spread else value

    def _unpacked(self, leaf: Leaf, layout: Packed, index: Expression, channel: Expression, lanes: int) -> Expression:
        b = self.b
        word = b.let(index + loop.binary("lshr", channel, 5))
        shift = b.let(Convert("trunc", channel & 31, I32))
        total: Expression | None = None
        for plane, weight in enumerate(layout.planes):
            bits = Unpack(loop.binary("lshr", load(leaf.buffer, word + plane * layout.words), shift), lanes)
            of = vector_of(I32, lanes)
            on, off = (1, -1) if isinstance(leaf.dtype, Bit) else (weight, 0)
            term = select(bits, constant(on, of), constant(off, of))
            total = term if total is None else total + term
        assert total is not None
        return total

    # -------------------------------------------------------------------------------------------- constants
    def _constant(self, op: nn.Constant | fixed.Constant, point: _Point) -> Expression:
        values, element = op.values, loop.F32 if isinstance(op, nn.Constant) else I32
        if values.size == 1:
            return constant(values.reshape(-1)[0].item(), vector_of(element, point.lanes))
        if op not in self.constants:
            shape = (1,) * (self.rank - values.ndim) + values.shape
            channels, height, width = image_shape(shape)
            data = values.reshape(channels, height, width).transpose(1, 2, 0)
            buffer = constant_buffer(f"{self.name}_constant{len(self.constants)}", np.ascontiguousarray(data))
            layout = Elements(channels, height, width, element)
            self.constants[op] = Leaf(buffer, layout, op.type.dtype, values.shape)
        leaf = self.constants[op]
        assert isinstance(leaf, Leaf)
        return self._leaf(leaf, point)


__all__ = ["ELEMENTWISE", "I1", "Leaf", "elementwise", "tree"]
