"""What a data set offers to training: memory, digests, and parts of the training set that are kept apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from bnnc.data import dataset as dataset_module
from bnnc.data.dataset import Batch, Dataset
from bnnc.data.registry import find
from bnnc.data.split import part, validation
from bnnc.diagnostics import BnncError

SMALL = "prototypes:bits=40,train=600"


def rows(found: Dataset) -> list[bytes]:
    return [row.tobytes() for row in found.load()[0]]


@pytest.mark.parametrize(("share", "number"), [(100, 100), (0.25, 150), (Fraction(1, 6), 100), (1, 1), (599, 599)])
def test_a_validation_split_has_the_size_that_was_asked_for(share: int | float | Fraction, number: int) -> None:
    whole = find(SMALL, "train")
    kept = validation(whole, share, seed=1)
    assert (kept.test.count, kept.train.count) == (number, 600 - number)
    assert (kept.test.split, kept.train.split) == ("validation", "train")
    assert sorted(rows(kept.train) + rows(kept.test)) == sorted(rows(whole))


def test_a_validation_split_is_fixed_by_its_seed() -> None:
    whole = find(SMALL, "train")
    one, again, other = (validation(whole, 0.2, seed=seed) for seed in (1, 1, 2))
    assert one.test.digest() == again.test.digest() != other.test.digest()
    assert one.train.digest() == again.train.digest() != other.train.digest()


def test_a_validation_split_is_mixed() -> None:
    labels = validation(find(SMALL, "train"), 200, seed=3).test.load()[1]
    assert np.bincount(labels, minlength=10).min() >= 8


@pytest.mark.parametrize("share", [0, 600, 601, -1, 0.0001, 0.9999, 1.5, -0.5])
def test_a_validation_split_that_leaves_nothing(share: float) -> None:
    with pytest.raises(BnncError) as caught:
        validation(find(SMALL, "train"), share, seed=1)
    assert caught.value.diagnostics[0].code == "B0520"


def test_a_part_keeps_the_order() -> None:
    whole = find(SMALL, "train").held()
    samples, labels = whole.load()
    mask = np.arange(600) % 7 == 2
    for length in (1, 5, 600):
        batches = list(part(whole, mask, "some").batches(length))
        assert all(0 < len(some) <= length for some, _ in batches)
        assert np.array_equal(np.concatenate([some for some, _ in batches]), samples[mask])
        assert np.array_equal(np.concatenate([some for _, some in batches]), labels[mask])


def test_held_data_is_the_same_and_read_once() -> None:
    reads: list[int] = []
    whole = find(SMALL, "train")

    def counted(length: int) -> Iterator[Batch]:
        reads.append(length)
        return whole.stream(length)

    held = replace(whole, stream=counted).held()
    assert held.digest() == whole.digest()
    held.load()
    assert len(reads) == 1
    assert [len(labels) for _, labels in held.batches(250)] == [250, 250, 100]


def test_a_digest_is_of_the_content() -> None:
    whole = find(SMALL, "train").held()
    samples, labels = whole.load()

    def changed(**new: object) -> str:
        held = {"samples": samples, "labels": labels, **new}
        return replace(whole, stream=lambda _: iter([(held["samples"], held["labels"])])).digest()  # type: ignore[list-item]

    one = samples.copy()
    one[5, 3] *= -1
    assert changed() == whole.digest()
    assert changed(labels=labels.astype(np.uint8)) == whole.digest()
    assert len({whole.digest(), changed(samples=one), changed(labels=np.roll(labels, 1))}) == 3
    assert replace(whole, name="another", split="x").digest() == whole.digest()
    assert replace(whole, classes=(*whole.classes, "one more")).digest() != whole.digest()


def test_data_larger_than_memory_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_module, "_physical_memory", lambda: 20_000.0)
    find("prototypes:bits=40,train=400", "train").load()
    with pytest.raises(BnncError) as caught:
        find("prototypes:bits=40,train=501", "train").load()
    assert (caught.value.diagnostics[0].code, int(caught.value.exit_code)) == ("B0519", 4)


def test_an_absurd_size_takes_no_memory() -> None:
    with pytest.raises(BnncError, match="B0519"):
        find("prototypes:bits=1000000,train=10000000", "train").load()
