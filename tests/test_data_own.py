"""Data sets of the user's own: folders of pictures, .npz and idx files, and every way in which they can be wrong."""

from __future__ import annotations

import contextlib
import gzip
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bnnc.data.folder import in_test
from bnnc.data.registry import both, find
from bnnc.diagnostics import BnncError, Diagnostic
from bnnc.ir.types import U8, Bit

GENERATOR = np.random.default_rng(6)


def pixels(*shape: int) -> np.ndarray:
    return GENERATOR.integers(0, 256, shape, np.uint8)


def failure(name: str | Path, code: str, split: str = "train") -> Diagnostic:
    with pytest.raises(BnncError) as caught:
        find(str(name), split).load()
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == code, diagnostic
    assert int(caught.value.exit_code) in (1, 2)
    return diagnostic


# ------------------------------------------------------------------------------------------------------------ folders
def save(path: Path, array: np.ndarray, mode: str | None = None) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path)
    return array


def pictures(root: Path, *, count: int = 12, classes: tuple[str, ...] = ("cat", "ant"), size: Any = (5, 4)) -> None:
    for name in classes:
        for number in range(count):
            save(root / name / f"{number:02}.png", pixels(*size))


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    pictures(tmp_path / "zoo", count=40)
    pair = both(f"folder:{tmp_path / 'zoo'}")
    assert (pair.train.name, pair.train.classes, pair.train.shape) == ("zoo", ("ant", "cat"), (1, 5, 4))
    assert pair.train.count + pair.test.count == 80
    assert 5 <= pair.test.count <= 28
    expected = {np.asarray(Image.open(path)).tobytes(): path.parent.name for path in (tmp_path / "zoo").rglob("*.png")}
    seen = {}
    for found in (pair.train, pair.test):
        for samples, labels in found.batches(3):
            seen.update(
                {one.tobytes(): found.classes[label] for one, label in zip(samples, labels.tolist(), strict=True)}
            )
    assert seen == expected


def test_a_picture_stays_on_its_side_whatever_comes_and_goes(tmp_path: Path) -> None:
    pictures(tmp_path, count=30)
    before = {one.tobytes() for one in find(f"folder:{tmp_path}", "test").load()[0]}
    pictures(tmp_path, count=5, classes=("bee",))
    (tmp_path / "cat" / "00.png").unlink()
    after = {one.tobytes() for one in find(f"folder:{tmp_path}", "test").load()[0]}
    assert len(before - after) <= 1
    assert sum(in_test(Path(f"c/{n}.png")) for n in range(5000)) == pytest.approx(1000, abs=100)


def test_train_and_test_folders(tmp_path: Path) -> None:
    pictures(tmp_path / "train", count=3, classes=("b", "a", "c"))
    pictures(tmp_path / "test", count=2, classes=("a", "c"))
    pair = both(f"folder:{tmp_path}")
    assert (pair.train.count, pair.test.count, pair.test.classes) == (9, 4, ("a", "b", "c"))
    assert pair.train.load()[1].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert pair.test.load()[1].tolist() == [0, 0, 2, 2]


@pytest.mark.parametrize(
    ("suffix", "mode", "shape"),
    [
        (".png", "L", (1, 5, 4)),
        (".bmp", "RGB", (3, 5, 4)),
        (".png", "RGBA", (4, 5, 4)),
        (".png", "1", (1, 5, 4)),
        (".png", "P", (3, 5, 4)),
        (".tiff", "RGB", (3, 5, 4)),
        (".jpg", "RGB", (3, 5, 4)),
        (".PGM", "L", (1, 5, 4)),
    ],
)
def test_kinds_of_pictures(tmp_path: Path, suffix: str, mode: str, shape: tuple[int, ...]) -> None:
    for folder in ("train/a", "train/b", "test/a"):
        save(tmp_path / folder / f"x{suffix}", pixels(5, 4, 3), mode)
        (tmp_path / folder / ".DS_Store").write_bytes(b"x")
        (tmp_path / folder / "notes.txt").write_bytes(b"x")
    samples, labels = find(f"folder:{tmp_path}", "train").load()
    assert samples.shape == (2, *shape)
    assert labels.tolist() == [0, 1]
    if suffix != ".jpg":
        target = {1: "L", 3: "RGB", 4: "RGBA"}[shape[0]]
        stored = np.asarray(Image.open(tmp_path / "train/a" / f"x{suffix}").convert(target)).reshape(5, 4, -1)
        assert np.array_equal(samples[0], stored.transpose(2, 0, 1))


def test_pictures_below_a_class_belong_to_it(tmp_path: Path) -> None:
    pictures(tmp_path / "train", count=1)
    save(tmp_path / "train" / "cat" / "more" / "x.png", pixels(5, 4))
    pictures(tmp_path / "test", count=1)
    assert find(f"folder:{tmp_path}", "train").load()[1].tolist() == [0, 1, 1]


