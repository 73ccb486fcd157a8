"""Unrolled layers in Verilog: simulated in every technology against integers, on odd sizes and codes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from bnnc.backends.verilog.design import Stream
from bnnc.backends.verilog.unrolled.engine import Unrolled, unrolled_engine
from bnnc.backends.verilog.unrolled.layers import DenseLayer
from bnnc.backends.verilog.unrolled.technology import TECHNOLOGIES
from tests.verilog import RTL, needs_iverilog, pack, simulate, unpack


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
