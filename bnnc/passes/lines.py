"""Functions made of lines: what a chain of scales, shifts, batch norms, ReLUs, PReLUs and clips is in real numbers.

Each channel has knots and, between them, a slope and an offset (float64, which is far finer than any stream).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnc.ir import nn
from bnnc.ir.op import Op

MOST_KNOTS = 8


@dataclass(frozen=True, eq=False)
class Lines:
    """y = slopes[c, n] * x + offsets[c, n], n = how many of the ascending knots[c] are <= x; unused knots are +inf.

    knots [C, n], slopes and offsets [C, n + 1]; all float64."""

    knots: np.ndarray
    slopes: np.ndarray
    offsets: np.ndarray

    def at(self, x: np.ndarray) -> np.ndarray:
        """The values at points [C, m]."""
        piece = self._pieces(x)
        slopes, offsets = np.take_along_axis(self.slopes, piece, 1), np.take_along_axis(self.offsets, piece, 1)
        return np.asarray(slopes * x + offsets)

    def _pieces(self, x: np.ndarray) -> np.ndarray:
        return np.asarray((self.knots[:, None, :] <= x[:, :, None]).sum(2))

    def split(self, knots: np.ndarray) -> Lines:
        """The same function with more knots [C, m]."""
        joined = np.sort(np.concatenate([self.knots, knots], axis=1), axis=1)
        piece = self._pieces(_inside(joined))
        return Lines(joined, np.take_along_axis(self.slopes, piece, 1), np.take_along_axis(self.offsets, piece, 1))

    def scaled(self, factor: np.ndarray, shift: np.ndarray) -> Lines:
        """factor * y + shift, one number each a channel."""
        return Lines(self.knots, self.slopes * factor[:, None], self.offsets * factor[:, None] + shift[:, None])

    def bent(
        self,
        limit: np.ndarray,
        below: tuple[np.ndarray, np.ndarray],
        above: tuple[np.ndarray, np.ndarray],
        equal: float | None = None,
    ) -> Lines:
        """below[0] * y + below[1] where y < limit, above likewise where y >= limit; `equal`: the value of a piece that
        is nothing but the limit, where that is neither."""
        level = limit[:, None]
        with np.errstate(all="ignore"):
            crossing = (level - self.offsets) / self.slopes
        edge = np.full((len(limit), 1), np.inf)
        first, last = np.concatenate([-edge, self.knots], axis=1), np.concatenate([self.knots, edge], axis=1)
        crossing = np.where((crossing > first) & (crossing < last) & np.isfinite(crossing), crossing, np.inf)
        cut = self.split(crossing)
        middle = _inside(cut.knots)
        height = cut.slopes * middle + cut.offsets
        up = height >= level
        factor = np.where(up, above[0][:, None], below[0][:, None])
        shift = np.where(up, above[1][:, None], below[1][:, None])
        slopes, offsets = cut.slopes * factor, cut.offsets * factor + shift
        if equal is not None:
            flat = (cut.slopes == 0) & (cut.offsets == level)
            slopes, offsets = np.where(flat, 0, slopes), np.where(flat, equal, offsets)
        return Lines(cut.knots, slopes, offsets)

    def simplified(self, low: np.ndarray, high: np.ndarray) -> Lines:
        """The same function between low[c] and high[c], without knots outside or where nothing changes."""
        same = (self.slopes[:, 1:] == self.slopes[:, :-1]) & (self.offsets[:, 1:] == self.offsets[:, :-1])
        before = self.knots <= low[:, None]
        drop = before | (self.knots > high[:, None]) | ~np.isfinite(self.knots) | same
        knots = np.where(drop, np.inf, self.knots)
        order = np.argsort(knots, axis=1, kind="stable")
        used = int((~drop).sum(1).max(initial=0))
        pieces = [before.sum(1)]
        for n in range(used):
            place = order[:, n]
            unused = np.take_along_axis(drop, place[:, None], 1)[:, 0]
            pieces.append(np.where(unused, pieces[-1], place + 1))
        piece = np.stack(pieces, axis=1)
        kept = np.take_along_axis(knots, order, 1)[:, :used]
        return Lines(kept, np.take_along_axis(self.slopes, piece, 1), np.take_along_axis(self.offsets, piece, 1))

    def hull(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and highest value of each channel between low[c] and high[c], which may be infinite."""
        inside = np.clip(self.knots, low[:, None], high[:, None])
        points = np.concatenate([low[:, None], inside, high[:, None]], axis=1)
        # At a jump the piece on its left counts too.
        left = np.asarray((self.knots[:, None, :] < points[:, :, None]).sum(2))
        ends = []
        for piece in (self._pieces(points), left):
            slopes, offsets = np.take_along_axis(self.slopes, piece, 1), np.take_along_axis(self.offsets, piece, 1)
            with np.errstate(invalid="ignore"):
                ends.append(np.where(slopes == 0, offsets, slopes * points + offsets))
        values = np.concatenate(ends, axis=1)
        return values.min(1), values.max(1)

    @property
    def share(self) -> float | None:
        """s, where the function is s * x in every channel."""
        alike = self.knots.size == 0 and bool((self.slopes == self.slopes[:1]).all()) and not self.offsets.any()
        return float(self.slopes[0, 0]) if alike else None

    @property
    def constant(self) -> bool:
        """Whether every piece is level."""
        return not self.slopes.any()


