"""Native code gives the reference's bits: for random modules of every op, at full vector width and without vectors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bnnc.backends.llvm import Backend
from bnnc.backends.llvm.compiled import Compiled
from bnnc.backends.llvm.host import native_machine
from bnnc.ir import bit, nn
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import F32, Bit, Code, DType, Int, Trit
from bnnc.loops.lower.names import identifier
from bnnc.loops.lower.network import lower
from bnnc.passes import pipelines
from bnnc.reference.run import run
from tests.geometry import Geometry, geometries
from tests.strategies import bit_modules, integers_of, modules, random_inputs


def agree(module: Module, inputs: dict[str, np.ndarray]) -> None:
    """The native code of a module computes what the reference computes."""
    expected = run(module, inputs)
    found = Backend().load(module, Backend.Options())(inputs)
    for name, array in expected.items():
        assert found[name].shape == array.shape
        assert np.array_equal(found[name], array, equal_nan=True), name


def has_volumes(module: Module) -> bool:
    """Windows over three axes are refused (B0603)."""
    return any(len(getattr(op, "strides", ())) > 2 for op in module.ops())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bit_modules(), st.integers(0, 2**31), st.integers(1, 4))
def test_random_bit_modules(module: Module, seed: int, batch: int) -> None:
    assume(not has_volumes(module))
    agree(module, random_inputs(module, seed, batch))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(modules(), st.integers(0, 2**31))
def test_random_modules_with_float_islands(module: Module, seed: int) -> None:
    assume(not has_volumes(module))
    agree(pipelines.optimise(module, require_binary=False), random_inputs(module, seed, 3))


DTYPES = [Bit(), Trit(), Code(2), Code(2, 2, -3), Int(-7, 7), Int(0, 255), Int(-3000, 3000)]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    dtype=st.sampled_from(DTYPES),
    channels=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    window=geometries((9, 9), (4, 4), (3, 3), (2, 2)),
    pad_value=st.sampled_from([-1, 0, 1]),
    groups=st.sampled_from([1, 1, 2, 3]),
    levels=st.sampled_from([1, 1, 2, 7]),
    thresholds=st.integers(0, 4),
    seed=st.integers(0, 2**31),
)
def test_convolutions_of_every_shape(
    dtype: DType,
    channels: tuple[int, int],
    window: Geometry,
    pad_value: int,
    groups: int,
    levels: int,
    thresholds: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    inputs, outputs = channels[0] * groups, channels[1] * groups
    weights = rng.integers(-levels, levels + 1, (outputs, channels[0], *window.kernel))
    if levels == 1 and seed % 2:
        weights = np.where(rng.random(weights.shape) < 0.5, -1, 1)
    x = Input("x", dtype, (inputs, *window.size))
    conv = bit.Conv(x, weights.astype(np.int8), window.stride, window.pads, window.dilation, groups, pad_value)
    value: bit.Conv | bit.Step = conv
    if thresholds:
        limits = np.sort(rng.integers(-9, 10, (outputs, thresholds)), axis=1).astype(np.int32)
        results = rng.choice([-1, 1] if thresholds == 1 else [-1, 0, 1], (outputs, thresholds + 1)).astype(np.int32)
        value = bit.Step(conv, limits, results, Bit() if thresholds == 1 else Trit())
    module = Module("net", (x,), (Output("y", value),))
    agree(module, {"x": integers_of(dtype, rng, (2, *x.type.shape))})


@pytest.mark.parametrize("name", ["", "9lives", 'a"b\nc', "a\0b\x1b", "ünï", "conv/1.weight", "int", "x" * 300])
def test_any_name_of_a_layer_makes_good_code(name: str) -> None:
    from bnnc.ir.location import Location

    assert identifier(name).isidentifier()
    rng = np.random.default_rng(0)
    x = Input("x", Bit(), (9,), loc=Location(name))
    dense = bit.Dense(x, np.where(rng.random((5, 9)) < 0.5, -1, 1).astype(np.int8), loc=Location(name))
    agree(Module(name or "net", (x,), (Output("y", dense),)), {"x": np.where(rng.random((3, 9)) < 0.5, -1, 1)})


@pytest.mark.parametrize("dtype", [Bit(), Int(-3, 3), F32()])
@pytest.mark.parametrize("shape", [(1, 1), (4, 1), (3, 1, 1), (3, 2, 2), (2, 1, 3, 2)])
def test_an_operand_of_fewer_axes_is_repeated(shape: tuple[int, ...], dtype: DType) -> None:
    """The axis of [2] is the last one of the result; alone it would be its channels."""
    rng = np.random.default_rng(0)
    x, y = Input("x", dtype, shape), Input("y", dtype, (2,))
    module = Module("net", (x, y), (Output("z", nn.Map("min", (x, y))),))
    agree(module, {op.name: rng.choice([-1, 1], (5, *op.type.shape)).astype(np.float32) for op in (x, y)})


def test_sums_of_the_same_twice_over_and_over_take_no_exponential_time() -> None:
    x = Input("x", F32(), (4,))
    value: Op = x
    for _ in range(60):
        value = nn.Map("add", (value, value))
    agree(Module("net", (x,), (Output("y", value),)), {"x": np.array([[1, -2, 0, 3]], np.float32)})


def test_equal_modules_give_equal_code_and_memory_is_shared() -> None:
    rng = np.random.default_rng(1)

    def chain() -> Module:
        generator = np.random.default_rng(2)
        value: bit.Conv | bit.Step | Input = Input("x", Bit(), (32, 16, 16))
        first = value
        for _ in range(6):
            weights = np.where(generator.random((32, 32, 3, 3)) < 0.5, -1, 1).astype(np.int8)
            conv = bit.Conv(value, weights, (1, 1), (1, 1, 1, 1), (1, 1))
            value = bit.Step(conv, np.zeros((1, 1), np.int32), np.array([[-1, 1]], np.int32), Bit())
        assert isinstance(first, Input)
        return Module("net", (first,), (Output("y", value),))

    one, two = Backend().emit(chain(), Backend.Options()), Backend().emit(chain(), Backend.Options())
    assert one.files == two.files
    layer = 18 * 18 * 4
    assert lower(chain(), native_machine()).program.arena_bytes <= 3 * layer
    assert isinstance(Backend().load(chain(), Backend.Options(threads=2)), Compiled)
    del rng
