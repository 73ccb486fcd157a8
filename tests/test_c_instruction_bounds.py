"""The bound of a run's instructions: no input executes more on an emulated board, and it is not far above the worst."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import microcontrollers
from bnnc.backends.c import Backend
from bnnc.backends.c.boards import find
from bnnc.backends.c.boards.emulated import Emulated
from bnnc.backends.c.instruction_bounds import instruction_bounds
from bnnc.backends.c.instruction_costs import COSTS
from bnnc.ir import bit, move
from bnnc.ir.location import Location
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, Int, Trit
from bnnc.loops.builder import Builder
from bnnc.loops.ir import I32, I64, Function, Program, Promise, compare, load
from bnnc.loops.lower.network import lower
from bnnc.loops.machine import CONTROLLERS
from bnnc.loops.types import constant_buffer
from bnnc.reference.loop import LoopError, run_entry
from tests.test_c_rows import Growing

FARTHEST = 6


def signs(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.choice([-1, 1], shape).astype(np.int8)


def step(rng: np.random.Generator, sums: Op) -> Op:
    outputs = sums.type.shape[0]
    thresholds = rng.integers(-8, 9, (outputs, 1)).astype(np.int32)
    return bit.Step(sums, thresholds, np.tile(np.array([[-1, 1]], np.int32), (outputs, 1)), Bit(), loc=sums.loc)


def digits() -> Module:
    """A small CNN on pixels, with channels that fill no word and a pool of three."""
    rng = np.random.default_rng(7)
    x = Input("image", Int(0, 255), (1, 20, 20))
    value: Op = x
    for outputs, size in ((12, 2), (40, 3)):
        pad = 0 if value is x else -1
        weights = signs(rng, outputs, value.type.shape[0], 3, 3)
        sums = bit.Conv(value, weights, (1, 1), (1, 1, 1, 1), (1, 1), 1, pad, loc=Location(f"conv{outputs}"))
        value = bit.Pool(step(rng, sums), "max", (size, size), (size, size), (0, 0, 0, 0), (1, 1))
    flat = move.Reshape(value, (value.type.size,))
    return Module("digits", (x,), (Output("y", bit.Dense(flat, signs(rng, 10, flat.type.size)), "int32"),))


def ternary() -> Module:
    """A convolution with zeros among its weights, strides of two and an even kernel."""
    rng = np.random.default_rng(8)
    x = Input("x", Bit(), (20, 9, 7))
    weights = signs(rng, 33, 20, 3, 2)
    weights[rng.random(weights.shape) < 0.3] = 0
    conv = bit.Conv(x, weights, (2, 1), (1, 0, 1, 1), (1, 1), 1, 1)
    return Module("ternary", (x,), (Output("y", step(rng, conv), "int8"),))


def few_bits() -> Module:
    """Ternary activations between a convolution and a dense layer."""
    rng = np.random.default_rng(10)
    x = Input("x", Bit(), (16, 6, 6))
    conv = bit.Conv(x, signs(rng, 40, 16, 3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1, -1)
    table = np.tile(np.array([[-1, 0, 1]], np.int32), (40, 1))
    three = bit.Step(conv, np.tile(np.array([[-3, 4]], np.int32), (40, 1)), table, Trit())
    second = step(rng, bit.Conv(three, signs(rng, 33, 40, 3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 1, 0))
    return Module("few_bits", (x,), (Output("y", second, "int8"),))


def perceptron() -> Module:
    rng = np.random.default_rng(9)
    x = Input("x", Bit(), (300,))
    hidden = step(rng, bit.Dense(x, signs(rng, 70, 300)))
    return Module("perceptron", (x,), (Output("y", bit.Dense(hidden, signs(rng, 10, 70)), "int32"),))


NETWORKS = {
    "dense": microcontrollers.dense,
    "convolution": microcontrollers.convolution,
    "digits": digits,
    "ternary": ternary,
    "perceptron": perceptron,
    "few bits": few_bits,
}


def samples(module: Module) -> np.ndarray:
    """Inputs of all densities: random ones, all ones, all minus ones, half of them, and the middle columns, which are
    in the most windows."""
    rng = np.random.default_rng(0)
    (x,) = module.inputs
    shape, width = x.type.shape, x.type.shape[-1]
    half = np.arange(x.type.size).reshape(shape) % 2 == 0
    columns = np.arange(width)
    middles = [abs(2 * columns - (width - 1)) < wide for wide in (width // 2, width // 2 + 1)]
    sets = [*(rng.random((2, *shape)) < 0.5), np.ones(shape, bool), np.zeros(shape, bool), half]
    sets += [np.broadcast_to(middle, shape) for middle in middles]
    chosen = np.stack(sets)
    if isinstance(x.type.dtype, Int):
        return np.concatenate([np.where(chosen, 255, 0), rng.integers(0, 256, (1, *shape))]).astype(np.uint8)
    return np.where(chosen, 1, -1).astype(np.int8)


@pytest.mark.parametrize("machine", ["cortex-m0", "cortex-m4"])
@pytest.mark.parametrize("network", list(NETWORKS))
def test_no_input_executes_more_and_the_bound_is_near(network: str, machine: str) -> None:
    if find(machine).installs:
        pytest.skip(f"needs an emulated board: {'; '.join(find(machine).installs)}")
    module = NETWORKS[network]()
    files = Backend().emit(module, Backend.Options(machine=machine, name="net")).files
    facts = json.loads(files["net.json"])
    most = facts["instructions_at_most"]
    assert f"#define NET_INSTRUCTIONS_AT_MOST UINT32_C({most})\n" in files["net.h"].decode()
    estimates = {f"net_{row['function']}": 0 for row in facts["layers"]}
    for row in facts["layers"]:
        estimates[f"net_{row['function']}"] += row["instructions"]
    board = Emulated(files, machine)
    worst = 0
    for sample in samples(module):
        counts, _ = board.count([sample[None]])
        worst = max(worst, counts.total)
        for layer in counts.layers:
            within = estimates[layer.function] * COSTS[machine].margin
            assert layer.count <= within + 4, (layer, within)  # the clock is exact to two instructions or so
    assert worst <= most <= FARTHEST * worst


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["cortex-m0", "cortex-m4"])
def test_no_input_of_any_network_executes_more(machine: str) -> None:
    if find(machine).installs:
        pytest.skip(f"needs an emulated board: {'; '.join(find(machine).installs)}")
    for seed in range(100, 130):
        module = Growing(seed).module(seed % 6)
        files = Backend().emit(module, Backend.Options(machine=machine, name="net")).files
        most = json.loads(files["net.json"])["instructions_at_most"]
        board = Emulated(files, machine)
        for sample in samples(module):
            assert board.count([sample[None]])[0].total <= most, seed


def test_machines_that_nobody_measured_have_no_bound() -> None:
    for machine in ("generic-c", "avr", "cortex-m55", "xtensa"):
        files = Backend().emit(microcontrollers.dense(), Backend.Options(machine=machine, name="net")).files
        facts = json.loads(files["net.json"])
        assert facts["instructions_at_most"] is None
        assert all(row["instructions"] is None for row in facts["layers"])
        assert "INSTRUCTIONS_AT_MOST" not in files["net.h"].decode()


def counting(promise: Promise | None) -> tuple[Program, Function]:
    """A layer whose `while` goes on as long as the input says."""
    b = Builder("layer")
    x, y = b.parameter("x", I32, 1), b.parameter("y", I32, 1, access="write")
    number = b.variable("number", load(constant_buffer("zero", np.zeros(1, np.int32)), 0), promise)
    with b.loop_while(compare("lt", number, load(x, 0))):
        b.assign(number, number + 1)
    b.store(y, 0, number)
    layer = b.function()
    b = Builder("run")
    x, y = b.parameter("x", I32, 1), b.parameter("y", I32, 1, access="write")
    n = b.scalar("n", I64)
    with b.loop(n, "sample", unroll_one=False):
        b.call(layer, x, y)
    return Program("net", (layer,), b.function(), (x,), (y,)), layer


def test_a_loop_without_a_known_end_has_no_bound() -> None:
    (machine,) = (m for m in CONTROLLERS if m.name == "cortex-m4")
    lowered = lower(microcontrollers.dense(), machine)
    bounds = []
    for promise in (None, Promise(10), Promise(1000)):
        program, layer = counting(promise)
        fact = replace(lowered.calls[0], function=layer.name, times=1)
        bounds.append(instruction_bounds(replace(lowered, program=program, calls=(fact,)), machine))
    assert (bounds[0].run, bounds[0].layers) == (None, (None,))
    few, many = bounds[1].run, bounds[2].run
    assert few is not None
    assert many is not None
    assert 10 < few < 1000 < many


def test_the_interpreter_sees_a_promise_that_is_broken() -> None:
    program, _ = counting(Promise(10))
    out = np.zeros(1, np.int32)
    run_entry(program, [np.array([10], np.int32), out], [1], np.zeros(0, np.uint8))
    assert out[0] == 10
    with pytest.raises(LoopError, match="number is 11"):
        run_entry(program, [np.array([11], np.int32), out], [1], np.zeros(0, np.uint8))