def identity(channels: int) -> Lines:
    """y = x."""
    return Lines(np.zeros((channels, 0)), np.ones((channels, 1)), np.zeros((channels, 1)))


def level(values: np.ndarray) -> Lines:
    """y = values[c]."""
    return Lines(np.zeros((len(values), 0)), np.zeros((len(values), 1)), values.astype(np.float64)[:, None])


def _inside(knots: np.ndarray) -> np.ndarray:
    """A point of every piece [C, n + 1]; behind the last finite knot any will do."""
    channels, count = knots.shape
    if count == 0:
        return np.zeros((channels, 1))
    finite = np.where(np.isfinite(knots), knots, np.nan)
    result = np.empty((channels, count + 1))
    result[:, 0] = np.where(np.isnan(finite[:, 0]), 0, finite[:, 0] - np.abs(finite[:, 0]) - 1)
    for n in range(1, count + 1):
        start = finite[:, n - 1]
        end = finite[:, n] if n < count else np.full(channels, np.nan)
        there = np.where(np.isnan(end), start + np.abs(start) + 1, (start + end) / 2)
        result[:, n] = np.where(np.isnan(start), result[:, n - 1], there)
    return result


def joined(a: Lines, b: Lines, function: str) -> Lines | None:
    """a + b, a - b, or a * b where one of them is level everywhere; None for other products."""
    left, right = a.split(b.knots), b.split(a.knots)
    if function in ("add", "sub"):
        sign = 1 if function == "add" else -1
        return Lines(left.knots, left.slopes + sign * right.slopes, left.offsets + sign * right.offsets)
    if not (a.constant or b.constant):
        return None
    slopes = left.slopes * right.offsets + left.offsets * right.slopes
    return Lines(left.knots, slopes, left.offsets * right.offsets)


def chosen(condition: Lines, a: Lines, b: Lines) -> Lines | None:
    """a where the condition, which must be level, is not 0, else b."""
    if not condition.constant:
        return None
    knots = np.concatenate([condition.knots, a.knots, b.knots], axis=1)
    condition, a, b = (x.split(knots) for x in (condition, a, b))
    yes = condition.offsets != 0
    return Lines(condition.knots, np.where(yes, a.slopes, b.slopes), np.where(yes, a.offsets, b.offsets))


