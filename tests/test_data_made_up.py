"""Data sets that need no files: the same on every machine, as hard as they say, and streamed in any portions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnnc.data import draws
from bnnc.data.majority import accuracy_of_weights, majority_accuracy
from bnnc.data.prototypes import Prototypes, dataset, prototypes
from bnnc.data.registry import both, find
from bnnc.data.sequences import TASKS
from bnnc.diagnostics import BnncError
from bnnc.ir.training import draw, stream
from bnnc.ir.types import Bit


@given(
    seed=st.integers(0, 2**63 - 1),
    purpose=st.integers(0, 30),
    time=st.integers(0, 2**31),
    first=st.integers(0, 2**62),
    count=st.integers(0, 40),
)
def test_many_draws_are_the_draws_one_by_one(seed: int, purpose: int, time: int, first: int, count: int) -> None:
    many = draws.draws(stream(seed, purpose, 3, time), first, count)
    assert many.dtype == np.uint64
    assert many.tolist() == [draw(seed, purpose, 3, time, first + n) for n in range(count)]


def test_draws_in_blocks_continue_where_they_were() -> None:
    key = stream(4, draws.FLIPS, 0, 0)
    assert np.array_equal(draws.draws(key, 0, 200_000)[130_000:], draws.draws(key, 130_000, 70_000))


@pytest.mark.parametrize("limit", [1, 2, 3, 1000, 2**32])
def test_bounded_draws_are_even(limit: int) -> None:
    values = draws.below(stream(1, draws.SHOWN, 0, 0), 0, 20_000, limit)
    assert 0 <= values.min() <= values.max() < limit
    assert abs(values.mean() - (limit - 1) / 2) <= limit * 0.01


def test_chosen_is_exact_and_depends_on_the_seed() -> None:
    one, again, other = (draws.chosen(1000, 130, seed, draws.VALIDATION) for seed in (1, 1, 2))
    assert one.sum() == other.sum() == 130
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


# --------------------------------------------------------------------------------------------------------- prototypes
def test_the_prototypes_of_the_paper() -> None:
    pair = both("prototypes")
    assert (pair.train.count, pair.test.count, pair.train.shape, len(pair.train.classes)) == (
        10_000,
        2_000,
        (1000,),
        10,
    )
    assert pair.train.type.dtype == Bit()
    samples, labels = pair.test.load()
    assert samples.dtype == np.int8
    assert set(np.unique(samples).tolist()) == {-1, 1}
    assert np.bincount(labels).tolist() == [200] * 10
    patterns = prototypes(Prototypes())
    assert abs((samples != patterns[labels]).mean() - 0.44) < 0.001


def test_every_bit_is_a_documented_draw() -> None:
    of = Prototypes(classes=3, bits=7, train=5, test=4, seed=9)
    samples, labels = dataset(of, "test").load()
    for n in range(4):
        assert labels[n] == n % 3
        for k in range(7):
            pattern = 1 if draw(9, draws.PROTOTYPES, 0, 0, (n % 3) * 7 + k) >> 63 else -1
            flipped = draw(9, draws.FLIPS, 1, 0, n * 7 + k) >> 32 < 44 * 2**32 // 100
            assert samples[n, k] == (-pattern if flipped else pattern)


def test_the_majority_classifier_is_at_the_limit_of_prototypes() -> None:
    """Knowing the true prototypes is the best that any classifier can do; 1000 examples a class give nearly that."""
    rates = []
    for seed in (1, 2, 3):
        pair = both(f"prototypes:seed={seed}")
        rates.append(majority_accuracy(pair.train, pair.test))
        limit = accuracy_of_weights(prototypes(Prototypes(seed=seed)), pair.test)
        assert abs(rates[-1] - limit) < 0.005
    assert 0.965 < np.mean(rates) < 0.985


def test_prototypes_without_flips_are_learnt_from_one_example() -> None:
    pair = both("prototypes:p=0,train=10,test=50")
    assert majority_accuracy(pair.train, pair.test) == 1.0


def test_more_samples_leave_the_others_as_they_were() -> None:
    few, many = (find(f"prototypes:train={n}", "train").load()[0] for n in (30, 70))
    assert np.array_equal(few, many[:30])


# ---------------------------------------------------------------------------------------------------------- sequences
@pytest.mark.parametrize("task", TASKS)
def test_sequences_without_noise_tell_their_class(task: str) -> None:
    found = find(f"sequences:task={task},p=0,steps=7,bits=32,train=600,seed=3", "train")
    samples, labels = found.load()
    assert samples.shape == (600, 7, 32)
    assert len(found.classes) == labels.max() + 1
    assert np.bincount(labels).min() > 600 / len(found.classes) * 0.8
    shown = _recognised(samples)
    a, b = ([row.count(pattern) for row in shown] for pattern in "AB")
    if task == "majority":
        expected = [int(second > first) for first, second in zip(a, b, strict=True)]
    elif task == "parity":
        expected = [second % 2 for second in b]
    else:
        expected = ["".join(row).replace(".", "") for row in shown]  # type: ignore[misc]
    # The names of the patterns are ours: up to swapping them, what is shown decides the label alone.
    by_shown: dict[object, set[int]] = {}
    for key, label in zip(expected, labels.tolist(), strict=True):
        by_shown.setdefault(key, set()).add(label)
    assert all(len(found_labels) == 1 for found_labels in by_shown.values())
    assert len(by_shown) == len(found.classes)


def _recognised(samples: np.ndarray) -> list[list[str]]:
    """What each step shows: a letter for every pattern that occurs often, a dot for noise."""
    rows, counts = np.unique(samples.reshape(-1, samples.shape[2]), axis=0, return_counts=True)
    letters = dict(zip((row.tobytes() for row in rows[counts > 20]), "ABCD", strict=False))
    return [[letters.get(step.tobytes(), ".") for step in sample] for sample in samples]


def test_order_shows_one_pattern_in_each_half() -> None:
    samples, _ = find("sequences:task=order,p=0,steps=9,bits=40,train=400", "train").load()
    places = [[t for t, letter in enumerate(row) if letter != "."] for row in _recognised(samples)]
    assert all(len(place) == 2 and place[0] < 4 <= place[1] for place in places)
    assert {place[0] for place in places} == {0, 1, 2, 3}
    assert {place[1] for place in places} == {4, 5, 6, 7, 8}


def test_recall_shows_its_pattern_first() -> None:
    rows = _recognised(find("sequences:task=recall,p=0,train=400", "train").load()[0])
    assert all(row[0] in "ABCD" and set(row[1:]) == {"."} for row in rows)


def test_parity_is_not_linear() -> None:
    pair = both("sequences:task=parity")
    assert majority_accuracy(pair.train, pair.test) < 0.6


# ------------------------------------------------------------------------------------------------------------ both
MADE = ["prototypes:bits=70,train=300", *(f"sequences:task={task},steps=5,bits=9,train=300" for task in TASKS)]


@pytest.mark.parametrize("name", MADE)
def test_portions_do_not_matter(name: str) -> None:
    found = find(name, "train")
    samples, labels = found.load()
    for length in (1, 7, 299, 1000):
        batches = list(found.batches(length))
        assert max(len(part) for part, _ in batches) <= length
        assert np.array_equal(np.concatenate([part for part, _ in batches]), samples)
        assert np.array_equal(np.concatenate([part for _, part in batches]), labels)


@pytest.mark.parametrize("name", MADE)
def test_splits_and_seeds_differ_and_names_repeat_them(name: str) -> None:
    train, test, other = find(name, "train"), find(f"{name},test=300", "test"), find(f"{name},seed=2", "train")
    assert len({found.digest() for found in (train, test, other)}) == 3
    assert find(train.name, "train").digest() == train.digest()
    assert other.name == f"{train.name},seed=2"


def test_digests_are_pinned() -> None:
    """These are the same on every machine, and in every version: checkpoints and published figures rest on it."""
    assert find("prototypes", "test").digest()[:16] == "c0b0388fe4a9d0aa"
    assert find("sequences", "test").digest()[:16] == "e95efb2a0208cb72"
    assert find("sequences:task=order", "test").digest()[:16] == "30d66a1b07c52be3"


@pytest.mark.parametrize(
    ("name", "message", "help"),
    [
        ("prototypes:clases=3", "has no parameter `clases`", "did you mean `classes`?"),
        ("prototypes:p=0.6", "`p=0.6` is no value", "prototypes:p=0.44"),
        ("prototypes:p=1e9", "`p=1e9` is no value", "prototypes:p=0.44"),
        ("prototypes:p=1/0", "`p=1/0` is no value", "prototypes:p=0.44"),
        ("prototypes:classes=1", "`classes=1` is no value", "prototypes:classes=10"),
        ("prototypes:bits=2.5", "`bits=2.5` is no value", "prototypes:bits=1000"),
        ("prototypes:bits=999999999999", "is no value", "prototypes:bits=1000"),
        ("prototypes:bits", "`bits=` is no value", "prototypes:bits=1000"),
        ("prototypes:seed=1,seed=2", "is given twice", None),
        ("prototypes:seed=-1", "`seed=-1` is no value", "prototypes:seed=1"),
        ("sequences:task=sorting", "`task=sorting` is no value", "sequences:task=majority"),
        ("sequences:steps=8", "can be a tie", "sequences:task=majority,steps=9"),
    ],
)
def test_wrong_parameters(name: str, message: str, help: str | None) -> None:
    with pytest.raises(BnncError) as caught:
        find(name)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, int(caught.value.exit_code)) == ("B0517", 2)
    assert message in diagnostic.message
    assert help is None or help in diagnostic.helps


def test_fractions_are_exact() -> None:
    assert find("prototypes:p=1/3,train=1", "train").name == "prototypes:p=1/3,train=1"
    assert find("prototypes:p=0.440", "train").name == "prototypes"
    assert Prototypes().p == Fraction(11, 25)
