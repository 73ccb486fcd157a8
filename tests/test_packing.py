"""What must be packed: spellings, weights and pools that once left a binary layer float, or once lost exactness."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bnnc.compare import differs
from bnnc.ir import bit, move, nn
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import F32, U8, DType, Int
from bnnc.passes import pipelines
from bnnc.passes.lattice import split_weights
from bnnc.passes.report import layers
from bnnc.reference.run import run
from tests.strategies import random_inputs

rng = np.random.default_rng(5)


def number(values: object) -> nn.Constant:
    return nn.Constant(np.asarray(values, np.float32))


def chain(x: Op, *steps: tuple[object, ...]) -> Op:
    """Elementwise functions of x and numbers, one after the other."""
    for function, *rest in steps:
        x = nn.Map(str(function), (x, *(number(value) for value in rest)))
    return x


def signs(*shape: int) -> np.ndarray:
    return np.where(rng.random(shape) < 0.5, -1, 1).astype(np.float32)


def compiled(module: Module) -> Module:
    """The «bit» module, which gives the same bits as the canonical one."""
    bits = pipelines.optimise(module, require_binary=False)
    inputs = random_inputs(module, 1, 6)
    expected, found = run(pipelines.canonical(module), inputs), run(bits, inputs)
    for name, array in expected.items():
        assert not differs(array, found[name], None).any(), name
    return bits


def packed(module: Module) -> list[bool]:
    return [layer.packed for layer in layers(compiled(module))]


# ---- weights ----


@pytest.mark.parametrize(
    ("levels", "dtype"),
    [
        (np.arange(-128, 128), np.int8),
        (np.arange(-127, 128), np.int8),
        (np.arange(-255, 256, 2), np.int16),
        (np.array([-91, -35, 21, 77]), np.int8),
        (np.array([-15, -9, 5, 11]), np.int8),
    ],
)
@pytest.mark.parametrize("spelling", ["scaled", "ratio"])
def test_weights_of_up_to_eight_bits(levels: np.ndarray, dtype: type, spelling: str) -> None:
    whole = rng.choice(levels, (9, 40))
    whole[:, : levels.size] = rng.permutation(levels)[:40]
    largest = np.float32(np.abs(levels).max())
    real = whole.astype(np.float32)
    real = real * np.float32(0.0371) if spelling == "scaled" else (real + largest) / largest - np.float32(1)
    found = split_weights(real)
    assert found is not None
    assert found.spread < 1e-4
    shared = np.gcd.reduce(np.abs(whole), axis=1, keepdims=True)
    np.testing.assert_array_equal(found.integers, whole // shared)
    assert found.integers.dtype in (dtype, np.int8)


def test_float_weights_are_not_taken_for_levels() -> None:
    assert split_weights(rng.normal(size=(4, 12)).astype(np.float32)) is None
    assert split_weights(np.tile(np.array([0.3, 0.7123, -0.2371, 0.11], np.float32), (5, 3))) is None


def test_weights_of_eight_bits_are_packed() -> None:
    x = Input("x", F32(), (5, 6, 6))
    for levels in (np.arange(-128, 128), np.arange(-255, 256, 2)):
        weights = rng.choice(levels, (7, 5, 3, 3)).astype(np.float32) * np.float32(0.013)
        layer = nn.Conv(chain(x, ("sign",)), number(weights), None, (1, 1), (1,) * 4, (1, 1))
        assert packed(Module("net", (x,), (Output("y", layer),))) == [True]


# ---- what reaches a layer ----

FLOAT, SMALL, WIDE = F32(), Int(-20, 20), Int(-(2**24), 2**24)
QUANTISERS: dict[str, tuple[DType, Callable[[Op], Op]]] = {
    "integers cut down": (WIDE, lambda x: chain(x, ("clip", -20, 20))),
    "integers cut on one side at a time": (WIDE, lambda x: chain(x, ("relu",), ("min", 9))),
    "a floor of anything": (
        FLOAT,
        lambda x: chain(x, ("prelu", -0.4), ("floor",), ("add", 1), ("clip", 0, 1), ("mul", 2), ("sub", 1)),
    ),
    "a rounding of anything": (FLOAT, lambda x: chain(x, ("prelu", -0.4), ("round",), ("min", 3), ("max", -3))),
    "a steep ramp, moved": (
        SMALL,
        lambda x: move.Pad(chain(x, ("mul", 1e8), ("clip", -1, 1)), (0, 0, 1, 0, 0, 1), 1.0),
    ),
    "averages of several counts": (
        FLOAT,
        lambda x: nn.Pool(chain(x, ("sign",)), "average", (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
    ),
    "averages of several counts of thirds": (
        FLOAT,
        lambda x: nn.Pool(
            chain(x, ("clip", 0, 1), ("mul", 3), ("round",), ("div", 3)),
            "average",
            (2, 2),
            (2, 2),
            (1, 1, 0, 0),
            (1, 1),
        ),
    ),
    "a crooked function of averages": (
        FLOAT,
        lambda x: chain(
            nn.Pool(chain(x, ("sign",)), "average", (2, 2), (2, 2), (1, 1, 0, 0), (1, 1)),
            ("prelu", -0.5),
            ("add", -0.3),
            ("sign",),
        ),
    ),
    "normalised pixels": (U8, lambda x: chain(x, ("div", 255), ("sub", 0.1307), ("div", 0.3081))),
}


@pytest.mark.parametrize("quantiser", QUANTISERS)
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 0, 1, 2)])
def test_provable_integers_are_packed(quantiser: str, pads: tuple[int, ...]) -> None:
    dtype, make = QUANTISERS[quantiser]
    x = Input("x", dtype, (3, 7, 7))
    layer = nn.Conv(make(x), number(signs(5, 3, 2, 2) * 0.3), None, (1, 1), pads, (1, 1))
    assert packed(Module("net", (x,), (Output("y", layer),))) == [True]


def test_sums_that_fp32_cannot_hold_stay_float() -> None:
    x = Input("x", Int(-(2**24), 2**24), (2, 4, 4))
    total = nn.Pool(x, "sum", (3, 3), (1, 1), (0,) * 4, (1, 1))
    bits = compiled(Module("net", (x,), (Output("y", total),)))
    assert not any(isinstance(op, bit.Pool) for op in bits.ops())


@pytest.mark.parametrize(
    "decide",
    [
        lambda x: chain(x, ("sign",), ("neg",)),
        lambda x: chain(x, ("mul", 0.1), ("clip", -1, 1), ("round",)),
        lambda x: nn.Pool(chain(x, ("sign",), ("mul", -1)), "max", (2, 2), (1, 1), (0,) * 4, (1, 1)),
        lambda x: chain(x, ("mul", 0)),
    ],
)
def test_minus_zero_is_kept_in_outputs_and_integers_go_on(decide: Callable[[Op], Op]) -> None:
    x = Input("x", Int(-3, 3), (4, 5, 5))
    layer = nn.Conv(x, number(signs(6, 4, 2, 2)), None, (1, 1), (0,) * 4, (1, 1))
    decided = decide(layer)
    second = nn.Conv(decided, number(signs(3, 6, 2, 2)), None, (1, 1), (0,) * 4, (1, 1))
    bits = compiled(Module("net", (x,), (Output("y", decided), Output("z", second))))
    assert [layer.packed for layer in layers(bits)] == [True, True]


def test_time_grows_with_the_depth_and_not_faster() -> None:
    import time

    def seconds(depth: int) -> float:
        x = Input("x", Int(-1, 1), (8,))
        value: Op = x
        for _ in range(depth):
            value = chain(nn.Dense(value, number(signs(8, 8)), None), ("mul", 0.1), ("add", 0.03), ("sign",))
        started = time.process_time()
        pipelines.optimise(Module("net", (x,), (Output("y", value),)))
        return time.process_time() - started

    seconds(5)
    assert seconds(240) < 20 * seconds(30)
