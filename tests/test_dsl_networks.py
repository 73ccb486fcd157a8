"""What nets mean: layers against plain numpy, the shipped examples, and every module there and back."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples

from bnnc import api
from bnnc.data import npz
from bnnc.diagnostics import BnncError
from bnnc.frontends.dsl import Frontend
from bnnc.frontends.dsl.catalogue import Layer
from bnnc.frontends.dsl.layers import LAYERS
from bnnc.ir import bit, nn
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.store import dumps
from bnnc.ir.types import F32, Bit, Code, Int, Trit
from bnnc.protocols import ImportOptions
from bnnc.reference.run import run
from bnnc.train.plan import Comparisons, Features, Recurrence, Signs, Thermometer, Threshold
from tests.shared import ROOT, SHARED, needs_shared
from tests.strategies import bit_modules, modules, random_inputs

EXAMPLES = sorted((ROOT / "examples" / "language").glob("*.bnn"))
FEW = examples(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def written(folder: Path, text: str, arrays: Mapping[str, np.ndarray] | None = None) -> Path:
    (folder / "net.bnn").write_text(text, encoding="utf-8")
    if arrays is not None:
        (folder / "w.npz").write_bytes(npz.dump(arrays))
    return folder / "net.bnn"


def load(folder: Path, text: str, arrays: Mapping[str, np.ndarray] | None = None) -> Module:
    return Frontend().load(written(folder, text, arrays), ImportOptions())


def plan(folder: Path, text: str) -> Any:
    return Frontend().plan(written(folder, text))


# ------------------------------------------------------------------------------------------------------ there and back
def there_and_back(module: Module) -> None:
    module = dataclasses.replace(module, pixels=())
    with tempfile.TemporaryDirectory() as folder:
        text, arrays = Frontend().written(module, "w.npz")
        again = load(Path(folder), text, arrays)
    inputs = random_inputs(module, 0, 3)
    expected, found = run(module, inputs), run(again, inputs)
    assert list(found) == list(expected), text
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), text
        assert np.array_equal(found[name], array, equal_nan=True), text
    assert [o.value.type for o in again.outputs] == [o.value.type for o in module.outputs]
    laid_out = Frontend().formatted(text.encode(), "net.bnn")
    assert Frontend().formatted(laid_out.encode(), "net.bnn") == laid_out


@FEW
@given(bit_modules())
def test_every_bit_module_has_a_source_that_computes_the_same(module: Module) -> None:
    there_and_back(module)


@FEW
@given(modules())
def test_float_islands_have_a_source_too(module: Module) -> None:
    there_and_back(module)


@needs_shared
def test_networks_of_the_wild_have_a_source() -> None:
    """Optimised models of many exporters: residual, depthwise, low-bit, with float islands."""
    models = [path for path in sorted((SHARED / "models" / "nets").rglob("*.onnx")) if path.stat().st_size < 60_000]
    count = 0
    for path in models[:: max(1, len(models) // 12)]:
        module = None
        with contextlib.suppress(BnncError):  # some of them are there to be refused
            module = api.optimise(api.load(path))
        if module is not None:
            there_and_back(module)
            count += 1
    assert count >= 6


def test_what_has_no_form_is_refused() -> None:
    source = Input(name="x", dtype=F32(), shape=(3, 3))
    computed = nn.Dense(x=source, w=source, bias=None)
    with pytest.raises(BnncError, match="B0212"):
        Frontend().written(Module("a", (source,), (Output("y", computed),)), "w.npz")


# ------------------------------------------------------------------------------------------------------------- examples
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_good(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert Frontend().formatted(text.encode(), path.name) == text
    if "train {" in text:
        assert Frontend().plan(path).classes >= 2
        assert Frontend().load(path, ImportOptions(sketch=True)).level == "bit"
    else:
        verdict = api.check(path, count=3)
        assert (verdict.agreement.inputs, verdict.agreement.equal) == (3, 3)


def blocks() -> list[str]:
    text = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
    return re.findall(r"^```bnn\n(.*?)^```", text, re.S | re.M)


@pytest.mark.parametrize("text", blocks(), ids=lambda text: re.findall(r"net (\w+)", text)[0])
def test_a_net_of_the_documentation_is_good(text: str, tmp_path: Path) -> None:
    assert Frontend().formatted(text.encode(), "net.bnn") == text
    Frontend().load(written(tmp_path, text), ImportOptions(sketch=True))
    if "train {" in text:
        Frontend().plan(written(tmp_path, text))


INPUTS = {
    "i": "bit[8, 4, 4]", "u": "u8[1, 28, 28]", "s": "bit[9, 20]", "f": "f32[8, 4, 4]", "m": "bit[2, 14]",
    "q": "bit[8, 1, 1]", "w": "f32[4, 4]", "flat": "bit[9]",
}  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS.values(), ids=lambda layer: layer.name)
def test_a_layer_of_the_documentation_is_written_as_it_says(layer: Layer, tmp_path: Path) -> None:
    """The example is a good one on some input."""
    declared = "\n".join(f"input {name}: {kind}" for name, kind in INPUTS.items())
    failed = []
    for start in INPUTS:
        chain = f"{start} -> {layer.example}" if layer.operands else layer.example
        try:
            load(tmp_path, f"net n {{ weights random(1) {declared} skip = i a = w b = w -> neg output y = {chain} }}")
            return
        except BnncError as refused:
            failed.append(str(refused))
    raise AssertionError(failed)


# --------------------------------------------------------------------------------------------------------------- layers
def output(folder: Path, lines: str, inputs: Mapping[str, np.ndarray], arrays: Any = None) -> np.ndarray:
    source = 'weights "w.npz"' if arrays is not None else "weights random(1)"
    module = load(folder, f"net a {{\n{source}\n{lines}\n}}", arrays)
    return next(iter(run(module, inputs).values()))


def test_dense_and_steps_are_what_they_say(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.choice([-1, 1], (50, 9)), rng.choice([-1, 1], (4, 9))
    sums = x @ w.T
    for layer, expected in (
        ("sign", np.where(sums >= 0, 1, -1)),
        ("sign(3)", np.where(sums >= 3, 1, -1)),
        ("sign(1/2)", np.where(sums >= 0.5, 1, -1)),
        ("ternary(3)", np.where(sums >= 3, 1, np.where(sums <= -3, -1, 0))),
        ("ternary(2.5)", np.where(sums >= 2.5, 1, np.where(sums <= -2.5, -1, 0))),
        ("codes(2, every=2, start=-1)", np.clip((sums + 1) // 2 + 1, 0, 3)),
        ("codes(1, multiplier=2, offset=-1)", np.where(sums >= 1, 1, -1)),
        ("step(int<0,9>, [-1, 3], [5, 0, 9])", np.where(sums >= 3, 9, np.where(sums >= -1, 0, 5))),
        ("step(bit, [[3], [1], [-1], [0]])", np.where(sums >= [3, 1, -1, 0], 1, -1)),
        ("decode -> sign(0.5)", np.where(sums >= 0.5, 1, -1)),
        ("decode -> ternary(3)", np.where(sums >= 3, 1, np.where(sums <= -3, -1, 0))),
        ("mul(0.5) -> add(1)", sums * 0.5 + 1),
        ("add(x -> fc2: dense(4), coefficients=[2, -3])", sums * 2 + sums * 3),
    ):
        arrays = {"fc.weights": w, "fc2.weights": -w}
        found = output(tmp_path, f"input x: bit[9] -> fc: dense(4) -> {layer}", {"x": x}, arrays)
        assert np.array_equal(found, expected), layer


def test_windows(tmp_path: Path) -> None:
    x = np.arange(16).reshape(1, 1, 4, 4)
    lines = "input x: u8[1, 4, 4] -> "
    assert output(tmp_path, lines + "maxpool(2x2)", {"x": x}).tolist() == [[[[5, 7], [13, 15]]]]
    assert output(tmp_path, lines + "minpool(2, stride=1x2)", {"x": x}).tolist() == [[[[0, 2], [4, 6], [8, 10]]]]
    assert output(tmp_path, lines + "sumpool(all)", {"x": x}).tolist() == [[[[120]]]]
    assert output(tmp_path, lines + "avgpool(4x2)", {"x": x}).tolist() == [[[[6.5, 8.5]]]]
    assert output(tmp_path, lines + "maxpool(2, smallest=[0])", {"x": x}).tolist() == [[[[0, 2], [8, 10]]]]
    arrays = {"c.weights": np.ones((1, 1, 3, 3), np.int8)}
    padded = output(tmp_path, lines + "c: conv(1, 3x3, pad=same, pad_value=-1)", {"x": x}, arrays)
    assert padded[0, 0, 0, 0] == 0 + 1 + 4 + 5 - 5
    assert padded.shape == (1, 1, 4, 4)


def test_majority_shuffle_and_slice(tmp_path: Path) -> None:
    x = np.array([[[1, -1], [1, 1]], [[-1, -1], [-1, 1]], [[1, -1], [1, -1]], [[1, 1], [1, 1]]])[None]
    lines = "input x: bit[4, 2, 2] -> "
    assert output(tmp_path, lines + "majority(2x2)", {"x": x}).reshape(-1).tolist() == [1, -1, 1, 1]
    assert np.array_equal(output(tmp_path, lines + "shuffle(2)", {"x": x}), x[:, [0, 2, 1, 3]])
    assert np.array_equal(
        output(tmp_path, lines + "slice(starts=[3, 0, 1], steps=[-1, 1, 1])", {"x": x}), x[:, ::-1, :, 1:]
    )
    assert output(tmp_path, lines + "pad(1, value=-1)", {"x": x}).shape == (1, 4, 4, 4)


def test_the_recurrent_cell(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x, inner, outer = (rng.choice([-1, 1], shape) for shape in ((20, 5, 7), (6, 7), (6, 6)))
    state = np.ones((20, 6), int)
    for time in range(5):
        state = np.where(x[:, time] @ inner.T + state @ outer.T >= 0, 1, -1)
    arrays = {"cell.input_weights": inner, "cell.state_weights": outer}
    assert np.array_equal(output(tmp_path, "input x: bit[5, 7] -> cell: recurrent(6)", {"x": x}, arrays), state)


def test_encoders(tmp_path: Path) -> None:
    x = np.random.default_rng(2).integers(0, 256, (9, 1, 4, 4))
    lines, flat = "input x: u8[1, 4, 4] -> ", x.reshape(9, -1)
    assert np.array_equal(output(tmp_path, lines + "threshold(99)", {"x": x}), np.where(x > 99, 1, -1))
    expected = np.concatenate([np.where(x > level, 1, -1) for level in (64, 128, 192)], 1)
    assert np.array_equal(output(tmp_path, lines + "thermometer(3)", {"x": x}), expected)
    pairs = {"e.first": np.array([3, 5, 0]), "e.second": np.array([4, 0, 0])}
    found = output(tmp_path, lines + "e: comparisons(3)", {"x": x}, pairs)
    assert np.array_equal(found, np.where(flat[:, [3, 5, 0]] > flat[:, [4, 0, 0]], 1, -1))
    patches = np.zeros((2, 16), np.int8)
    patches[0, :3], patches[1, 5:8] = [1, -1, 1], -1
    arrays = {"e.patches": patches, "e.medians": np.array([0, 1]), "e.level": np.array([120])}
    sums = np.where(flat > 120, 1, -1) @ patches.T
    found = output(tmp_path, lines + "e: features(2, size=2)", {"x": x}, arrays)
    assert np.array_equal(found, np.where(sums > [0, 1], 1, -1))


def test_random_weights_depend_on_seed_and_name_alone(tmp_path: Path) -> None:
    def weights(lines: str) -> np.ndarray:
        module = load(tmp_path, f"net a {{\n{lines}\n}}")
        return next(op.weights for op in module.ops() if isinstance(op, bit.Dense) and op.loc.name == "b")

    one = weights("weights random(1)\ninput x: bit[9] -> b: dense(9)")
    assert np.array_equal(one, weights("input x: bit[9] -> a: dense(9) -> sign -> b: dense(9)\nweights random(1)"))
    assert not np.array_equal(one, weights("weights random(2)\ninput x: bit[9] -> b: dense(9)"))


def test_weights_of_a_compiled_model(tmp_path: Path) -> None:
    text = "net a {\nweights random(5)\ninput x: bit[9] -> a: dense(9) -> s: step(bit) -> b: dense(3)\n}"
    module = load(tmp_path, text)
    (tmp_path / "w.bnnm").write_bytes(dumps(module))
    again = load(tmp_path, text.replace("random(5)", '"w.bnnm"'))
    inputs = random_inputs(module, 0, 9)
    assert np.array_equal(run(module, inputs)["y"], run(again, inputs)["y"])


def test_inputs_outputs_and_types(tmp_path: Path) -> None:
    module = load(
        tmp_path,
        """net a {
        input "x y": code<2,2,-3>[2, 3] -> sign
        input t: trit[4]  input i: int<-5,7>[2 + 1]  input u: u8[3] as pixels(1/255, mean=[0.5], std=0.25)
        output a(storage=int8, batch=1) = "x y" -> "a layer": sign
        output b = t -> argmax
        output c = b
        output d = i -> add(u) }""",
    )
    assert [op.dtype for op in module.inputs] == [Code(2, 2, -3), Trit(), Int(-5, 7), Int(0, 255)]
    assert [(o.name, o.storage, o.batch_axis) for o in module.outputs] == [
        ("a", "int8", 1), ("b", "int64", 0), ("c", "int64", 0), ("d", "int32", 0)
    ]  # fmt: skip
    assert module.pixels[0].name == "u"
    assert (module.pixels[0].mean, module.pixels[0].std) == ((0.5,), (0.25,))
    assert module.outputs[0].value.type.dtype == Bit()
    assert module.outputs[0].value.loc.name == "a layer"


def test_a_branch_that_leads_nowhere_is_a_warning(tmp_path: Path) -> None:
    module = load(tmp_path, "net a {\ninput x: bit[3]\ninput z: bit[3]\ny = x -> flatten\nx -> sign\n}")
    assert [(note.kind, note.code, note.loc.line) for note in module.notes] == [
        ("warning", "B0216", 3), ("warning", "B0216", 4)
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------- plans
def test_a_plan_has_all_that_the_net_says(tmp_path: Path) -> None:
    found = plan(
        tmp_path,
        """net p { let n = 15
        input x: u8[1, 8, 8]
        a = x -> comparisons(64, distance=2)  b = x -> features(32, size=3, level=9)
        concat(a, b, x -> flatten -> thermometer(2, quantile), x -> threshold(7) -> flatten)
          -> one: dense(2 * n) -> sign -> two: dense(n) -> sign -> classify(4) -> argmax
        train { rule bep  batch 50  epochs 3; groups 5, 3  margin 0.3  reinforcement 1/3  gate 0.02  schedule 2
          hidden 12  tie lowest  code balanced  shifts true } }""",
    )
    assert found.encoders == (Comparisons(64, 2), Features(32, 3, 9), Thermometer(2, "quantile"), Threshold(7))
    assert (found.name, found.input_name, found.input_shape, found.classes) == ("p", "x", (1, 8, 8), 4)
    assert (found.widths, found.names) == ((30, 15), ("one", "two"))
    s = found.settings
    assert (s.rule, s.batch, s.epochs, s.groups, s.schedule, s.hidden) == ("bep", 50, 3, (5, 3), 2, 12)
    assert [str(f) for f in (s.margin, s.reinforcement, s.gate)] == ["3/10", "1/3", "1/50"]
    assert (s.tie, s.code, s.shifts, s.frozen) == ("lowest", "balanced", True, False)
    assert found.locs[0].line == 5


def test_defaults_groups_and_bits(tmp_path: Path) -> None:
    found = plan(tmp_path, "net p { input x: bit[9] -> dense(5) -> sign -> dense(5) -> sign -> classify(2) }")
    assert found.encoders == (Signs(),)
    assert found.settings.groups is None
    found = plan(tmp_path, "net p { input x: trit[9] -> sign -> dense(5) -> sign -> classify(2) train { groups 5 } }")
    assert (found.encoders, found.settings.groups) == ((Signs(),), (5,))


def test_a_sequence(tmp_path: Path) -> None:
    text = (
        "net p { input x: u8[5, 9] -> thermometer(2, axis=1) -> c: recurrent(15) -> d: dense(9) -> sign -> classify(2)"
    )
    found = plan(tmp_path, text + " train { rule bep } }")
    assert (found.recurrence, found.widths, found.names) == (Recurrence(15, 5), (9,), ("c", "d"))
    assert found.encoders == (Thermometer(2, "even"),)


def test_frozen_layers_become_the_base(tmp_path: Path) -> None:
    text = """net p { weights random(1)
    input x: u8[1, 8, 8] -> threshold(99) -> conv(4, 3x3) -> sign -> flatten
      -> one: dense(15) -> sign -> classify(3)
    train { frozen true } }"""
    found = plan(tmp_path, text)
    assert found.base is not None
    assert str(found.base.outputs[0].value.type) == "bit[144]"
    assert (found.widths, found.encoders) == ((15,), ())


@pytest.mark.parametrize(
    "chain",
    [
        "sumpool(2) -> flatten -> dense(5) -> sign -> classify(2)",
        "flatten -> sign(3) -> dense(5) -> sign -> classify(2)",
        "flatten -> sign -> dense(5, weights=trit) -> sign -> classify(2)",
        "flatten -> sign -> dense(5) -> sign(2) -> classify(2)",
        "flatten -> sign -> dense(5) -> ternary -> classify(2)",
        "flatten -> sign -> classify(2)",
        "flatten -> dense(5) -> sign -> classify(2)",
    ],
)
def test_what_no_rule_covers_is_refused(chain: str, tmp_path: Path) -> None:
    with pytest.raises(BnncError, match="B0211"):
        plan(tmp_path, f"net p {{ input x: u8[1, 4, 4] -> {chain} }}")
