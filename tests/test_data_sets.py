"""Readers of MNIST, Fashion-MNIST and CIFAR-10: the layouts they know, and every way in which a file can be wrong."""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from bnnc.data.registry import find
from bnnc.diagnostics import BnncError
from tests.shared import SHARED, needs_shared

GENERATOR = np.random.default_rng(5)
IMAGES = GENERATOR.integers(0, 256, (7, 1, 28, 28), np.uint8)
LABELS = np.array([3, 1, 4, 1, 5, 9, 2], np.uint8)
COLOURS = GENERATOR.integers(0, 256, (5, 3, 32, 32), np.uint8)


def idx_images(images: np.ndarray = IMAGES) -> bytes:
    return struct.pack(">IIII", 0x803, len(images), 28, 28) + images.tobytes()


def idx_labels(labels: np.ndarray = LABELS) -> bytes:
    return struct.pack(">II", 0x801, len(labels)) + labels.tobytes()


def write_mnist(folder: Path, images: bytes, labels: bytes, suffix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pack = gzip.compress if suffix == ".gz" else bytes
    (folder / f"t10k-images-idx3-ubyte{suffix}").write_bytes(pack(images))
    (folder / f"t10k-labels-idx1-ubyte{suffix}").write_bytes(pack(labels))


def cifar_batch(labels: list[int] | None = None) -> bytes:
    labels = labels or [0, 1, 2, 9, 4]
    return b"".join(bytes([label]) + image.tobytes() for label, image in zip(labels, COLOURS, strict=True))


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("folder", [".", "mnist", "MNIST/raw"])
def test_mnist_layouts(tmp_path: Path, folder: str, suffix: str) -> None:
    write_mnist(tmp_path / folder, idx_images(), idx_labels(), suffix)
    dataset = find("mnist", "test", tmp_path)
    assert (dataset.name, dataset.count, dataset.shape, len(dataset.classes)) == ("mnist", 7, (1, 28, 28), 10)
    images, labels = dataset.load()
    assert np.array_equal(images, IMAGES)
    assert np.array_equal(labels, LABELS)


def test_batches_keep_the_order_and_the_length(tmp_path: Path) -> None:
    write_mnist(tmp_path, idx_images(), idx_labels())
    batches = list(find("mnist", "test", tmp_path).batches(3))
    assert [len(images) for images, _ in batches] == [3, 3, 1]
    assert np.array_equal(np.concatenate([images for images, _ in batches]), IMAGES)
    assert np.array_equal(np.concatenate([labels for _, labels in batches]), LABELS)


def test_a_sub_folder_of_the_name_comes_before_the_folder_itself(tmp_path: Path) -> None:
    write_mnist(tmp_path, idx_images(IMAGES[:2]), idx_labels(LABELS[:2]))
    write_mnist(tmp_path / "fashion-mnist", idx_images(IMAGES[:4]), idx_labels(LABELS[:4]))
    assert find("fashion-mnist", "test", tmp_path).count == 4
    assert find("Fashion_MNIST", "test", tmp_path).count == 4
    assert find("mnist", "test", tmp_path).count == 2


TRUNCATED = gzip.compress(idx_images())[:-20]
BROKEN = {
    "pixels missing": (idx_images()[:-1], idx_labels(), "ends too early"),
    "labels missing": (idx_images(), idx_labels()[:-1], "ends too early"),
    "pixels left over": (idx_images() + b"\0", idx_labels(), "goes on after"),
    "labels left over": (idx_images(), idx_labels() + b"\0", "goes on after"),
    "empty": (b"", idx_labels(), "ends too early"),
    "swapped": (idx_labels(), idx_images(), "swapped"),
    "another magic": (b"\x89PNG" + idx_images()[4:], idx_labels(), "no idx file"),
    "floats": (b"\0\0\x0d\x03" + idx_images()[4:], idx_labels(), "no idx file"),
    "another number": (idx_images(), idx_labels(LABELS[:6]), "labels 6 images, but"),
    "another size": (struct.pack(">IIII", 0x803, 7, 32, 32) + bytes(7168), idx_labels(), "32 x 32"),
    "a label too high": (idx_images(), idx_labels(LABELS + 5), "holds the label 14"),
    "an absurd number": (struct.pack(">IIII", 0x803, 2**32 - 1, 28, 28), idx_labels(), "claims to hold 4294967295"),
    "no images": (struct.pack(">IIII", 0x803, 0, 28, 28), struct.pack(">II", 0x801, 0), "claims to hold 0"),
}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("wrong", BROKEN)
def test_a_broken_mnist_file_is_named_with_the_reason(tmp_path: Path, wrong: str, suffix: str) -> None:
    images, labels, reason = BROKEN[wrong]
    write_mnist(tmp_path, images, labels, suffix)
    with pytest.raises(BnncError) as caught:
        find("mnist", "test", tmp_path).load()
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "B0504"
    assert "-ubyte" in diagnostic.message
    assert reason in diagnostic.message


@pytest.mark.parametrize(
    "content", [TRUNCATED, b"\x1f\x8b", b"no gzip at all", gzip.compress(b"x" * 99)[:-4] + b"abcd"]
)
def test_a_broken_gzip_file(tmp_path: Path, content: bytes) -> None:
    write_mnist(tmp_path, idx_images(), idx_labels(), ".gz")
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(BnncError, match="B0504"):
        find("mnist", "test", tmp_path).load()


def write_archive(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


@pytest.mark.parametrize("layout", ["plain", "xz", "gz", "inner", "archive"])
def test_cifar_layouts(tmp_path: Path, layout: str) -> None:
    folder = tmp_path / "cifar-10"
    folder.mkdir()
    if layout == "plain":
        (folder / "test_batch.bin").write_bytes(cifar_batch())
    elif layout == "xz":
        (folder / "test_batch.bin.xz").write_bytes(lzma.compress(cifar_batch()))
    elif layout == "gz":
        (folder / "test_batch.bin.gz").write_bytes(gzip.compress(cifar_batch()))
    elif layout == "inner":
        (folder / "cifar-10-batches-bin").mkdir()
        (folder / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(cifar_batch())
    else:
        write_archive(folder / "cifar-10-binary.tar.gz", {"readme.html": b"hello", "test_batch.bin": cifar_batch()})
    dataset = find("cifar10", "test", tmp_path)
    assert (dataset.name, dataset.count, dataset.classes[3]) == ("cifar-10", 5, "cat")
    images, labels = dataset.load()
    assert np.array_equal(images, COLOURS)
    assert labels.tolist() == [0, 1, 2, 9, 4]


def test_cifar_training_batches_come_in_order(tmp_path: Path) -> None:
    members = {f"data_batch_{n}.bin": cifar_batch([n] * 5) for n in (3, 1, 2, 5, 4)}
    write_archive(tmp_path / "cifar-10-binary.tar.gz", members)
    dataset = find("cifar-10", "train", tmp_path)
    assert dataset.count == 25
    assert dataset.load()[1].tolist() == [n for n in range(1, 6) for _ in range(5)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "0 bytes"),
        (cifar_batch()[:-1], "no whole number of records"),
        (cifar_batch([0, 1, 2, 10, 4]), "holds the label 10"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_broken_cifar_file(tmp_path: Path, content: bytes, reason: str, packed: bool) -> None:
    name = "test_batch.bin.xz" if packed else "test_batch.bin"
    (tmp_path / name).write_bytes(lzma.compress(content) if packed else content)
    with pytest.raises(BnncError, match=reason) as caught:
        find("cifar-10", "test", tmp_path).load()
    assert caught.value.diagnostics[0].code == "B0504"


def test_a_truncated_xz_file(tmp_path: Path) -> None:
    (tmp_path / "test_batch.bin.xz").write_bytes(lzma.compress(cifar_batch())[:-40])
    with pytest.raises(BnncError, match="B0504"):
        find("cifar-10", "test", tmp_path)


def test_an_archive_without_the_batch(tmp_path: Path) -> None:
    write_archive(tmp_path / "cifar-10-binary.tar.gz", {"data_batch_1.bin": cifar_batch()})
    with pytest.raises(BnncError, match="holds no `test_batch"):
        find("cifar-10", "test", tmp_path)


def test_a_data_set_that_is_not_here_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(BnncError) as caught:
        find("mnist", "test", tmp_path)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, int(caught.value.exit_code)) == ("B0503", 4)
    assert str(tmp_path / "mnist") in diagnostic.notes[0]
    assert "--data-dir" in diagnostic.helps[0]


def test_an_unknown_data_set_suggests(tmp_path: Path) -> None:
    with pytest.raises(BnncError) as caught:
        find("minst", "test", tmp_path)
    assert caught.value.diagnostics[0].helps == ("did you mean `mnist`?",)


@needs_shared
@pytest.mark.parametrize(
    ("name", "split", "count", "histogram"),
    [
        ("mnist", "test", 10_000, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
        ("mnist", "train", 60_000, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
        ("fashion-mnist", "test", 10_000, [1000] * 10),
        ("cifar-10", "test", 10_000, [1000] * 10),
    ],
)
def test_the_real_files(name: str, split: str, count: int, histogram: list[int]) -> None:
    images, labels = find(name, split, SHARED / "data").load()
    assert len(images) == count
    assert np.bincount(labels, minlength=10).tolist() == histogram
    assert 50 < images.mean() < 130 if name == "cifar-10" else 20 < images.mean() < 80