def sized(root: Path) -> None:
    save(root / "train" / "cat" / "05.png", pixels(5, 5))


def coloured(root: Path) -> None:
    save(root / "train" / "cat" / "05.png", pixels(5, 4, 3))


def deep(root: Path) -> None:
    Image.fromarray(GENERATOR.integers(0, 65536, (5, 4)).astype(np.uint16)).save(root / "train" / "ant" / "00.png")


def cut(root: Path) -> None:
    path = root / "train" / "cat" / "05.png"
    save(path, pixels(5, 4))
    path.write_bytes(path.read_bytes()[:50])


def text(root: Path) -> None:
    (root / "train" / "cat" / "05.png").write_bytes(b"no picture")


def gif(root: Path) -> None:
    Image.fromarray(pixels(5, 4)).save(root / "train" / "cat" / "05.png", format="GIF")


def bomb(root: Path) -> None:
    Image.new("1", (10_000, 10_000)).save(root / "train" / "ant" / "00.png")


def larger_bomb(root: Path) -> None:
    Image.new("1", (20_000, 10_000)).save(root / "train" / "ant" / "00.png")


def empty_class(root: Path) -> None:
    (root / "train" / "bee").mkdir()


def unknown_class(root: Path) -> None:
    pictures(root / "test", count=1, classes=("bee",))


FAULTS = {
    "size": (sized, "B0518", "05.png` is 5 x 5 pixels of grey, but"),
    "mode": (coloured, "B0518", "05.png` is 4 x 5 pixels of RGB, but"),
    "depth": (deep, "B0518", "00.png` has pixels of `I;16`"),
    "truncated": (cut, "B0504", "05.png` is no picture that can be read"),
    "text": (text, "B0504", "05.png` is no picture in a format"),
    "another format": (gif, "B0504", "05.png` is no picture in a format"),
    "bomb": (bomb, "B0518", "00.png` is 10000 x 10000 pixels"),
    "larger bomb": (larger_bomb, "B0518", "00.png` has more than"),
    "empty class": (empty_class, "B0518", "bee` holds no pictures"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_folder_with_a_fault_names_the_picture(tmp_path: Path, fault: str) -> None:
    pictures(tmp_path / "train", count=4)
    pictures(tmp_path / "test", count=1)
    make, code, message = FAULTS[fault]
    make(tmp_path)
    assert message in failure(f"folder:{tmp_path}", code).message


def test_folders_that_are_no_data_sets(tmp_path: Path) -> None:
    assert "does not exist" in failure(f"folder:{tmp_path / 'none'}", "B0518").message
    assert "no sub-folders" in failure(f"folder:{tmp_path}", "B0518").message
    pictures(tmp_path, classes=("one",))
    assert "only the sub-folder `one`" in failure(f"folder:{tmp_path}", "B0518").message
    (tmp_path / "file").write_bytes(b"x")
    assert "is no folder" in failure(f"folder:{tmp_path / 'file'}", "B0518").message


def test_a_test_folder_with_a_class_nobody_trained(tmp_path: Path) -> None:
    pictures(tmp_path / "train", count=2)
    pictures(tmp_path / "test", count=1)
    unknown_class(tmp_path)
    assert "bee` is a class that" in failure(f"folder:{tmp_path}", "B0518", "test").message


def test_two_pictures_are_too_few(tmp_path: Path) -> None:
    pictures(tmp_path, count=1)
    with pytest.raises(BnncError, match="too few"):
        both(f"folder:{tmp_path}")


def test_training_and_test_pictures_of_different_size(tmp_path: Path) -> None:
    pictures(tmp_path / "train", count=2)
    pictures(tmp_path / "test", count=2, size=(6, 6))
    with pytest.raises(BnncError, match=r"u8\[1, 5, 4\] to train on, but u8\[1, 6, 6\]"):
        both(f"folder:{tmp_path}")


# ---------------------------------------------------------------------------------------------------------- npz files
IMAGES, LABELS = pixels(50, 6, 7), GENERATOR.integers(0, 3, 50)
LABELS[0] = 2


def write(path: Path, *, packed: bool = False, **arrays: Any) -> str:
    (np.savez_compressed if packed else np.savez)(path, **arrays)
    return str(path)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("X_train", "Y_train", "X_test", "Y_test"),
        ("images_train", "labels_train", "images_test", "labels_test"),
    ],
)
def test_npz_with_two_sets(tmp_path: Path, keys: tuple[str, ...], packed: bool) -> None:
    arrays: dict[str, Any] = dict(zip(keys, (IMAGES, LABELS, IMAGES[:9], LABELS[:9]), strict=True))
    pair = both(write(tmp_path / "own.npz", packed=packed, **arrays))
    assert (pair.train.name, pair.train.shape, pair.train.classes) == ("own", (1, 6, 7), ("0", "1", "2"))
    samples, labels = pair.train.load()
    assert np.array_equal(samples[:, 0], IMAGES)
    assert np.array_equal(labels, LABELS)
    assert np.array_equal(pair.test.load()[0][:, 0], IMAGES[:9])
    assert [len(part) for part, _ in pair.train.batches(20)] == [20, 20, 10]


