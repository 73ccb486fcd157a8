"""The ops of training steps in the reference, against plain loops over the formulas of their docstrings."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bnnc.ir import training
from bnnc.ir.module import Input
from bnnc.ir.op import Op, TypeRuleError
from bnnc.ir.training import CLOCK, FLAG, REINFORCE, TIE, draw
from bnnc.ir.types import Bit, DType, Int, Trit
from bnnc.reference.draws import draws
from bnnc.reference.run import evaluate

COUNT = Int(0, 2**31 - 1)


def value(op: Op, *operands: np.ndarray) -> np.ndarray:
    """The op's value for one module."""
    return np.asarray(evaluate(op, [np.asarray(x)[None] for x in operands])[0])


def tensor(dtype: DType, *shape: int) -> Input:
    return Input("x", dtype, shape)


def bits(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, shape) * 2 - 1


def test_draws_are_those_of_the_ir() -> None:
    index = np.array([0, 1, 2, 77, 2**40, 2**47 + 65535])
    for seed, purpose, layer, time in ((0, 0, 0, 0), (1, TIE, 3, 9), (2**31 - 1, REINFORCE, 255, 2**31 - 1)):
        expected = [draw(seed, purpose, layer, time, int(i)) for i in index]
        assert draws(seed, purpose, layer, time, index).tolist() == expected


def test_streams_differ_in_each_part_of_their_key() -> None:
    keys = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    assert len({draw(*key, 5) for key in keys}) == len(keys)


@pytest.mark.parametrize("dtype", [Bit(), Trit()])
def test_product(dtype: DType) -> None:
    x, w = bits(1, 5, 37), bits(2, 3, 37)
    if dtype == Trit():
        x = x * np.random.default_rng(3).integers(0, 2, x.shape)
    op = training.Product(tensor(dtype, 5, 37), tensor(Bit(), 3, 37))
    assert value(op, x, w).tolist() == [[sum(int(a * b) for a, b in zip(r, s, strict=True)) for s in w] for r in x]


def test_rows() -> None:
    table, index = bits(1, 4, 6), np.array([3, 0, 0])
    op = training.Rows(tensor(Bit(), 4, 6), tensor(Int(0, 3), 3))
    assert (value(op, table, index) == table[[3, 0, 0]]).all()
    with pytest.raises(TypeRuleError):
        training.Rows(tensor(Bit(), 4, 6), tensor(Int(0, 4), 3))


@pytest.mark.parametrize(
    ("scores", "label", "margin", "wrong"),
    [
        ([5, 1, 1], 0, 4, False),
        ([5, 1, 1], 0, 5, True),
        ([5, 5, 1], 0, 0, False),  # a tie goes to the lower class
        ([5, 5, 1], 1, 0, True),
        ([5, 5, 1], 1, -3, True),
        ([1, 2, 9], 2, 7, False),
        ([1, 2, 9], 1, 0, True),
        ([-9, -3], 1, 6, False),
    ],
)
def test_trigger(scores: list[int], label: int, margin: int, wrong: bool) -> None:
    op = training.Trigger(tensor(Int(-9, 9), 1, len(scores)), tensor(Int(0, len(scores) - 1), 1), margin)
    assert value(op, np.array([scores]), np.array([label])).tolist() == [int(wrong)]


