"""Convolutions at any fold: several taps a cycle, whole windows, bit by bit; the same bits as the reference."""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnnc.backends.verilog.boundary import boundary_of
from bnnc.backends.verilog.design import Layer
from bnnc.backends.verilog.planner import layers_of
from bnnc.diagnostics import BnncError
from bnnc.ir import bit
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, DType, Int
from tests.circuits import bench, built, passes, write
from tests.verilog import divisors, examples, needs_iverilog, seeds

pytestmark = needs_iverilog


def weights(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Random ones: signs, ternary, or of four bits."""
    if kind == "signs":
        return rng.choice(np.array([-1, 1], np.int8), shape)
    found = rng.integers(-1, 2, shape) if kind == "ternary" else rng.integers(-7, 8, shape)
    found.reshape(-1)[0] = 1
    return found.astype(np.int8)


def convolution(data: st.DataObject, rng: np.random.Generator, dtype: DType) -> Module | None:
    """A random convolution, over one axis or two; None where there is no room for a window."""
    rank, groups = data.draw(st.integers(1, 2)), data.draw(st.sampled_from([1, 1, 2, 5]))

    def each(low: int, high: int, count: int = rank) -> tuple[int, ...]:
        return tuple(data.draw(st.integers(low, high)) for _ in range(count))

    size, kernel, strides, dilations, pads = each(1, 8), each(1, 4), each(1, 3), each(1, 2), each(0, 3, 2 * rank)
    room = [
        n + a + b - (k - 1) * d for n, a, b, k, d in zip(size, pads[:rank], pads[rank:], kernel, dilations, strict=True)
    ]
    if min(room) < 1:
        return None
    channels, outputs = groups * data.draw(st.sampled_from([1, 1, 2, 3, 6])), groups * data.draw(st.integers(1, 4))
    kind = data.draw(st.sampled_from(["signs", "signs", "ternary", "integers"]))
    x = Input("x", dtype, (channels, *size))
    w = weights(rng, kind, (outputs, channels // groups, *kernel))
    pad = data.draw(st.sampled_from([-1, 0, 1])) if isinstance(dtype, Bit) else data.draw(st.sampled_from([0, 1]))
    return Module("m", (x,), (Output("y", bit.Conv(x, w, strides, pads, dilations, groups, pad), "int64"),))


def fold(data: st.DataObject, layer: Layer) -> dict[str, str]:
    """A random fold, more often a wide one."""
    simd = divisors(layer.simds)
    widest = data.draw(st.booleans())
    return {
        "pe": str(data.draw(st.sampled_from(divisors(layer.outputs)))),
        "simd": str(data.draw(st.sampled_from(simd[-3:] if widest else simd))),
    }


@examples(8)
@given(st.data(), st.sampled_from([Bit(), Bit(), Int(0, 255), Int(-3, 2)]), seeds)
def test_any_convolution_at_any_fold(data: st.DataObject, dtype: DType, seed: int) -> None:
    module = convolution(data, np.random.default_rng(seed), dtype)
    if module is None:
        return
    (layer,) = layers_of(boundary_of(module))
    with TemporaryDirectory(prefix="bnnc-folds-") as folder:
        passes(module, Path(folder), **fold(data, layer))


def pixels(kind: DType, *shape: int) -> Module:
    """A first layer on pixels, its signs, and a layer on them."""
    rng = np.random.default_rng(len(shape))
    x = Input("x", kind, shape)
    conv = bit.Conv(x, weights(rng, "signs", (6, shape[0], 3, 3)), (1, 1), (1, 1, 1, 1), (1, 1), 1, 0)
    signs: Op = bit.Step(conv, np.zeros((1, 1), np.int32), np.array([[-1, 1]], np.int32), Bit())
    last = bit.Conv(signs, weights(rng, "signs", (4, 6, 3, 3)), (2, 2), (0, 0, 0, 0), (1, 1), 1, 0)
    return Module("pixels", (x,), (Output("y", last, "int64"),))


@pytest.mark.parametrize(("kind", "bits", "simd", "pe"), [(Int(0, 255), 8, 27, 2), (Int(-4, 3), 3, 3, 6)])
def test_bit_by_bit(kind: DType, bits: int, simd: int, pe: int, tmp_path: Path) -> None:
    """As many cycles as there are bits for each product, and the same sums."""
    module = pixels(kind, 3, 5, 6)
    passes(module, tmp_path, serial="1", simd=f"{simd},18", pe=f"{pe},4")
    assert (tmp_path / "rtl" / "bnnc_mvu_serial.v").exists()
    report = json.loads((tmp_path / "report.json").read_text())
    first = report["layers"][0]
    assert first["module"] == "bnnc_mvu_serial"
    assert first["cycles"] == 30 * 27 // simd * 6 // pe * bits
    cycles = int(re.search(r"cycles per image: (\d+)", bench(tmp_path))[1])  # type: ignore[index]
    assert abs(cycles - report["estimate"]["cycles"]) <= 0.02 * cycles


def test_only_layers_of_signs_on_integers_are_taken_bit_by_bit(tmp_path: Path) -> None:
    module = pixels(Int(0, 255), 1, 5, 5)
    write(module, tmp_path, serial="all")
    report = json.loads((tmp_path / "report.json").read_text())
    assert [layer["module"] for layer in report["layers"]] == ["bnnc_mvu_serial", "bnnc_mvu_bits"]
    for chosen, said in (("2", "bit by bit"), ("nothing", "no folded layer `nothing`"), ("1,", "no folded layer ``")):
        with pytest.raises(BnncError, match=said):
            write(module, tmp_path, serial=chosen)


def test_a_channel_by_itself_takes_a_cycle_a_pixel(tmp_path: Path) -> None:
    """Depthwise, with zeros around: its nine taps at once, so that no layer waits for its window."""
    rng = np.random.default_rng(0)
    x = Input("x", Bit(), (16, 10, 10))
    conv = bit.Conv(x, weights(rng, "signs", (16, 1, 3, 3)), (1, 1), (1, 1, 1, 1), (1, 1), 16, 0)
    write(Module("deep", (x,), (Output("y", conv, "int64"),)), tmp_path, simd="9", pe="1")
    built(tmp_path)
    cycles = int(re.search(r"cycles per image: (\d+)", bench(tmp_path))[1])  # type: ignore[index]
    assert cycles == 16 * (100 + 11)  # 11 more for what the last windows reach below the image
