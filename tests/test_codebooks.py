"""Few kernels a layer are found in plain weights, stored as numbers, and computed with to the same bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnnc.backends.llvm import Backend
from bnnc.ir import bit, nn
from bnnc.ir.codebook import codebook_of
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.packing import pack
from bnnc.ir.types import Bit, DType, Trit
from bnnc.loops.ir import I32
from bnnc.loops.kernels.codebook import expand_codebook
from bnnc.loops.kernels.epilogue import StoreSums
from bnnc.loops.kernels.popcount import popcount_conv, weight_words
from bnnc.loops.kernels.tiling import Window
from bnnc.loops.layout import Elements, Packed
from bnnc.loops.lower.network import lower
from bnnc.loops.machine import Machine, machine_for
from bnnc.passes.pipelines import optimise
from bnnc.passes.report import layers
from bnnc.reference.run import run
from tests.kernels import run_interpreted, run_native
from tests.strategies import integers_of


def drawn(rng: np.random.Generator, patterns: int, shape: tuple[int, ...]) -> np.ndarray:
    """±1 weights of that many kernels."""
    book = rng.choice([-1, 1], (patterns, *shape[2:]))
    return book[rng.integers(0, patterns, shape[:2])].astype(np.int8)


def network(weights: np.ndarray, dtype: DType, size: int = 6) -> Module:
    x = Input("x", dtype, (weights.shape[1], size, size))
    conv = bit.Conv(x, weights, (1, 1), (1, 1, 1, 1), (1, 1))
    values = np.array([[-1, 1]], np.int32)
    return Module("net", (x,), (Output("y", bit.Step(conv, np.zeros((1, 1), np.int32), values, Bit())),))


def test_a_codebook_is_found_where_it_is_smaller() -> None:
    rng = np.random.default_rng(0)
    weights = drawn(rng, 16, (32, 40, 3, 3))
    book = codebook_of(weights)
    assert book is not None
    assert np.array_equal(book.patterns[book.index].reshape(weights.shape), weights)
    assert (len(book.patterns), book.index_bits) == (16, 4)
    assert codebook_of(rng.choice([-1, 1], (32, 40, 3, 3))) is None
    assert codebook_of(drawn(rng, 300, (64, 64, 3, 3))) is None  # nine bits number what nine bits say
    assert codebook_of(rng.choice([-1, 1], (4, 4, 3, 3))) is None  # the list is longer than the weights
    assert codebook_of(np.where(np.arange(9) == 4, 0, weights.reshape(-1, 9)).reshape(weights.shape)) is None
    assert codebook_of(weights[:, :, 0, 0]) is None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    lanes=st.sampled_from([1, 4, 8]),
    planes=st.sampled_from([(0,), (1, -2)]),
    patterns=st.integers(1, 64),
    outputs=st.integers(20, 90),
    channels=st.integers(20, 90),
    kernel=st.sampled_from([(3, 3), (2, 2), (1, 5)]),
    seed=st.integers(0, 2**31),
)
def test_expanded_weights_are_the_packed_ones(
    lanes: int,
    planes: tuple[int, ...],
    patterns: int,
    outputs: int,
    channels: int,
    kernel: tuple[int, int],
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    weights = drawn(rng, patterns, (outputs, channels, *kernel))
    book = codebook_of(weights)
    if book is None:
        return
    target = Machine("test", "", "", vector_bits=32 * lanes if lanes > 1 else 0)
    image, window = Packed(channels, 5, 5, planes), Window(kernel)
    words = weight_words(image, weights, window, False, target)
    assert words is not None
    found = run_native(expand_codebook("book", book, words), [])
    plain = popcount_conv(
        "conv", image, weights, window, StoreSums(Elements(outputs, *window.output(5, 5), I32)), target
    )
    wanted = np.concatenate([b.data.reshape(-1) for b in buffers(plain)])
    # What stands in spare lanes does not matter.
    real = np.concatenate(
        [
            np.broadcast_to(
                np.arange(part.first * lanes, (part.first + part.blocks * part.vectors) * lanes).reshape(
                    part.blocks, 1, -1
                )
                < outputs,
                (part.blocks, kernel[0] * kernel[1] * words.words, part.vectors * lanes),
            ).reshape(-1)
            for _, part in words.parts
        ]
    )
    assert np.array_equal(found.view(np.uint32)[real], wanted.view(np.uint32)[real])
    if seed % 5 == 0:
        assert np.array_equal(run_interpreted(expand_codebook("book", book, words), []), found)


def buffers(function: object) -> list:  # type: ignore[type-arg]
    from bnnc.loops.ir import Function, buffers_of

    assert isinstance(function, Function)
    return [b for b in buffers_of(function) if b.space == "constant" and "weights" in b.name]


@pytest.mark.parametrize("dtype", [Bit(), Trit()], ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_sub_bit_network_is_small_and_keeps_its_bits(dtype: DType, threads: int) -> None:
    rng = np.random.default_rng(1)
    weights = drawn(rng, 16, (150, 140, 3, 3))
    module = network(weights, dtype)
    found = lower(module, machine_for("x86-64-v3"))
    plain = lower(network(rng.choice([-1, 1], weights.shape).astype(np.int8), dtype), machine_for("x86-64-v3"))
    assert plain.weight_bytes - found.weight_bytes > 0.4 * weights.size / 8
    assert len(pack(weights)) < 0.5 * weights.size / 8
    (fact,) = layers(module)
    assert fact.weights == "±1 in 16 kernels"
    assert fact.weight_bytes < 0.5 * weights.size / 8
    native = Backend().load(module, Backend.Options(threads=threads))
    for batch in (1, 2, 7):
        x = integers_of(dtype, rng, (batch, 140, 6, 6))
        assert np.array_equal(native({"x": x})["y"], run(module, {"x": x})["y"])


def test_machines_without_vectors_keep_plain_bits() -> None:
    module = network(drawn(np.random.default_rng(2), 16, (150, 140, 3, 3)), Bit())
    assert not any("codebook" in call.function for call in lower(module, Machine("small", "", "", vector_bits=0)).calls)


def test_small_layers_keep_plain_bits() -> None:
    module = network(drawn(np.random.default_rng(2), 16, (20, 20, 3, 3)), Bit())
    assert not any("codebook" in call.function for call in lower(module, machine_for("x86-64-v3")).calls)


def test_filters_are_turned_around_where_that_leaves_fewer_kernels() -> None:
    rng = np.random.default_rng(3)
    weights = drawn(rng, 8, (70, 60, 3, 3)) * rng.normal(size=(70, 1, 1, 1)).astype(np.float32)
    weights[5] = 0
    x = Input("x", Bit(), (60, 6, 6))
    conv = nn.Conv(x, nn.Constant(weights), None, (1, 1), (1, 1, 1, 1), (1, 1))
    module = Module("net", (x,), (Output("y", conv),))
    bits = optimise(module)
    assert [fact.weights for fact in layers(bits)] == ["±1 in 8 kernels"]
    inputs = {"x": integers_of(Bit(), rng, (2, 60, 6, 6))}
    found = run(bits, inputs)["y"]
    np.testing.assert_allclose(found, run(module, inputs)["y"], rtol=1e-5, atol=1e-4)
    assert np.array_equal(Backend().load(bits, Backend.Options())(inputs)["y"], found)
