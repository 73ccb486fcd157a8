"""Inputs from files: names, layouts, pictures, pixel maps; and every file that is not what it should be."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnnc.data import feed, npz
from bnnc.data.pixels import mapped, unmapped
from bnnc.data.seeded import seeded
from bnnc.diagnostics import BnncError
from bnnc.ir import nn
from bnnc.ir.module import Input, Module, Output, PixelMap
from bnnc.ir.types import F32, U8, Bit, Code, DType, Int, Trit

GENERATOR = np.random.default_rng(3)


def network(*shapes: tuple[int, ...], dtype: DType = F32(), pixels: tuple[PixelMap, ...] = ()) -> Module:  # noqa: B008
    """A module with the inputs a, b … of these shapes."""
    inputs = tuple(Input("abc"[place], dtype, shape) for place, shape in enumerate(shapes))
    outputs = tuple(Output(f"out_{op.name}", nn.Map("neg", (op,))) for op in inputs)
    return Module("net", inputs, outputs, pixels=pixels)


def save(path: Path, **arrays: np.ndarray) -> Path:
    path.write_bytes(npz.dump(arrays))
    return path


def test_npz_keys_may_have_the_prefix(tmp_path: Path) -> None:
    a, b = np.ones((2, 3), np.float32), np.zeros((2, 4), np.float32)
    found = feed.from_file(save(tmp_path / "x.npz", in_a=a, b=b, out_a=a), network((3,), (4,)))
    assert np.array_equal(found["a"], a)
    assert np.array_equal(found["b"], b)
    assert list(found) == ["a", "b"]


def test_npy_feeds_the_only_input_and_a_single_sample_gets_a_batch(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones(3, np.float32))
    assert feed.from_file(tmp_path / "x.npy", network((3,)))["a"].shape == (1, 3)
    with pytest.raises(BnncError, match="2 inputs"):
        feed.from_file(tmp_path / "x.npy", network((3,), (3,)))


def test_one_array_of_another_name_is_taken_and_said(tmp_path: Path) -> None:
    said: list[str] = []
    path = save(tmp_path / "x.npz", in_image=np.ones((1, 3), np.float32), out_y=np.ones(1))
    assert feed.from_file(path, network((3,)), said.append)["a"].shape == (1, 3)
    assert "`in_image`" in said[0]


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(BnncError, match="holds no input `b`"):
        feed.from_file(save(tmp_path / "x.npz", a=np.ones((1, 3))), network((3,), (4,)))


def test_npz_written_here_is_read_by_numpy_and_is_the_same_every_time() -> None:
    arrays: dict[str, np.ndarray] = {
        "file": np.arange(6).reshape(2, 3),
        "a/b": np.asarray(1.5, np.float32),
        "ü": np.zeros((0, 2), bool),
    }
    first = npz.dump(arrays)
    assert first == npz.dump(arrays)
    with np.load(io.BytesIO(first)) as loaded:
        assert set(loaded.files) == set(arrays)
        for name, array in arrays.items():
            assert np.array_equal(loaded[name], array)


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode() + b" " * (53 - len(header) % 64 + 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def archive(content: bytes, name: str = "a.npy") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, content)
    return buffer.getvalue()


HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }"
NEGATIVE = "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 3), }"
OBJECTS = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
GOOD = npz.dump({"a": np.ones((1, 3), np.float32)})
WRONG_FILES = {
    "empty": b"",
    "text": b"hello, world",
    "pickle": b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00\x8c\x01a\x94.",
    "truncated archive": GOOD[: len(GOOD) // 2],
    "archive of something": archive(b"hello"),
    "a huge array": npy(HUGE),
    "a huge array in an archive": archive(npy(HUGE)),
    "a negative shape": npy(NEGATIVE),
    "objects": npy(OBJECTS, b"\x80\x04N."),
    "objects in an archive": archive(npy(OBJECTS, b"\x80\x04N.")),
    "a header that is no dict": npy("[1, 2, 3]"),
    "a header that calls": npy("__import__('os').system('true')"),
    "a damaged member": GOOD.replace(np.float32(1).tobytes(), np.float32(2).tobytes(), 1),
}


@pytest.mark.parametrize("wrong", WRONG_FILES)
def test_a_file_that_holds_no_arrays(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "x.npz").write_bytes(WRONG_FILES[wrong])
    with pytest.raises(BnncError) as caught:
        feed.from_file(tmp_path / "x.npz", network((3,)))
    assert caught.value.diagnostics[0].code == "B0506"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for name in ("x.npz", "x.png"):
        with pytest.raises(BnncError, match="does not exist"):
            feed.from_file(tmp_path / name, network((1, 4, 4)))
    with pytest.raises(BnncError, match="is a folder"):
        feed.from_file(tmp_path, network((1, 4, 4)))


def picture(path: Path, mode: str, size: tuple[int, int] = (5, 4)) -> np.ndarray:
    """Save a picture of width x height = size; returns its pixels [height, width, channels]."""
    channels = {"L": 1, "RGB": 3, "RGBA": 4, "P": 1}[mode]
    pixels = GENERATOR.integers(0, 256, (size[1], size[0], channels), np.uint8)
    Image.fromarray(pixels if channels > 1 else pixels[..., 0], mode if mode != "P" else "L").save(path)
    return pixels


def test_a_picture_feeds_integer_pixels_as_they_are(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "x.png", "L")
    found = feed.from_file(tmp_path / "x.png", network((1, 4, 5), dtype=U8))["a"]
    assert found.dtype == np.uint8
    assert np.array_equal(found, pixels.transpose(2, 0, 1)[None])


def test_a_picture_feeds_a_float_input_with_fractions_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    pixels = picture(tmp_path / "x.png", "RGB")
    found = feed.from_file(tmp_path / "x.png", network((3, 4, 5)), said.append)["a"]
    assert found.dtype == np.float32
    assert np.array_equal(found[0], pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(255))
    assert "pixel/255" in said[0]


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5, 3), (60,), (1, 60)])
def test_the_layout_of_the_input_is_met(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = picture(tmp_path / "x.png", "RGB")
    found = feed.from_file(tmp_path / "x.png", network(shape, dtype=U8))["a"]
    wanted = pixels if shape == (4, 5, 3) else pixels.transpose(2, 0, 1)
    assert np.array_equal(found, wanted.reshape(1, *shape))


def test_channels_are_converted(tmp_path: Path) -> None:
    grey = picture(tmp_path / "grey.png", "L")
    found = feed.from_file(tmp_path / "grey.png", network((3, 4, 5), dtype=U8))["a"]
    assert np.array_equal(found[0, 1], grey[..., 0])
    picture(tmp_path / "colour.png", "RGB")
    assert feed.from_file(tmp_path / "colour.png", network((1, 4, 5), dtype=U8))["a"].shape == (1, 1, 4, 5)


def test_jpeg_is_read(tmp_path: Path) -> None:
    picture(tmp_path / "x.jpg", "RGB")
    assert feed.from_file(tmp_path / "x.jpg", network((3, 4, 5), dtype=U8))["a"].shape == (1, 3, 4, 5)


def test_a_picture_of_another_size_says_what_was_expected(tmp_path: Path) -> None:
    picture(tmp_path / "x.png", "L", (6, 4))
    with pytest.raises(BnncError) as caught:
        feed.from_file(tmp_path / "x.png", network((1, 4, 5)))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "B0502"
    assert "6 x 4 pixels" in diagnostic.message
    assert "5 x 4" in diagnostic.notes[0]


def test_a_picture_for_two_inputs_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "x.png", "L")
    with pytest.raises(BnncError, match="B0521"):
        feed.from_file(tmp_path / "x.png", network((1, 4, 5), (1, 4, 5)))


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"no picture"])
def test_a_picture_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(BnncError, match="B0506"):
        feed.from_file(tmp_path / "x.png", network((1, 4, 5)))


def test_a_truncated_picture(tmp_path: Path) -> None:
    picture(tmp_path / "x.png", "RGB", (50, 40))
    content = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(BnncError, match="B0506"):
        feed.from_file(tmp_path / "x.png", network((3, 40, 50)))


def test_a_picture_bomb_is_not_unpacked(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "x.png")
    with pytest.raises(BnncError, match="B0506"):
        feed.from_file(tmp_path / "x.png", network((1, 4, 5)))


def test_pixels_are_mapped_with_a_rounding_a_step() -> None:
    by = PixelMap("a", 1 / 255, (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))
    pixels = GENERATOR.integers(0, 256, (2, 3, 4, 5), np.uint8)
    for channel in range(3):
        u = pixels[:, channel].astype(np.float32)
        mean, std = np.float32(by.mean[channel]), np.float32(by.std[channel])
        assert np.array_equal(mapped(pixels, by)[:, channel], (u * np.float32(1 / 255) - mean) / std)


def test_real_values_of_pixels_are_taken_back() -> None:
    by = PixelMap("a", 1 / 255, (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))
    module = network((3, 4, 5), dtype=U8, pixels=(by,))
    pixels = GENERATOR.integers(0, 256, (2, 3, 4, 5), np.uint8)
    torch_like = (pixels / np.float32(255) - np.array(by.mean, np.float32).reshape(3, 1, 1)) / np.array(
        by.std, np.float32
    ).reshape(3, 1, 1)
    assert np.array_equal(unmapped(torch_like, "a", module), pixels)
    assert np.array_equal(unmapped(pixels, "a", module), pixels)
    assert np.array_equal(unmapped(pixels.astype(np.float32), "a", module), pixels)
    with pytest.raises(BnncError, match="B0508"):
        unmapped(torch_like + np.float32(0.004), "a", module)
    with pytest.raises(BnncError, match="B0508"):
        unmapped(np.full((1, 3, 4, 5), np.nan, np.float32), "a", module)


@pytest.mark.parametrize("dtype", [F32(), Bit(), Trit(), Code(2, 2, -3), U8, Int(-8, 7)], ids=str)
def test_made_up_inputs_depend_on_the_seed_and_their_number_alone(dtype: DType) -> None:
    module = network((40,), (3, 2), dtype=dtype)
    whole = seeded(module, 6, seed=1)
    part = seeded(module, 2, seed=1, start=3)
    for name, array in whole.items():
        assert np.array_equal(array[3:5], part[name])
    assert not np.array_equal(whole["a"], seeded(module, 6, seed=2)["a"])
    assert not np.array_equal(whole["a"][0], whole["a"][1])


def test_made_up_inputs_take_every_value_of_their_type() -> None:
    codes = seeded(network((500,), dtype=Code(2, 2, -3)), 1, 0)["a"]
    assert set(codes.flatten().tolist()) == {-3, -1, 1, 3}
    bits = seeded(network((500,), dtype=Bit()), 1, 0)["a"]
    assert set(bits.flatten().tolist()) == {-1, 1}
    numbers = seeded(network((500,), dtype=Int(-8, 7)), 1, 0)["a"]
    assert set(numbers.flatten().tolist()) == set(range(-8, 8))