@pytest.mark.parametrize("keys", [("x", "y"), ("images", "labels")])
def test_npz_with_one_set_keeps_a_fifth_apart(tmp_path: Path, keys: tuple[str, str]) -> None:
    arrays: dict[str, Any] = dict(zip(keys, (IMAGES, LABELS[:, None]), strict=True))
    pair = both("npz:" + write(tmp_path / "own.npz", **arrays))
    assert (pair.train.count, pair.test.count) == (40, 10)
    together = np.concatenate([pair.train.load()[0], pair.test.load()[0]])[:, 0]
    assert sorted(one.tobytes() for one in together) == sorted(one.tobytes() for one in IMAGES)


@pytest.mark.parametrize(
    ("samples", "shape", "dtype", "expected"),
    [
        (pixels(50, 12), (12,), U8, lambda a: a),
        (pixels(50, 5, 6, 3), (3, 5, 6), U8, lambda a: a.transpose(0, 3, 1, 2)),
        (pixels(50, 3, 5, 6), (3, 5, 6), U8, lambda a: a),
        (pixels(50, 6, 7).astype(np.int64), (1, 6, 7), U8, lambda a: a[:, None]),
        (pixels(50, 6, 7).astype(">u2"), (1, 6, 7), U8, lambda a: a[:, None]),
        (np.asfortranarray(pixels(50, 6, 7)), (1, 6, 7), U8, lambda a: a[:, None]),
        (pixels(50, 11) > 99, (11,), Bit(), lambda a: a * 2 - 1),
        (np.where(pixels(50, 4, 11) > 99, 1, -1).astype(np.int8), (4, 11), Bit(), lambda a: a),
    ],
    ids=["flat", "channels last", "channels first", "int64", "big-endian", "fortran", "bool", "signs"],
)
def test_npz_kinds_of_samples(tmp_path: Path, samples: Any, shape: Any, dtype: Any, expected: Any) -> None:
    found = find(write(tmp_path / "own.npz", x_train=samples, y_train=LABELS, x_test=samples, y_test=LABELS), "train")
    assert (found.shape, found.dtype) == (shape, dtype)
    assert np.array_equal(found.load()[0], expected(samples.astype(np.int64)))


def test_npz_class_names(tmp_path: Path) -> None:
    names = np.array(["no", "yes", "maybe", "never"])
    assert find(write(tmp_path / "own.npz", x=IMAGES, y=LABELS, class_names=names)).classes == tuple(names.tolist())


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": IMAGES}, "holds no samples and labels by names that bnnc knows: it holds `a`"),
        ({"x": IMAGES}, "holds no samples and labels"),
        ({"x": IMAGES, "y": LABELS[:49]}, "has 49 labels in `y` for `x` of shape [50, 6, 7]"),
        ({"x": IMAGES, "y": LABELS - 1}, "has the label -1 in `y`"),
        ({"x": IMAGES, "y": LABELS + 2**40}, "has the label 10995"),
        ({"x": IMAGES, "y": LABELS * 0}, "nothing to tell apart"),
        ({"x": IMAGES, "y": LABELS / 2}, "has labels `y` of float64[50]"),
        ({"x": IMAGES, "y": np.eye(3, dtype=np.int64)[LABELS]}, "has labels `y` of int64[50, 3]"),
        ({"x": IMAGES / 255, "y": LABELS}, "has samples `x` of float64"),
        ({"x": IMAGES.astype(np.int32) * 2, "y": LABELS}, "but pixels are 0..255"),
        ({"x": IMAGES.astype(np.int32) - 9, "y": LABELS}, "but pixels are 0..255"),
        ({"x": np.zeros((50, 4), np.int8), "y": LABELS}, "has the value 0 in `x`, but samples of int8 are bits"),
        ({"x": IMAGES[:0], "y": LABELS[:0]}, "holds no samples"),
        ({"x": IMAGES[:, :0], "y": LABELS}, "of shape [50, 0, 7]"),
        ({"x": np.uint8(3), "y": LABELS}, "for `x` of shape []"),
        ({"x": LABELS.astype(np.uint8), "y": LABELS}, "of shape [50]; expected [n, ...]"),
        ({"x": IMAGES[:1], "y": LABELS[:1]}, "a single sample"),
        ({"x": IMAGES, "y": LABELS, "classes": np.array(["a", "b"])}, "but `classes` names 2 classes"),
        ({"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS + 1}, "in its test set, but the"),
    ],
)
def test_npz_that_is_no_data_set(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    diagnostic = failure(write(tmp_path / "own.npz", **arrays), "B0518")
    assert message in diagnostic.message
    assert "own.npz" in diagnostic.message


def test_npz_pickles_are_not_opened(tmp_path: Path) -> None:
    name = write(tmp_path / "own.npz", x=IMAGES, y=np.array([{}] * 50, dtype=object))
    assert "Python objects" in failure(name, "B0506").message


@pytest.mark.parametrize("packed", [False, True])
def test_npz_damage_is_found_wherever_it_is(tmp_path: Path, packed: bool) -> None:
    """Any byte of the arrays that is turned over is noticed: none gives other samples silently."""
    path = Path(write(tmp_path / "own.npz", packed=packed, x=IMAGES, y=LABELS))
    good, content = find(str(path), "train").digest(), path.read_bytes()
    for place in range(0, len(content), 61):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        with contextlib.suppress(BnncError):
            assert find(str(path), "train").digest() == good
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        with pytest.raises(BnncError):
            find(str(path), "train").digest()


def test_npz_that_announces_more_than_it_holds(tmp_path: Path) -> None:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (4000000000, 28, 28), }"
    header += b" " * (118 - len(header) - 1) + b"\n"
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(100))
    assert "announces an array" in failure(tmp_path / "own.npz", "B0506").message


