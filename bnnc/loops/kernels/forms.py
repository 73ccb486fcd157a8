"""How a product of two small integers becomes popcounts: the forms, and which one fits given operands.

Activations come as bit planes u_p with x = Σ c_p u_p, and c is the layout's `planes`; the one plane of a bit, written
(0,), stands for 2u - 1. A form says which planes the weights get, what to count in every word, and how the counts make
Σ w*x:

* bits x ±1:             K - 2 pop(x ^ w)
* bits x ternary:        Σ|w| - 2 pop((x ^ w) & m)
* trits x ±1:            Σ pop(z) - 2 pop((s ^ n) & z),       the first sum once a pixel, not once an output
* trits x ternary:       pop(z & m) - 2 pop((s ^ n) & z & m)
* planes x ±1:           Σ_p c_p (pop(u_p) - 2 pop(u_p & n)),  the first sum once a pixel
* planes x planes:       Σ_pq c_p d_q pop(u_p & v_q),          weights in two's complement
* x times 0/1 (or 0/-1): planes of one bit, below
* bits x planes:         2 Σ_q d_q pop(u & v_q) - Σ w

Different coefficients need no second set of accumulators and no shift in the inner loop: the terms run in passes from
the largest coefficient down, and between passes the accumulators are multiplied by the ratio (Horner's rule).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Planes = tuple[int, ...]
BIT = (0,)
TRIT = (1, -2)


def twos_complement(low: int, high: int) -> Planes:
    """The fewest planes for low..high, least significant first; without a sign when nothing is negative."""
    bits = max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0, 0 if low < 0 else 1)
    return (*(1 << p for p in range(bits)), *((-(1 << bits),) if low < 0 else ()))


def bits_of(planes: Planes, values: np.ndarray) -> np.ndarray:
    """uint8 [planes, …]: the bits of integers. Raises ValueError for a value that the planes cannot hold."""
    wide = np.asarray(values).astype(np.int64)
    if planes == BIT:
        bits, back = (wide > 0)[None], np.where(wide > 0, 1, -1)
    else:
        bits = np.stack([wide >> p & 1 for p in range(len(planes))])
        back = np.tensordot(np.array(planes), bits, 1)
    if not np.array_equal(back, wide):
        raise ValueError(f"values outside {wide.min()}..{wide.max()} do not fit planes {planes}")
    return bits.astype(np.uint8)


@dataclass(frozen=True)
class Term:
    """sign * pop(word), word = [u_a ^ v_b] & [u_c] & [v_d]; a part that is None is left out."""

    sign: int
    differ: tuple[int, int] | None = None
    activation: int | None = None
    weight: int | None = None


@dataclass(frozen=True)
class Pass:
    """accumulator *= ratio, then += every term; the pixel sum likewise, with (sign, plane) terms."""

    ratio: int
    terms: tuple[Term, ...]
    pixel_terms: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Form:
    """Σ w*x = base + scale * r, r = counts, or with a pixel sum z: r = z - 2 * counts.

    `weights` are the planes of two's complement weights; None: negative (with `sign_bits`: positive), and with `masked`
    also non-zero.
    `halo_value`: what x a halo of zero bits stands for.
    """

    passes: tuple[Pass, ...]
    scale: int
    halo_value: int
    pixel_sum: bool = False
    weights: Planes | None = None
    masked: bool = False
    sign_bits: bool = False

    @property
    def weight_planes(self) -> int:
        """Planes of the packed weights."""
        return len(self.weights) if self.weights else 1 + self.masked

    def alike(self, other: Form) -> Form | None:
        """`other`, if it is cheaper and outputs can be made of its counts in the same way; else None."""
        same = (other.scale, other.halo_value, other.sign_bits) == (self.scale, self.halo_value, self.sign_bits)
        return other if same and other.weight_planes < self.weight_planes else None

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """uint8 [planes, …] of integer weights; 0 weights of unmasked forms (spare channels) are 0 in all planes."""
        if self.weights:
            return bits_of(self.weights, weights)
        planes = [weights > 0 if self.sign_bits else weights < 0, weights != 0]
        bits: np.ndarray = np.stack(planes[: self.weight_planes]).astype(np.uint8)
        return bits

    def base(self, weights: np.ndarray) -> np.ndarray:
        """int64 [O]: the constant part of each output, for weights [O, …] when all taps are inside."""
        rows = weights.reshape(len(weights), -1).astype(np.int64)
        total: np.ndarray = np.abs(rows).sum(1) if self.sign_bits else self.halo_value * rows.sum(1)
        return total


def choose_form(planes: Planes, weights: np.ndarray, real: np.ndarray | None = None, shared: bool = True) -> Form:
    """The cheapest form for activations of these planes and integer weights.

    `real` marks (broadcasts to) the weights that meet a real channel; the others must be 0. `shared`: all outputs read
    the same channels, so that a sum over a pixel can serve them all.
    """
    used = weights if real is None else weights[np.broadcast_to(real, weights.shape)]
    low, high = (int(used.min()), int(used.max())) if used.size else (0, 0)
    small = low >= -1 and high <= 1
    signs = small and not bool((used == 0).any())
    one_sided = small and not signs and low * high == 0
    if planes == BIT and small and not one_sided:
        term = Term(1, differ=(0, 0), weight=None if signs else 1)
        return Form((Pass(1, (term,)),), -2, -1, masked=not signs, sign_bits=True)
    if planes == TRIT and signs and shared:
        term = Term(1, differ=(1, 0), activation=0)
        return Form((Pass(1, (term,), ((1, 0),)),), 1, 0, pixel_sum=True)
    if planes == TRIT and small and not one_sided:
        heavy = Pass(1, (Term(-1, differ=(1, 0), activation=0, weight=1),))
        return Form((heavy, Pass(2, (Term(1, activation=0, weight=1),))), 1, 0, masked=True)
    if signs and shared:
        products = [(c, Term(1 if c > 0 else -1, activation=p, weight=0)) for p, c in enumerate(planes)]
        pixel = {p: (1 if c > 0 else -1, p) for p, c in enumerate(planes)}
        passes, scale = _horner(products, pixel)
        return Form(passes, scale, 0, pixel_sum=True)
    rows = twos_complement(low, high)
    # A bit is 2u - 1.
    factors, offset = ((2,), -1) if planes == BIT else (planes, 0)
    products = [
        (c * d, Term(1 if c * d > 0 else -1, activation=p, weight=q))
        for p, c in enumerate(factors)
        for q, d in enumerate(rows)
    ]
    passes, scale = _horner(products, {})
    return Form(passes, scale, offset, weights=rows)


def _horner(products: list[tuple[int, Term]], pixel: dict[int, tuple[int, int]]) -> tuple[tuple[Pass, ...], int]:
    scale = math.gcd(*(abs(c) for c, _ in products))
    sizes = sorted({abs(c) // scale for c, _ in products}, reverse=True)
    passes = []
    for position, size in enumerate(sizes):
        above = sizes[position - 1] if position else size
        if above % size:
            raise ValueError(f"coefficients {sizes} are no chain of multiples")
        terms = tuple(term for c, term in products if abs(c) // scale == size)
        planes = dict.fromkeys(term.activation for term in terms if term.activation in pixel)
        passes.append(Pass(above // size, terms, tuple(pixel[p] for p in planes if p is not None)))
    return tuple(passes), scale
