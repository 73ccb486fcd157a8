"""The verifier accepts what the strategies make, and names what is broken."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from bnnc.diagnostics import BnncError, Exit
from bnnc.ir import bit, nn
from bnnc.ir.location import Location
from bnnc.ir.module import Input, Module, Output, PixelMap
from bnnc.ir.op import Op
from bnnc.ir.types import F32, Code, DType, Int, TensorType
from bnnc.ir.verify import verify
from tests.strategies import modules

X = Input(name="x", dtype=F32(), shape=(4,), loc=Location("image"))


def of(value: Op, *inputs: Input) -> Module:
    return Module("net", inputs or (X,), (Output("y", value),))


def negated(x: Op) -> nn.Map:
    return nn.Map(function="neg", xs=(x,), loc=Location("conv1"))


def integers(dtype: DType) -> Input:
    return Input(name="x", dtype=dtype, shape=(4,))


def refused(module: Module, after: str = "") -> str:
    with pytest.raises(BnncError) as caught:
        verify(module, after)
    assert caught.value.exit_code == Exit.INTERNAL
    assert caught.value.diagnostics[0].code == "B0901"
    return caught.value.diagnostics[0].message


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(modules())
def test_well_made_modules_pass(module: Module) -> None:
    verify(module)


def test_the_fault_names_op_place_and_pass() -> None:
    broken = negated(nn.Constant(values=np.array([1, np.nan], np.float32), loc=Location("conv1.weight")))
    with pytest.raises(BnncError) as caught:
        verify(of(broken), after="fold")
    [found] = caught.value.diagnostics
    assert "after pass `fold`" in found.message
    assert "`nn.constant` (f32[2])" in found.message
    assert "nan" in found.message
    assert found.places == (Location("conv1.weight"),)


def test_inputs_must_be_listed_and_names_distinct() -> None:
    other = Input(name="x", dtype=F32(), shape=(4,))
    assert "read but not listed" in refused(of(negated(other)))
    assert "two inputs named `x`" in refused(of(X, X, other))
    doubled = dataclasses.replace(of(X), outputs=(Output("y", X), Output("y", negated(X))))
    assert "two outputs named `y`" in refused(doubled)
    assert "no output" in refused(dataclasses.replace(of(X), outputs=()))


def test_outputs_are_stored_in_a_known_format() -> None:
    assert "`object`" in refused(Module("net", (X,), (Output("y", X, "object"),)))
    assert "axis 2" in refused(Module("net", (X,), (Output("y", X, "float32", 2),)))


def test_a_pixel_map_belongs_to_an_input_of_bytes() -> None:
    assert "`x`" in refused(dataclasses.replace(of(X), pixels=(PixelMap("x", 1.0),)))


def test_a_type_must_be_what_its_rule_says() -> None:
    wrong = negated(X)
    object.__setattr__(wrong, "type", TensorType(F32(), (5,)))
    assert "its type should be f32[4]" in refused(of(wrong))


@pytest.mark.parametrize("dtype", [Int(0, 2**31), Int(-(2**31) - 1, 0), Int(3, 2), Code(1, 0, 0), Code(17, 1, 0)])
def test_integers_stay_in_their_bounds(dtype: DType) -> None:
    x = integers(dtype)
    assert str(dtype) in refused(of(x, x))


def test_float_ops_read_only_integers_that_f32_holds() -> None:
    x = integers(Int(0, 2**24))
    verify(of(negated(x), x))
    x = integers(Int(0, 2**24 + 1))
    assert "does not fit f32" in refused(of(negated(x), x))
    verify(of(nn.ArgMax(x=x, axis=0), x))


def test_only_ops_of_the_vocabularies_are_known() -> None:
    class Strange(nn.Map):
        pass

    assert "no vocabulary" in refused(of(Strange(function="neg", xs=(X,))))


def test_thresholds_may_be_infinite_but_not_nan() -> None:
    values = np.array([[-1, 1]], np.float32)

    def step(threshold: float) -> Module:
        return of(bit.Step(x=X, thresholds=np.full((1, 1), threshold, np.float32), values=values, dtype=F32()))

    verify(step(np.inf))
    assert "thresholds" in refused(step(np.nan))
