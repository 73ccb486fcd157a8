"""Circuits of whole networks, simulated: the reference's bits, at full speed and with pauses on all sides."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnnc import api
from bnnc.diagnostics import BnncError
from bnnc.ir import bit, fixed, move
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, Code, DType, Fix, Int, Trit
from bnnc.passes.options import PassOptions
from tests.circuits import agrees, passes
from tests.fixed_networks import fixed_modules
from tests.shared import ROOT, SHARED, needs_shared
from tests.strategies import bit_modules, integers_of
from tests.verilog import needs_iverilog, needs_verilator

pytestmark = needs_iverilog
NETS, ZOO = SHARED / "models" / "nets", SHARED / "models" / "zoo"
NAMES = sorted(path.stem for path in NETS.glob("*.onnx")) if NETS.is_dir() else []
ZOO_NAMES = sorted(path.stem for path in ZOO.glob("*/*.onnx")) if ZOO.is_dir() else []
relaxed = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """What follows works, or there is no engine for it."""
    try:
        yield
    except BnncError as reason:
        if reason.diagnostics[0].code != "B0622":
            raise


def agrees_or_is_refused(module: Module, seed: int) -> None:
    """What has three spatial axes, or no input that reaches the output, has no engine."""
    with refused():
        agrees(module, seed)


@given(bit_modules(7), st.integers(0, 99))
@settings(relaxed, max_examples=25)
def test_random_networks_of_bits_and_integers(module: Module, seed: int) -> None:
    agrees_or_is_refused(module, seed)


@given(fixed_modules(5), st.integers(0, 99))
@settings(relaxed, max_examples=15)
def test_random_fixed_point_networks(module: Module, seed: int) -> None:
    agrees_or_is_refused(module, seed)


@pytest.mark.slow
@given(bit_modules(16), st.integers(0, 99))
@settings(relaxed, max_examples=600)
def test_many_random_networks_of_bits_and_integers(module: Module, seed: int) -> None:
    agrees_or_is_refused(module, seed)


@pytest.mark.slow
@given(fixed_modules(9), st.integers(0, 99))
@settings(relaxed, max_examples=250)
def test_many_random_fixed_point_networks(module: Module, seed: int) -> None:
    agrees_or_is_refused(module, seed)


def residual(dtype: DType, channels: int = 3, side: int = 4, seed: int = 0) -> Module:
    """A stem, a block around which the stream of sums runs, a branch that is strided and joined, a dense head."""
    rng = np.random.default_rng(seed)

    def conv(x: Op, filters: int, kernel: int, **more: object) -> Op:
        pads = (kernel // 2,) * 4
        weights = rng.choice(np.array([-1, 1], np.int8), (filters, x.type.shape[0], kernel, kernel))
        settings: dict[str, object] = {"strides": (1, 1), "pads": pads, "dilations": (1, 1), "pad_value": 0, **more}
        return bit.Conv(x, weights, **settings)  # type: ignore[arg-type]

    def sign(x: Op) -> Op:
        thresholds = np.sort(rng.integers(-5, 6, (x.type.shape[0], 1))).astype(np.int32)
        values = rng.permuted(np.tile(np.array([-1, 1], np.int32), (x.type.shape[0], 1)), axis=1)
        return bit.Step(x, thresholds, values, Bit())

    x = Input("x", dtype, (3, side, side))
    stem = conv(x, channels, 3, pad_value=1)
    first = bit.Add((conv(sign(stem), channels, 3), stem), (1, 1))
    second = bit.Add((conv(sign(first), channels, 3, pad_value=-1), first), (2, -1))
    narrow = conv(sign(second), channels + 2, 3, strides=(2, 2))
    short = conv(sign(second), channels + 2, 1, strides=(2, 2), pads=(0, 0, 0, 0))
    joined = move.Concat((sign(narrow), sign(short)), 0)
    pooled = bit.Pool(joined, "max", (2, 2), (2, 2), (0,) * 4, (1, 1), True)
    flat = move.Reshape(pooled, (pooled.type.size,))
    weights = rng.choice(np.array([-1, 0, 1], np.int8), (7, flat.type.size))
    return Module("residual", (x,), (Output("y", bit.Dense(flat, weights), "int64"),))


@pytest.mark.parametrize("dtype", [Trit(), Int(0, 255)], ids=str)
def test_branches_that_meet_again_never_wait_for_each_other(dtype: DType, tmp_path: Path) -> None:
    passes(residual(dtype), tmp_path)


def test_a_signal_of_one_axis(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x = Input("x", Int(-128, 127), (3, 37))
    first = bit.Conv(x, rng.choice(np.array([-1, 1], np.int8), (7, 3, 5)), (2,), (2, 1), (2,), 1, 0)
    steps = np.sort(rng.integers(-200, 200, (7, 3)), 1).astype(np.int32)
    codes = bit.Step(first, steps, np.tile(np.array([-3, -1, 1, 3], np.int32), (7, 1)), Code(2, 2, -3))
    second = bit.Conv(codes, rng.integers(-3, 4, (14, 1, 3)).astype(np.int8), (1,), (1, 1), (1,), 7, 0)
    pooled = bit.Pool(second, "sum", (3,), (3,), (1, 1), (1,))
    passes(Module("signal", (x,), (Output("y", pooled, "int64"),)), tmp_path)


@given(bit_modules(9))
@settings(relaxed, max_examples=6)
def test_pauses_change_nothing(module: Module) -> None:
    with tempfile.TemporaryDirectory() as folder, refused():
        passes(module, Path(folder))


@pytest.mark.parametrize("fold", ["1", "all"])
def test_any_fold_gives_the_same_bits(fold: str) -> None:
    module = residual(Trit(), channels=4, side=4, seed=3)
    layers = json.loads(api.emit(module, "verilog").files["report.json"])["layers"]
    pe = ",".join("1" if fold == "1" else str(layer["outputs"]) for layer in layers)
    # Where zeros stand around bits, the inputs that are read at once are channels of one tap.
    simd = ",".join(
        "1" if fold == "1" else str(layer["inputs"] if layer["module"] != "bnnc_mvu_bits" else 1) for layer in layers
    )
    agrees(module, 5, pe=pe, simd=simd)


@pytest.mark.slow
def test_the_example(tmp_path: Path) -> None:
    passes(
        api.optimise(api.load(ROOT / "examples" / "mnist" / "model.onnx")),
        tmp_path,
        pe="16,16,16,2",
        simd="25,16,16,32",
    )


@needs_shared
def test_a_network_of_the_zoo(tmp_path: Path) -> None:
    module = api.optimise(api.load(ZOO / "TFC_1W1A" / "TFC_1W1A.onnx"))
    passes(module, tmp_path, pe="16,8,8,10", simd="49,16,8,8")
    printed = (tmp_path / "sim.log").read_text()
    assert "cycles per image: 64" in printed


def fixture(name: str) -> tuple[Module, dict[str, np.ndarray]]:
    """A network whose input is taken for pixels, in fixed point, and a few samples."""
    arrays = np.load(NETS / f"{name}.npz")
    rng = np.random.default_rng(0)
    inputs = {k[3:]: rng.integers(0, 256, arrays[k].shape)[:2] for k in arrays.files if k.startswith("in_")}
    module = api.load(NETS / f"{name}.onnx", pixels={"": (1 / 255, (0.5,), (0.25,))})
    return api.optimise(module, options=PassOptions(stream="fixed", inputs=inputs)), inputs


@pytest.mark.slow
@needs_shared
@needs_verilator
@pytest.mark.parametrize("name", NAMES)
def test_every_export_on_pixels_in_fixed_point(name: str) -> None:
    try:
        module, inputs = fixture(name)
    except BnncError as reason:
        pytest.skip(str(reason))
    verdict = api.check(module, "verilog", inputs=inputs, simulator="verilator")
    assert verdict.agreement.inputs == verdict.agreement.equal == 2


@pytest.mark.slow
@needs_shared
@needs_verilator
@pytest.mark.parametrize("name", ZOO_NAMES)
def test_every_network_of_the_zoo_on_its_samples(name: str) -> None:
    arrays = np.load(ZOO / name / "sample.npz")
    module = api.load(ZOO / name / f"{name}.onnx")
    inputs = {module.inputs[0].name: arrays["image"].reshape(-1, *module.inputs[0].type.shape)}
    verdict = api.check(module, "verilog", inputs=inputs, simulator="verilator")
    assert verdict.agreement.inputs == verdict.agreement.equal == len(arrays["image"])


@pytest.mark.parametrize(("factor", "shift"), [(1 << 45, 28), (3 << 33, 35), (-(1 << 33), 20), (1 << 20, 22), (5, 3)])
def test_pools_with_factors_of_any_size(factor: int, shift: int) -> None:
    x = Input("x", Int(-6120, 5865), (2, 4, 4))
    pool = fixed.Pool(x, (2, 2), (2, 2), (0,) * 4, (1, 1), False, factor, shift, Fix(15, 17))
    agrees(Module("pool", (x,), (Output("y", fixed.Decode(pool)),)), 1)


def test_types_of_inputs_reach_their_ends() -> None:
    for dtype in (Trit(), Code(3, 2, -7), Int(-1, 0), Int(5, 9)):
        rng = np.random.default_rng(2)
        x = Input("x", dtype, (6,))
        assert integers_of(dtype, rng, (4,)).shape == (4,)
        dense = bit.Dense(x, rng.integers(-2, 3, (3, 6)).astype(np.int8))
        agrees(Module("ends", (x,), (Output("y", dense, "int64"),)), 1)
