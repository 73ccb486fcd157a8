"""Encoders: the bits they make, against numpy on the same training set; on the reference and on LLVM."""

from __future__ import annotations

import numpy as np
import pytest

from bnnc import api, checking
from bnnc.diagnostics import BnncError
from bnnc.ir import bit, move
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.types import U8, Bit
from bnnc.train.encoders import Grid, filters, pairs
from bnnc.train.encoding import Encoding, fitted
from bnnc.train.plan import (
    Comparisons,
    Encoder,
    Features,
    Recurrence,
    Signs,
    Thermometer,
    Threshold,
    TrainingPlan,
)
from bnnc.train.samples import unpack_rows

SEED = 5


def pixels(count: int = 101, shape: tuple[int, ...] = (1, 9, 8), seed: int = 0) -> np.ndarray:
    """Images of which two thirds are black."""
    generator = np.random.default_rng(seed)
    values = generator.integers(1, 256, (count, *shape))
    return np.asarray(values * (generator.integers(0, 3, values.shape) == 0), np.uint8)


def encoding(encoders: tuple[Encoder, ...], samples: np.ndarray, **more: object) -> Encoding:
    shape = samples.shape[1:]
    return fitted(TrainingPlan("net", "x", shape, 3, encoders, (9,), **more), U8, samples, SEED)  # type: ignore[arg-type]


def bits(encoders: tuple[Encoder, ...], samples: np.ndarray, on: str = "reference") -> np.ndarray:
    """What the encoders make of the samples they were fitted to, constants left out."""
    made = encoding(encoders, samples)
    run = checking.judge(made.module()) if on == "reference" else api.network(made.module(), on, {}).run
    rows = made.encode(run, samples, np.zeros(len(samples), int))
    unpacked = unpack_rows(rows.bits, rows.width)
    if made.bias:
        assert (unpacked[:, -1] == 1).all()
        unpacked = unpacked[:, :-1]
    assert (made.row % 2, made.row) == (1, unpacked.shape[1] + made.bias)
    return unpacked


def flat(samples: np.ndarray) -> np.ndarray:
    return np.asarray(samples.reshape(len(samples), -1), int)


def signs(truth: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(truth, 1, -1))


@pytest.mark.parametrize("level", [0, 100, 255])
def test_threshold_at_a_level(level: int) -> None:
    samples = pixels()
    assert (bits((Threshold(level),), samples) == signs(flat(samples) > level)).all()


