"""The shipped example is what its README says: small, binary throughout, and right about our drawings and MNIST."""

from __future__ import annotations

import gzip
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from PIL import Image

from bnnc import api
from bnnc.ir import bit, nn
from bnnc.ir.module import Module
from tests.shared import ROOT, SHARED, needs_shared

FOLDER = ROOT / "examples" / "mnist"
MODEL = FOLDER / "model.onnx"
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def picture(name: str) -> np.ndarray:
    """A drawing as the network takes it: float32 [1, 1, 28, 28], pixel/255."""
    with Image.open(FOLDER / f"{name}.png") as image:
        assert (image.mode, image.size) == ("L", (28, 28))
        return np.asarray(image, np.float32)[None, None] / np.float32(255)


def test_set() -> tuple[np.ndarray, np.ndarray]:
    """The 10 000 test images of MNIST as float32 [10000, 1, 28, 28], and their labels."""
    images = gzip.decompress((SHARED / "data" / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((SHARED / "data" / "mnist" / "t10k-labels-idx1-ubyte.gz").read_bytes())
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28)
    return pixels.astype(np.float32) / np.float32(255), np.frombuffer(labels, np.uint8, offset=8)


test_set.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def session() -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(MODEL, options)


@pytest.fixture(scope="module")
def module() -> Module:
    return api.load(MODEL)


@pytest.mark.parametrize(("digit", "name"), list(enumerate(DIGITS)))
def test_onnxruntime_reads_our_drawings(session: Any, digit: int, name: str) -> None:
    (scores,) = session.run(None, {"pixels": picture(name)})
    assert scores.shape == (1, 10)
    assert int(scores.argmax()) == digit


def test_the_file_is_small_and_every_weight_is_one_bit() -> None:
    assert MODEL.stat().st_size < 500_000
    graph = onnx.load(MODEL).graph
    arrays = {initializer.name: numpy_helper.to_array(initializer) for initializer in graph.initializer}
    layers = {node.name: arrays[node.input[1]] for node in graph.node if node.op_type in ("Conv", "Gemm")}
    assert list(layers) == ["conv1", "conv2", "conv3", "votes"]
    for name, weights in layers.items():
        assert set(np.unique(weights)) == {-1.0, 1.0}, name
    assert sum(weights.size for weights in layers.values()) == 29_200  # 3 650 bytes, as the README says
    fed_by = {node.output[0]: node.op_type for node in graph.node}
    for node in graph.node:
        if node.op_type == "Conv":
            assert fed_by[node.input[0]] == "Where", f"{node.name} does not take -1 and +1"


def test_the_file_holds_no_trace_of_the_machine_that_made_it() -> None:
    content = MODEL.read_bytes()
    for trace in (b".py", b"Traceback", b"/home/", b"/root/", b"/tmp/", b"site-packages", b"stack_trace"):
        assert trace not in content
    model = onnx.load(MODEL)
    parts = [model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output]
    for part in parts:
        assert not part.doc_string
        assert not part.metadata_props


def test_the_batch_is_open(session: Any) -> None:
    both = np.concatenate([picture("three"), picture("seven"), picture("zero")])
    (scores,) = session.run(None, {"pixels": both})
    assert scores.argmax(1).tolist() == [3, 7, 0]


def test_drawing_again_gives_the_same_digits(session: Any, tmp_path: Path) -> None:
    names = runpy.run_path(str(FOLDER / "draw.py"))
    assert tuple(names["STROKES"]) == DIGITS
    for digit, (name, strokes) in enumerate(names["STROKES"].items()):
        again = np.asarray(names["draw"](strokes), np.float32)[None, None] / np.float32(255)
        assert np.abs(again - picture(name)).max() < 0.1, f"{name}.png is not what draw.py draws"
        assert int(session.run(None, {"pixels": again})[0].argmax()) == digit


def test_every_layer_is_packed(module: Module) -> None:
    ops = api.optimise(module).ops()
    assert [type(op) for op in ops if isinstance(op, (bit.Conv, bit.Dense))] == [bit.Conv] * 3 + [bit.Dense]
    assert not [op for op in ops if isinstance(op, (nn.Conv, nn.Dense, nn.MatMul, nn.BatchNorm))]


def test_the_reference_gives_the_scores_of_onnxruntime(session: Any, module: Module) -> None:
    drawings = np.concatenate([picture(name) for name in DIGITS])
    scores = api.run(module, {"pixels": drawings}, on="reference")["scores"]
    np.testing.assert_array_equal(scores, session.run(None, {"pixels": drawings})[0])


@needs_shared
def test_accuracy_on_the_test_set(session: Any, module: Module) -> None:
    # Sums of -1 and +1 are exact in fp32 and no value before a sign is nearer to 0 than 0.0009, so that here, unlike
    # in general, ONNX Runtime must agree to the last bit.
    images, labels = test_set()
    network = api.compile(module, "reference")
    right = 0
    for some, their in zip(np.split(images, 20), np.split(labels, 20), strict=True):
        scores = network(some)
        np.testing.assert_array_equal(scores, session.run(None, {"pixels": some})[0])
        right += int((scores.argmax(1) == their).sum())  # type: ignore[union-attr]
    assert right == 9870  # as the README says
