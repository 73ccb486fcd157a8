"""Generated C computes what the reference computes: random modules, convolutions of every shape, real networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bnnc import api
from bnnc.backends.c import Backend
from bnnc.diagnostics import BnncError
from bnnc.ir import bit
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.types import Bit, Code, DType, Int, Trit
from bnnc.passes import pipelines
from bnnc.reference.run import run
from tests.c_code import needs_gcc
from tests.geometry import Geometry, geometries
from tests.shared import SHARED, needs_shared
from tests.strategies import bit_modules, integers_of, modules, random_inputs

NETS = SHARED / "models" / "nets"
NAMES = sorted(p.stem for p in NETS.glob("*.onnx")) if NETS.is_dir() else []
FEW = ("cnv_poolbefore_zeropad_legacy13", "mlp_dyadic_ties_sign0_dynamo20", "dw_binary_legacy13", "kws1d_dynamo20")
MACHINES = ["generic-c", "cortex-m4", "avr"]


def agree(module: Module, inputs: dict[str, np.ndarray], machine: str = "generic-c", layout: str = "chw") -> None:
    """The C code of a module gives the reference's arrays."""
    expected = run(module, inputs)
    # On this computer, where that is quick: emulated boards have tests of their own.
    found = Backend().load(module, Backend.Options(machine=machine, input_layout=layout, board="host"))(inputs)
    for name, array in expected.items():
        assert found[name].shape == array.shape
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array, equal_nan=True), name


def has_volumes(module: Module) -> bool:
    """Windows over three axes have no kernel."""
    return any(len(getattr(op, "strides", ())) > 2 for op in module.ops())


@needs_gcc
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bit_modules(), st.integers(0, 2**31), st.sampled_from(MACHINES), st.sampled_from(["chw", "hwc"]))
def test_random_bit_modules(module: Module, seed: int, machine: str, layout: str) -> None:
    assume(not has_volumes(module))
    agree(module, random_inputs(module, seed, 2), machine, layout)


@needs_gcc
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(modules(), st.integers(0, 2**31))
def test_random_modules_with_float_islands(module: Module, seed: int) -> None:
    assume(not has_volumes(module))
    agree(pipelines.optimise(module, require_binary=False), random_inputs(module, seed, 3))


@needs_gcc
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    dtype=st.sampled_from([Bit(), Bit(), Trit(), Code(2), Code(2, 2, -3), Int(0, 255), Int(-3000, 3000)]),
    channels=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    window=geometries((7, 7), (4, 4), (3, 3), (2, 2)),
    pad_value=st.sampled_from([-1, 0, 1]),
    groups=st.sampled_from([1, 1, 1, 2]),
    ternary=st.booleans(),
    thresholds=st.integers(0, 3),
    machine=st.sampled_from(MACHINES),
    seed=st.integers(0, 2**31),
)
def test_convolutions_of_every_shape(
    dtype: DType,
    channels: tuple[int, int],
    window: Geometry,
    pad_value: int,
    groups: int,
    ternary: bool,
    thresholds: int,
    machine: str,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    inputs, outputs = channels[0] * groups, channels[1] * groups
    shape = (outputs, channels[0], *window.kernel)
    assume(machine != "avr" or outputs * inputs * math.prod(window.kernel) <= 32767)  # larger tables are refused: B0609
    weights = rng.integers(-1, 2, shape) if ternary else rng.choice([-1, 1], shape)
    x = Input("x", dtype, (inputs, *window.size))
    conv = bit.Conv(x, weights.astype(np.int8), window.stride, window.pads, window.dilation, groups, pad_value)
    value: bit.Conv | bit.Step = conv
    if thresholds:
        limits = np.sort(rng.integers(-9, 10, (outputs, thresholds)), axis=1).astype(np.int32)
        results = rng.choice([-1, 1] if thresholds == 1 else [-1, 0, 1], (outputs, thresholds + 1)).astype(np.int32)
        value = bit.Step(conv, limits, results, Bit() if thresholds == 1 else Trit())
    agree(Module("net", (x,), (Output("y", value),)), {"x": integers_of(dtype, rng, (2, *x.type.shape))}, machine)


def fixture(name: str) -> tuple[Module, dict[str, np.ndarray]]:
    """A real network, optimised, and its recorded inputs."""
    arrays = np.load(NETS / f"{name}.npz")
    inputs = {k[3:]: arrays[k] for k in arrays.files if k.startswith("in_")}
    return pipelines.optimise(api.load(NETS / f"{name}.onnx"), require_binary=False), inputs


@needs_gcc
@needs_shared
@pytest.mark.parametrize("machine", ["generic-c", "cortex-m4"])
@pytest.mark.parametrize("name", FEW)
def test_a_real_network(name: str, machine: str) -> None:
    agree(*fixture(name), machine)


@needs_gcc
@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("machine", ["generic-c", "cortex-m4"])
@pytest.mark.parametrize("name", NAMES)
def test_every_real_network(name: str, machine: str) -> None:
    agree(*fixture(name), machine)


@needs_shared
def test_float_layers_are_refused_where_there_is_no_fpu() -> None:
    with pytest.raises(BnncError) as caught:
        Backend().emit(fixture("cnv_poolbefore_zeropad_legacy13")[0], Backend.Options(machine="cortex-m0"))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "B0603"
    assert diagnostic.places
    assert any("--pixels" in text for text in diagnostic.helps)


def test_a_network_that_16_bits_do_not_index_is_refused() -> None:
    x = Input("x", Bit(), (64, 40, 40))
    weights = np.ones((256, 64, 5, 5), np.int8)
    conv = bit.Conv(x, weights, (1, 1), (0, 0, 0, 0), (1, 1))
    step = bit.Step(conv, np.zeros((1, 1), np.int32), np.array([[-1, 1]], np.int32), Bit())
    with pytest.raises(BnncError) as caught:
        Backend().emit(Module("net", (x,), (Output("y", step),)), Backend.Options(machine="avr"))
    assert caught.value.diagnostics[0].code == "B0609"


def test_an_unknown_machine_is_named() -> None:
    with pytest.raises(BnncError) as caught:
        Backend().emit(Module("net", (), ()), Backend.Options(machine="cortex-m99"))
    assert caught.value.diagnostics[0].code == "B0601"