class Functions:
    """For every elementwise op of a graph: of which one tensor it is a function made of lines, and which."""

    def __init__(self) -> None:
        self._known: dict[Op, tuple[Op, Lines]] = {}

    def of(self, op: Op) -> tuple[Op, Lines]:
        """(source, function); an op that is no such function is its own source. Operands are to be asked for first."""
        if op not in self._known:
            found = self._found(op) if isinstance(op, nn.Map) else None
            self._known[op] = found or (op, identity(_channels(op)))
        return self._known[op]

    def _found(self, op: nn.Map) -> tuple[Op, Lines] | None:
        moving = [x for x in op.xs if not isinstance(x, nn.Constant)]
        if not moving or not op.type.shape:
            return None
        sources = {self.of(x)[0] for x in moving}
        if len(sources) != 1:
            return None
        source = sources.pop()
        if source.type.shape != op.type.shape:
            return None
        operands = [_level_of(x, op) if isinstance(x, nn.Constant) else self.of(x)[1] for x in op.xs]
        if any(x is None for x in operands):
            return None
        result = _applied(op.function, [x for x in operands if x is not None])
        if result is None or not np.isfinite(result.slopes).all() or not np.isfinite(result.offsets).all():
            return None
        wide = np.full(len(result.slopes), np.inf)
        result = result.simplified(-wide, wide)
        return (source, result) if result.knots.shape[1] <= MOST_KNOTS else None


def _channels(op: Op) -> int:
    return op.type.shape[0] if op.type.shape else 1


def _level_of(op: nn.Constant, like: Op) -> Lines | None:
    """A constant that varies along the channels at most."""
    values, rank = op.values, len(like.type.shape)
    if values.size == 1:
        return level(np.full(_channels(like), values.reshape(-1)[0]))
    per_channel = values.ndim == rank and values.size == values.shape[0] == like.type.shape[0]
    return level(values.reshape(-1)) if per_channel else None


def _applied(function: str, xs: list[Lines]) -> Lines | None:
    """The function of nn.FUNCTIONS on functions of one variable; None if the result is not made of lines."""
    x, one = xs[0], np.ones(len(xs[0].slopes))
    zero = 0 * one
    keep, drop = (one, zero), (zero, zero)
    match function:
        case "add" | "sub" | "mul":
            return joined(x, xs[1], function)
        case "div" if xs[1].constant and xs[1].knots.shape[1] == 0 and xs[1].offsets.all():
            return Lines(x.knots, x.slopes / xs[1].offsets, x.offsets / xs[1].offsets)
        case "neg":
            return x.scaled(-one, zero)
        case "abs":
            return x.bent(zero, (-one, zero), keep)
        case "relu":
            return x.bent(zero, drop, keep)
        case "sign":
            return x.bent(zero, (zero, -one), (zero, one), equal=0.0)
        case "prelu" if xs[1].constant and xs[1].knots.shape[1] == 0:
            return x.bent(zero, (xs[1].offsets[:, 0], zero), keep)
        case "clip" if all(end.constant and end.knots.shape[1] == 0 for end in xs[1:]):
            low, high = xs[1].offsets[:, 0], xs[2].offsets[:, 0]
            return x.bent(low, (zero, low), keep).bent(high, keep, (zero, high))
        case "max" | "min" | "greater" | "greater_equal" | "less" | "less_equal":
            return _compared(function, x, xs[1])
        case "where":
            return chosen(*xs)
    return None


def _compared(function: str, a: Lines, b: Lines) -> Lines | None:
    distance = joined(a, b, "sub")
    assert distance is not None
    one = np.ones(len(a.slopes))
    zero = 0 * one
    if function in ("max", "min"):
        low, high = ((zero, zero), (one, zero)) if function == "max" else ((one, zero), (zero, zero))
        return joined(b, distance.bent(zero, low, high), "add")
    below, above = (0.0, 1.0) if function.startswith("greater") else (1.0, 0.0)
    equal = 1.0 if function.endswith("equal") else 0.0
    return distance.bent(zero, (zero, below * one), (zero, above * one), equal=equal)
