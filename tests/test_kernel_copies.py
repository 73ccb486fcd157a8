"""Copies between the user's arrays and layouts, and the filling of halos, over shapes, types and machines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnc.ir.location import Location
from bnnc.ir.types import F32 as F32_TYPE
from bnnc.ir.types import U8, Bit, Code, DType, Int, Trit, value_range
from bnnc.loops.ir import F32, I8, I16, I32, I64, NUMPY, Scalar
from bnnc.loops.kernels.copies import copy_in, copy_out, user_element
from bnnc.loops.kernels.halo import fill_halo
from bnnc.loops.layout import Halo, Layout, elements, image_shape, packed
from tests.halo import assert_halo_untouched, in_halo
from tests.kernels import run_interpreted, run_native
from tests.packing import put, take

PACKABLE: tuple[DType, ...] = (Bit(), Trit(), Code(2, 1, 0), Code(2, 2, -3), Code(3, 1, 0), U8, Int(-5, 9), Int(-3, 99))
NUMBERS: tuple[DType, ...] = (F32_TYPE(), U8, Int(-128, 127), Int(-300, 40_000), Int(0, 40_000), Int(-(2**31), 2**30))
LOC = Location("in1")


def some_values(dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if isinstance(dtype, F32_TYPE):
        return rng.integers(-(2**31), 2**31, shape).astype(np.int32).view(np.float32)
    if isinstance(dtype, Bit):
        return rng.choice([-1, 1], shape)
    if isinstance(dtype, Code):
        return dtype.multiplier * rng.integers(0, 2**dtype.bits, shape) + dtype.offset
    lo, hi = value_range(dtype)
    return rng.integers(lo, hi + 1, shape)


@dataclass
class Case:
    dtype: DType
    shape: tuple[int, ...]
    layout: Layout
    values: np.ndarray
    lanes: int

    @property
    def image(self) -> np.ndarray:
        return self.values.reshape(image_shape(self.shape))


def halo_values(dtype: DType) -> tuple[int, ...]:
    if isinstance(dtype, Bit):
        return (-1, 1)
    return (0, 1) if not isinstance(dtype, F32_TYPE) and value_range(dtype)[0] >= 0 else (-1, 0, 1)


@st.composite
def cases(draw: st.DrawFn, most: int = 70) -> Case:
    channels = draw(st.one_of(st.integers(1, most), st.sampled_from([32, 64, 1])))
    shape = (channels, *draw(st.lists(st.integers(1, 5), max_size=3)))
    dtype: DType = draw(st.sampled_from([*PACKABLE, *NUMBERS]))
    sides = [draw(st.integers(0, 2)) for _ in range(4)]
    whole = dtype in PACKABLE and (draw(st.booleans()) or not isinstance(dtype, Int))
    halo = Halo(sides[0], sides[1], sides[2], sides[3], draw(st.sampled_from(halo_values(dtype))))
    layout = packed(dtype, shape, halo) if whole else elements(dtype, shape, halo)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return Case(dtype, shape, layout, some_values(dtype, shape, rng), draw(st.sampled_from([1, 4, 16])))


def same_bits(found: np.ndarray, wanted: np.ndarray) -> bool:
    if wanted.dtype == np.float32:
        found, wanted = np.ascontiguousarray(found).view(np.int32), wanted.view(np.int32)
    return np.array_equal(found, wanted)


def check_in(case: Case, interpreted: bool) -> None:
    element, _ = user_element(case.dtype)
    kernel = copy_in("in", LOC, case.dtype, case.shape, element, case.layout, case.lanes)
    array = case.values.astype(NUMPY[element]) if case.values.dtype != np.float32 else case.values
    buffer = (run_interpreted if interpreted else run_native)(kernel, [array])
    assert same_bits(take(case.layout, buffer), case.image)
    if interpreted:
        assert_halo_untouched(case.layout, buffer)


def check_out(case: Case, element: Scalar, interpreted: bool) -> None:
    kernel = copy_out("out", LOC, case.dtype, case.shape, case.layout, element, case.lanes)
    found = (run_interpreted if interpreted else run_native)(kernel, [stored(case)])
    wanted = case.values.astype(NUMPY[element]).reshape(-1)
    assert same_bits(found, wanted)


def stored(case: Case) -> np.ndarray:
    if case.values.dtype != np.float32:
        return put(case.layout, case.image)
    return put(case.layout, case.image.view(np.float32))


@settings(max_examples=100, deadline=None)
@given(cases())
def test_what_goes_in_natively(case: Case) -> None:
    check_in(case, interpreted=False)


@settings(max_examples=60, deadline=None)
@given(cases(most=40))
def test_what_goes_in_interpreted(case: Case) -> None:
    check_in(case, interpreted=True)


@settings(max_examples=100, deadline=None)
@given(cases(), st.sampled_from([I8, I16, I32, I64, F32]))
def test_what_comes_out_natively(case: Case, element: Scalar) -> None:
    check_out(case, F32 if isinstance(case.dtype, F32_TYPE) else element, interpreted=False)


@settings(max_examples=60, deadline=None)
@given(cases(most=40), st.sampled_from([I8, I64, F32]))
def test_what_comes_out_interpreted(case: Case, element: Scalar) -> None:
    check_out(case, F32 if isinstance(case.dtype, F32_TYPE) else element, interpreted=True)


@settings(max_examples=100, deadline=None)
@given(cases())
def test_halos_are_filled_and_nothing_else(case: Case) -> None:
    buffer = run_interpreted(fill_halo("halo", LOC, case.layout, case.lanes), [])
    halo = in_halo(case.layout)
    framed = put(case.layout, case.image).view(buffer.dtype)
    assert np.array_equal(buffer[halo], framed[halo])
    assert (np.ascontiguousarray(buffer[~halo]).view(np.uint8) == 0xA5).all()


def test_a_zero_around_bits_is_written_as_no_bits() -> None:
    layout = packed(Bit(), (40, 2, 3), Halo(1, 1, 1, 1, 0))
    assert not run_interpreted(fill_halo("halo", LOC, layout), [])[in_halo(layout)].any()


def test_floats_do_not_become_integers_by_copying() -> None:
    with pytest.raises(TypeError):
        copy_in("in", LOC, F32_TYPE(), (4,), F32, packed(Bit(), (4,)))
    with pytest.raises(TypeError):
        copy_out("out", LOC, F32_TYPE(), (4,), elements(F32_TYPE(), (4,)), I8)
    with pytest.raises(ValueError, match="does not lie"):
        copy_out("out", LOC, U8, (5,), elements(U8, (4,)), I8)
