"""Sums of products: one fma a term in ascending order, or any order where it is proven that no rounding can occur."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bnnc.reference import numerics
from bnnc.reference.taps import columns, taps

# How many elements of float64 scratch a step may take: small for fma loops (they live in the cache), large for
# matrix products (they live in memory).
CACHE_ELEMENTS = 1 << 14
MEMORY_ELEMENTS = 1 << 24
EXACT_F32 = 2**24
EXACT_F64 = 2**53


def is_whole(values: np.ndarray) -> bool:
    """Whether every value is an integer (the first few are tried first: floats are told apart at once)."""
    head = values.reshape(-1)[:256]
    if values.dtype.kind in "iu":
        return True
    return bool((head == np.rint(head)).all()) and bool((values == np.rint(values)).all())


def _is_trit(values: np.ndarray) -> bool:
    head = values.reshape(-1)[:256]
    return bool((np.abs(head) <= 1).all()) and is_whole(values) and bool((np.abs(values) <= 1).all())


class ProductAdder:
    """target = fma(w, x, target) in place, for float32 blocks of at most `elements`, with its scratch made once.

    `w` and `x` are all the factors that will come: they decide which shortcuts give the same bits.
    """

    def __init__(self, w: np.ndarray, x: np.ndarray, elements: int) -> None:
        self.exact_products = _is_trit(w) or _is_trit(x)
        # Products and their sums are multiples of the last places' product, so far above the subnormals none is tiny.
        self.never_tiny = _smallest(w) * _smallest(x) >= 2.0**-75
        self.dtype = np.dtype(np.float32 if self.exact_products else np.float64)
        self._product = np.empty(elements, self.dtype)
        self._total = np.empty(0 if self.exact_products else elements, np.float64)
        self._bits = np.empty(self._total.size, np.int64)
        self._doubtful = np.empty(self._total.size, np.bool_)

    def add(self, target: np.ndarray, w: np.ndarray, x: np.ndarray) -> None:
        """w and x (of this adder's dtype) broadcast to the shape of target."""
        shape, size = target.shape, target.size
        product = self._product[:size].reshape(shape)
        np.multiply(w, x, out=product)
        if self.exact_products:
            np.add(target, product, out=target)
            return
        total, bits = self._total[:size].reshape(shape), self._bits[:size].reshape(shape)
        doubtful = self._doubtful[:size].reshape(shape)
        np.add(product, target, out=total)
        numerics.mark_doubtful(total, bits, doubtful, self.never_tiny)
        if doubtful.any():
            numerics.mend(total, product, target.astype(np.float64), doubtful)
        target[...] = total


def _smallest(values: np.ndarray) -> float:
    """The smallest magnitude of a non-zero value; 1 if there is none."""
    sizes = np.abs(values)
    return float(sizes.min(initial=1, where=sizes > 0))


def conv_f32(
    x: np.ndarray,
    w: np.ndarray,
    outputs: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
    groups: int,
) -> np.ndarray:
    """x [B, C, *spatial], w [1 or B, O, C/groups, *kernel], both float32, to float32 [B, O, *outputs].

    acc = +0; for every (c, tap) ascending: acc = fma(w, x, acc); taps outside the input are skipped.
    """
    kernel = w.shape[3:]
    if w.shape[0] == 1 and is_whole(x) and is_whole(w) and _fits(_magnitude(x), w[0], EXACT_F32):
        return conv_whole(x, w[0], outputs, strides, pads, dilations, groups, 0, np.dtype(np.float32))
    batch = max(x.shape[0], w.shape[0]) if min(x.shape[0], w.shape[0]) else 0
    result = np.zeros((batch, w.shape[1], *outputs), np.float32)
    depth, filters, positions = w.shape[2], w.shape[1] // groups, math.prod(outputs)
    samples = max(1, CACHE_ELEMENTS // (w.shape[1] * positions))
    width = max(1, CACHE_ELEMENTS // (samples * groups * positions))
    adder = ProductAdder(w, x, samples * groups * min(width, filters) * positions)
    ones, every = (1,) * len(kernel), (slice(None),) * 3
    for start in range(0, batch, samples):
        rows = slice(start, start + samples)
        part = (x if x.shape[0] == 1 else x[rows]).astype(adder.dtype)
        weights = (w if w.shape[0] == 1 else w[rows]).astype(adder.dtype)
        channels = part.reshape(part.shape[0], groups, 1, depth, *part.shape[2:])
        filtered = weights.reshape(weights.shape[0], groups, filters, depth, *kernel, *ones)
        accumulators = result[rows].reshape(-1, groups, filters, *outputs)
        for first in range(0, filters, width):
            block, chosen = accumulators[:, :, first : first + width], filtered[:, :, first : first + width]
            for c in range(depth):
                for tap, reached, read in taps(part.shape[2:], outputs, kernel, strides, pads, dilations):
                    weight: Any = (*every, c, *tap)
                    reading: Any = (*every, c, *read)
                    place: Any = (*every, *reached)
                    adder.add(block[place], chosen[weight], channels[reading])
    return result


def _magnitude(x: np.ndarray) -> float:
    # From the two ends: abs of a large array costs memory, and abs(-2^31) is wrong in int32.
    return max(float(x.max()), -float(x.min())) if x.size else 0.0


def _fits(magnitude: float, w: np.ndarray, limit: int) -> bool:
    """Whether no partial sum of any row of w [rows, …] with values up to `magnitude` reaches `limit`."""
    rows = np.abs(w.reshape(w.shape[0], -1).astype(np.float64)).sum(1)
    return magnitude * float(rows.max(initial=0.0)) < limit


def conv_whole(
    x: np.ndarray,
    w: np.ndarray,
    outputs: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
    groups: int,
    pad_value: int,
    result_dtype: np.dtype,
) -> np.ndarray:
    """The convolution of whole numbers x [B, C, *spatial] and w [O, C/groups, *kernel]: exact, so any order will do.

    Outside the input stands `pad_value`. The result is [B, O, *outputs] of `result_dtype`.
    """
    kernel, filters = w.shape[2:], w.shape[0]
    number = _matrix_dtype(max(_magnitude(x), abs(pad_value)), w)
    matrix = w.reshape(groups, filters // groups, -1).astype(number)
    length = matrix.shape[-1]
    positions = math.prod(outputs)
    result = np.zeros((x.shape[0], filters, *outputs), result_dtype)
    chunk = max(1, MEMORY_ELEMENTS // max(1, groups * length * positions))
    for start in range(0, x.shape[0], chunk):
        part = x[start : start + chunk].astype(number, copy=False)
        gathered = columns(part, outputs, kernel, strides, pads, dilations, pad_value)
        gathered = gathered.reshape(part.shape[0], groups, length, positions)
        # + 0: a library may start a sum with its first product, which can be -0.
        sums = np.matmul(matrix, gathered) + 0
        result[start : start + chunk] = sums.reshape(part.shape[0], filters, *outputs)
    return result


def _matrix_dtype(magnitude: float, w: np.ndarray) -> np.dtype:
    """The fastest number format in which every partial sum of w's rows times whole numbers is exact."""
    if _fits(magnitude, w, EXACT_F32):
        return np.dtype(np.float32)
    if _fits(magnitude, w, EXACT_F64):
        return np.dtype(np.float64)
    return np.dtype(np.int64)


def matmul_whole(x: np.ndarray, w: np.ndarray, result_dtype: np.dtype) -> np.ndarray:
    """x […, K] times the transpose of w [N, K], whole numbers, to […, N] of `result_dtype`: exact."""
    number = _matrix_dtype(_magnitude(x), w)
    product = np.matmul(x.astype(number, copy=False), w.T.astype(number)) + 0
    return np.asarray(product.astype(result_dtype, copy=False))


def matmul_f32(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a […, M, K] times b […, K, N], float32, leading axes broadcast: acc = +0; for k: acc = fma(b, a, acc)."""
    if is_whole(a) and is_whole(b) and _magnitude(a) * _magnitude(b) * a.shape[-1] < EXACT_F32:
        return np.asarray(np.matmul(a, b) + np.float32(0))
    leading = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    result = np.zeros((*leading, a.shape[-2], b.shape[-1]), np.float32)
    chunk = min(a.shape[-2], max(1, CACHE_ELEMENTS // max(1, math.prod(leading) * b.shape[-1])))
    adder = ProductAdder(b, a, math.prod(leading) * chunk * b.shape[-1])
    left, right = a.astype(adder.dtype), b.astype(adder.dtype)
    for start in range(0, a.shape[-2], chunk):
        rows = slice(start, start + chunk)
        total = np.ascontiguousarray(result[..., rows, :])
        for k in range(a.shape[-1]):
            adder.add(total, right[..., k, None, :], left[..., rows, k, None])
        result[..., rows, :] = total
    return result
