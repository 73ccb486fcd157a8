"""Unrolled layers in Verilog: simulated in every technology against integers, on odd sizes and codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bnnc import api
from bnnc.backends.verilog.design import Stream
from bnnc.backends.verilog.unrolled.engine import Unrolled, unrolled_engine
from bnnc.backends.verilog.unrolled.layers import DenseLayer
from bnnc.backends.verilog.unrolled.technology import TECHNOLOGIES
from bnnc.diagnostics import BnncError
from bnnc.ir import bit, move
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.types import Bit, Trit
from tests.circuits import agrees
from tests.verilog import RTL, needs_iverilog, pack, simulate, tool, unpack
from tests.verilog import run as run_tool


def bits(lanes: int) -> Stream:
    """A stream of one beat of -1 and +1."""
    return Stream("bits", 1, lanes, lanes, 1, multiplier=2, offset=-1)


def values_of(stream: Stream, raw: np.ndarray) -> np.ndarray:
    """The elements that raw numbers stand for."""
    return raw * stream.multiplier + stream.offset


def expected(layers: Sequence[DenseLayer], x: np.ndarray) -> np.ndarray:
    """The layers in numpy: int64 [samples, inputs] to [samples, neurons]."""
    for layer in layers:
        acc = x @ layer.weights.T.astype(np.int64)
        if layer.thresholds is None or layer.values is None:
            x = acc
            continue
        thresholds = np.broadcast_to(layer.thresholds, (acc.shape[1], layer.thresholds.shape[1]))
        values = np.broadcast_to(layer.values, (acc.shape[1], layer.values.shape[1]))
        count = (thresholds[None] <= acc[:, :, None]).sum(2)
        x = values[np.arange(acc.shape[1]), count]
    return x


def run(engine: Unrolled, source: Stream, result: Stream, raw: np.ndarray, stall: int = 0) -> np.ndarray:
    """The raw results of a simulation of raw inputs [samples, lanes]."""
    extra = "\n".join(engine.files.values())
    cells = [RTL / "tech" / f"{name}.v" for name in engine.library]
    extra += "".join(cell.read_text() for cell in cells if cell.exists())
    beats = pack(raw, source.width)
    ports = {"in": (source.bits, beats)}, {"out": (result.bits, len(beats))}
    got = simulate(engine.module, {}, *ports, extra=extra, stall=stall)
    return unpack(got.beats["out"], result.lanes, result.width, result.signed)


def step(rng: np.random.Generator, weights: np.ndarray, falling: bool = True) -> DenseLayer:
    """A layer with one rising or falling threshold a neuron, some of them out of reach."""
    n, k = weights.shape
    thresholds = rng.integers(-k // 3 - 1, k // 3 + 2, (n, 1))
    thresholds[rng.random((n, 1)) < 0.1] = 10 * k
    thresholds[rng.random((n, 1)) < 0.1] = -10 * k
    values = np.where(rng.random((n, 1)) < 0.3 if falling else np.zeros((n, 1), bool), [[1, -1]], [[-1, 1]])
    return DenseLayer("step", weights, thresholds, values)


def signs(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    return rng.choice([-1, 1], (n, k)).astype(np.int8)


@needs_iverilog
@pytest.mark.parametrize("technology", TECHNOLOGIES)
@pytest.mark.parametrize(("sizes", "levels"), [((9, 5), 1), ((37, 13, 3), 2), ((130, 21, 7, 10), 3), ((1, 1), 1)])
def test_layers_of_signs_compute_the_same_sums_and_steps(technology: str, sizes: tuple[int, ...], levels: int) -> None:
    rng = np.random.default_rng(sum(sizes))
    layers = [step(rng, signs(rng, n, k)) for k, n in pairwise(sizes[:-1])]
    last = signs(rng, sizes[-1], sizes[-2])
    layers.append(DenseLayer("scores", last))
    source = bits(sizes[0])
    width = int(sizes[-2]).bit_length()
    result = Stream("scores", 1, sizes[-1], sizes[-1], width, multiplier=2, offset=-sizes[-2])
    engine = unrolled_engine("net", layers, source, result, technology, levels)
    raw = rng.integers(0, 2, (40, sizes[0]))
    got = run(engine, source, result, raw, stall=60)
    assert (values_of(result, got) == expected(layers, values_of(source, raw))).all()


def chain(rng: np.random.Generator) -> Module:
    """Bits, two dense layers with steps (one of them falling), sums."""
    x = Input("x", Bit(), (19,))
    first = bit.Dense(x, signs(rng, 12, 19))
    one = bit.Step(first, np.zeros((1, 1), np.int32), np.array([[-1, 1]], np.int32), Bit())
    second = bit.Dense(one, signs(rng, 7, 12))
    two = bit.Step(second, np.full((1, 1), 2, np.int32), np.array([[1, -1]], np.int32), Bit())
    return Module("chain", (x,), (Output("y", bit.Dense(two, signs(rng, 5, 7))),))


def pictures(rng: np.random.Generator) -> Module:
    """A padded convolution to ternary values, one of ternary weights with a stride, a dense layer."""
    x = Input("x", Bit(), (3, 6, 5))
    first = bit.Conv(x, signs(rng, 4, 27).reshape(4, 3, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1, -1)
    thresholds = np.sort(rng.integers(-9, 10, (4, 2)), axis=1).astype(np.int32)
    one = bit.Step(first, thresholds, np.tile(np.array([-1, 0, 1], np.int32), (4, 1)), Trit())
    weights = rng.integers(-1, 2, (5, 4, 3, 2)).astype(np.int8)
    second = bit.Conv(one, weights, (2, 1), (1, 0, 1, 0), (1, 1), 1, 0)
    two = bit.Step(second, np.array([[0]], np.int32), np.array([[-1, 1]], np.int32), Bit())
    flat = move.Reshape(two, (two.type.size,))
    return Module("pictures", (x,), (Output("y", bit.Dense(flat, signs(rng, 3, two.type.size))),))


@needs_iverilog
@pytest.mark.parametrize("technology", TECHNOLOGIES)
@pytest.mark.parametrize("make", [chain, pictures])
def test_a_network_of_unrolled_layers_gives_the_reference_s_bits(
    make: Callable[[np.random.Generator], Module], technology: str
) -> None:
    agrees(make(np.random.default_rng(1)), 1, unroll="all", technology=technology, levels="2")


@needs_iverilog
@pytest.mark.parametrize("layers", ["2", "1,3", "3,2"])
def test_some_layers_are_unrolled_and_the_others_are_folded(layers: str) -> None:
    agrees(chain(np.random.default_rng(2)), 2, unroll=layers)
    agrees(pictures(np.random.default_rng(3)), 3, unroll=layers)


def test_a_network_may_be_called_like_one_of_its_layers() -> None:
    module = chain(np.random.default_rng(0))
    files = api.emit(module, "verilog", unroll="all").files
    name = next(Path(file).stem for file in files if file.startswith("rtl/net_") and file.endswith("_unrolled.v"))
    again = api.emit(replace(module, name=name), "verilog", unroll="all")
    assert again.facts["top"] != name
    assert len(again.files) == len(files)


def test_equal_networks_give_equal_files_and_an_unknown_layer_is_an_error() -> None:
    module = chain(np.random.default_rng(4))
    first = api.emit(module, "verilog", unroll="all")
    assert dict(first.files) == dict(api.emit(module, "verilog", unroll="all").files)
    with pytest.raises(BnncError) as caught:
        api.emit(module, "verilog", unroll="9")
    assert caught.value.diagnostics[0].code == "B0621"


@pytest.mark.parametrize("technology", TECHNOLOGIES)
def test_unrolled_circuits_are_accepted_without_a_warning(technology: str, tmp_path: Path) -> None:
    linters = [["verilator", "--lint-only", "-Wall", "--top-module", "chain"]]
    linters += [[str(tool("verible-verilog-lint")), "--rules_config", str(RTL / ".rules.verible_lint")]]
    linters = [command for command in linters if tool(command[0])]
    if not linters:
        pytest.skip("needs verilator or verible-verilog-lint")
    artifact = api.emit(chain(np.random.default_rng(7)), "verilog", unroll="all", technology=technology)
    for path, content in artifact.files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    for command in linters:
        assert not run_tool([*command, *sorted(map(str, tmp_path.glob("rtl/*.v")))], tmp_path)
