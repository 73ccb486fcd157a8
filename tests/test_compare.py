"""Comparing outputs: equal bits between our own targets, a tolerance and near-ties against others."""

from __future__ import annotations

import numpy as np
import pytest

from bnnc.checking import Piece, compare, pieces_of, recorded, seeded_pieces
from bnnc.compare import Agreement, differs, near_ties
from bnnc.ir import nn
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.types import F32
from bnnc.reference import run as reference


def signs(scale: float = 1.0, offset: float = 0.0) -> Module:
    """y = sign(scale * x + offset), four channels."""
    x = Input("x", F32(), (4,))
    constants = [nn.Constant(np.full(4, value, np.float32)) for value in (scale, offset)]
    before = nn.Map("add", (nn.Map("mul", (x, constants[0])), constants[1]))
    return Module("signs", (x,), (Output("y", nn.Map("sign", (before,))),))


def inputs(*rows: list[float]) -> dict[str, np.ndarray]:
    return {"x": np.array(rows, np.float32)}


def test_bits_must_be_equal_without_a_tolerance() -> None:
    a = np.array([1.0, 0.0, np.nan, np.inf], np.float32)
    assert not differs(a, a.copy(), None).any()
    assert differs(a, np.array([np.nextafter(1, 2, dtype=np.float32), 0, np.nan, np.inf], np.float32), None)[0]
    assert differs(a, np.array([1, -0.0, np.nan, np.inf], np.float32), None)[1]
    assert differs(a, np.array([1, 0, 1, np.inf], np.float32), None)[2]
    assert differs(a, np.array([1, 0, np.nan, -np.inf], np.float32), None)[3]


def test_the_tolerance_is_absolute_and_relative() -> None:
    wanted = np.array([0.0, 1000.0, np.inf, np.nan], np.float32)
    assert not differs(wanted, np.array([0.00009, 1000.09, np.inf, np.nan], np.float32), 1e-4).any()
    assert differs(wanted, np.array([0.00011, 1000.11, 1e30, 0], np.float32), 1e-4).all()


def test_another_shape_differs_everywhere() -> None:
    assert differs(np.zeros((2, 3)), np.zeros((2, 1)), 1e-4).all()


def test_the_first_difference_is_named() -> None:
    module = signs()
    given = inputs([1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4])
    found = reference.run(module, given)["y"].copy()
    found[1, 2] = -1
    found[2, 0] = -1
    result = Agreement()
    result.add(module, given, reference.run(module, given), {"y": found})
    assert (result.inputs, result.equal, result.different, result.max_abs_error) == (3, 1, 2, 2.0)
    assert str(result.first) == "input 1, output `y`, element [2]: expected 1, found -1"
    assert result.differing == [1, 2]


def test_integers_have_a_step_and_ties_are_within_a_thousandth_of_it() -> None:
    """The operand moves in steps of 0.25; its smallest distance from 0 is 0.0002 (a tie) or 0.01 (none)."""
    grid = inputs([0, 1, 2, 3], [-1, 0, 1, -2], [5, 6, 7, 8])
    assert near_ties(signs(0.25, 0.0002), grid).tolist() == [True, True, False]
    assert near_ties(signs(0.25, 0.01), grid).tolist() == [False, False, False]
    assert near_ties(signs(0.25, 0.0), grid).tolist() == [True, True, False]


def test_real_operands_are_ties_within_their_rounding_only() -> None:
    values = np.random.default_rng(1).uniform(0.1, 1, (50, 4)).astype(np.float32)
    values[7, 2] = 1e-7
    values[9, 1] = 1e-4
    assert np.flatnonzero(near_ties(signs(), {"x": values})).tolist() == [7]


@pytest.mark.parametrize(
    ("function", "threshold", "tie"),
    [("floor", 2.0, 2.00001), ("round", 2.5, 2.50001), ("greater", 1.0, 1.00001), ("less_equal", 1.0, 0.99999)],
)
def test_every_kind_of_decision_can_tie(function: str, threshold: float, tie: float) -> None:
    x = Input("x", F32(), (1,))
    operands = (x,) if function in ("floor", "round") else (x, nn.Constant(np.array([threshold], np.float32)))
    module = Module("m", (x,), (Output("y", nn.Map(function, operands)),))
    grid = {"x": np.array([[threshold - 0.25], [threshold + 0.25], [tie]], np.float32)}
    assert near_ties(module, grid).tolist() == [False, False, True]


def test_a_flipped_near_tie_is_exempt_and_counted() -> None:
    module = signs(0.25, 0.0002)
    given = inputs([0, 4, 8, 12], [4, 8, 12, 16])
    wanted = reference.run(module, given)
    flipped = {"y": -wanted["y"]}
    result = Agreement()
    result.add(module, given, wanted, flipped, tolerance=1e-4)
    assert (result.inputs, result.equal, result.exempt_ties, result.different) == (2, 0, 1, 1)
    assert result.first is not None
    assert result.first.sample == 1
    strict = Agreement()
    strict.add(module, given, wanted, flipped)
    assert (strict.exempt_ties, strict.different) == (0, 2)


def test_compare_counts_accuracy_beyond_what_it_compares() -> None:
    module = signs()
    rows = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    labels = reference.run(module, {"x": rows})["y"].argmax(1)
    labels[:4] = (labels[:4] + 1) % 4
    pieces = [Piece({"x": rows[i : i + 10]}, labels[i : i + 10]) for i in range(0, 40, 10)]
    verdict = compare(module, lambda given: reference.run(module, given), pieces, count=10)
    assert (verdict.agreement.inputs, verdict.agreement.equal) == (10, 10)
    assert verdict.accuracy == 0.9


def test_compare_keeps_the_first_sample_that_differs() -> None:
    module = signs()

    def wrong(given: object) -> dict[str, np.ndarray]:
        rows = given["x"]  # type: ignore[index]
        return {"y": np.where(rows[:, :1] > 0.5, 0, np.sign(rows)).astype(np.float32)}

    rows = np.linspace(-1, 1, 40, dtype=np.float32).reshape(40, 1).repeat(4, 1)
    verdict = compare(module, wrong, pieces_of({"x": rows}, 8))
    assert verdict.agreement.first is not None
    assert np.array_equal(verdict.sample["x"][0], rows[verdict.agreement.first.sample])
    assert verdict.agreement.first.sample == int(np.argmax(rows[:, 0] > 0.5))


def test_recorded_outputs_follow_the_inputs() -> None:
    module = signs()
    rows = np.random.default_rng(0).standard_normal((21, 4)).astype(np.float32)
    outputs = reference.run(module, {"x": rows})
    verdict = compare(
        module, lambda given: reference.run(module, given), pieces_of({"x": rows}, 8), recorded(module, outputs)
    )
    assert (verdict.agreement.inputs, verdict.agreement.equal) == (21, 21)


def test_seeded_pieces_give_the_number_asked_for() -> None:
    sizes = [len(piece) for piece in seeded_pieces(signs(), 50, 0)]
    assert sizes[:4] == [1, 2, 4, 8]
    assert sum(sizes) == 50
