"""Comparing outputs: equal bits between our own targets, a tolerance and near-ties against others."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from bnnc.checking import Piece, compare, first, patient, pieces_of, recorded, seeded_pieces
from bnnc.compare import Agreement, differs, unstable
from bnnc.ir import nn
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import F32, Bit, Int
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


def layer(scale: float, offset: float, decide: Callable[[Op], Op] = lambda x: nn.Map("sign", (x,))) -> Module:
    """y = decide(scale * x + offset), the product being that of a layer on integers."""
    x = Input("x", Int(-20, 20), (4,))
    value: Op = nn.Dense(x, nn.Constant(np.eye(4, dtype=np.float32)), None)
    for function, number in (("mul", scale), ("add", offset)):
        value = nn.Map(function, (value, nn.Constant(np.full(4, number, np.float32)))) if number else value
    return Module("layer", (x,), (Output("y", decide(value)),))


GRID = {"x": np.array([[0, 1, 2, 3], [-1, 0, 1, -2], [5, 6, 7, 8]])}


def test_integers_have_a_step_and_ties_are_within_a_thousandth_of_it() -> None:
    """The operand moves in steps of 0.25; its smallest distance from 0 is 0, 0.0002 (ties) or 0.01 (none)."""
    assert unstable(layer(0.25, 0.0002), GRID, 1e-4).tolist() == [True, True, False]
    assert unstable(layer(0.25, 0.01), GRID, 1e-4).tolist() == [False, False, False]
    assert unstable(layer(0.25, 0), GRID, 1e-4).tolist() == [True, True, False]


def test_exact_integers_and_ties_without_consequence_excuse_nothing() -> None:
    zero = nn.Constant(np.zeros(4, np.float32))
    assert not unstable(layer(0, 0), GRID, 1e-4).any()
    assert not unstable(layer(0.25, 0, lambda x: nn.Map("mul", (nn.Map("sign", (x,)), zero))), GRID, 1e-4).any()


def test_real_operands_are_ties_within_their_rounding_only() -> None:
    values = np.random.default_rng(1).uniform(0.1, 1, (50, 4)).astype(np.float32)
    values[7, 2] = 0.5 + 1e-7
    values[9, 1] = 0.5 + 1e-4
    assert np.flatnonzero(unstable(signs(1, -0.5), {"x": values}, 1e-4)).tolist() == [7]


def maps(*steps: tuple[str, float]) -> Callable[[Op], Op]:
    """A chain of functions of x and, but for the roundings, one number."""

    def made(x: Op) -> Op:
        for function, number in steps:
            rest = () if function in ("floor", "round", "tanh") else (nn.Constant(np.array(number, np.float32)),)
            x = nn.Map(function, (x, *rest))
        return x

    return made


@pytest.mark.parametrize(
    "decide",
    [
        maps(("floor", 0)),
        maps(("add", 0.5), ("round", 0)),
        maps(("greater", 0)),
        maps(("less_equal", 0)),
        maps(("mul", 1e8), ("max", -1), ("min", 1)),
        maps(("mul", 1e6), ("tanh", 0)),
    ],
)
def test_every_spelling_of_a_decision_can_tie(decide: Callable[[Op], Op]) -> None:
    module = layer(0.26, 1e-6, decide)
    assert unstable(module, {"x": np.array([[1, 2, 3, 5], [1, 0, 3, 5]])}, 1e-4).tolist() == [False, True]


def test_a_flipped_near_tie_is_exempt_and_counted() -> None:
    module = layer(0.25, 0.0002)
    given = {"x": np.array([[0, 4, 8, 12], [4, 8, 12, 16]])}
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


@pytest.mark.parametrize("wrong", ["threshold", "weight"])
def test_a_wrong_network_is_not_excused_by_ties(wrong: str) -> None:
    """Two binary layers and a head: a threshold one step off, or one weight flipped, is found in most samples."""
    rng = np.random.default_rng(3)
    weights = [np.where(rng.random(shape) < 0.5, -1, 1).astype(np.float32) for shape in ((48, 64), (32, 48), (10, 32))]

    def network(step: float, flip: bool) -> Module:
        rows = [w.copy() for w in weights]
        if flip:
            rows[1][5, 7] *= -1
        x = Input("x", Bit(), (64,))
        value: Op = x
        for number, row in enumerate(rows):
            value = nn.Dense(value, nn.Constant(row), None)
            scale = nn.Constant(np.linspace(0.02, 0.05, len(row), dtype=np.float32))
            value = nn.Map("mul", (value, scale))
            if number < 2:
                shift = np.full(len(row), 0.013, np.float32)
                shift[3] += step * (number == 0)
                value = nn.Map("sign", (nn.Map("add", (value, nn.Constant(shift))),))
        return Module("net", (x,), (Output("y", value),))

    right, false = network(0, False), network(0.09, False) if wrong == "threshold" else network(0, True)
    given = {"x": rng.choice([-1, 1], (200, 64))}
    result = Agreement()
    result.add(right, given, reference.run(right, given), reference.run(false, given), tolerance=1e-4)
    assert result.different > 20
    assert result.exempt_ties == 0


def test_compare_counts_accuracy_beyond_what_it_compares() -> None:
    module = signs()
    rows = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    labels = reference.run(module, {"x": rows})["y"].argmax(1)
    labels[:4] = (labels[:4] + 1) % 4
    pieces = [Piece({"x": rows[i : i + 10]}, labels[i : i + 10]) for i in range(0, 40, 10)]
    verdict = compare(module, lambda given: reference.run(module, given), pieces, count=10)
    assert (verdict.agreement.inputs, verdict.agreement.equal) == (10, 10)
    assert verdict.accuracy == 0.9


def test_first_reads_no_further() -> None:
    def endless() -> Iterator[Piece]:
        for start in (0, 4, 8):
            assert start < 8, "nobody needs these"
            yield Piece({"x": np.arange(start, start + 4)}, np.arange(start, start + 4))

    parts = list(first(endless(), 6))
    assert [list(part.inputs["x"]) for part in parts] == [[0, 1, 2, 3], [4, 5]]
    assert [list(part.labels) for part in parts if part.labels is not None] == [[0, 1, 2, 3], [4, 5]]


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr("bnnc.checking.time.perf_counter", lambda: clock)
    sizes = []
    for part in patient(iter([Piece({"x": np.zeros(10)}), Piece({"x": np.zeros(1000)})]), 60.0):
        sizes.append(len(part))
        clock += 0.5 * len(part)
    assert sizes == [1, 2, 4, 3] + 7 * [16], "60 s at two a second, and no large last one"
    assert sum(len(part) for part in patient(iter([Piece({"x": np.zeros(1000)})]), 60.0)) == 1000


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