def naive_pick(op: training.Pick, sums, wanted, active, group, clock) -> np.ndarray:  # type: ignore[no-untyped-def]
    batch, neurons = sums.shape
    picks = np.zeros((batch, neurons), int)
    for b in range(batch):
        for g in range(math.ceil(neurons / group)):
            members = [j for j in range(neurons) if j // group == g]
            start = 0
            if op.tie == "random":
                u = draw(clock[0], TIE, op.layer, clock[1], (clock[2] + b) * 65536 + g) & 0xFFFFFFFF
                start = (u * len(members)) >> 32
            best: tuple[int, int] | None = None
            for turn in range(len(members)):
                j = members[(start + turn) % len(members)]
                sign = 1 if sums[b, j] >= 0 else -1
                wrong = sign != wanted[b, j] and not (op.zero_right and sums[b, j] == 0)
                if active[b] and wrong and (best is None or abs(sums[b, j]) < best[0]):
                    best = (abs(sums[b, j]), j)
            if best is not None:
                picks[b, best[1]] = wanted[b, best[1]]
    return picks


@pytest.mark.parametrize("tie", ["random", "lowest"])
@pytest.mark.parametrize("zero_right", [False, True])
@pytest.mark.parametrize("group", [1, 4, 13, 20])
def test_pick(tie: str, zero_right: bool, group: int) -> None:
    generator = np.random.default_rng(group)
    sums = generator.integers(-2, 3, (9, 13))
    wanted, active, clock = bits(3, 9, 13), generator.integers(0, 2, 9), np.array([7, 11, 40])
    op = training.Pick(
        tensor(Int(-2, 2), 9, 13),
        tensor(Bit(), 9, 13),
        tensor(FLAG, 9),
        tensor(Int(1, 99), 1),
        tensor(CLOCK, 3),
        5,
        tie,
        zero_right,
    )
    found = value(op, sums, wanted, active, np.array([group]), clock)
    expected = naive_pick(op, sums, wanted, active, group, [int(c) for c in clock])
    assert found.tolist() == expected.tolist()
    assert found.any()


def test_update_clamps_once_behind_the_sum() -> None:
    hidden = np.array([[125, -125, 3]])
    picks, x = np.array([[1], [1], [-1]]), np.array([[1, -1, 1], [1, -1, -1], [1, 1, 1]])
    op = training.Update(tensor(Int(-127, 127), 1, 3), tensor(Trit(), 3, 1), tensor(Bit(), 3, 3))
    # The middle weight passes through -129 and comes back; the sum is -6, so it ends at the limit.
    assert value(op, hidden, picks, x).tolist() == [[127, -127, 1]]


@pytest.mark.parametrize("block", [1, 4, 16])
def test_reinforce(block: int) -> None:
    generator = np.random.default_rng(block)
    hidden = generator.integers(-9, 10, (6, 13))
    rate, clock = 2**30, [3, 5, 0]
    op = training.Reinforce(
        tensor(Int(-127, 127), 6, 13), tensor(COUNT, 1), tensor(COUNT, 1), tensor(CLOCK, 3), 2, block, 9
    )
    expected = hidden.copy()
    blocks = math.ceil(13 / block)
    for n in range(6):
        for j in range(blocks):
            u = draw(3, REINFORCE, 2, 5, n * blocks + j)
            k = j * block + u % block
            if u >> 33 < rate and k < 13:
                expected[n, k] += 2 if hidden[n, k] >= 0 else -2
    expected = expected.clip(-9, 9)
    found = value(op, hidden, np.array([rate]), np.array([1]), np.array(clock))
    assert found.tolist() == expected.tolist()
    assert (found != hidden).any()
    wide = hidden * 14
    asleep = value(op, wide, np.array([rate]), np.array([0]), np.array(clock))
    assert asleep.tolist() == wide.clip(-9, 9).tolist()


def test_rate_is_the_square_root_in_integers() -> None:
    op = training.Rate(tensor(COUNT, 1), tensor(COUNT, 1), 2**61 + 12345)
    for wrong, total in ((0, 100), (37, 100), (60000, 60000), (5, 0), (1, 2**31 - 1)):
        exact = math.isqrt((2**61 + 12345) // max(total, 1) * wrong)
        assert value(op, np.array([wrong]), np.array([total])).tolist() == [min(exact, 2**31 - 1)]


@pytest.mark.parametrize(
    ("correct", "progress", "after"),
    [
        (900, (800, 2, 0), (900, 0, 0)),
        (800, (800, 0, 0), (800, 1, 0)),
        (800, (800, 2, 0), (800, 0, 1)),
        (800, (800, 2, 3), (800, 0, 3)),
        (801, (800, 1, 1), (801, 0, 1)),  # 1000 samples: one more is more than 0.05 %
    ],
)
def test_schedule(correct: int, progress: tuple[int, ...], after: tuple[int, ...]) -> None:
    op = training.Schedule(tensor(COUNT, 1), tensor(COUNT, 1), tensor(COUNT, 3), 3, 4)
    assert value(op, np.array([correct]), np.array([1000]), np.array(progress)).tolist() == list(after)


def test_schedule_needs_more_than_half_a_thousandth() -> None:
    op = training.Schedule(tensor(COUNT, 1), tensor(COUNT, 1), tensor(COUNT, 3), 3, 4)
    assert value(op, np.array([802]), np.array([4000]), np.array([800, 0, 0])).tolist() == [800, 1, 0]
    assert value(op, np.array([803]), np.array([4000]), np.array([800, 0, 0])).tolist() == [803, 0, 0]


def test_small_ones() -> None:
    flags = np.array([[0, 1], [0, 0]])
    assert value(training.Any(tensor(FLAG, 2, 2)), flags).tolist() == [1, 0]
    assert value(training.Both(tensor(FLAG, 2), tensor(FLAG, 2)), flags[0], np.array([1, 1])).tolist() == [0, 1]
    mask = training.Mask(tensor(Bit(), 2, 2), tensor(FLAG, 2, 2))
    assert value(mask, np.array([[1, -1], [1, -1]]), flags).tolist() == [[0, -1], [0, 0]]
    differ = training.Differ(tensor(Bit(), 2), tensor(Bit(), 2))
    assert value(differ, np.array([1, -1]), np.array([1, 1])).tolist() == [0, 1]
    total = training.Total(tensor(Int(0, 10), 1), tensor(FLAG, 2, 2))
    assert value(total, np.array([4]), flags).tolist() == [5]
    assert value(total, np.array([10]), flags).tolist() == [10]


def test_a_module_may_be_run_many_times_at_once() -> None:
    """Like every op, these work along the leading axis of the reference."""
    x, w = bits(1, 3, 2, 5), bits(2, 4, 5)
    op = training.Product(tensor(Bit(), 2, 5), tensor(Bit(), 4, 5))
    assert (evaluate(op, [x, w[None]]) == x @ w.T).all()
