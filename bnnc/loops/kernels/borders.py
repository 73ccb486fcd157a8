"""Windows that reach into padding: which taps lie outside, and what is put right where the halo does not hold it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnc.loops.builder import Builder
from bnnc.loops.ir import I64, Buffer, Convert, Expression, constant, constant_buffer, load
from bnnc.loops.kernels.tiling import Tile, Window
from bnnc.loops.layout import Layout


@dataclass(frozen=True)
class Borders:
    """Which taps of a padded window lie outside, as classes of rows and of columns; class tables are tiny.

    rows and columns: bool [classes, taps], which taps are outside; row_class and column_class: the class of each
    output row and column.
    """

    rows: np.ndarray
    columns: np.ndarray
    row_class: np.ndarray
    column_class: np.ndarray
    first: Expression | None = None  # the row of the whole image that is row 0 here

    @property
    def count(self) -> int:
        """How many classes of pixels there are."""
        return len(self.rows) * len(self.columns)

    def sums(self, taps: np.ndarray) -> np.ndarray:
        """[row classes * column classes, O]: Σ over the taps outside, of taps [O, KH, KW]."""
        outside = self.rows[:, None, :, None] | self.columns[None, :, None, :]
        table = np.einsum("okl,rckl->rco", taps.astype(np.int64), outside.astype(np.int64))
        flat: np.ndarray = table.reshape(self.count, -1)
        return flat


@dataclass(frozen=True)
class Within:
    """What a kernel for a few rows must know of the whole image: its window, and how many rows it has."""

    window: Window
    height: int


def borders_of(window: Window, height: int, width: int) -> Borders:
    """The border classes of an image of this size."""
    rows, row_class = np.unique(window.outside(0, height), axis=0, return_inverse=True)
    columns, column_class = np.unique(window.outside(1, width), axis=0, return_inverse=True)
    return Borders(rows, columns, row_class.reshape(-1), column_class.reshape(-1))


def no_borders(height: int, width: int) -> Borders:
    """One class for all pixels."""
    none = np.zeros((1, 1), np.bool_)
    return Borders(none, none, np.zeros(height, np.int64), np.zeros(width, np.int64))


def corrections(
    image: Layout, weights: np.ndarray, window: Window, difference: int, within: Within | None = None
) -> tuple[Borders, np.ndarray]:
    """Outside the image x counts as `difference` more than what its halo holds: the classes of borders, and what that
    adds to the sums of weights [O, C, KH, KW], int64 [class, O]. One class of 0 where nothing is to be put right."""
    whole = within or Within(window, image.height)
    if not any(whole.window.pads) or not difference:
        return no_borders(*window.output(image.height, image.width)), np.zeros((1, len(weights)), np.int64)
    borders = borders_of(whole.window, whole.height, image.width)
    return borders, difference * borders.sums(weights.astype(np.int64).sum(1))


def border_class(b: Builder, borders: Borders, name: str, y: Expression, x: Expression) -> Expression:
    """The number of a pixel's border class; tables of one byte a row and a column are called `name_border_…`."""
    found: Expression = constant(0, I64)
    if len(borders.rows) > 1:
        rows = (borders.row_class * len(borders.columns)).astype(np.uint8)
        table = constant_buffer(f"{name}_border_row", rows, "[output row] its border class", 1)
        found = Convert("zext", load(table, y if borders.first is None else y + borders.first), I64)
    if len(borders.columns) > 1:
        columns = borders.column_class.astype(np.uint8)
        table = constant_buffer(f"{name}_border_column", columns, "[output column] its border class", 1)
        found = found + Convert("zext", load(table, x), I64)
    return b.let(found, "border")


class ClassRows:
    """Looks up, for a pixel, where the row of a per-class constant table starts; 0 where there is one class."""

    def __init__(self, name: str, borders: Borders, row_length: int) -> None:
        self._y = self._x = None
        self._first = borders.first
        if len(borders.rows) > 1:
            self._y = _offsets(f"{name}_row", borders.row_class * len(borders.columns) * row_length)
        if len(borders.columns) > 1:
            self._x = _offsets(f"{name}_column", borders.column_class * row_length)

    @property
    def constant(self) -> bool:
        """Whether all pixels share one row."""
        return self._y is None and self._x is None

    def start(self, b: Builder, tile: Tile, row: int, column: int) -> Expression:
        """Index of the first element of the row of a tile's pixel."""
        start: Expression = constant(0, I64)
        if self._y is not None:
            y = tile.y + row
            start = load(self._y, y if self._first is None else y + self._first)
        if self._x is not None:
            start = start + load(self._x, tile.x + column)
        return b.let(start, "class")


def _offsets(name: str, values: np.ndarray) -> Buffer:
    return constant_buffer(name, values.astype(np.int64), "where the row of a pixel's border class starts")
