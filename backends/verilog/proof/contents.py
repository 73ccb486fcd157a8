"""What a stream carries, for every sample at once: not numbers, but what each number is made of.

Each element of each tensor is one unknown, known by its id, of which only its range is known. A position of a stream
holds a raw number, which is a function of such elements. The functions have one of a few forms, so that what engines
make can be compared with what an op means, for all values that can occur.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from bnnc.backends.verilog.proof.pieces import Pieces

NOTHING = -1 << 62
"""In place of an id: a tap of a window that does not count."""


class Wrong(Exception):
    """An engine cannot work so, or does not compute what it should."""


class Elements:
    """The elements of all tensors by id, and the range of each. A known number has an id of its own, and its range."""

    def __init__(self) -> None:
        self._starts: list[int] = [0]
        self._ends: list[tuple[int, int]] = []
        self._known: dict[int, int] = {}

    def tensor(self, size: int, lo: int, hi: int) -> np.ndarray:
        """Ids (int64 [size]) of the elements of a tensor whose values lie in lo..hi."""
        first = self._starts[-1]
        self._starts.append(first + size)
        self._ends.append((lo, hi))
        return np.arange(first, first + size)

    def known(self, values: np.ndarray) -> np.ndarray:
        """The ids of numbers (int64, any shape)."""
        distinct, places = np.unique(values, return_inverse=True)
        for value in distinct.tolist():
            if value not in self._known:
                self._known[value] = int(self.tensor(1, value, value)[0])
        ids = np.array([self._known[value] for value in distinct.tolist()], np.int64)
        return np.asarray(ids[places].reshape(values.shape))

    def ranges(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest value of each id (int64); 0 for what does not count."""
        place = np.searchsorted(np.array(self._starts, np.int64), ids, side="right") - 1
        ends = np.array([*self._ends, (0, 0)], np.int64)[place]
        return ends[..., 0], ends[..., 1]

    def numbers(self) -> dict[int, int]:
        """The known numbers by id."""
        return {one: value for value, one in self._known.items()}

    def constant(self, ids: np.ndarray) -> np.ndarray:
        """Which ids are known numbers."""
        known = np.array(sorted(self._known.values()), np.int64)
        return np.isin(ids, known)


