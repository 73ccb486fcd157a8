"""What ops mean, in the ids of the elements: which elements every window, sum and move of an op is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bnnc.backends.verilog.proof.contents import NOTHING, Elements
from bnnc.ir import bit, fixed, move
from bnnc.ir.op import Op
from bnnc.ir.types import Fix, stored_range
from bnnc.reference.run import MEANINGS, evaluate

Layer = bit.Conv | bit.Dense | fixed.Conv | fixed.Dense


class Meanings:
    """The ids of every op's elements: moves pass those of their operand on, all others have elements of their own."""

    def __init__(self) -> None:
        self.elements = Elements()
        self._ids: dict[Op, np.ndarray] = {}
        self._constants: dict[Op, np.ndarray] = {}

    def enter(self, op: Op) -> None:
        """An op whose values come in."""
        self._ids[op] = self._own(op)

    def add(self, op: Op) -> bool:
        """An op behind ops that are known. Whether engines must make it: it is neither a constant nor a move."""
        if all(x in self._constants for x in op.operands):
            self._constants[op] = evaluate(op, [self._constants[x] for x in op.operands])
            self._ids[op] = self.elements.known(self._constants[op][0].astype(np.int64))
            return False
        if isinstance(op, move.MOVES):
            self._ids[op] = self._moved(op)
            return False
        self._ids[op] = self._own(op)
        return True

    def _own(self, op: Op) -> np.ndarray:
        return self.elements.tensor(op.type.size, *stored_range(op.type.dtype)).reshape(op.type.shape)

    def ids(self, op: Op) -> np.ndarray:
        """The ids of the elements of an op, in its shape."""
        return self._ids[op]

    def _moved(self, op: Op) -> np.ndarray:
        if isinstance(op, move.Pad) and op.mode == "constant":
            rank, dtype = len(op.pads) // 2, op.type.dtype
            number = int(op.value * 2.0**dtype.fraction) if isinstance(dtype, Fix) else int(op.value)
            widths = [(op.pads[axis], op.pads[rank + axis]) for axis in range(rank)]
            return np.pad(self.ids(op.operands[0]), widths, constant_values=self._known(number))
        return np.asarray(MEANINGS[type(op)](op, [self.ids(x)[None] for x in op.operands])[0])

    def _known(self, number: int) -> int:
        return int(self.elements.known(np.array([number], np.int64))[0])

    def windows(self, op: Layer) -> list[np.ndarray]:
        """For each group of a layer: the ids of what each output pixel is made of, [pixels, weights of a neuron]."""
        ids = self.ids(op.x)
        if not isinstance(op, bit.Conv | fixed.Conv):
            return [ids.reshape(1, -1)]
        pad = self._known(op.pad_value if isinstance(op, bit.Conv) else 0)
        found = self._windows(op.x, op, op.weights.shape[2:], pad)
        pixels = found.shape[1]
        groups = found.reshape(op.groups, len(ids) // op.groups, pixels, -1)
        return [group.transpose(1, 0, 2).reshape(pixels, -1) for group in groups]

    def pooled(self, op: bit.Pool | fixed.Pool) -> np.ndarray:
        """The ids of each window [C * pixels, taps]; NOTHING outside of the input."""
        found = self._windows(op.x, op, op.kernel, NOTHING)
        return found.reshape(-1, found.shape[2])

    def _windows(
        self, x: Op, op: bit.Conv | bit.Pool | fixed.Conv | fixed.Pool, kernel: tuple[int, ...], outside: int
    ) -> np.ndarray:
        """[C, pixels, taps]."""
        spatial, out = x.type.shape[1:], op.type.shape[1:]
        rank = len(spatial)
        places = np.zeros((1, 1), np.int64)
        within = np.ones((1, 1), np.bool_)
        for axis in range(rank):
            at = np.arange(out[axis])[:, None] * op.strides[axis] - op.pads[axis]
            at = at + np.arange(kernel[axis]) * op.dilations[axis]
            inside = (at >= 0) & (at < spatial[axis])
            size = len(places) * out[axis], places.shape[1] * kernel[axis]
            places = (places[:, None, :, None] * spatial[axis] + at[None, :, None, :]).reshape(size)
            within = (within[:, None, :, None] & inside[None, :, None, :]).reshape(size)
        flat = self.ids(x).reshape(x.type.shape[0], math.prod(spatial))
        return np.where(within, flat[:, np.where(within, places, 0)], outside)


@dataclass(frozen=True, eq=False)
class Terms:
    """Σ coefficients[t] * value(index[n, t]), for each element n of an op."""

    index: np.ndarray
    coefficients: np.ndarray


def terms_of(op: Op, meanings: Meanings) -> Terms:
    """The sum that an element of an add or of a pool is, without what is done with the sum."""
    match op:
        case bit.Add():
            index = np.stack([meanings.ids(x).reshape(-1) for x in op.xs], axis=1)
            return Terms(index, np.array(op.coefficients, np.int64))
        case fixed.Add():
            ids = [np.broadcast_to(meanings.ids(x), op.type.shape).reshape(-1) for x in op.xs]
            shifts = [op.point - fixed.fraction(x.type.dtype) for x in op.xs]
            factors = [sign << shift for sign, shift in zip(op.signs, shifts, strict=True)]
            return Terms(np.stack(ids, axis=1), np.array(factors, np.int64))
        case bit.Pool() | fixed.Pool():
            factor = op.factor if isinstance(op, fixed.Pool) else 1
            index = meanings.pooled(op)
            return Terms(index, np.full(index.shape[1], factor, np.int64))
    raise TypeError(op.opcode)


__all__ = ["Layer", "Meanings", "Terms", "terms_of"]
