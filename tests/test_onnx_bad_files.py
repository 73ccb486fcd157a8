"""Files that are no good model: every one gives a diagnostic with a code and a way out, never a traceback."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bnnc.diagnostics import BnncError, Diagnostic
from bnnc.frontends.onnx import Frontend
from bnnc.ir.module import Module
from bnnc.protocols import ImportOptions
from tests.onnx_models import load, model, node, one
from tests.shared import SHARED, needs_shared

F = np.float32


def diagnostics(path: Path, options: ImportOptions | None = None) -> tuple[Diagnostic, ...]:
    """What the frontend says of a file that it must refuse."""
    with pytest.raises(BnncError) as caught:
        Frontend().load(path, options or ImportOptions())
    found = caught.value.diagnostics
    assert found
    for diagnostic in found:
        assert diagnostic.code[:2] in ("B0",)
        assert diagnostic.helps, diagnostic
        assert diagnostic.message[0] in "`" or diagnostic.message[0].islower() or diagnostic.message[0].isdigit()
        assert not diagnostic.message.endswith(".")
    return found


def refusal(made: onnx.ModelProto, folder: Path, options: ImportOptions | None = None) -> Diagnostic:
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return diagnostics(path, options)[0]


def small() -> onnx.ModelProto:
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="first", pads=[1, 1, 1, 1]),
        node("Sign", ["a"], ["b"], name="sign"),
        node("Flatten", ["b"], ["c"]),
        node("Gemm", ["c", "l", "k"], ["y"], name="last"),
    ]
    constants = {"w": np.ones((2, 1, 3, 3), F), "l": np.ones((32, 3), F), "k": np.zeros(3, F)}
    return model(nodes, {"x": (["n", 1, 4, 4], 1)}, ["y"], constants)


CONTENTS = {
    "empty": (b"", "is empty"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n", "Git LFS pointer"),
    "torch": (b"PK\x03\x04" + bytes(26) + b"archive/data.pklFB", "PyTorch checkpoint"),
    "old torch": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "PyTorch checkpoint"),
    "zip": (b"PK\x03\x04" + bytes(26) + b"model.onnx", "zip archive"),
    "web page": (b"\n<!DOCTYPE html><html>", "web page"),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(40), "TensorFlow Lite"),
    "text": (b"hello, this is not a model\n", "not"),
    "zeros": (bytes(1000), "not"),
    "noise": (bytes(np.random.default_rng(1).integers(0, 256, 5000, np.uint8)), "not"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_not_a_model(name: str, tmp_path: Path) -> None:
    content, expected = CONTENTS[name]
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    (diagnostic,) = diagnostics(path)
    assert diagnostic.code == "B0403"
    assert expected in diagnostic.message


def test_no_file_or_a_folder(tmp_path: Path) -> None:
    assert diagnostics(tmp_path / "no.onnx")[0].code == "B0407"
    assert diagnostics(tmp_path)[0].code == "B0407"
    assert diagnostics(tmp_path / "no" / "such.onnx")[0].code == "B0407"
    assert diagnostics(Path(os.devnull))[0].code == "B0407"


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"x")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))  # chmod does not stop the superuser

    for name in ("open", "read_bytes"):
        monkeypatch.setattr(Path, name, refuse)
    assert diagnostics(path)[0].code == "B0407"


def test_everything_unknown_is_listed_at_once(tmp_path: Path) -> None:
    nodes = [
        node("LSTM", ["x", "w", "r"], ["a"], name="lstm", hidden_size=2),
        node("Foo", ["a"], ["b"], name="foo", domain="my.ops"),
        node("Relu", ["x"], ["c"]),
        node("NonZero", ["c"], ["d"]),
        node("Unreached", ["x"], ["e"], domain="my.ops"),
    ]
    constants = {"w": np.ones((1, 8, 3), F), "r": np.ones((1, 8, 2), F)}
    found = refusal(model(nodes, {"x": (["n", 2, 3], 1)}, ["b", "d"], constants), tmp_path)
    assert found.code == "B0401"
    assert [place.name for place in found.places] == ["lstm (LSTM)", "foo (Foo)", "NonZero_d (NonZero)"]
    assert any("my.ops" in note for note in found.notes)


@pytest.mark.parametrize("variance", [-1.0, -1e-5])
def test_variances_that_are_not_positive(variance: float, tmp_path: Path) -> None:
    constants = {name: np.ones(3, F) for name in "abm"} | {"v": np.array([1, 1, variance], F)}
    nodes = [node("BatchNormalization", ["x", "a", "b", "m", "v"], ["y"])]
    found = refusal(model(nodes, {"x": (["n", 3, 2], 1)}, ["y"], constants), tmp_path)
    assert (found.code, "variance" in found.message) == ("B0406", True)


def test_blocked_layout_of_onnx_runtime(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], ["y"], domain="com.microsoft.nchwc")]
    found = refusal(model(nodes, {"x": (["n", 8, 4, 4], 1)}, ["y"], {"w": np.ones((8, 8, 1, 1), F)}), tmp_path)
    assert found.code == "B0401"
    assert "ORT_ENABLE_EXTENDED" in found.notes[0]


def _edit(change: Callable[[onnx.ModelProto], Any]) -> onnx.ModelProto:
    made = small()
    change(made)
    return made


def _nan(made: onnx.ModelProto) -> None:
    values = np.ones((2, 1, 3, 3), F)
    values[1, 0, 2, 2] = np.nan
    made.graph.initializer[0].raw_data = values.tobytes()


def _infinite_bias(made: onnx.ModelProto) -> None:
    made.graph.initializer[2].raw_data = np.array([0, np.inf, 0], F).tobytes()


def _cycle(made: onnx.ModelProto) -> None:
    made.graph.node[0].input[0] = "b"


EDITS: dict[str, tuple[Callable[[onnx.ModelProto], Any], str, str]] = {
    "NaN": (_nan, "B0406", "`w`"),
    "infinity": (_infinite_bias, "B0406", "`k`"),
    "cycle": (_cycle, "B0408", "cycle"),
    "missing value": (lambda m: m.graph.node[1].input.__setitem__(0, "zz"), "B0408", "`zz`, which nothing makes"),
    "missing output": (lambda m: setattr(m.graph.output[0], "name", "zz"), "B0408", "`zz`"),
    "twice": (lambda m: m.graph.node[1].output.__setitem__(0, "a"), "B0408", "two nodes make `a`"),
    "short weights": (lambda m: setattr(m.graph.initializer[0], "raw_data", b"1234"), "B0408", "needs 72 bytes"),
    "huge weights": (lambda m: m.graph.initializer[0].dims.extend([2**20, 2**20]), "B0413", "too many"),
    "negative weights": (lambda m: m.graph.initializer[0].dims.append(-3), "B0408", "negative"),
    "text weights": (lambda m: setattr(m.graph.initializer[0], "data_type", 8), "B0401", "cannot import"),
    "wrong channels": (lambda m: m.graph.initializer[0].dims.__setitem__(slice(0, 2), [1, 2]), "B0301", "channels"),
    "newer operator set": (lambda m: setattr(m.opset_import[0], "version", 9999), "B0409", "9999"),
    "old operator set": (lambda m: setattr(m.opset_import[0], "version", 3), "B0409", "operator set 3"),
    "no nodes": (lambda m: m.graph.ClearField("node"), "B0403", "no ONNX graph"),
    "no inputs": (lambda m: m.graph.ClearField("input"), "B0404", "no input"),
    "empty axis": (
        lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[2], "dim_value", 0),
        "B0413",
        "length 0",
    ),
    "huge input": (
        lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[2], "dim_value", 2**40),
        "B0413",
        "too large",
    ),
    "open size": (
        lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[2], "dim_param", "h"),
        "B0404",
        'no fixed shape: ["n", 1, "h", 4]',
    ),
    "no shape": (lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"), "B0404", "no shape at all"),
    "text input": (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 8), "B0404", "STRING"),
    "wrong attribute": (
        lambda m: m.graph.node[0].attribute[0].CopyFrom(helper.make_attribute("pads", "x")),
        "B0408",
        "wrong type",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_damaged_model(name: str, tmp_path: Path) -> None:
    change, code, expected = EDITS[name]
    found = refusal(_edit(change), tmp_path)
    assert (found.code, expected in found.message + " ".join(found.notes)) == (code, True), found


def test_typed_help_for_open_shapes(tmp_path: Path) -> None:
    found = refusal(one("Relu", ["batch", 3, "h", "w"]), tmp_path)
    assert found.message == 'input `x` has no fixed shape: ["batch", 3, "h", "w"]'
    assert found.helps == ("bnnc compile model.onnx --shape x=1,3,32,32",)


def test_memory_is_not_taken_for_the_asking(tmp_path: Path) -> None:
    """Shapes in the file that would need terabytes."""
    huge = np.array([2**20, 2**20], np.int64)
    for nodes in (
        [node("ConstantOfShape", ["s"], ["c"]), node("MatMul", ["x", "c"], ["y"])],
        [node("Expand", ["x", "s"], ["y"])],
        [node("ConstantOfShape", ["s"], ["c"]), node("Add", ["x", "c"], ["y"])],
        [node("ConstantOfShape", ["s"], ["c"]), node("Transpose", ["c"], ["d"]), node("Reshape", ["d", "z"], ["y"])],
        [node("Tile", ["x", "s"], ["y"])],
    ):
        made = model(nodes, {"x": ([1, 2**10], 1)}, ["y"], {"s": huge, "z": np.array([-1], np.int64)})
        assert refusal(made, tmp_path).code in ("B0301", "B0413", "B0405")
    made = model([node("Range", ["a", "b", "c"], ["r"]), node("Add", ["x", "r"], ["y"])], {"x": ([1, 4], 7)}, ["y"],
                 {"a": np.array(0), "b": np.array(2**50), "c": np.array(1)})  # fmt: skip
    assert refusal(made, tmp_path).code == "B0301"


def _external(folder: Path, **entries: str) -> onnx.ModelProto:
    made = small()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return made


def test_external_data(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "w.bin").write_bytes(b"xxxx" + np.full((2, 1, 3, 3), 2, F).tobytes())
    (tmp_path / "secret").write_bytes(bytes(1000))
    (inside / "link").symlink_to(tmp_path / "secret")
    module = load(_external(inside, location="w.bin", offset="4", length="72"), inside)
    assert isinstance(module, Module)
    for entries in (
        {"location": "../secret"},
        {"location": str(tmp_path / "secret")},
        {"location": "link"},
        {"location": "w.bin", "offset": "8"},
        {"location": "w.bin", "offset": "-4"},
        {"location": "w.bin", "offset": "x"},
        {"location": "w.bin", "length": "80"},
        {"location": "w\0.bin"},
        {"location": ""},
        {"location": "."},
        {"location": "x" * 5000},
        {},
    ):
        found = refusal(_external(inside, **entries), inside)
        assert found.code in ("B0408", "B0407"), entries
    missing = refusal(_external(inside, location="none.bin"), inside)
    assert missing.code == "B0407"
    assert "`none.bin`" in missing.message


def outcome(path: Path) -> str:
    """`module`, or the code of the first diagnostic; any other exception is the test's failure."""
    try:
        Frontend().load(path, ImportOptions())
    except BnncError as refused:
        return refused.diagnostics[0].code
    return "module"


def test_truncated_anywhere(tmp_path: Path) -> None:
    content = small().SerializeToString()
    path = tmp_path / "model.onnx"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert outcome(path) != "module", length


def test_flipped_bytes(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    content = small().SerializeToString()
    path = tmp_path / "model.onnx"
    seen = set()
    for _ in range(1500):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), random.integers(1, 4)):
            damaged[place] ^= int(random.integers(1, 256))
        path.write_bytes(bytes(damaged))
        seen.add(outcome(path))
    assert {"B0403", "B0408", "module"} <= seen


@needs_shared
def test_truncated_and_flipped_network(tmp_path: Path) -> None:
    content = (SHARED / "models" / "nets" / "fracbnn_small_legacy17.onnx").read_bytes()
    random = np.random.default_rng(6)
    path = tmp_path / "model.onnx"
    for length in random.integers(0, len(content), 40):
        path.write_bytes(content[:length])
        assert outcome(path) != "module"
    for _ in range(60):
        damaged = bytearray(content)
        for place in random.integers(0, 20_000, 3):
            damaged[place] ^= int(random.integers(1, 256))
        path.write_bytes(bytes(damaged))
        outcome(path)
