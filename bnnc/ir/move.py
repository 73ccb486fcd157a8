"""Ops that only move elements: they keep the dtype and belong to the «nn» and the «bit» vocabulary alike."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bnnc.ir.op import Op, expect
from bnnc.ir.types import Code, Fix, Int, TensorType, value_range


@dataclass(frozen=True, eq=False)
class Reshape(Op):
    """The same elements in the same (row-major) order under another shape."""

    code = "reshape"
    x: Op
    shape: tuple[int, ...]

    def infer(self) -> TensorType:
        expect(
            math.prod(self.shape) == self.x.type.size and all(n > 0 for n in self.shape),
            f"{self.x.type} cannot be reshaped to {list(self.shape)}",
        )
        return TensorType(self.x.type.dtype, self.shape)


@dataclass(frozen=True, eq=False)
class Transpose(Op):
    """y[i_perm[0], i_perm[1], …] = x[i_0, i_1, …]: axis a of the result is axis perm[a] of x."""

    code = "transpose"
    x: Op
    perm: tuple[int, ...]

    def infer(self) -> TensorType:
        shape = self.x.type.shape
        expect(sorted(self.perm) == list(range(len(shape))), f"{list(self.perm)} does not permute {self.x.type}")
        return TensorType(self.x.type.dtype, tuple(shape[axis] for axis in self.perm))


@dataclass(frozen=True, eq=False)
class Expand(Op):
    """x repeated along axes of length 1 (and new leading axes) to `shape`, as numpy broadcasts."""

    code = "expand"
    x: Op
    shape: tuple[int, ...]

    def infer(self) -> TensorType:
        shape = self.x.type.shape
        aligned = self.shape[len(self.shape) - len(shape) :] if len(self.shape) >= len(shape) else ()
        expect(
            len(aligned) == len(shape) and all(a in (1, b) for a, b in zip(shape, aligned, strict=True)),
            f"{self.x.type} cannot be expanded to {list(self.shape)}",
        )
        return TensorType(self.x.type.dtype, self.shape)


@dataclass(frozen=True, eq=False)
class Concat(Op):
    """The operands one after the other along `axis`; of one dtype, or all integer (the range is joined)."""

    code = "concat"
    xs: tuple[Op, ...]
    axis: int

    def infer(self) -> TensorType:
        first = self.xs[0].type
        expect(0 <= self.axis < len(first.shape), f"axis {self.axis} is not an axis of {first}")
        rest = [t.type.shape[: self.axis] + t.type.shape[self.axis + 1 :] for t in self.xs]
        expect(
            len({len(t.type.shape) for t in self.xs}) == 1 and len(set(rest)) == 1,
            f"shapes {', '.join(str(t.type) for t in self.xs)} do not meet along axis {self.axis}",
        )
        dtypes = {t.type.dtype for t in self.xs}
        if len(dtypes) == 1:
            dtype = first.dtype
        else:
            expect(all(isinstance(d, Int) for d in dtypes), f"cannot join {', '.join(sorted(map(str, dtypes)))}")
            ranges = [value_range(d) for d in dtypes]
            dtype = Int(min(lo for lo, _ in ranges), max(hi for _, hi in ranges))
        shape = list(first.shape)
        shape[self.axis] = sum(t.type.shape[self.axis] for t in self.xs)
        return TensorType(dtype, tuple(shape))


@dataclass(frozen=True, eq=False)
class Slice(Op):
    """Along every axis a: elements starts[a], starts[a] + steps[a], … , counts[a] of them. A step may be negative."""

    code = "slice"
    x: Op
    starts: tuple[int, ...]
    counts: tuple[int, ...]
    steps: tuple[int, ...]

    def infer(self) -> TensorType:
        shape = self.x.type.shape
        expect(
            len(self.starts) == len(self.counts) == len(self.steps) == len(shape),
            f"a slice of {self.x.type} needs a start, a count and a step for each of its {len(shape)} axes",
        )
        for size, start, count, step in zip(shape, self.starts, self.counts, self.steps, strict=True):
            last = start + (count - 1) * step
            expect(
                count >= 1 and step != 0 and 0 <= start < size and 0 <= last < size,
                f"slice {list(self.starts)} + {list(self.counts)} x {list(self.steps)} leaves {self.x.type}",
            )
        return TensorType(self.x.type.dtype, self.counts)


@dataclass(frozen=True, eq=False)
class Pad(Op):
    """x with `pads[a]` elements before and `pads[rank + a]` behind on axis a, filled with `value`.

    `mode` is `constant`, `edge` or `reflect` (ONNX Pad). On integer dtypes `value` must be a value of the dtype;
    Int widens to hold it.
    """

    code = "pad"
    x: Op
    pads: tuple[int, ...]
    value: float = 0.0
    mode: str = "constant"

    def infer(self) -> TensorType:
        shape, dtype = self.x.type.shape, self.x.type.dtype
        rank = len(shape)
        expect(len(self.pads) == 2 * rank, f"padding {list(self.pads)} does not fit {self.x.type}")
        expect(all(n >= 0 for n in self.pads), "negative padding: slice instead")
        expect(self.mode in ("constant", "edge", "reflect"), f"pad mode `{self.mode}` is not known")
        if self.mode == "reflect":
            expect(
                all(max(self.pads[a], self.pads[rank + a]) < shape[a] for a in range(rank)),
                f"reflect padding {list(self.pads)} is wider than {self.x.type}",
            )
        if self.mode == "constant" and isinstance(dtype, Int):
            expect(self.value == int(self.value), f"{self.value} is not an integer")
            dtype = Int(min(dtype.lo, int(self.value)), max(dtype.hi, int(self.value)))
        elif self.mode == "constant" and isinstance(dtype, Code):
            codes = [dtype.multiplier * c + dtype.offset for c in range(2**dtype.bits)]
            expect(self.value in codes, f"{self.value} is not a value of {dtype}")
        elif self.mode == "constant" and isinstance(dtype, Fix):
            raw = self.value * 2.0**dtype.fraction
            expect(raw == int(raw) and -(2**31) <= raw < 2**31, f"{self.value} is not a value of {dtype}")
        elif self.mode == "constant" and str(dtype) in ("bit", "trit"):
            allowed = (-1, 1) if str(dtype) == "bit" else (-1, 0, 1)
            expect(self.value in allowed, f"{self.value} is not a value of {dtype}")
        return TensorType(dtype, tuple(shape[a] + self.pads[a] + self.pads[rank + a] for a in range(rank)))


@dataclass(frozen=True, eq=False)
class Gather(Op):
    """y[…, i, …] = x[…, indices[i], …] along `axis`; indices is int64[n]. (A permutation of channels has axis 0.)"""

    code = "gather"
    x: Op
    indices: np.ndarray
    axis: int

    def infer(self) -> TensorType:
        shape = list(self.x.type.shape)
        expect(0 <= self.axis < len(shape), f"axis {self.axis} is not an axis of {self.x.type}")
        expect(
            self.indices.ndim == 1 and self.indices.size > 0 and self.indices.dtype.kind == "i",
            "gather needs a list of whole numbers",
        )
        expect(
            int(self.indices.min()) >= 0 and int(self.indices.max()) < shape[self.axis],
            f"an index leaves axis {self.axis} of {self.x.type}",
        )
        shape[self.axis] = self.indices.size
        return TensorType(self.x.type.dtype, tuple(shape))


MOVES: tuple[type[Op], ...] = (Reshape, Transpose, Expand, Concat, Slice, Pad, Gather)