# ---------------------------------------------------------------------------------------------------------- idx files
def idx(path: Path, array: np.ndarray) -> Path:
    pack = gzip.compress if path.suffix == ".gz" else bytes
    path.write_bytes(pack(struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()))
    return path


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(("size", "shape"), [((6, 7), (1, 6, 7)), ((3, 6, 7), (3, 6, 7)), ((12,), (12,))])
def test_idx_files(tmp_path: Path, size: tuple[int, ...], shape: tuple[int, ...], suffix: str) -> None:
    images = pixels(50, *size)
    a, b = idx(tmp_path / f"a{suffix}", images), idx(tmp_path / f"b{suffix}", LABELS.astype(np.uint8))
    c, d = idx(tmp_path / f"c{suffix}", images[:8]), idx(tmp_path / f"d{suffix}", LABELS[:8].astype(np.uint8))
    pair = both(f"idx:{a},{b},{c},{d}")
    assert (pair.train.count, pair.test.count, pair.test.classes) == (50, 8, ("0", "1", "2"))
    assert np.array_equal(pair.train.load()[0], images.reshape(50, *shape))
    assert np.array_equal(pair.test.load()[1], LABELS[:8])
    apart = both(f"idx:{a},{b}")
    assert (apart.train.count, apart.test.count) == (40, 10)


def test_idx_files_that_are_wrong(tmp_path: Path) -> None:
    a, b = idx(tmp_path / "a", IMAGES), idx(tmp_path / "b", LABELS.astype(np.uint8))
    assert "swapped" in failure(f"idx:{b},{a}", "B0504").message
    assert "does not exist" in failure(f"idx:{a},{tmp_path / 'none'}", "B0504").message
    assert "is a folder" in failure(f"idx:{tmp_path},{b}", "B0504").message
    assert "2 files" not in failure(f"idx:{a}", "B0517").message
    assert "nothing to tell apart" in failure(f"idx:{a},{idx(tmp_path / 'c', np.zeros(50, np.uint8))}", "B0518").message
    a.write_bytes(a.read_bytes()[:-1])
    assert "ends too early" in failure(f"idx:{a},{b}", "B0504").message


def test_an_idx_header_that_promises_gigabytes(tmp_path: Path) -> None:
    """The count is possible, the sizes are possible, but never in a file this small: no memory is taken for them."""
    header = struct.pack(">IIII", 0x803, 9_000_000, 4000, 4000)
    for name, content in (("a", header), ("a.gz", gzip.compress(header + bytes(100)))):
        (tmp_path / name).write_bytes(content)
        labels = idx(tmp_path / "b", LABELS.astype(np.uint8))
        assert "ends too early" in failure(f"idx:{tmp_path / name},{labels}", "B0504").message


# -------------------------------------------------------------------------------------------------------------- names
@pytest.mark.parametrize(
    ("name", "help"),
    [
        ("prototype", "did you mean `prototypes`?"),
        ("sequence:task=order", "did you mean `sequences`?"),
        ("folder:", "--data folder:PATH"),
        ("idx", "--data idx:IMAGES,LABELS"),
        ("some/pictures", "--data folder:some/pictures"),
    ],
)
def test_unknown_names_suggest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, help: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some" / "pictures").mkdir(parents=True)
    diagnostic = failure(name, "B0501")
    assert diagnostic.helps == (help,)
    assert "folder:PATH" in diagnostic.notes[0]
