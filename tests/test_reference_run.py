"""Running modules: names, batches, chunks, storage; and what is said about arrays that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnnc.diagnostics import BnncError, Exit
from bnnc.ir import bit, move, nn
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import F32, U8, Bit, Code, DType, Int, Trit, is_integer, value_range
from bnnc.reference import run as reference
from tests.strategies import modules, random_inputs

RELAXED = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


def network(dtype: DType = F32(), shape: tuple[int, ...] = (2, 3), **output: Any) -> Module:  # noqa: B008
    x = Input(name="x", dtype=dtype, shape=shape)
    two = nn.Constant(values=np.array(2, np.float32))
    return Module("net", (x,), (Output("y", nn.Map(function="mul", xs=(x, two)), **output),))


@RELAXED
@given(modules(), st.integers(0, 99))
def test_values_are_of_their_types(module: Module, seed: int) -> None:
    for op, value in reference.values(module, random_inputs(module, seed, 2)).items():
        assert value.shape[1:] == op.type.shape
        assert value.shape[0] in (1, 2)
        if is_integer(op.type.dtype):
            lo, hi = value_range(op.type.dtype)
            assert value.dtype.kind == "i"
            assert lo <= value.min()
            assert value.max() <= hi
        else:
            assert value.dtype == np.float32


@RELAXED
@given(modules(), st.integers(0, 99))
def test_the_batch_does_not_matter(module: Module, seed: int) -> None:
    """Three samples at once, in chunks of one, and one by one give the same bits."""
    inputs = random_inputs(module, seed, 3)
    together = reference.run(module, inputs)
    single = [reference.run(module, {name: x[i : i + 1] for name, x in inputs.items()}) for i in range(3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "CHUNK_ELEMENTS", 1)
        chunked = reference.run(module, inputs)
    for output in module.outputs:
        joined = np.concatenate([part[output.name] for part in single], axis=output.batch_axis)
        np.testing.assert_array_equal(together[output.name], joined)
        np.testing.assert_array_equal(together[output.name], chunked[output.name])


def test_an_empty_batch_gives_empty_outputs() -> None:
    y = reference.run(network(storage="float64"), {"x": np.zeros((0, 2, 3), np.float32)})["y"]
    assert y.shape == (0, 2, 3)
    assert y.dtype == np.float64


def test_outputs_are_stored_as_the_model_says() -> None:
    x = np.arange(12).reshape(2, 2, 3)
    y = reference.run(network(storage="int64", batch_axis=2), {"x": x})["y"]
    assert y.dtype == np.int64
    np.testing.assert_array_equal(y, np.moveaxis(2 * x, 0, 2))


def test_a_constant_output_is_repeated_for_the_batch() -> None:
    x = Input(name="x", dtype=F32(), shape=(2,))
    module = Module("net", (x,), (Output("y", nn.Constant(values=np.array([1, 2], np.float32))),))
    y = reference.run(module, {"x": np.zeros((3, 2))})["y"]
    assert y.tolist() == [[1, 2]] * 3


def test_a_deep_network_needs_no_deep_stack() -> None:
    x: Op = Input(name="x", dtype=F32(), shape=(1,))
    y = x
    for _ in range(5000):
        y = nn.Map(function="neg", xs=(y,))
    assert isinstance(x, Input)
    module = Module("deep", (x,), (Output("y", y),))
    assert reference.run(module, {"x": np.ones((1, 1))})["y"].tolist() == [[1]]


def test_values_no_longer_needed_are_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    import weakref

    alive: list[weakref.ref[np.ndarray]] = []
    most = 0
    evaluate = reference.evaluate

    def watch(op: Op, operands: Any) -> np.ndarray:
        nonlocal most
        result = evaluate(op, operands)
        alive.append(weakref.ref(result))
        most = max(most, sum(ref() is not None for ref in alive))
        return result

    monkeypatch.setattr(reference, "evaluate", watch)
    x = Input(name="x", dtype=F32(), shape=(4,))
    y: Op = x
    for _ in range(20):
        y = nn.Map(function="neg", xs=(y,))
    reference.run(Module("net", (x,), (Output("y", y),)), {"x": np.ones((2, 4))})
    assert most <= 3


def test_an_op_without_a_meaning_is_named() -> None:
    with pytest.raises(NotImplementedError, match="input"):
        reference.evaluate(Input(name="x", dtype=F32(), shape=(1,)), [])


def refused(module: Module, inputs: dict[str, Any]) -> list[tuple[str, str, str]]:
    with pytest.raises(BnncError) as caught:
        reference.check_inputs(module, inputs)
    assert caught.value.exit_code == Exit.BAD_INPUT
    return [(d.code, d.message, " ".join((*d.notes, *d.helps))) for d in caught.value.diagnostics]


def test_wrong_names_are_all_reported() -> None:
    first, second = refused(network(), {"X1": np.zeros((1, 2, 3))})
    assert first[0] == "B0510"
    assert "`X1`" in first[1]
    assert "`x`" in first[2]
    assert second[:2] == ("B0511", "input `x` (f32[2, 3]) has no array")


@pytest.mark.parametrize(
    ("shape", "hint"),
    [((2, 3), "array[None]"), ((4, 6), "reshape(-1, 2, 3)"), ((1, 6), "reshape"), ((7,), ""), ((), "")],
)
def test_wrong_shapes_say_how_to_mend_them(shape: tuple[int, ...], hint: str) -> None:
    [(code, message, text)] = refused(network(), {"x": np.zeros(shape)})
    assert code == "B0512"
    assert "[batch, 2, 3]" in message
    assert str(list(shape)) in message
    assert hint in text


def test_channels_last_is_recognised() -> None:
    [(_, _, text)] = refused(network(shape=(3, 8, 8)), {"x": np.zeros((5, 8, 8, 3))})
    assert "moveaxis" in text


@pytest.mark.parametrize("array", [np.full((1, 2, 3), "a"), np.zeros((1, 2, 3), complex), np.full((1, 2, 3), None)])
def test_what_is_no_number_is_refused(array: np.ndarray) -> None:
    assert refused(network(), {"x": array})[0][0] == "B0513"


@pytest.mark.parametrize(
    ("dtype", "value", "words"),
    [
        (U8, 256, "0 to 255"),
        (U8, -1, "0 to 255"),
        (U8, 0.5, "whole numbers"),
        (Bit(), 0, "-1 and 1"),
        (Trit(), 2, "-1 to 1"),
        (Code(2, 2, -3), 0, "-3, -1, 1, 3"),
        (Int(-5, 7), 8, "-5 to 7"),
        (U8, 2**63, "0 to 255"),
    ],
)
def test_values_out_of_range_are_shown(dtype: DType, value: float, words: str) -> None:
    array = np.ones((2, 2, 3), np.uint64 if value == 2**63 else np.float64 if value % 1 else np.int64)
    array[1, 0, 2] = value
    [(code, message, _)] = refused(network(dtype), {"x": array})
    assert code == "B0514"
    assert words in message
    assert "[1, 0, 2]" in message
    assert str(array[1, 0, 2]) in message


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("dtype", [F32(), U8])
def test_values_that_are_no_finite_number_are_refused(dtype: DType, value: float) -> None:
    array = np.ones((1, 2, 3))
    array[0, 1, 1] = value
    code = refused(network(dtype), {"x": array})[0][0]
    assert code == ("B0514" if value == 1e300 and dtype == U8 else "B0515")


def test_batches_of_different_length_are_refused() -> None:
    x, y = (Input(name=name, dtype=F32(), shape=(1,)) for name in "xy")
    module = Module("net", (x, y), (Output("z", nn.Map(function="add", xs=(x, y))),))
    [(code, message, _)] = refused(module, {"x": np.zeros((1, 1)), "y": np.zeros((2, 1))})
    assert code == "B0516"
    assert "`x` has 1, `y` has 2" in message


def test_whole_floats_and_integers_are_taken_for_each_other() -> None:
    checked = reference.check_inputs(network(U8), {"x": np.full((1, 2, 3), 7.0, np.float16)})["x"]
    assert checked.dtype == np.int32
    assert (checked == 7).all()
    floats = reference.check_inputs(network(), {"x": np.full((1, 2, 3), 7, np.uint8)})["x"]
    assert floats.dtype == np.float32


def test_bits_through_a_small_network_by_hand() -> None:
    x = Input(name="x", dtype=Bit(), shape=(4,))
    weights = np.array([[1, 1, -1, -1], [1, -1, 1, -1]], np.int8)
    thresholds, values = np.array([[0], [1]], np.int32), np.array([[-1, 1], [1, -1]], np.int32)
    bits = bit.Step(x=bit.Dense(x=x, weights=weights), thresholds=thresholds, values=values, dtype=Bit())
    scores = bit.Decode(x=bit.Add(xs=(bits, bits), coefficients=(3, -1)))
    module = Module("net", (x,), (Output("y", move.Concat(xs=(scores, scores), axis=0)),))
    y = reference.run(module, {"x": np.array([[1, 1, 1, -1], [1, -1, -1, 1]])})["y"]
    # sums: [2, 2] and [0, 0]; sample 0: 2 >= 0 -> 1, 2 >= 1 -> -1; sample 1: 0 >= 0 -> 1, 0 < 1 -> 1; times 3 - 1
    assert y.tolist() == [[2, -2, 2, -2], [2, 2, 2, 2]]