@pytest.mark.parametrize("bright", [False, True])
def test_threshold_at_the_median_of_all_pixels(bright: bool) -> None:
    samples = 255 - pixels() if bright else pixels()
    median = sorted(samples.reshape(-1).tolist())[(samples.size - 1) // 2]
    assert (bits((Threshold(),), samples) == signs(flat(samples) > median)).all()


def test_an_even_thermometer() -> None:
    samples = pixels()
    levels = [64, 128, 192]
    expected = np.concatenate([signs(flat(samples) > level) for level in levels], 1)
    assert (bits((Thermometer(3),), samples) == expected).all()


def test_a_thermometer_at_quantiles_of_what_is_not_black() -> None:
    samples = pixels()
    lit = sorted(samples[samples != 0].tolist())
    levels = [0, *(lit[(len(lit) - 1) * j // 4] for j in (1, 2, 3))]
    expected = np.concatenate([signs(flat(samples) > level) for level in levels], 1)
    assert (bits((Thermometer(4, "quantile"),), samples) == expected).all()


def test_comparisons() -> None:
    samples = pixels()
    first, second = pairs(Comparisons(50), Grid(1, 9, 8), SEED, 0)
    assert (bits((Comparisons(50),), samples) == signs(flat(samples)[:, first] > flat(samples)[:, second])).all()


def test_what_is_compared_is_near_and_in_one_channel() -> None:
    of = Grid(3, 20, 30)
    first, second = pairs(Comparisons(4000, distance=2), of, SEED, 0)
    (c1, y1, x1), (c2, y2, x2) = (np.unravel_index(p, (3, 20, 30)) for p in (first, second))
    assert (c1 == c2).all()
    assert (first != second).all()
    assert np.abs(y1 - y2).max() == np.abs(x1 - x2).max() == 2
    assert len(np.unique(first)) > 1500
    steps, counts = np.unique(np.stack([y2 - y1, x2 - x1], 1), axis=0, return_counts=True)
    assert len(steps) == 24
    assert counts.min() > 100
    other = pairs(Comparisons(4000, distance=2), of, SEED, 1)[0]
    assert (first != other).any()  # another encoder of the same net compares other pixels


def test_features_fire_above_their_median() -> None:
    samples = pixels(count=60)
    patches = filters(Features(40, 3), Grid(1, 9, 8), SEED, 0)
    sums = signs(flat(samples) > 0) @ patches.T.astype(int)
    medians = np.sort(sums, 0)[(len(sums) - 1) // 2]
    assert (bits((Features(40, 3),), samples) == signs(sums > medians)).all()


def test_patches_are_squares_of_random_signs_anywhere() -> None:
    patches = filters(Features(3000, 3), Grid(2, 5, 6), SEED, 0).reshape(3000, 2, 5, 6)
    assert ((patches != 0).sum((1, 2, 3)) == 9).all()
    for patch in patches[:50]:
        channels, rows, columns = np.nonzero(patch)
        assert len(set(channels)) == 1
        assert int(np.ptp(rows)) == int(np.ptp(columns)) == 2
    assert ((patches != 0).any(0)).all()
    assert abs(int(patches.sum())) < 600


def test_several_encoders_stand_one_after_the_other() -> None:
    samples = pixels()
    both = bits((Comparisons(11), Threshold(7)), samples)
    assert both.shape[1] == 11 + 72
    assert (both[:, :11] == bits((Comparisons(11),), samples)).all()
    assert (both[:, 11:] == bits((Threshold(7),), samples)).all()


@pytest.mark.parametrize(
    "encoders",
    [
        (Threshold(),),
        (Thermometer(3, "quantile"),),
        (Comparisons(70), Thermometer(2)),
        (Features(70, 4),),
    ],
    ids=str,
)
def test_compiled_code_gives_the_same_bits(encoders: tuple[Encoder, ...]) -> None:
    samples = pixels()
    assert (bits(encoders, samples) == bits(encoders, samples, "llvm")).all()


def test_only_ops_that_every_target_has() -> None:
    allowed = (Input, bit.Step, bit.Add, bit.Dense, move.Gather, move.Concat, move.Reshape)
    module = encoding((Threshold(), Thermometer(2), Comparisons(9), Features(9, 3)), pixels()).module()
    assert all(isinstance(op, allowed) for op in module.ops())


def test_bits_are_taken_as_they_are() -> None:
    samples = signs(pixels() > 0).astype(np.int8).reshape(101, 72)
    plan = TrainingPlan("net", "x", (72,), 3, (Signs(),), (9,))
    made = fitted(plan, Bit(), samples, SEED)
    rows = made.encode(checking.judge(made.module()), samples, np.zeros(101, int))
    assert made.bias
    assert (unpack_rows(rows.bits, 73)[:, :-1] == samples).all()


def test_every_step_of_a_sequence_is_encoded_alike_with_its_own_constant() -> None:
    samples = pixels(shape=(4, 10))
    recurrence = Recurrence(9, 4)
    made = encoding((Threshold(90),), samples, recurrence=recurrence)
    assert not made.bias  # 10 inputs and 9 states are odd together
    made = encoding((Threshold(90),), samples, recurrence=Recurrence(8, 4))
    rows = made.encode(checking.judge(made.module()), samples, np.zeros(101, int))
    steps = unpack_rows(rows.bits, 44).reshape(101, 4, 11)
    assert (steps[:, :, :-1] == signs(samples > 90)).all()
    assert (steps[:, :, -1] == 1).all()


def test_frozen_layers_stand_for_encoders() -> None:
    source = Input("x", U8, (1, 9, 8))
    lit = bit.Step(source, np.array([[3]], np.int32), np.array([[-1, 1]], np.int32), Bit())
    base = Module("front", (source,), (Output("y", lit),))
    samples = pixels()
    made = encoding((), samples, base=base)
    rows = made.encode(checking.judge(made.module()), samples, np.zeros(101, int))
    assert (unpack_rows(rows.bits, 73)[:, :-1] == signs(flat(samples) >= 3)).all()


@pytest.mark.parametrize(
    ("encoder", "samples"),
    [
        (Thermometer(3, "quantile"), np.zeros((5, 1, 9, 8), np.uint8)),
        (Features(5, 9), pixels()),
        (Comparisons(5), pixels(shape=(1,))),
    ],
)
def test_encoders_that_do_not_suit_the_samples(encoder: Encoder, samples: np.ndarray) -> None:
    with pytest.raises(BnncError, match="B0536"):
        encoding((encoder,), samples)
