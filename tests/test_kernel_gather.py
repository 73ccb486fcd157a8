"""The general mover against numpy indexing: any movement, between any layouts, on any machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnc.ir.location import Location
from bnnc.ir.types import F32 as F32_TYPE
from bnnc.ir.types import Bit, Code, DType, Int, Trit, value_range
from bnnc.loops.ir import Function, buffers_of
from bnnc.loops.kernels.gather import gather
from bnnc.loops.layout import Halo, Layout, elements, packed
from tests.halo import assert_halo_untouched
from tests.kernels import run_interpreted, run_native
from tests.packing import put, take

LOC = Location("move")
BYTE, WIDE, NIBBLE, FLOAT = Int(-128, 127), Int(-40_000, 40_000), Int(0, 15), F32_TYPE()
MOVEMENTS = ("transpose", "reshape", "slice", "flip", "concat", "pad", "permute", "expand", "reflect", "random")


@dataclass
class Case:
    sources: list[Layout]
    values: list[np.ndarray]
    target: Layout
    table: np.ndarray
    value: int
    lanes: int

    @property
    def kernel(self) -> Function:
        return gather("move", LOC, self.sources, self.target, self.table, self.value, self.lanes)

    @property
    def wanted(self) -> np.ndarray:
        flat = np.concatenate([v.reshape(-1) for v in self.values])
        return np.asarray(np.where(self.table < 0, flat.dtype.type(self.value), flat[self.table]))


def moved(draw: st.DrawFn, kind: str, indices: list[np.ndarray]) -> np.ndarray:
    """A logical movement, done on the numbers of the elements."""
    x = indices[0]
    rank = x.ndim
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if kind == "transpose":
        return x.transpose(draw(st.permutations(range(rank))))
    if kind == "reshape":
        return x.reshape(draw(st.sampled_from([(-1,), (1, -1), (x.shape[-1], -1), (*x.shape, 1)])))
    if kind == "slice":
        return x[tuple(slice(draw(st.integers(0, n - 1)), None, draw(st.integers(1, 3))) for n in x.shape)]
    if kind == "flip":
        return np.flip(x, draw(st.integers(0, rank - 1)))
    if kind == "concat":
        return np.concatenate(indices, draw(st.integers(0, rank - 1)) if len(indices) == 1 else 0)
    if kind in ("pad", "reflect"):
        widths = [(draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in x.shape]
        return np.pad(x, widths, constant_values=-1) if kind == "pad" else np.pad(x, widths, mode="edge")
    if kind == "permute":
        return np.take(x, rng.permutation(x.shape[0]), 0)
    if kind == "expand":
        return np.broadcast_to(x[:, None], (x.shape[0], draw(st.integers(1, 3)), *x.shape[1:]))
    every = np.concatenate([index.reshape(-1) for index in indices])
    return np.array(rng.choice([-1, *every.tolist()], (draw(st.integers(1, 70)), draw(st.integers(1, 3)))))


def some(draw: st.DrawFn, dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if isinstance(dtype, F32_TYPE):
        return rng.standard_normal(shape).astype(np.float32)
    lo, hi = value_range(dtype)
    step = 2 if isinstance(dtype, Bit) else dtype.multiplier if isinstance(dtype, Code) else 1
    return rng.choice(np.arange(lo, hi + 1, step), shape)


def layout(draw: st.DrawFn, dtype: DType, shape: tuple[int, ...], whole: bool) -> Layout:
    sides = [draw(st.integers(0, 1)) for _ in range(4)]
    halo = Halo(sides[0], sides[1], sides[2], sides[3], 1)
    return packed(dtype, shape, halo) if whole else elements(dtype, shape, halo)


# dtype, are the sources packed, is the target; the last four change the form.
FORMS: list[tuple[DType, bool, bool]] = [
    *(
        (Bit(), True, True),
        (Bit(), True, True),
        (Bit(), True, True),
        (Trit(), True, True),
        (Code(2, 2, -3), True, True),
    ),
    *((FLOAT, False, False), (BYTE, False, False), (WIDE, False, False)),
    *((Bit(), True, False), (Trit(), True, False), (NIBBLE, False, True), (Bit(), False, True)),
]


@st.composite
def cases(draw: st.DrawFn, most: int = 80) -> Case:
    dtype, whole, target_whole = draw(st.sampled_from(FORMS))
    channels = st.one_of(st.integers(1, most), st.sampled_from([32, 64]))
    rest = [draw(st.integers(1, 4)) for _ in range(draw(st.integers(0, 3)))]
    count = draw(st.integers(1, 3))
    sources: list[Layout] = []
    values, indices, first = [], [], 0
    for _ in range(count):
        shape = (draw(channels), *rest)
        sources.append(layout(draw, dtype, shape, whole))
        values.append(some(draw, dtype, shape))
        indices.append(np.arange(first, first + values[-1].size).reshape(shape))
        first += values[-1].size
    table = moved(draw, draw(st.sampled_from(MOVEMENTS)), indices)
    target = layout(draw, dtype, table.shape, target_whole)
    value = 0 if isinstance(dtype, F32_TYPE) else int(some(draw, dtype, (1,))[0])
    return Case(sources, values, target, table, value, draw(st.sampled_from([1, 4, 16])))


def check(case: Case, interpreted: bool) -> None:
    buffers = [put(source, v.reshape(_image(source))) for source, v in zip(case.sources, case.values, strict=True)]
    buffer = (run_interpreted if interpreted else run_native)(case.kernel, buffers)
    np.testing.assert_array_equal(take(case.target, buffer), case.wanted.reshape(_image(case.target)))
    if interpreted:
        assert_halo_untouched(case.target, buffer)


def _image(layout: Layout) -> tuple[int, int, int]:
    return layout.channels, layout.height, layout.width


@settings(max_examples=300, deadline=None)
@given(cases())
def test_compiled_movements(case: Case) -> None:
    check(case, interpreted=False)


@settings(max_examples=100, deadline=None)
@given(cases(most=36))
def test_interpreted_movements(case: Case) -> None:
    check(case, interpreted=True)


def tables_of(function: Function) -> int:
    return sum(buffer.length for buffer in buffers_of(function) if buffer.space == "constant")


NUMBERS = np.arange(6 * 5 * 4).reshape(6, 5, 4)


@pytest.mark.parametrize(
    ("table", "largest"),
    [
        (NUMBERS, 0),
        (NUMBERS.transpose(2, 0, 1), 0),
        (NUMBERS.reshape(-1), 0),
        (NUMBERS.reshape(12, 10), 0),
        (NUMBERS[1:5:2, ::-1, 1:3], 0),
        (np.pad(NUMBERS, 2, constant_values=-1), 0),
        (np.take(NUMBERS, [5, 0, 1, 4, 3, 2], 0), 6),
        (np.pad(NUMBERS, ((0, 0), (2, 2), (1, 1)), mode="reflect"), 9 + 6),
    ],
)
def test_tables_are_as_small_as_the_movement_is_regular(table: np.ndarray, largest: int) -> None:
    source, target = elements(BYTE, (6, 5, 4)), elements(BYTE, table.shape, Halo(1, 1, 1, 1))
    kernel = gather("move", LOC, [source], target, table)
    assert tables_of(kernel) <= largest
    check(Case([source], [NUMBERS - 60], target, table, 0, 4), interpreted=True)


@pytest.mark.parametrize("channels", [(64, 32), (64, 20), (20, 12), (33, 40)])
def test_joining_channels_of_bits_needs_no_table(channels: tuple[int, int]) -> None:
    sources: list[Layout] = [packed(Bit(), (n, 3, 4)) for n in channels]
    first = channels[0] * 12
    indices = [np.arange(first).reshape(-1, 3, 4), np.arange(channels[1] * 12).reshape(-1, 3, 4) + first]
    table = np.concatenate(indices)
    target = packed(Bit(), table.shape, Halo(1, 1, 1, 1, -1))
    assert not tables_of(gather("move", LOC, sources, target, table))
    rng = np.random.default_rng(1)
    values = [rng.choice([-1, 1], (n, 3, 4)) for n in channels]
    check(Case(sources, values, target, table, 1, 4), interpreted=True)


@pytest.mark.parametrize("dtype", [Bit(), Trit()])
@pytest.mark.parametrize("chosen", [slice(0, 40), slice(32, 64), slice(32, 50), slice(5, 70), slice(0, 70, 3)])
def test_slices_of_packed_channels(dtype: DType, chosen: slice) -> None:
    source = packed(dtype, (70, 2, 3), Halo(1, 0, 1, 0, 1))
    table = np.arange(70 * 6).reshape(70, 2, 3)[chosen]
    target = packed(dtype, table.shape, Halo(0, 1, 0, 1, -1))
    values = np.random.default_rng(2).choice([-1, 1], (70, 2, 3))
    assert not tables_of(gather("move", LOC, [source], target, table))
    check(Case([source], [values], target, table, 1, 4), interpreted=True)


def test_what_cannot_be_moved_is_refused() -> None:
    four = elements(FLOAT, (4,))
    with pytest.raises(ValueError, match="does not fill"):
        gather("move", LOC, [four], four, np.array([0, 1, 2, 4]))
    with pytest.raises(ValueError, match="does not fill"):
        gather("move", LOC, [four], four, np.arange(3))
    with pytest.raises(TypeError):
        gather("move", LOC, [four], elements(BYTE, (4,)), np.arange(4))
    with pytest.raises(TypeError):
        gather("move", LOC, [four], packed(NIBBLE, (4,)), np.arange(4))
