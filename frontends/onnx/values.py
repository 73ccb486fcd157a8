"""A value of the ONNX graph: its op for one sample, and where the batch stands in the shape that the file sees."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bnnc.ir.op import Op

FLOATS = ("float32", "float16", "float64", "bfloat16")
INTEGER_RANGES = {
    "int4": (-8, 7),
    "uint4": (0, 15),
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Batch:
    """Where the batch (N samples) stands.

    On ONNX axis `axis`, whose length is before * N * after: 1 and 1 for a plain batch axis, more after a Reshape such
    as [B, T, F] -> [B*T, F]. A plain batch axis does not exist in the sample's shape; a merged one does, with
    length before * after. `axis` is None where a model that was exported for one sample dropped the axis (Squeeze).
    """

    axis: int | None
    before: int = 1
    after: int = 1

    @property
    def plain(self) -> bool:
        """Whether the axis holds the batch and nothing else."""
        return self.axis is not None and self.before * self.after == 1

    @property
    def merged(self) -> bool:
        """Whether the axis holds other things besides the batch."""
        return self.axis is not None and self.before * self.after > 1


@dataclass(frozen=True, eq=False)
class Value:
    """What an ONNX name stands for.

    dtype: its ONNX element type (`float32`, `int64`, `bool`, …); arithmetic is in f32 whatever it says.
    shape: its ONNX shape, with N where the batch stands.
    batch: None for a constant. For anything else `op` has the shape `sample_shape(shape, batch)`.
    array: a constant whose values are known: float32, int64 or bool, of full shape (repeats may be stride-0 views).
    op: a constant that is only known as an expression has the rank of `shape`; an axis of length 1 may stand for more.
    derived: the array was computed from the shape of a value with a batch.
    """

    dtype: str
    shape: Shape
    batch: Batch | None = None
    op: Op | None = None
    array: np.ndarray | None = None
    derived: bool = False
    name: str = ""

    @property
    def constant(self) -> bool:
        """Whether it is the same for every sample."""
        return self.batch is None

    @property
    def rank(self) -> int:
        """How many axes the file sees."""
        return len(self.shape)


def sample_shape(shape: Shape, batch: Batch | None) -> Shape:
    """The shape of one sample of a value whose ONNX shape is `shape`."""
    if batch is None or batch.axis is None:
        return shape
    own = (batch.before * batch.after,) if batch.merged else ()
    return shape[: batch.axis] + own + shape[batch.axis + 1 :]


def shrink(array: np.ndarray) -> np.ndarray:
    """A view with every repeated axis (stride 0) cut to length 1."""
    return array[tuple(slice(0, 1 if not stride and n > 1 else None) for n, stride in zip(array.shape, array.strides))]  # noqa: B905


def equal_along(array: np.ndarray, axis: int) -> bool:
    """Whether all slices along the axis are the same."""
    front = np.moveaxis(array, axis, 0)
    if len(front) > 1 and not np.array_equal(front[0], front[1]):
        return False
    return bool((front == front[:1]).all())


def known(array: np.ndarray, dtype: str, *, derived: bool = False, name: str = "") -> Value:
    """A constant with these values. Integers are kept as int64, every kind of float as float32."""
    kept = np.float32 if dtype in FLOATS else np.bool_ if dtype == "bool" else np.int64
    if array.dtype != kept:
        with np.errstate(over="ignore", invalid="ignore"):
            array = np.broadcast_to(shrink(array).astype(kept), array.shape)
    return Value(dtype, array.shape, array=array, derived=derived, name=name)


def elements(shape: Shape) -> int:
    """How many elements a tensor of this shape has."""
    return math.prod(shape)
