"""Sizes of a convolution for property tests: images, windows and paddings in which there is room for one output."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

Pair = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """An image [height, width], and the window over it; `pads` are top, left, bottom, right."""

    size: Pair
    kernel: Pair
    stride: Pair = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)

    @property
    def fits(self) -> bool:
        """Whether there is an output."""
        return all(
            self.size[axis] + self.pads[axis] + self.pads[axis + 2] >= self.dilation[axis] * (self.kernel[axis] - 1) + 1
            for axis in (0, 1)
        )


def geometries(
    size: Pair = (5, 5), kernel: Pair = (3, 3), stride: Pair = (3, 2), dilation: Pair = (1, 1)
) -> st.SearchStrategy[Geometry]:
    """Those with sizes from 1 up to these, and paddings up to 2."""

    def pairs(most: Pair) -> st.SearchStrategy[Pair]:
        return st.tuples(st.integers(1, most[0]), st.integers(1, most[1]))

    pads = st.tuples(*[st.integers(0, 2)] * 4)
    made = st.builds(Geometry, pairs(size), pairs(kernel), pairs(stride), pads, pairs(dilation))
    return made.filter(lambda geometry: geometry.fits)


__all__ = ["Geometry", "geometries"]
