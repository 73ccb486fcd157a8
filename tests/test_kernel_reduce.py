"""Reductions, softmax, argmax and matmul against the reference: any shape, axes, halo and machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnc.ir.location import Location
from bnnc.ir.module import Input
from bnnc.ir.nn import REDUCTIONS, ArgMax, MatMul, Reduce, Softmax
from bnnc.ir.op import Op
from bnnc.ir.types import F32 as F32_TYPE
from bnnc.ir.types import DType, Int
from bnnc.loops.ir import Function
from bnnc.loops.kernels.argmax import argmax
from bnnc.loops.kernels.matmul import matmul
from bnnc.loops.kernels.reduce import reduce
from bnnc.loops.kernels.softmax import softmax
from bnnc.loops.layout import Elements, Halo, elements, image_shape
from bnnc.reference.run import evaluate
from tests.halo import assert_halo_untouched
from tests.kernels import run_interpreted, run_native
from tests.packing import put, take

LOC = Location("head")
DTYPES: list[DType] = [F32_TYPE(), F32_TYPE(), Int(-100, 100)]


@dataclass
class Case:
    op: Op
    kernel: Function
    layouts: tuple[Elements, ...]
    target: Elements
    values: tuple[np.ndarray, ...]


def layout(draw: st.DrawFn, dtype: DType, shape: tuple[int, ...]) -> Elements:
    sides = [draw(st.integers(0, 2)) for _ in range(4)]
    return elements(dtype, shape, Halo(sides[0], sides[1], sides[2], sides[3], 1))


def numbers(draw: st.DrawFn, dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if isinstance(dtype, Int):
        return rng.integers(dtype.lo, dtype.hi + 1, shape)
    special = rng.choice(np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 2.0, 2.0], np.float32), shape)
    plain = (rng.standard_normal(shape) * 3).astype(np.float32)
    return np.where(rng.random(shape) < draw(st.sampled_from([0.0, 0.1])), special, plain)


def shapes(draw: st.DrawFn, most: int, least_rank: int = 1) -> tuple[int, ...]:
    rank = draw(st.integers(max(least_rank, 1), 4))
    return (draw(st.integers(1, most)), *(draw(st.integers(1, 5)) for _ in range(rank - 1)))


@st.composite
def reductions(draw: st.DrawFn, most: int = 40) -> Case:
    dtype = draw(st.sampled_from(DTYPES))
    shape = shapes(draw, most)
    source, machine_lanes = layout(draw, dtype, shape), draw(st.sampled_from([1, 4, 16]))
    x = Input("x", dtype, shape)
    kind = draw(st.sampled_from(["reduce", "reduce", "softmax", "argmax"]))
    axis, keep = draw(st.integers(0, len(shape) - 1)), draw(st.booleans())
    op: Op
    if kind == "reduce":
        axes = tuple(sorted(draw(st.sets(st.integers(0, len(shape) - 1)))))
        op = Reduce(x, draw(st.sampled_from(REDUCTIONS)), axes, keep)
        target = layout(draw, F32_TYPE(), op.type.shape)
        kernel = reduce("f", LOC, op.function, shape, axes, source, op.type.shape, target, machine_lanes)
    elif kind == "softmax":
        op = Softmax(x, axis, draw(st.booleans()))
        target = layout(draw, F32_TYPE(), shape)
        kernel = softmax("f", LOC, shape, axis, source, target, machine_lanes, op.log)
    else:
        op = ArgMax(x, axis, keep, draw(st.booleans()), draw(st.booleans()))
        target = layout(draw, op.type.dtype, op.type.shape)
        kernel = argmax("f", LOC, shape, axis, source, op.type.shape, target, machine_lanes, op.last, op.smallest)
    return Case(op, kernel, (source,), target, (numbers(draw, dtype, shape),))


@st.composite
def products(draw: st.DrawFn, most: int = 20) -> Case:
    batch = [draw(st.integers(1, 3)) for _ in range(draw(st.integers(0, 2)))]
    m, k, n = (draw(st.integers(1, most)) for _ in range(3))

    def leading() -> tuple[int, ...]:
        kept = batch[draw(st.integers(0, len(batch))) :]
        return tuple(draw(st.sampled_from([1, size])) for size in kept)

    left, right = (*leading(), m, k), (*leading(), k, n)
    op = MatMul(Input("a", F32_TYPE(), left), Input("b", F32_TYPE(), right))
    layouts = layout(draw, F32_TYPE(), left), layout(draw, F32_TYPE(), right)
    target = layout(draw, F32_TYPE(), op.type.shape)
    lanes = draw(st.sampled_from([1, 4, 16]))
    kernel = matmul("f", LOC, left, layouts[0], right, layouts[1], target, lanes)
    return Case(op, kernel, layouts, target, (numbers(draw, F32_TYPE(), left), numbers(draw, F32_TYPE(), right)))


def check(case: Case, interpreted: bool) -> None:
    buffers = [put(layout, values) for layout, values in zip(case.layouts, case.values, strict=True)]
    buffer = (run_interpreted if interpreted else run_native)(case.kernel, buffers)
    wanted = evaluate(case.op, [values[None] for values in case.values])[0]
    found = take(case.target, buffer)
    wanted = wanted.reshape(image_shape(case.op.type.shape))
    np.testing.assert_array_equal(found, wanted)
    if wanted.dtype == np.float32:
        real = ~np.isnan(wanted)
        np.testing.assert_array_equal(np.signbit(found[real]), np.signbit(wanted[real]))
    if interpreted:
        assert_halo_untouched(case.target, buffer)


@settings(max_examples=150, deadline=None)
@given(reductions())
def test_compiled_reductions(case: Case) -> None:
    check(case, interpreted=False)


@settings(max_examples=80, deadline=None)
@given(reductions(most=7))
def test_interpreted_reductions(case: Case) -> None:
    check(case, interpreted=True)


@settings(max_examples=60, deadline=None)
@given(products())
def test_compiled_products(case: Case) -> None:
    check(case, interpreted=False)


@settings(max_examples=30, deadline=None)
@given(products(most=5))
def test_interpreted_products(case: Case) -> None:
    check(case, interpreted=True)


def test_shapes_that_do_not_fit_are_refused() -> None:
    four, five = elements(F32_TYPE(), (4, 5)), elements(F32_TYPE(), (5, 4))
    with pytest.raises(ValueError, match="does not lie"):
        softmax("f", LOC, (5, 5), 0, four, four)
    with pytest.raises(ValueError, match="multiplied"):
        matmul("f", LOC, (4, 5), four, (4, 5), four, four)
    with pytest.raises(ValueError, match="does not lie"):
        reduce("f", LOC, "sum", (4, 5), (1,), four, (5,), five)
    with pytest.raises(ValueError, match="median"):
        reduce("f", LOC, "median", (4, 5), (1,), four, (4,), elements(F32_TYPE(), (4,)))
