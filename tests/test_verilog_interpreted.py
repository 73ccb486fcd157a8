"""Circuits in yosys' own simulator: the reference's bits with no other simulator and no compiler."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from itertools import pairwise

import numpy as np
import pytest

from bnnc import api
from bnnc.backends.verilog import interpreted, simulators, synthesis
from bnnc.backends.verilog.design import Stream
from bnnc.backends.verilog.host import Compiled
from bnnc.backends.verilog.top import Axis
from bnnc.diagnostics import BnncError
from bnnc.ir import bit
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import U8, Bit
from bnnc.reference.run import run
from tests.circuits import agrees
from tests.strategies import random_inputs

needs_yosys = pytest.mark.skipif(synthesis.native_yosys() is None, reason="needs yosys (pip install pyosys)")


def dense(*widths: int) -> Module:
    """Dense layers with signs between them, as in a TFC."""
    rng = np.random.default_rng(0)
    x = Input("x", Bit(), (widths[0],))
    value: Op = x
    sums = None
    for inputs, outputs in pairwise(widths):
        sums = bit.Dense(value, rng.choice(np.array([-1, 1], np.int8), (outputs, inputs)))
        thresholds = rng.integers(-3, 4, (outputs, 1)).astype(np.int32)
        value = bit.Step(sums, thresholds, np.tile(np.array([[-1, 1]], np.int32), (outputs, 1)), Bit())
    assert sums is not None
    return Module("dense", (x,), (Output("y", sums),))


def conv() -> Module:
    """Pixels, a strided padded convolution, a pool of bits, scores: windows, rings and line buffers."""
    rng = np.random.default_rng(1)

    def signs(*shape: int) -> np.ndarray:
        return rng.choice(np.array([-1, 1], np.int8), shape)

    x = Input("x", U8, (1, 6, 7))
    first = bit.Conv(x, signs(3, 1, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1))
    ends = np.tile(np.array([[-1, 1]], np.int32), (3, 1))
    bits = bit.Step(first, np.array([[-90], [20], [130]], np.int32), ends, Bit())
    second = bit.Conv(bits, signs(4, 3, 3, 2), (2, 1), (0, 0, 0, 0), (1, 1))
    return Module("conv", (x,), (Output("y", second),))


@needs_yosys
@pytest.mark.parametrize("module", [dense(9, 4), dense(24, 8, 8, 3), conv()], ids=["one", "dense", "conv"])
def test_the_same_bits(module: Module) -> None:
    agrees(module, 5, batch=5, simulator="yosys")


@needs_yosys
@pytest.mark.parametrize("technology", ["generic", "ecp5", "xc7"])
def test_unrolled_layers(technology: str) -> None:
    agrees(dense(24, 8, 3), 6, batch=20, simulator="yosys", unroll="all", technology=technology)


@pytest.mark.skipif(shutil.which("yosys") is None, reason="needs yosys on PATH")
def test_yosys_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyosys" else whole(name))
    assert simulators.found("yosys")[0].command[0] == "yosys"
    agrees(conv(), 7, batch=2, simulator="yosys")


@needs_yosys
def test_a_batch_in_pieces_and_a_pace_that_was_guessed_too_high(monkeypatch: pytest.MonkeyPatch) -> None:
    module = dense(24, 8, 3)
    monkeypatch.setattr(interpreted, "CYCLES", 60)
    compiled = api.network(module, "verilog", {"simulator": "yosys", "pe": "1,1", "simd": "1,1"}, bits=module).compiled
    assert isinstance(compiled, Compiled)
    scripts = []
    whole = simulators.run

    def counted(*arguments: object) -> str:
        scripts.append(arguments[2])
        return whole(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(simulators, "run", counted)
    inputs = random_inputs(module, 0, 3)
    assert np.array_equal(compiled(inputs)["y"], run(module, inputs)["y"])
    assert len(scripts) == 1 + 3, "made flat once, and a piece for each sample"
    compiled._cycles, compiled._latency = 100, 100
    assert np.array_equal(compiled(inputs)["y"], run(module, inputs)["y"])
    assert len(scripts) > 1 + 3 + 3, "runs that had not ended were made again"


def test_only_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesis, "native_yosys", lambda: [sys.executable])
    monkeypatch.setattr(simulators, "verilator", lambda: None)
    other = simulators.Tool("iverilog", ("iverilog", "vvp"))
    monkeypatch.setattr(simulators, "iverilog", lambda: other)
    assert [tool.kind for tool in simulators.found()] == ["iverilog"]
    monkeypatch.setattr(simulators, "iverilog", lambda: None)
    assert [tool.kind for tool in simulators.found()] == ["yosys"]
    with pytest.raises(BnncError, match="B0602"):
        simulators.found("iverilog")


TRACE = """\
$version Yosys $end
$scope module feeder $end
$var wire 1 n1 clk $end
$var reg 1 n2 m_axis_moved $end
$var reg 8 n3 m_axis_word [7:0] $end
$var reg 8 n4 words[0] [7:0] $end
$upscope $end
$enddefinitions $end
#0
b1 n2
b00000001 n3
bx n1
#5
b0 n2
b0 n1
#10
b1 n1
b1 n2
b00000111 n3
#15
b0 n1
#20
1n1
b00001111 n3
#25
0n1
#30
b1 n1
0n2
#35
b0 n1
"""


def test_a_beat_crosses_once_a_cycle() -> None:
    axis = Axis("m_axis", Stream("y", 8, 1, 1, 1))
    assert interpreted.moved(TRACE.splitlines(keepends=True), (axis,)) == [["00000111", "00001111"]]


@needs_yosys
def test_a_circuit_that_hangs_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    module = dense(9, 4)
    whole = interpreted.feeder_text
    for old, new in (
        (".m_axis_tready(1'b1)", ".m_axis_tready(1'b0)"),
        ("m_axis_word <= m", "m_axis_word <= 16'bx ^ m"),
    ):
        monkeypatch.setattr(
            interpreted, "feeder_text", lambda *given, old=old, new=new: whole(*given).replace(old, new)
        )
        with pytest.raises(BnncError, match="B0623"):
            api.network(module, "verilog", {"simulator": "yosys"}, bits=module).run(random_inputs(module, 0, 2))
