"""The commands on a real network, the shipped example: what they print, the JSON they promise, and their exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnnc import api, peers
from bnnc.cli import check as check_command
from bnnc.data import npz
from bnnc.diagnostics import BnncError
from tests.cli import EXAMPLE, MODEL, bnnc
from tests.shared import SHARED, needs_shared

SEVEN = EXAMPLE / "seven.png"
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ------------------------------------------------------------------------------------------------------------ compile
def test_compile_has_the_promised_document() -> None:
    done = bnnc("compile", MODEL, "--check=5", "--json")
    assert done.code == 0
    document = done.json
    assert list(document) == [
        "schema", "ok", "model", "target", "artifacts", "memory", "layers", "check", "seconds", "diagnostics"
    ]  # fmt: skip
    assert (document["schema"], document["ok"], document["target"]) == ("bnnc.compile/1", True, "llvm")
    assert document["model"] == "model.onnx"
    assert {"build/model/llvm/model.o", "build/model/llvm/model.h", "build/model/llvm/facts.json"} <= set(
        document["artifacts"]
    )
    assert all(Path(path).is_file() for path in document["artifacts"])
    assert document["memory"].keys() == {"arena_bytes", "weight_bytes"}
    assert document["check"] == {"inputs": 5, "equal": 5}
    conv = document["layers"][1]
    assert list(conv) == ["name", "op", "output", "bit_macs", "packed", "why"]
    assert (conv["name"], conv["op"], conv["bit_macs"]) == ("conv2", "bit.conv", 16 * 32 * 9 * 100)
    assert (conv["packed"], conv["why"]) == (True, None)


def test_compile_tells_people_five_things_and_what_comes_next() -> None:
    done = bnnc("compile", MODEL)
    assert done.out == ""
    words = [line.split()[0] for line in done.err.splitlines() if line.startswith("  ")]
    assert words == ["read", "optimised", "planned", "built", "checked"]
    assert f"next: bnnc run {MODEL}" in done.err
    assert bnnc("compile", MODEL, "-q").err == ""
    assert "conv3" in bnnc("compile", MODEL, "-v").err


def test_a_bare_check_option_means_auto() -> None:
    assert bnnc("compile", MODEL, "--check", "--json").json["check"]["inputs"] > 5
    assert bnnc("compile", "--check", "3", MODEL, "--json").json["check"]["inputs"] == 3
    assert bnnc("compile", MODEL, "--no-check", "--json").json["check"] is None


@pytest.mark.parametrize(("kind", "file"), [("obj", "model.o"), ("asm", "model.s"), ("ll", "model.ll")])
def test_the_kind_of_artifact_can_be_chosen(kind: str, file: str) -> None:
    assert bnnc("compile", MODEL, "-X", f"kind={kind}", "--no-check").code == 0
    assert Path("build/model/llvm", file).stat().st_size > 1000
    assert not Path("build/model/llvm/model.so").exists()


def test_equal_models_give_equal_files() -> None:
    for folder in ("one", "two"):
        bnnc("compile", MODEL, "-o", folder, "--check=1")
    done = subprocess.run(["diff", "-r", "one", "two"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(("flag", "word"), [("--max-ram", "of memory"), ("--max-flash", "for the weights")])
def test_a_missed_budget_stops_the_build(flag: str, word: str) -> None:
    done = bnnc("compile", MODEL, flag, "1KiB", "--json")
    assert done.code == 3
    assert done.codes == ["B0701"]
    assert word in done.json["diagnostics"][0]["message"]
    assert not Path("build").exists()
    assert bnnc("compile", MODEL, flag, "1MiB").code == 0
    assert bnnc("emit", MODEL, flag, "1KiB").code == 3


def test_code_for_another_machine_is_built_and_not_checked() -> None:
    done = bnnc("compile", MODEL, "--machine", "aarch64", "--json")
    assert done.code == 0
    assert done.json["check"] is None
    assert "not checked" in done.err


def test_an_unknown_machine_is_a_usage_error() -> None:
    done = bnnc("compile", MODEL, "--machine", "zx81", "--json")
    assert done.code == 2
    assert done.codes == ["B0601"]


def test_a_model_from_standard_input() -> None:
    done = bnnc("compile", "-", "--check=1", "--json", stdin=MODEL.read_bytes())
    assert done.code == 0
    assert done.json["model"] == "standard input"
    assert Path("build/stdin/llvm/facts.json").is_file()


def test_emit_writes_the_ir_and_prints_its_path() -> None:
    done = bnnc("emit", MODEL, "-o", "source")
    assert done.out == "source/model.ll\n"
    assert "define" in Path("source/model.ll").read_text()


# ---------------------------------------------------------------------------------------------------------------- run
@pytest.mark.parametrize("on", ["llvm", "reference"])
@pytest.mark.parametrize("digit", [0, 3, 7])
def test_run_prints_the_class(digit: int, on: str) -> None:
    done = bnnc("run", MODEL, "--input", EXAMPLE / f"{DIGITS[digit]}.png", "--on", on)
    assert done.code == 0
    assert done.out.startswith(f"class {digit}   (scores {digit}: ")


def test_run_writes_the_outputs_under_the_names_of_the_model() -> None:
    pixels = np.random.default_rng(0).random((5, 1, 28, 28), np.float32)
    Path("in.npz").write_bytes(npz.dump({"in_pixels": pixels}))
    done = bnnc("run", MODEL, "--input", "in.npz", "-o", "deep/out.npz", "--json")
    assert done.code == 0
    with np.load("deep/out.npz") as outputs:
        assert outputs.files == ["scores"]
        assert (outputs["scores"].shape, outputs["scores"].dtype) == ((5, 10), np.dtype(np.float32))
        assert done.json["outputs"]["scores"]["values"] == outputs["scores"].tolist()
        assert done.json["classes"] == outputs["scores"].argmax(1).tolist()
    assert done.json["inputs"] == 5


def test_run_adds_the_value_of_every_layer() -> None:
    assert bnnc("run", MODEL, "--input", SEVEN, "-o", "out.npz", "--dump-layers").code == 0
    with np.load("out.npz") as outputs:
        assert outputs["layer/conv1/bit.conv"].shape == (1, 16, 12, 12)
        assert outputs["layer/votes/bit.dense"].shape == (1, 10)
        assert np.array_equal(outputs["layer/votes/bit.dense"][0] / np.float32(32), outputs["scores"][0])


def test_run_needs_one_source_of_data() -> None:
    assert bnnc("run", MODEL, "--json").codes == ["B0101"]
    assert bnnc("run", MODEL, "--input", SEVEN, "--data", "mnist", "--json").codes == ["B0101"]


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.zeros((1, 1, 28, 27), np.float32), "B0512"),
        (np.full((1, 1, 28, 28), np.nan, np.float32), "B0515"),
        (np.zeros((1, 1, 28, 28), complex), "B0513"),
    ],
)
def test_arrays_that_do_not_fit(array: np.ndarray, code: str) -> None:
    np.save("x.npy", array)
    for command in ("run", "check", "bench"):
        done = bnnc(command, MODEL, "--input", "x.npy", "--json")
        assert done.code == 1
        assert done.codes == [code]


def test_an_empty_batch_is_no_accident() -> None:
    np.save("x.npy", np.zeros((0, 1, 28, 28), np.float32))
    done = bnnc("run", MODEL, "--input", "x.npy", "--json")
    assert (done.code, done.json["classes"]) == (0, [])


@needs_shared
def test_run_on_a_data_set_gives_the_accuracy() -> None:
    done = bnnc("run", MODEL, "--data", "mnist", "--data-dir", SHARED / "data", "--json")
    assert (done.json["inputs"], done.json["accuracy"]) == (10_000, 0.987)
    assert done.err.count("fed pixel/255") == 1
    people = bnnc("run", MODEL, "--data", "mnist", BNNC_DATA=str(SHARED / "data"))
    assert people.out == "accuracy 98.70 %   (9870 of 10000, mnist test)\n"


@needs_shared
def test_an_accuracy_under_the_limit_stops_the_release() -> None:
    for command in ("run", "check"):
        done = bnnc(command, MODEL, "--data", "mnist", "--data-dir", SHARED / "data", "--fail-under", "0.99", "--json")
        assert done.code == 3
        assert done.codes == ["B0802"]
        assert done.json["ok"] is False


@needs_shared
def test_images_that_do_not_fit_the_network() -> None:
    done = bnnc("run", MODEL, "--data", "cifar-10", "--data-dir", SHARED / "data", "--json")
    assert done.code == 1
    assert done.codes == ["B0502"]


def test_data_that_is_not_here() -> None:
    done = bnnc("run", MODEL, "--data", "mnist", "--data-dir", "nowhere", "--json")
    assert (done.code, done.codes) == (4, ["B0503"])


# -------------------------------------------------------------------------------------------------------------- check
def test_check_has_the_promised_document() -> None:
    document = bnnc("check", MODEL, "--json").json
    assert document["check"] == {
        "inputs": 100, "equal": 100, "exempt_ties": 0, "max_abs_error": 0.0, "accuracy": None
    }  # fmt: skip


def test_check_against_onnxruntime() -> None:
    found = bnnc("check", MODEL, "--vs", "onnxruntime", "--json").json["check"]
    assert found["inputs"] == found["equal"] + found["exempt_ties"] == 100
    assert found["max_abs_error"] < 1e-4


def test_check_against_recorded_outputs() -> None:
    pixels = np.random.default_rng(0).random((5, 1, 28, 28), np.float32)
    scores = api.run(MODEL, {"pixels": pixels})["scores"]
    Path("good.npz").write_bytes(npz.dump({"in_pixels": pixels, "out_scores": scores}))
    assert bnnc("check", MODEL, "--input", "good.npz", "--vs", "good.npz", "--json").json["check"]["equal"] == 5
    scores[3, 4] += 1
    Path("wrong.npz").write_bytes(npz.dump({"pixels": pixels, "scores": scores}))
    done = bnnc("check", MODEL, "--input", "wrong.npz", "--vs", "wrong.npz", "--json")
    assert done.code == 3
    assert done.codes == ["B0801"]
    assert (done.json["check"]["inputs"], done.json["check"]["equal"]) == (5, 4)
    assert "input 3, output `scores`, element [4]" in done.json["diagnostics"][0]["notes"][0]


def test_recorded_outputs_that_do_not_fit() -> None:
    pixels = np.zeros((2, 1, 28, 28), np.float32)
    for name, scores in (("other", np.zeros((2, 10))), ("scores", np.zeros((3, 10)))):
        Path("x.npz").write_bytes(npz.dump({"pixels": pixels, f"out_{name}": scores}))
        assert bnnc("check", MODEL, "--input", "x.npz", "--vs", "x.npz", "--json").codes == ["B0506"]
    assert bnnc("check", MODEL, "--vs", "x.npz", "--json").codes == ["B0101"]
    assert bnnc("check", MODEL, "--vs", "onxruntime", "--json").codes == ["B0101"]


class OneWrong:
    """A compiled network that gets one element of the sample 11 of a series wrong."""

    def __init__(self, compiled: Any) -> None:
        self.compiled, self.seen = compiled, 0

    def __call__(self, inputs: Any) -> dict[str, np.ndarray]:
        outputs: dict[str, np.ndarray] = self.compiled(inputs)
        start, self.seen = self.seen, self.seen + len(inputs["pixels"])
        if start <= 11 < self.seen:
            outputs["scores"][11 - start, 2] += 1
        return outputs


def test_a_difference_is_named_saved_and_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = api.network

    def broken(*arguments: Any, **options: Any) -> api.Network:
        network = whole(*arguments, **options)
        network.compiled = OneWrong(network.compiled)
        return network

    with monkeypatch.context() as patch:
        patch.setattr(api, "network", broken)
        done = bnnc("check", MODEL, "--json")
        compiled = bnnc("compile", MODEL, "--check=20", "--json")
    assert done.code == 3
    (diagnostic,) = done.json["diagnostics"]
    assert diagnostic["code"] == "B0801"
    assert diagnostic["message"] == "target `llvm` differs from the reference on 1 of 100 inputs"
    assert "input 11, output `scores`, element [2]" in diagnostic["notes"][0]
    assert done.json["check"]["equal"] == 99
    assert diagnostic["help"][0].startswith("bnnc check build/model/check/repro.bnnm --input ")
    assert compiled.code == 3
    assert compiled.codes == ["B0801"]
    assert not Path("build/model/llvm").exists()
    again = bnnc(*diagnostic["help"][0].split()[1:], "--json")
    assert again.code == 0, "the repaired target agrees on the saved input"
    assert again.json["check"]["inputs"] == 1


def test_every_pass_is_checked_and_a_broken_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    done = bnnc("check", MODEL, "--each-pass", "--check", "4", "--json")
    assert done.code == 0
    names = [row["name"] for row in done.json["passes"]]
    assert {"layers", "tabulate"} <= set(names)
    assert all(row["inputs"] == row["equal"] == 4 for row in done.json["passes"])
    assert "tabulate" in bnnc("check", MODEL, "--each-pass", "--check", "4").out

    from bnnc.passes import pipelines

    def spoil(module: Any) -> Any:
        import dataclasses

        from bnnc.ir import nn

        first = module.outputs[0]
        return dataclasses.replace(
            module, outputs=(dataclasses.replace(first, value=nn.Map("neg", (first.value,))), *module.outputs[1:])
        )

    broken = dataclass_replace(pipelines.LOWERING[-1], name="spoil", run=spoil)
    monkeypatch.setattr(pipelines, "LOWERING", (*pipelines.LOWERING, broken))
    done = bnnc("check", MODEL, "--each-pass", "--check", "4", "--json")
    assert done.code == 3
    assert done.codes[0] == "B0803"
    assert "`spoil`" in done.json["diagnostics"][0]["message"]


def dataclass_replace(value: Any, **changes: Any) -> Any:
    import dataclasses

    return dataclasses.replace(value, **changes)


def test_without_onnxruntime_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    for command in ("check", "bench"):
        done = bnnc(command, MODEL, "--vs", "onnxruntime", "--json")
        assert (done.code, done.codes) == (4, ["B0605"])
        assert done.json["diagnostics"][0]["help"] == ["pip install onnxruntime"]
    assert peers.PEERS == ("onnxruntime",)


def test_the_reference_is_not_run_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_command, "SECONDS", 0.0)
    assert bnnc("check", MODEL, "--json").json["check"]["inputs"] == 1
    assert bnnc("check", MODEL, "--check=20", "--json").json["check"]["inputs"] == 20


# --------------------------------------------------------------------------------------------------------- show, bench
def test_show_prints_every_level() -> None:
    assert "nn.conv" in bnnc("show", MODEL, "--at", "nn").out
    assert "bit.conv" in bnnc("show", MODEL).out
    assert "nn.conv" not in bnnc("show", MODEL).out
    assert "for " in bnnc("show", MODEL, "--at", "loop").out
    assert "bit.step" in bnnc("show", MODEL, "--at", "tabulate").out
    assert bnnc("show", MODEL, "--at", "tabulat", "--json").json["diagnostics"][0]["help"] == [
        "did you mean `tabulate`?"
    ]


def test_show_prints_after_passes() -> None:
    done = bnnc("show", MODEL, "--print-after", "layers", "--print-after", "canonical")
    assert done.out.index("# after canonical:") < done.out.index("# after layers:")
    assert bnnc("show", MODEL, "--print-after", "all").out.count("# after ") > 8


def test_show_for_scripts() -> None:
    document = bnnc("show", MODEL, "--json").json
    assert (document["level"], document["at"]) == ("bit", "bit")
    ops = {op["id"]: op for op in document["ops"]}
    conv = next(op for op in ops.values() if op["name"] == "conv1")
    assert conv["attributes"]["weights"]["shape"] == [16, 1, 5, 5]
    assert ops[conv["operands"][0]]["op"] == "bit.step"
    names = [row["name"] for row in bnnc("show", "--passes", "--json").json["passes"]]
    assert {"tabulate", "pool-bits"} <= set(names)
    assert names[-1] == "streams"


def test_bench_has_the_promised_document() -> None:
    done = bnnc("bench", MODEL, "--batch", "4", "--seconds", "0.05", "--vs", "onnxruntime", "--json")
    assert done.code == 0
    found = done.json["bench"]
    assert found.keys() == {"median_us", "min_us", "per_sample_us", "call_overhead_us", "runs"}
    assert 0 < found["min_us"] <= found["median_us"]
    assert found["per_sample_us"] == pytest.approx(found["median_us"] / 4, rel=0.01)
    for layer in done.json["layers"]:
        assert layer.keys() == {"name", "op", "median_us", "bit_macs", "roofline_share"}
    packed = [layer for layer in done.json["layers"] if layer["bit_macs"]]
    assert [(layer["name"], layer["op"]) for layer in packed] == [
        ("conv1", "bit.conv"),
        ("conv2", "bit.conv"),
        ("conv3", "bit.conv"),
        ("votes", "bit.dense"),
    ]
    assert all(0 < layer["roofline_share"] < 1.5 for layer in packed)
    peer = done.json["peer"]
    assert peer["ratio"] == pytest.approx(peer["median_us"] / found["median_us"], rel=0.02)
    assert "times as fast as onnxruntime" in bnnc("bench", MODEL, "--seconds", "0.05", "--vs", "onnxruntime").out


def test_bench_of_the_reference_and_of_threads() -> None:
    for more in (["--target", "reference"], ["--threads", "2", "--batch", "8"]):
        assert bnnc("bench", MODEL, "--seconds", "0.05", *more, "--json").json["bench"]["median_us"] > 0


# ------------------------------------------------------------------------------------------------------------- Python
def test_the_python_api() -> None:
    import bnnc as package

    pixels = np.random.default_rng(0).random((3, 1, 28, 28), np.float32)
    network = package.compile(MODEL, threads=2)
    scores = network(pixels)
    assert isinstance(scores, np.ndarray)
    slow = package.compile(package.load(MODEL), target="reference")
    for again in (network(pixels=pixels), slow(pixels)):
        assert np.array_equal(scores, np.asarray(again))
    assert np.array_equal(scores, package.run(MODEL, {"pixels": pixels})["scores"])
    assert package.check(MODEL, count=5).agreement.equal == 5
    assert list(package.emit(MODEL).files) == ["model.ll"]
    verdict = package.check(MODEL, inputs={"pixels": pixels}, labels=np.asarray(scores).argmax(1))
    assert verdict.accuracy == 1.0


@pytest.mark.parametrize("call", ["too many", "twice", "none", "shape"])
def test_calls_that_do_not_fit(call: str) -> None:
    network = api.compile(MODEL)
    good = np.zeros((1, 1, 28, 28), np.float32)
    calls: dict[str, Any] = {
        "too many": lambda: network(good, good),
        "twice": lambda: network(good, pixels=good),
        "none": lambda: network(),
        "shape": lambda: network(good[0]),
    }
    with pytest.raises(BnncError):
        calls[call]()


def test_pixels_make_a_network_of_bytes() -> None:
    plain = bnnc("run", MODEL, "--input", SEVEN, "--json").json["outputs"]
    mapped = bnnc("run", MODEL, "--pixels", "1/255", "--input", SEVEN, "--json")
    assert mapped.json["outputs"] == plain
    assert "pixel/255" not in mapped.err
    assert "u8[1, 28, 28]" in bnnc("show", MODEL, "--pixels", "pixels=1/255").out
    found = bnnc("check", MODEL, "--pixels", "1/255", "--vs", "onnxruntime", "--json").json["check"]
    assert found["equal"] + found["exempt_ties"] == 100


def test_a_copy_of_the_model_elsewhere_gives_the_same_bytes(in_an_empty_folder: Path) -> None:
    shutil.copy(MODEL, in_an_empty_folder / "model.onnx")
    one = bnnc("compile", MODEL, "-o", "one", "--no-check", "--json").json
    two = bnnc("compile", "model.onnx", "-o", "two", "--no-check", "--json").json
    assert one["layers"] == two["layers"]
    assert subprocess.run(["diff", "-r", "one", "two"], check=False).returncode == 0
    assert json.loads(Path("one/facts.json").read_text())["model"] == "model.onnx"
