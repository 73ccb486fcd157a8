"""A table of movements resolved against layouts: which operand, pixel, channel and address each element comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bnnc.loops.builder import Builder
from bnnc.loops.ir import I32, Buffer, Convert, Expression, binary, load
from bnnc.loops.kernels.numbers import number_of
from bnnc.loops.layout import WORD, Elements, Layout, Packed

FIXED = -1


@dataclass(frozen=True, eq=False)
class Moves:
    """For every element of the target in the order of memory, [pixels, channels]: where it comes from.

    operand: number of the operand, FIXED (-1) for the fixed value. channel: its channel there. base: the index of the
    first buffer element of its pixel there. source, target: its address, in elements, or in bits of plane 0.
    """

    operand: np.ndarray
    channel: np.ndarray
    base: np.ndarray
    source: np.ndarray
    target: np.ndarray

    @property
    def count(self) -> int:
        """All elements of the target."""
        return self.operand.size

    @property
    def any_fixed(self) -> bool:
        """Whether some elements have the fixed value."""
        return bool((self.operand == FIXED).any())

    def addresses(self, operand: int) -> np.ndarray:
        """[2, n]: addresses in the operand and in the target of all elements that come from it."""
        chosen = self.operand == operand
        return np.stack([self.source[chosen], self.target[chosen]])


def moves_of(sources: Sequence[Layout], target: Layout, table: np.ndarray) -> Moves:
    """Resolves a table (see gather). Raises ValueError when it does not fit the layouts."""
    sizes = [_size(source) for source in sources]
    flat = np.asarray(table).reshape(-1).astype(np.int64)
    if flat.size != _size(target) or (flat.size and (flat.min() < FIXED or flat.max() >= sum(sizes))):
        raise ValueError(f"a table of {flat.size} numbers does not fill {target} from {sum(sizes)} elements")
    flat = _in_memory_order(flat, target)
    channel, base, source = (np.zeros_like(flat) for _ in range(3))
    operand = np.full_like(flat, FIXED)
    first = 0
    for number, (layout, size) in enumerate(zip(sources, sizes, strict=True)):
        chosen = (flat >= first) & (flat < first + size)
        operand[chosen] = number
        rest = flat[chosen] - first
        pixels = layout.height * layout.width
        y, x = np.divmod(rest % pixels, layout.width)
        channel[chosen] = rest // pixels
        base[chosen] = layout.origin + y * layout.row + x * layout.pixel
        source[chosen] = _address(layout, base[chosen], channel[chosen])
        first += size
    y, x = (axis.reshape(-1, 1) for axis in np.mgrid[: target.height, : target.width])
    place = target.origin + y * target.row + x * target.pixel
    return Moves(operand, channel, base, source, _address(target, place, np.arange(target.channels)))


def _size(layout: Layout) -> int:
    return layout.channels * layout.height * layout.width


def _in_memory_order(values: np.ndarray, layout: Layout) -> np.ndarray:
    """[C * H * W] as [H * W, C]."""
    return np.ascontiguousarray(values.reshape(layout.channels, -1).T)


def _address(layout: Layout, base: np.ndarray, channel: np.ndarray) -> np.ndarray:
    address: np.ndarray = base * (1 if isinstance(layout, Elements) else WORD) + channel
    return address


def read_bits(b: Builder, x: Buffer, layout: Packed, address: Expression) -> list[Expression]:
    """The bit in every plane (i32, 0 or 1) of the element at a bit address."""
    word = b.let(binary("lshr", address, 5), "word")
    shift = b.let(Convert("trunc", address & 31, I32) if address.type != I32 else address & 31, "shift")
    planes = range(len(layout.planes))
    return [binary("lshr", load(x, word + plane * layout.words), shift) & 1 for plane in planes]


def read_number(b: Builder, x: Buffer, layout: Packed, address: Expression) -> Expression:
    """The integer (i32) at a bit address."""
    return number_of(read_bits(b, x, layout, address), layout.planes)