@dataclass(frozen=True)
class Code:
    """raw = (factor * value + offset) / divisor."""

    factor: int = 1
    offset: int = 0
    divisor: int = 1

    def raw(self, values: np.ndarray) -> np.ndarray:
        """The raw numbers of values."""
        return (self.factor * values + self.offset) // self.divisor

    def value(self, raws: np.ndarray) -> np.ndarray:
        """The values of raw numbers that stand for one."""
        return (self.divisor * raws - self.offset) // self.factor

    def mapped(self, slope: int, offset: int) -> Code:
        """The code of slope * raw + offset."""
        found = slope * self.factor, slope * self.offset + offset * self.divisor, self.divisor
        common = math.gcd(*found)
        return Code(*(number // common for number in found))


PLAIN = Code()
BIT = Code(1, 1, 2)


@dataclass(frozen=True, eq=False)
class Atoms:
    """Each position holds one element, or a constant: ids below 0 are -1 - bits, raw numbers of unknown sign."""

    ids: np.ndarray
    code: Code


@dataclass(frozen=True, eq=False)
class Sum:
    """raw[n] = (Σ_t coefficients[neuron[n], t] * value(index[row[n], t]) + constant[n]) / divisor."""

    index: np.ndarray
    row: np.ndarray
    coefficients: np.ndarray
    neuron: np.ndarray
    constant: np.ndarray
    divisor: int = 1


@dataclass(frozen=True, eq=False)
class Settled:
    """settle(sum, shift)."""

    sum: Sum
    shift: int


@dataclass(frozen=True, eq=False)
class Curve:
    """A function of one element: function row[n] of the raw number of ids[n] in `code`; settled by `shift` if given."""

    ids: np.ndarray
    code: Code
    pieces: Pieces
    row: np.ndarray
    shift: int | None = None


@dataclass(frozen=True, eq=False)
class Interpolated:
    """The op fix.table of ids[n]; values and rises int64 [intervals]."""

    ids: np.ndarray
    first: int
    step: int
    values: np.ndarray
    rises: np.ndarray


@dataclass(frozen=True, eq=False)
class Best:
    """The largest, or where `smallest` the smallest, of the elements index[n] (those that count), in `code`."""

    index: np.ndarray
    smallest: np.ndarray
    code: Code


@dataclass(frozen=True, eq=False)
class Product:
    """settle(a * b, shift)."""

    a: np.ndarray
    b: np.ndarray
    shift: int


@dataclass(frozen=True, eq=False)
class Largest:
    """The place of the largest of all positions, of equal ones the lowest."""

    of: Atoms | Curve


@dataclass(frozen=True, eq=False)
class Planes:
    """The bits of every beat of `of` one after the other, the highest first, each as a beat."""

    of: Contents


Form = Atoms | Sum | Settled | Curve | Interpolated | Best | Product | Largest | Planes


@dataclass(frozen=True, eq=False)
class Contents:
    """A sample on a stream: `lanes` positions of `width` bits a beat.

    pads: bool [beats, n]: where there are some, a beat is n taps of a window, each lanes/n lanes and a bit above them,
    which says that the tap lies outside of the input.
    via: the engines that it has passed since the last tensor.
    """

    form: Form
    lanes: int
    width: int
    size: int
    pads: np.ndarray | None = None
    via: tuple[str, ...] = ()

    @property
    def beats(self) -> int:
        """Of a sample."""
        return self.size // self.lanes

    @property
    def bits(self) -> int:
        """Of a beat."""
        return self.lanes * self.width + (0 if self.pads is None else self.pads.shape[1])

    @property
    def outside(self) -> np.ndarray:
        """Which positions lie outside of the input of a window (bool [size])."""
        if self.pads is None:
            return np.zeros(self.size, np.bool_)
        return np.repeat(self.pads, self.lanes // self.pads.shape[1], axis=1).reshape(-1)

    def cut(self, bits: int) -> Contents:
        """What a reader of the lowest bits sees. Raises Wrong."""
        if bits == self.bits:
            return self
        if bits == self.lanes * self.width and self.pads is not None and self.pads.shape[1] == 1:
            return replace(self, pads=None)
        raise Wrong(f"it reads {bits} bits of beats that have {self.bits}")

    def moved(self, places: np.ndarray, fill: np.ndarray | None = None) -> Contents:
        """Positions places[i] in a new order; -1: the constant bits fill[i]."""
        if self.pads is not None:
            raise Wrong("it moves the beats of windows")
        form = self.form
        if not isinstance(form, Atoms):
            raise Wrong("it moves sums before they are complete")
        ids = form.ids[places]
        if fill is not None:
            ids = np.where(places < 0, -1 - fill, ids)
        return replace(self, form=Atoms(ids, form.code), size=len(places))


def numbers(found: Contents, elements: Elements, lanes: int, width: int, signed: bool) -> Contents:
    """What an engine with these parameters sees, constants as known numbers. Raises Wrong."""
    if (found.lanes, found.width) != (lanes, width):
        raise Wrong(f"it reads {lanes} x {width} bits where {found.lanes} x {found.width} come")
    form = found.form
    if isinstance(form, Atoms) and bool((form.ids < 0).any()):
        raws = -1 - form.ids
        raws = np.where(signed & (raws >> (width - 1) & 1 == 1), raws - (1 << width), raws)
        values = form.code.value(raws)
        if bool((form.code.raw(values) != raws)[form.ids < 0].any()):
            raise Wrong("a constant stands for no number")
        form = Atoms(np.where(form.ids < 0, elements.known(np.where(form.ids < 0, values, 0)), form.ids), form.code)
        found = replace(found, form=form)
    lo, hi = raw_range(form, elements)
    least, most = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)
    if (lo < least or hi > most) and isinstance(form, Atoms | Sum):
        # What crosses are numbers modulo 2^width.
        around = (least - lo + (1 << width) - 1 >> width) << width
        lo, hi = lo + around, hi + around
        if isinstance(form, Atoms):
            form = replace(form, code=form.code.mapped(1, around))
        else:
            form = replace(form, constant=form.constant + around * form.divisor)
        found = replace(found, form=form)
    if lo < least or hi > most:
        kind = "signed" if signed else "unsigned"
        raise Wrong(f"it reads numbers of {width} bits, {kind}, where {lo} to {hi} come")
    return found


def raw_range(form: Form, elements: Elements) -> tuple[int, int]:
    """Bounds of the raw numbers of all positions."""
    match form:
        case Atoms(ids, code):
            lo, hi = elements.ranges(ids)
            ends = sorted((_divided(code, int(lo.min())), _divided(code, int(hi.max()))))
            return ends[0], ends[1]
        case Sum():
            lo, hi = elements.ranges(form.index)
            low, high = np.minimum(form.coefficients, 0), np.maximum(form.coefficients, 0)
            if len(form.coefficients) == 1:
                least, most = (high * lo + low * hi).sum(1)[form.row], (high * hi + low * lo).sum(1)[form.row]
            else:  # many neurons on the same inputs: each input by its widest range
                lo, hi = lo.min(0), hi.max(0)
                least, most = (high @ lo + low @ hi)[form.neuron], (high @ hi + low @ lo)[form.neuron]
            return int((least + form.constant).min()) // form.divisor, int((most + form.constant).max()) // form.divisor
        case Settled() | Interpolated() | Product():
            return -(1 << 31), (1 << 31) - 1
        case Curve(shift=None):
            return int(form.pieces.offsets.min()), int(form.pieces.offsets.max())
    raise Wrong("it reads a result that is no tensor")


def _divided(code: Code, value: int) -> int:
    return (code.factor * value + code.offset) // code.divisor


__all__ = [
    "BIT", "NOTHING", "PLAIN", "Atoms", "Best", "Code", "Contents", "Curve", "Elements", "Form", "Interpolated",
    "Largest", "Planes", "Product", "Settled", "Sum", "Wrong", "numbers", "raw_range",
]  # fmt: skip
