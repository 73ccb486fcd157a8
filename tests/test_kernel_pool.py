"""Pool kernels against the reference: any window, padding, element and machine, halo or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnc.ir import bit, nn
from bnnc.ir.location import Location
from bnnc.ir.module import Input
from bnnc.ir.op import Op, TypeRuleError
from bnnc.ir.types import F32, Bit, DType, Int, value_range
from bnnc.loops.ir import Function
from bnnc.loops.kernels.pool import pool
from bnnc.loops.layout import Halo, Layout, elements, packed
from bnnc.reference.run import evaluate
from tests.halo import assert_halo_untouched
from tests.kernels import run_interpreted, run_native
from tests.packing import put, take

DTYPES: list[DType] = [Bit(), Bit(), F32(), Int(-128, 127), Int(0, 255), Int(-40_000, 3)]


@dataclass
class Case:
    op: bit.Pool | nn.Pool
    values: np.ndarray
    source: Layout
    target: Layout
    lanes: int


def values_of(dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if isinstance(dtype, F32):
        values = rng.choice(np.array([0.0, -0.0, 1.5, -np.inf, np.nan, 3e38]), shape)
        return np.where(rng.random(shape) < 0.7, rng.standard_normal(shape), values).astype(np.float32)
    lo, hi = value_range(dtype)
    return rng.choice([-1, 1], shape) if isinstance(dtype, Bit) else rng.integers(lo, hi + 1, shape)


@st.composite
def halos(draw: st.DrawFn, values: tuple[int, ...] = (0,)) -> Halo:
    sides = [draw(st.integers(0, 2)) for _ in range(4)]
    return Halo(sides[0], sides[1], sides[2], sides[3], draw(st.sampled_from(values)))


@st.composite
def cases(draw: st.DrawFn, most: int = 70) -> Case:
    dtype: DType = draw(st.sampled_from(DTYPES))
    channels = draw(st.one_of(st.integers(1, most), st.sampled_from([32, 64])))
    shape = (channels, draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    pair = st.tuples(st.integers(1, 4), st.integers(1, 4))
    kernel, strides, dilations = draw(pair), draw(pair), draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (3, 2)]))
    pads = tuple(draw(st.integers(0, kernel[a % 2] - 1)) for a in range(4))
    ceil_mode = draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    source: Op = Input("x", dtype, shape)
    window = (kernel, strides, pads, dilations, ceil_mode)
    try:
        op: bit.Pool | nn.Pool
        if isinstance(dtype, F32):
            function = draw(st.sampled_from(["max", "sum", "average"]))
            op = nn.Pool(source, function, *window, count_include_pad=draw(st.booleans()))
        else:
            function = draw(st.sampled_from(["max", "min"] if isinstance(dtype, Bit) else ["max", "min", "sum"]))
            mixed = function == "max" and draw(st.booleans())
            op = bit.Pool(source, function, *window, rng.random(channels) < 0.5 if mixed else None)
    except TypeRuleError:
        kernel, pads = (1, 1), (0, 0, 0, 0)
        op = (
            nn.Pool(source, "max", kernel, strides, pads, dilations)
            if isinstance(dtype, F32)
            else bit.Pool(source, "max", kernel, strides, pads, dilations)
        )
    make = packed if isinstance(dtype, Bit) else elements
    halo_values = (-1, 1) if isinstance(dtype, Bit) else (0, 1)
    layout = make(dtype, shape, draw(halos(halo_values)))
    target = make(op.type.dtype, op.type.shape, draw(halos()))
    values = values_of(dtype, shape, rng)
    return Case(op, values, layout, target, draw(st.sampled_from([1, 4, 16])))


def kernel_of(case: Case) -> Function:
    op = case.op
    ends = None if isinstance(op.type.dtype, F32) or op.function == "sum" else value_range(op.type.dtype)
    return pool(
        "layer",
        Location("pool1"),
        op.function,
        case.source,
        case.target,
        op.kernel,  # type: ignore[arg-type]
        op.strides,  # type: ignore[arg-type]
        op.pads,  # type: ignore[arg-type]
        op.dilations,  # type: ignore[arg-type]
        case.lanes,
        count_include_pad=isinstance(op, nn.Pool) and op.count_include_pad,
        smallest=op.smallest if isinstance(op, bit.Pool) else None,
        ends=ends,
    )


def check(case: Case, buffer: np.ndarray) -> None:
    wanted = evaluate(case.op, [case.values[None]])[0]
    found = take(case.target, buffer)
    if isinstance(case.op, nn.Pool):
        np.testing.assert_array_equal(found, wanted)
        real = ~np.isnan(wanted)
        np.testing.assert_array_equal(np.signbit(found[real]), np.signbit(wanted[real]))
    else:
        np.testing.assert_array_equal(found, wanted)


@settings(max_examples=120, deadline=None)
@given(cases())
def test_compiled_pools_give_what_the_reference_gives(case: Case) -> None:
    check(case, run_native(kernel_of(case), [put(case.source, case.values)]))


@settings(max_examples=60, deadline=None)
@given(cases(most=7))
def test_interpreted_pools_stay_inside_their_buffers(case: Case) -> None:
    buffer = run_interpreted(kernel_of(case), [put(case.source, case.values)])
    check(case, buffer)
    assert_halo_untouched(case.target, buffer)


@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (9, 9, 9, 9)])
@pytest.mark.parametrize("include", [False, True])
def test_a_window_as_large_as_the_image(pads: tuple[int, int, int, int], include: bool) -> None:
    source = Input("x", F32(), (5, 11, 12))
    op = nn.Pool(source, "average", (11, 11), (1, 1), pads, (1, 1), count_include_pad=include)
    values = np.random.default_rng(0).standard_normal((5, 11, 12)).astype(np.float32)
    case = Case(op, values, elements(F32(), (5, 11, 12)), elements(F32(), op.type.shape), 4)
    check(case, run_native(kernel_of(case), [put(case.source, values)]))


def test_what_no_pool_does_is_refused() -> None:
    layout = elements(Int(0, 5), (4, 4, 4))
    with pytest.raises(ValueError, match="average"):
        pool("p", Location(), "average", layout, layout, (1, 1), (1, 1), (0, 0, 0, 0))
    with pytest.raises(ValueError, match="pool"):
        pool("p", Location(), "max", layout, packed(Bit(), (4, 4, 4)), (1, 1), (1, 1), (0, 0, 0, 0))
