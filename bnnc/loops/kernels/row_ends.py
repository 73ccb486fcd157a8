"""How layers end that are made row by row: steps that fall or never change, and the pool that joins a window's bits."""

from __future__ import annotations

import numpy as np

from bnnc.loops.builder import Builder
from bnnc.loops.ir import I32, I64, Buffer, Expression, Operand, compare, constant, constant_buffer, load
from bnnc.loops.kernels.row_tables import words_of
from bnnc.loops.kernels.rows import Pooling
from bnnc.loops.layout import WORD, Packed


class RowEnds:
    """What becomes of words that tell where 32 outputs reach their thresholds.

    values int [O or 1, 2] of -1 and 1, those below the threshold first. `target` is the layout of the result, which is
    the pool's where there is one; bool `smallest` [O] marks channels of which the pool takes the minimum.
    """

    def __init__(
        self,
        name: str,
        values: np.ndarray,
        outputs: int,
        target: Packed,
        pooling: Pooling | None,
        smallest: np.ndarray | None,
    ) -> None:
        self.target, self.pooling = target, pooling
        keep, flips = kept_and_turned(values, outputs)
        self.keep = self.flips = self.least = None
        if not keep.all():
            self.keep = constant_buffer(f"{name}_real", words_of(keep), "outputs that can change", 4)
        if flips.any():
            self.flips = constant_buffer(f"{name}_flip", words_of(flips), "outputs whose bit is turned round", 4)
        if pooling is not None and smallest is not None and smallest.any():
            least = np.pad(smallest, (0, -outputs % WORD))
            self.least = constant_buffer(f"{name}_smallest", words_of(least), "outputs that keep the minimum", 4)

    def row(self, b: Builder) -> Buffer:
        """The parameter for a row of the result."""
        return b.parameter("y", I32, 0, access="write" if self.pooling is None else "both")

    def begin(self, b: Builder, y: Buffer) -> None:
        """With a pool: the parameter `part`, which row of a window this is. At row 0 what all bits are joined with is
        written to y: 0, or 1 in channels that keep the minimum."""
        if self.pooling is None:
            return
        part, target, least = b.scalar("part", I64), self.target, self.least
        with b.when(compare("eq", part, 0)), b.loop(target.width, "px") as px, b.loop(target.words, "word") as word:
            b.store(y, px * target.pixel + word, constant(0, I32) if least is None else load(least, word))

    def store(self, b: Builder, y: Buffer, place: Expression, word: Expression, number: Operand) -> None:
        """Stores the word of 32 outputs with this number, joined with what y holds where there is a pool."""
        word = word if self.keep is None else word & load(self.keep, number)
        word = word if self.flips is None else word ^ load(self.flips, number)
        if self.pooling is not None:
            one, other = b.let(load(y, place), "one"), b.let(word, "other")
            word = one | other
            if self.least is not None:
                word = word ^ ((one ^ other) & load(self.least, number))
        b.store(y, place, word)


def kept_and_turned(values: np.ndarray, outputs: int) -> np.ndarray:
    """bool [2, lanes]: outputs that can change; outputs whose bit is turned round, as steps fall or are always 1."""
    table = np.broadcast_to(values, (outputs, 2))
    found = np.stack([table[:, 0] != table[:, 1], table[:, 0] > 0])
    return np.pad(found, ((0, 0), (0, -outputs % WORD)))


__all__ = ["RowEnds", "kept_and_turned"]
