"""One ONNX node while it is imported: its attributes and inputs, and ops that keep track of the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from onnx import AttributeProto

from bnnc.frontends.onnx import constants
from bnnc.frontends.onnx.attributes import Attributes
from bnnc.frontends.onnx.problems import (
    NOT_FINITE,
    SHAPES,
    TOO_LARGE,
    Problem,
    batch_problem,
    malformed,
    unsupported,
)
from bnnc.frontends.onnx.tensors import LARGEST, tensor_value
from bnnc.frontends.onnx.values import (
    FLOATS,
    Batch,
    Shape,
    Value,
    equal_along,
    known,
    sample_shape,
    shrink,
)
from bnnc.ir import move, nn
from bnnc.ir.location import Location
from bnnc.ir.module import Note, topological
from bnnc.ir.op import Op

_KEPT_WHOLE = 2**26


@dataclass
class World:
    """What all nodes of one import share. `n` is the number that stands for the batch; `symbolic` if we chose it."""

    folder: Path
    file: str
    n: int
    symbolic: bool
    constants: dict[tuple[int, bool], tuple[np.ndarray, nn.Constant]] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    checked: set[int] = field(default_factory=set)


@dataclass(frozen=True, eq=False)
class Node(Attributes):
    """A node with its inputs resolved; None stands for an input that is left out."""

    world: World
    op_type: str
    domain: str
    opset: int
    loc: Location
    inputs: tuple[Value | None, ...]
    used: frozenset[int]
    outputs: int = 1

    # ---- inputs ----

    def value(self, index: int) -> Value:
        """Input number `index`, which must be there."""
        found = self.optional(index)
        if found is None:
            raise malformed(f"lacks its input {index}")
        return found

    def optional(self, index: int) -> Value | None:
        """Input number `index`, or None if it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def array(self, index: int, what: str) -> np.ndarray:
        """The values of input `index`, which must be known when the model is imported."""
        value = self.value(index)
        if value.array is None:
            raise unsupported(f"takes its {what} from a computed value; it must be a constant")
        return value.array

    def optional_array(self, index: int, what: str) -> np.ndarray | None:
        """The same for an input that may be left out."""
        return None if self.optional(index) is None else self.array(index, what)

    def whole_numbers(self, index: int, what: str) -> tuple[int, ...] | None:
        """A list of integers from input `index`, or None if it is left out."""
        array = self.optional_array(index, what)
        if array is None:
            return None
        if array.dtype != np.int64 or array.ndim > 1 or array.size > 64:
            raise malformed(f"takes its {what} from values of shape {list(array.shape)}; a short list is expected")
        return tuple(int(i) for i in array.reshape(-1))

    def listed(self, name: str, index: int, what: str) -> tuple[int, ...] | None:
        """A list of integers from the attribute `name` (older operator sets) or from input `index` (newer ones)."""
        given = self.integers(name)
        return given if given is not None else self.whole_numbers(index, what)

    def tensor(self, name: str) -> Value | None:
        """The constant in a tensor attribute."""
        found = self._attribute(name, AttributeProto.TENSOR)
        return None if found is None else tensor_value(found.t, self.world.folder)

    # ---- axes ----

    def axis(self, axis: int, rank: int) -> int:
        """The axis, counted from the front. Raises Problem if there is none such."""
        if not -rank <= axis < max(rank, 1):
            raise Problem(SHAPES, f"works on axis {axis} of a value with {rank} axes")
        return axis + rank if axis < 0 else axis

    def sample_axis(self, value: Value, axis: int) -> int:
        """Where the ONNX axis stands in one sample. Raises Problem for the batch axis."""
        batch = value.batch
        if batch is None or batch.axis is None:
            return axis
        if axis == batch.axis:
            raise batch_problem("works along the batch axis")
        return axis - 1 if batch.plain and axis > batch.axis else axis

    # ---- constants ----

    def known(self, values: Any, dtype: str, *, derived: bool = False) -> Value:
        """A constant."""
        return known(np.asarray(values), dtype, derived=derived, name=self.loc.name)

    def scalar(self, number: float) -> Value:
        """A float constant without axes, rounded to fp32."""
        return known(np.array(number, np.float32), "float32", name=self.loc.name)

    def _check_derived(self, value: Value) -> None:
        array = value.array
        if self.world.symbolic and value.derived and array is not None and array.size <= _KEPT_WHOLE:
            whole = shrink(array).astype(np.float64)
            if bool(((whole != 0) & (whole % self.world.n == 0)).any()):
                raise batch_problem("computes with the size of the batch")

    def _constant(self, array: np.ndarray, value: Value, whole: bool) -> nn.Constant:
        key = (id(value.array), whole)
        if key not in self.world.constants:
            if array.dtype == np.float32 and bool(np.isnan(array).any()):
                raise Problem(
                    NOT_FINITE,
                    f"reads `{value.name}`, which holds NaN: the weights are damaged or the training diverged",
                    place=Location(value.name, self.world.file),
                )
            with np.errstate(over="ignore"):
                kept = np.array(array, np.float32, order="C") if array.dtype != np.float32 else array
            constant = nn.Constant(values=kept, loc=Location(value.name or self.loc.name, self.world.file))
            assert value.array is not None
            self.world.constants[key] = (value.array, constant)
        return self.world.constants[key][1]

    def core(self, value: Value) -> Op:
        """The op of a constant, with axes along which it repeats cut to length 1 where that is known."""
        if value.op is not None:
            return value.op
        assert value.array is not None
        self._check_derived(value)
        array = shrink(value.array)
        for axis, size in enumerate(array.shape):
            if size == self.world.n and size > 1 and equal_along(array, axis):
                array = array[(slice(None),) * axis + (slice(0, 1),)]
        return self._constant(array, value, whole=False)

    def whole(self, value: Value) -> Op:
        """The op of any value, of exactly its (sample) shape."""
        if value.constant and value.array is not None and value.array.size <= _KEPT_WHOLE:
            self._check_derived(value)
            return self._constant(np.ascontiguousarray(value.array), value, whole=True)
        op = self.core(value) if value.constant else value.op
        assert op is not None
        return self.expanded(op, sample_shape(value.shape, value.batch))

    def expanded(self, op: Op, shape: Shape) -> Op:
        """The op, repeated to the shape if it does not have it yet."""
        return op if op.type.shape == shape else move.Expand(x=op, shape=shape, loc=self.loc)

    def reshaped(self, op: Op, shape: Shape) -> Op:
        """The op under another shape (the same op if it has it already)."""
        return op if op.type.shape == shape else move.Reshape(x=op, shape=shape, loc=self.loc)

    def finite(self, value: Value, what: str) -> None:
        """Raise Problem B0406 if a constant that this node uses as `what` holds NaN or infinity."""
        if not value.constant:
            return
        for op in topological([self.core(value)]):
            if isinstance(op, nn.Constant) and id(op) not in self.world.checked:
                if not bool(np.isfinite(op.values).all()):
                    raise Problem(
                        NOT_FINITE,
                        f"reads its {what} `{op.loc.name}`, which holds NaN or infinity",
                        place=op.loc,
                        helps=("check the training for divergence, and export again",),
                    )
                self.world.checked.add(id(op))

    # ---- results ----

    def result(self, op: Op, shape: Shape, batch: Batch | None, dtype: str = "float32") -> Value:
        """The value of ONNX shape `shape` that the op computes; repeated where broadcasting left an axis short."""
        if batch is not None:
            own = sample_shape(shape, batch)
            if self.world.symbolic and any(n % self.world.n == 0 for n in own):
                raise batch_problem("mixes the batch into another axis")
            op = self.expanded(op, own)
        if op.type.size > LARGEST:
            raise Problem(TOO_LARGE, f"makes a value of shape {list(op.type.shape)}: that is too many elements")
        return Value(dtype, shape, batch, op)

    def like(self, value: Value, op: Op, dtype: str | None = None) -> Value:
        """A value of the same shape as `value`."""
        return self.result(op, value.shape, value.batch, dtype or value.dtype)

    def hidden(self, value: Value) -> Value:
        """The same value of a model for one sample, its batch axis turned into an ordinary axis of length 1."""
        if value.batch is None or value.batch.axis is None:
            return value
        assert self.world.n == 1
        assert value.op is not None
        return self.result(self.reshaped(value.op, value.shape), value.shape, Batch(None), value.dtype)

    def batched(self, value: Value) -> Value:
        """A constant that repeats along an axis as long as the batch, as a value with a batch; others as they are.

        Such is the zero state of a recurrent cell: not written out, it follows the samples.
        """
        if value.batch is not None or self.world.n == 1:
            return value
        core = self.core(value)
        own = core.type.shape
        for axis, size in enumerate(value.shape):
            if size == self.world.n and own[axis] == 1:
                sample = self.reshaped(core, own[:axis] + own[axis + 1 :])
                return self.result(sample, value.shape, Batch(axis), value.dtype)
        return value

    def align(self, values: Sequence[Value]) -> tuple[list[Op], Batch | None]:
        """Ops of the values that broadcast against each other, and where the batch of the result stands."""
        rank = max(value.rank for value in values)
        batched = [value for value in values if value.batch is not None]
        if not batched:
            return [self.core(value) for value in values], None
        places = {_place(value) for value in batched}
        if len(places) > 1:
            if self.world.n != 1:
                raise batch_problem("combines values whose batch axes do not lie on each other")
            values = [self.hidden(value) for value in values]
            places = {None}
        place = places.pop()
        if place is None:
            return [self.core(v) if v.constant else _op(v) for v in values], Batch(None)
        from_right, before, after = place
        batch = Batch(rank - from_right, before, after)
        return [self._aligned(value, from_right, batch) if value.constant else _op(value) for value in values], batch

    def _aligned(self, value: Value, from_right: int, batch: Batch) -> Op:
        """A constant for one sample: what it holds along the batch must be the same for all samples."""
        axis = value.rank - from_right
        if axis < 0:
            return self.core(value)
        size = value.shape[axis]
        if size > 1 and batch.merged and value.array is not None:
            array = value.array
            split = array.reshape(
                *array.shape[:axis], batch.before, self.world.n, batch.after, *array.shape[axis + 1 :]
            )
            if not equal_along(split, axis + 1):
                raise self._varies(value)
            kept = np.take(split, 0, axis + 1).reshape(sample_shape(value.shape, batch))
            return self.core(known(kept, value.dtype, name=value.name))
        core = self.core(value)
        if core.type.shape[axis] != 1:
            raise self._varies(value)
        return core if batch.merged else self.reshaped(core, core.type.shape[:axis] + core.type.shape[axis + 1 :])

    def _varies(self, value: Value) -> Problem:
        whose = f"`{value.name}` of shape" if value.name else "of shape"
        return batch_problem(
            f"combines the batch with a constant {whose} {list(value.shape)} that differs between samples"
        )

    def map(self, function: str, *values: Value, dtype: str | None = None) -> Value:
        """An elementwise function of ir.nn.FUNCTIONS, broadcasting; the last operand's dtype unless one is given."""
        dtype = dtype or values[-1].dtype
        try:
            shape = np.broadcast_shapes(*(value.shape for value in values))
        except ValueError:
            shapes = ", ".join(str(list(value.shape)) for value in values)
            raise Problem(SHAPES, f"combines shapes {shapes}, which do not broadcast") from None
        early = constants.evaluate(function, values, shape, dtype)
        if early is not None:
            return early
        ops, batch = self.align(values)
        return self.result(nn.Map(function=function, xs=tuple(ops), loc=self.loc), shape, batch, dtype)

    def chain(self, value: Value, *steps: tuple[str, float]) -> Value:
        """The value after functions of two operands whose second is a number: chain(x, ("mul", 2), ("add", 1))."""
        for function, number in steps:
            value = self.map(function, value, self.scalar(number), dtype=value.dtype)
        return value

    def moved(self, value: Value, change: Callable[[Value, Op], Op], axes: Sequence[int]) -> Value:
        """`change` (a movement that keeps the rank) on the sample; only the ONNX axes `axes` change length."""
        value = value if value.array is not None else self.batched(value)
        op = change(value, self.whole(value))
        shape = list(value.shape)
        for axis in axes:
            shape[axis] = op.type.shape[self.sample_axis(value, axis)]
        return self.result(op, tuple(shape), value.batch, value.dtype)

    def per_image(self, value: Value, change: Callable[[Op], Op], dtype: str | None = None) -> Value:
        """`change` on every [C, …] of an ONNX value [N, C, …].

        Where ONNX axis 0 is not simply the batch (a merged [B*T, C, …], or a constant), it is done row by row.
        """
        if value.rank < 2:
            raise Problem(SHAPES, f"needs a value [N, C, …], not one of shape {list(value.shape)}")
        dtype = dtype or value.dtype
        batch = value.batch
        if batch is not None and batch.plain:
            if batch.axis != 0:
                raise batch_problem("takes its images from a value whose batch is not its first axis")
            op = change(_op(value))
            return self.result(op, (value.shape[0], *op.type.shape), batch, dtype)
        if batch is not None and batch.merged and batch.axis != 0:
            raise batch_problem("takes its images from a value whose batch is not its first axis")
        whole = self.whole(value)
        rows = whole.type.shape[0]
        if rows > 256:
            raise unsupported(f"runs over {rows} images per sample")
        image = whole.type.shape[1:]
        if rows == 1:
            op = change(self.reshaped(whole, image))
            if batch is not None:
                return self.result(op, (1, *op.type.shape), Batch(0), dtype)
            return self.result(self.reshaped(op, (1, *op.type.shape)), (1, *op.type.shape), None, dtype)
        made = [change(self.reshaped(self.sliced(whole, 0, row, 1), image)) for row in range(rows)]
        each = made[0].type.shape
        joined = move.Concat(xs=tuple(self.reshaped(op, (1, *each)) for op in made), axis=0, loc=self.loc)
        return self.result(joined, (value.shape[0], *each), batch, dtype)

    def sliced(self, op: Op, axis: int, start: int, count: int, step: int = 1) -> Op:
        """`count` elements of an axis of an op."""
        shape = op.type.shape
        if (start, count, step) == (0, shape[axis], 1):
            return op
        return move.Slice(
            x=op,
            starts=tuple(start if a == axis else 0 for a in range(len(shape))),
            counts=tuple(count if a == axis else n for a, n in enumerate(shape)),
            steps=tuple(step if a == axis else 1 for a in range(len(shape))),
            loc=self.loc,
        )

    def transposed(self, op: Op, perm: Sequence[int]) -> Op:
        """The op with its axes permuted (the same op if nothing moves)."""
        return op if list(perm) == sorted(perm) else move.Transpose(x=op, perm=tuple(perm), loc=self.loc)

    def warn(self, code: str, text: str, kind: str = "warning") -> None:
        """Tell the user something about this node."""
        self.world.notes.append(Note(kind, text, self.loc, code))

    def require_float(self, value: Value) -> None:
        """Raise Problem if the value is not of a float type."""
        if value.dtype not in FLOATS:
            raise malformed(f"needs floats, but gets {value.dtype}")


def _op(value: Value) -> Op:
    assert value.op is not None
    return value.op


def _place(value: Value) -> tuple[int, int, int] | None:
    batch = value.batch
    assert batch is not None
    return None if batch.axis is None else (value.rank - batch.axis, batch.before, batch.after)


Handler = Callable[[Node], Value | tuple[Value, ...]]

__all__ = ["Handler", "Node", "World"]
