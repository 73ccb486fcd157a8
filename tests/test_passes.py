"""Passes keep the bits: on random modules, on regions of every shape, on domains too large to enumerate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnc.ir import bit, move, nn
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import F32, U8, Bit, Int, Trit
from bnnc.passes import pipelines
from bnnc.passes.lattice import lattice_of, split_weights
from bnnc.passes.regions import Regions
from bnnc.passes.report import layers
from bnnc.passes.tables import Steps, tabulate
from bnnc.passes.values import ANYTHING, Whole, finite, whole
from bnnc.reference.run import run
from tests.strategies import modules, random_inputs


def constant(values: object) -> nn.Constant:
    return nn.Constant(np.asarray(values, np.float32))


def both(module: Module, inputs: dict[str, np.ndarray]) -> Module:
    """The «bit» module, after checking that it and the canonical module give the same bits."""
    meaning = pipelines.canonical(module)
    bits = pipelines.optimise(module, require_binary=False)
    expected, found = run(meaning, inputs), run(bits, inputs)
    for name in expected:
        assert np.array_equal(expected[name], found[name], equal_nan=True), name
    return bits


@settings(max_examples=150, deadline=None)
@given(modules(), st.integers(0, 2**31))
def test_random_modules_keep_their_bits(module: Module, seed: int) -> None:
    if module.level == "nn":
        both(module, random_inputs(module, seed, 5))


SPELLINGS = {
    "sign": lambda x: nn.Map("sign", (x,)),
    "where": lambda x: nn.Map("where", (nn.Map("greater_equal", (x, constant(0))), constant(1), constant(-1))),
    "twice": lambda x: nn.Map("sign", (nn.Map("add", (nn.Map("sign", (x,)), constant(0.1))),)),
    "steep": lambda x: nn.Map("tanh", (nn.Map("mul", (x, constant(1e6))),)),
    "detach": lambda x: nn.Map("add", (nn.Map("sub", (nn.Map("sign", (x,)), x)), x)),
    "round": lambda x: nn.Map(
        "sub",
        (
            nn.Map(
                "mul",
                (
                    nn.Map(
                        "round",
                        (
                            nn.Map(
                                "clip",
                                (
                                    nn.Map("div", (nn.Map("add", (x, constant(1))), constant(2))),
                                    constant(0),
                                    constant(1),
                                ),
                            ),
                        ),
                    ),
                    constant(2),
                ),
            ),
            constant(1),
        ),
    ),
    "two bits": lambda x: nn.Map(
        "div",
        (nn.Map("round", (nn.Map("mul", (nn.Map("clip", (x, constant(0), constant(1))), constant(3))),)), constant(3)),
    ),
    "prelu": lambda x: nn.Map("sign", (nn.Map("add", (nn.Map("prelu", (x, constant(-0.4))), constant(-1.3))),)),
    "scaled": lambda x: nn.Map("where", (nn.Map("less", (x, constant(0))), constant(-0.1), constant(0.1))),
    "offset": lambda x: nn.Map("where", (nn.Map("less", (x, constant(0))), constant(0.2137), constant(0.9))),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("padding", [0, 1])
def test_any_spelling_of_a_quantiser_packs_the_next_layer(spelling: str, padding: int) -> None:
    rng = np.random.default_rng(7)
    x = Input("x", Int(-3, 3), (5, 6, 6))
    weights = np.where(rng.random((7, 5, 3, 3)) < 0.5, -1.0, 1.0)
    first = nn.Conv(
        x, constant(weights * rng.random((7, 1, 1, 1))), constant(rng.normal(size=7)), (1, 1), (1,) * 4, (1, 1)
    )
    norm = nn.BatchNorm(
        first,
        constant(rng.normal(size=7)),
        constant(rng.normal(size=7)),
        constant(rng.normal(size=7) * 4),
        constant(rng.random(7) + 0.1),
        1e-5,
    )
    quantised = SPELLINGS[spelling](norm)
    weights = np.where(rng.random((4, 7, 3, 3)) < 0.5, -1.0, 1.0)
    second = nn.Conv(quantised, constant(weights * 0.3), None, (2, 2), (padding,) * 4, (1, 1))
    module = Module("net", (x,), (Output("y", second),))
    bits = both(module, {"x": rng.integers(-3, 4, (9, 5, 6, 6))})
    packed = [layer.packed for layer in layers(bits)]
    assert packed == [True, True]


def region_steps(root: Op, domain: object) -> Steps | None:
    region = Regions().region(root)
    assert region is not None
    return tabulate(region, domain)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 2))
def test_bisection_finds_the_steps_that_enumeration_finds(seed: int, step: int) -> None:
    rng = np.random.default_rng(seed)
    x = Input("x", Int(-5000, 5000), (6,))
    chain = nn.Map("sub", (x, constant(rng.normal(size=6) * 1000)))
    chain = nn.Map("mul", (chain, constant(rng.normal(size=6))))
    chain = nn.Map("clip", (nn.Map("mul", (chain, constant(0.004))), constant(-3), constant(4)))
    root = nn.Map("round", (chain,))
    small = whole(-4000, 4000, step)
    exact = region_steps(root, small)
    region = Regions().region(root)
    assert region is not None
    assert region.steps_only_up_or_down()
    large = region_steps(root, whole(-400000 // step * step, 400000, step))
    assert exact is not None
    assert large is not None
    points = np.arange(-4000, 4001, step)
    for channel in range(6):
        mine, other = (
            s.values[channel][np.searchsorted(s.thresholds[channel], points, "right")] for s in (exact, large)
        )
        assert np.array_equal(mine, other)


def test_float_thresholds_are_exact_to_the_last_bit() -> None:
    x = Input("x", F32(), (3,))
    root = nn.Map(
        "sign", (nn.Map("add", (nn.Map("mul", (x, constant([0.7, -1.3, 1e-3]))), constant([0.1, 0.2, -0.3]))),)
    )
    steps = region_steps(root, ANYTHING)
    assert steps is not None
    module = Module("net", (x,), (Output("y", root),))
    around = np.concatenate([np.nextafter(steps.thresholds, d) for d in (-np.inf, np.inf)] + [steps.thresholds], axis=1)
    points = np.ascontiguousarray(around.T.astype(np.float32))
    expected = run(module, {"x": points})["y"]
    for channel in range(3):
        level = np.array([(steps.thresholds[channel] <= p).sum() for p in points[:, channel]])
        assert np.array_equal(steps.values[channel][level], expected[:, channel])


def test_parity_keeps_a_tie_that_cannot_occur_from_making_a_trit() -> None:
    x = Input("x", Bit(), (9,))
    odd = nn.Dense(x, constant(np.ones((4, 9))), None)
    module = Module("net", (x,), (Output("y", nn.Map("sign", (odd,))),))
    result = both(module, {"x": np.where(np.random.default_rng(0).random((8, 9)) < 0.5, -1, 1)}).outputs[0].value
    assert isinstance(result, bit.Step)
    assert result.dtype == Bit()
    even = nn.Dense(Input("x", Bit(), (8,)), constant(np.ones((4, 8))), None)
    tied = pipelines.optimise(Module("net", (even.x,), (Output("y", nn.Map("sign", (even,))),)))  # type: ignore[arg-type]
    assert isinstance(tied.outputs[0].value, bit.Step)
    assert tied.outputs[0].value.dtype == Trit()


@pytest.mark.parametrize("gamma", ["rising", "falling", "mixed"])
def test_pools_before_a_step_become_pools_of_bits(gamma: str) -> None:
    rng = np.random.default_rng(3)
    x = Input("x", Bit(), (4, 8, 8))
    conv = nn.Conv(x, constant(np.sign(rng.normal(size=(6, 4, 3, 3)))), None, (1, 1), (0,) * 4, (1, 1))
    pooled = nn.Pool(conv, "max", (2, 2), (2, 2), (0,) * 4, (1, 1))
    sign = {"rising": np.ones(6), "falling": -np.ones(6), "mixed": np.array([1, -1, 1, -1, 1, 1])}[gamma]
    scaled = nn.Map("mul", (pooled, constant(sign.reshape(6, 1, 1))))
    shifted = nn.Map("add", (scaled, constant(rng.normal(size=(6, 1, 1)) * 5)))
    module = Module("net", (x,), (Output("y", SPELLINGS["where"](shifted)),))
    bits = both(module, {"x": np.where(rng.random((7, 4, 8, 8)) < 0.5, -1, 1)})
    assert isinstance(bits.outputs[0].value, bit.Pool)
    assert bits.outputs[0].value.type.dtype == Bit()


def test_a_pool_behind_a_batch_norm_works_on_integers() -> None:
    rng = np.random.default_rng(4)
    x = Input("x", Bit(), (4, 8, 8))
    conv = nn.Conv(x, constant(np.sign(rng.normal(size=(6, 4, 3, 3)))), None, (1, 1), (0,) * 4, (1, 1))
    norm = nn.BatchNorm(
        conv,
        constant(rng.normal(size=6)),
        constant(rng.normal(size=6)),
        constant(rng.normal(size=6)),
        constant(rng.random(6) + 0.1),
        1e-5,
    )
    pooled = nn.Pool(norm, "max", (3, 3), (2, 2), (1,) * 4, (1, 1))
    module = Module("net", (x,), (Output("y", nn.Map("sign", (pooled,))),))
    bits = both(module, {"x": np.where(rng.random((7, 4, 8, 8)) < 0.5, -1, 1)})
    assert not any(isinstance(op, nn.Pool) for op in bits.ops())


@pytest.mark.parametrize("spatial", [(), (5,), (4, 3)], ids=str)
def test_a_row_of_thresholds_for_each_channel_is_a_step(spatial: tuple[int, ...]) -> None:
    """As FINN streamlines batch norms into them: thresholds [channels, n] on tensors of any rank."""
    rng = np.random.default_rng(len(spatial))
    weights = rng.choice(np.array([-1, 1], np.float32), (6, 4, *(1 for _ in spatial)))
    x = Input("x", Int(-3, 3), (4, *spatial))
    ones = (1,) * len(spatial)
    kernel = nn.Constant(weights)
    sums: Op = nn.Conv(x, kernel, None, ones, (0,) * 2 * len(spatial), ones) if spatial else nn.Dense(x, kernel, None)
    table = np.sort(rng.integers(-9, 9, (6, 3)).astype(np.float32), 1)
    levels = nn.MultiThreshold(sums, nn.Constant(table))
    bits = both(Module("rows", (x,), (Output("y", levels),)), {"x": rng.integers(-3, 4, (7, 4, *spatial))})
    assert not any(isinstance(op, nn.MultiThreshold) for op in bits.ops())
    assert any(isinstance(op, bit.Step) for op in bits.ops())


def test_integers_of_different_codes_are_joined_as_integers() -> None:
    """Bits, trits and thirds of different widths, concatenated in front of a binary layer."""
    rng = np.random.default_rng(0)
    x = Input("x", Int(-9, 9), (4, 3, 3))

    def quantised(channels: int, spelling: str) -> Op:
        kernel = nn.Constant(rng.choice(np.array([-1, 1], np.float32), (channels, 4, 1, 1)))
        sums = nn.Map("add", (nn.Conv(x, kernel, None, (1, 1), (0,) * 4, (1, 1)), constant(0.5)))
        return SPELLINGS[spelling](nn.Map("sub", (sums, constant(0.5))))

    for spellings in (("where", "sign"), ("two bits", "two bits"), ("sign", "where", "steep")):
        parts = tuple(quantised(n + 2, spelling) for n, spelling in enumerate(spellings))
        joined = move.Concat(parts, 0)
        kernel = nn.Constant(rng.choice(np.array([-1, 1], np.float32), (5, joined.type.shape[0], 3, 3)))
        out = nn.Conv(joined, kernel, None, (1, 1), (1,) * 4, (1, 1))
        bits = both(Module("codes", (x,), (Output("y", out),)), {"x": rng.integers(-9, 10, (6, 4, 3, 3))})
        assert any(isinstance(op, bit.Conv) and isinstance(op.x, move.Concat) for op in bits.ops())
        assert not any(isinstance(op, nn.Conv) for op in bits.ops())


def test_pixels_reach_a_binary_first_layer_as_integers() -> None:
    rng = np.random.default_rng(5)
    x = Input("x", U8, (1, 7, 5))
    real = nn.Map("sub", (nn.Map("mul", (nn.Map("mul", (x, constant(1 / 255))), constant(2))), constant(1)))
    conv = nn.Conv(real, constant(np.sign(rng.normal(size=(8, 1, 3, 3)))), None, (1, 1), (0,) * 4, (1, 1))
    module = Module("net", (x,), (Output("y", nn.Map("sign", (conv,))),))
    bits = both(module, {"x": rng.integers(0, 256, (20, 1, 7, 5))})
    assert [layer.packed for layer in layers(bits)] == [True]
    assert not any(isinstance(op, nn.Map) for op in bits.ops())


def test_weights_split_into_scales_and_small_integers() -> None:
    rng = np.random.default_rng(6)
    signs = np.sign(rng.normal(size=(5, 3, 3, 3)))
    scale = rng.random((5, 1, 1, 1)) + 0.1
    noisy = (signs * scale * (1 + rng.normal(size=signs.shape) * 1e-7)).astype(np.float32)
    found = split_weights(noisy)
    assert found is not None
    assert np.array_equal(found.integers, signs)
    assert found.kind == "±1"
    assert 0 < found.spread < 1e-6
    np.testing.assert_allclose(found.scale, scale.reshape(-1), rtol=1e-6)
    assert split_weights(rng.normal(size=(4, 20)).astype(np.float32)) is None
    ternary = split_weights(np.array([[0.2, 0, -0.2], [0, 0, 0]], np.float32))
    assert ternary is not None
    assert ternary.kind == "ternary" or "zero" in ternary.kind
    codes = split_weights(np.array([[-0.6, 0.3, 0.9, 0.0]], np.float32))
    assert codes is not None
    assert codes.integers.tolist() == [[-2, 1, 3, 0]]


def test_lattices_of_quantised_values() -> None:
    thirds = lattice_of(finite(np.array([-1, -1 / 3, 1 / 3, 1])))
    assert thirds is not None
    assert (thirds.lo, thirds.hi, thirds.offset) == (-3, 3, 0)
    assert lattice_of(whole(-4, 9)) is not None
    assert lattice_of(finite(np.random.default_rng(0).normal(size=50))) is None
    assert isinstance(whole(0, 3), Whole)


def test_a_flattened_image_in_another_order_keeps_its_meaning() -> None:
    rng = np.random.default_rng(8)
    x = Input("x", Bit(), (4, 3, 5))
    turned = move.Transpose(x, (1, 2, 0))
    flat = move.Reshape(nn.Map("neg", (turned,)), (60,))
    dense = nn.Dense(flat, constant(np.sign(rng.normal(size=(6, 60)))), None)
    bits = both(Module("net", (x,), (Output("y", dense),)), {"x": np.where(rng.random((7, 4, 3, 5)) < 0.5, -1, 1)})
    assert not any(isinstance(op, move.Transpose) for op in bits.ops())


def test_a_filter_of_zeros_costs_no_mask() -> None:
    rng = np.random.default_rng(9)
    x = Input("x", Bit(), (8, 5, 5))
    weights = np.sign(rng.normal(size=(6, 8, 3, 3))) * 0.25
    weights[2] = 0
    conv = nn.Conv(x, constant(weights), constant(rng.normal(size=6)), (1, 1), (1,) * 4, (1, 1))
    bits = both(Module("net", (x,), (Output("y", conv),)), {"x": np.where(rng.random((7, 8, 5, 5)) < 0.5, -1, 1)})
    assert [layer.weights for layer in layers(bits)] == ["±1"]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("padding", [0, 1])
def test_weights_of_two_values_are_bits_and_a_window_sum(groups: int, padding: int) -> None:
    rng = np.random.default_rng(10)
    x = Input("x", Bit(), (8, 6, 6))
    chosen = rng.random((6, 8 // groups, 3, 3)) < 0.3
    low, high = rng.normal(size=(2, 6, 1, 1, 1))
    conv = nn.Conv(
        x, constant(np.where(chosen, low, high)), constant(rng.normal(size=6)), (1, 1), (padding,) * 4, (1, 1), groups
    )
    module = Module("net", (x,), (Output("y", conv),))
    inputs = {"x": np.where(rng.random((7, 8, 6, 6)) < 0.5, -1, 1)}
    bits = both(module, inputs)
    assert all(layer.packed for layer in layers(bits))
    np.testing.assert_allclose(run(bits, inputs)["y"], run(module, inputs)["y"], rtol=1e-4, atol=1e-4)
