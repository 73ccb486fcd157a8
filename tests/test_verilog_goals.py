"""What the user asks of a circuit (a speed, a size, a chip), and what is said when it cannot be had."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from bnnc import api
from bnnc.diagnostics import BnncError, Exit
from bnnc.ir import bit
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import Bit


def network() -> Module:
    rng = np.random.default_rng(0)
    x = Input("x", Bit(), (64,))
    last: Op = x
    for size in (48, 32, 10):
        if last is not x:
            last = bit.Step(last, np.zeros((1, 1), np.int32), np.array([[-1, 1]], np.int32), Bit())
        last = bit.Dense(last, rng.choice(np.array([-1, 1], np.int8), (size, last.type.size)))
    return Module("goals", (x,), (Output("y", last, "int64"),))


def estimated(**options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(api.emit(network(), "verilog", **options).files["report.json"])["estimate"]
    return found


def smallest() -> int:
    """LUTs, where a carry chain takes two a bit."""
    found = estimated(fps=1.0)
    return int(found["luts"] + 2 * found["carries"])


def refused(**options: Any) -> BnncError:
    with pytest.raises(BnncError) as caught:
        api.emit(network(), "verilog", **options)
    return caught.value


def test_a_speed_is_reached_with_a_smaller_circuit_than_a_higher_one() -> None:
    slow, fast = estimated(fps=1e5), estimated(fps=2e6)
    assert slow["fps"] >= 1e5
    assert fast["fps"] >= 2e6
    assert slow["luts"] < fast["luts"]
    assert estimated(fps=1e5, clock=400.0)["luts"] <= slow["luts"]


def test_a_size_is_kept_with_a_faster_circuit_than_a_smaller_one() -> None:
    least = smallest()
    small, large = estimated(max_luts=least * 11 // 10), estimated(max_luts=least * 2)
    assert small["luts"] <= least * 11 // 10
    assert large["luts"] <= least * 2
    assert large["fps"] > small["fps"]
    assert estimated(device="xc7a35t")["technology"] == "xc7"


def test_the_best_speed_that_is_named_can_be_had() -> None:
    reason = refused(fps=1e12)
    assert reason.exit_code == Exit.CHECK_FAILED
    assert reason.diagnostics[0].code == "B0632"
    best = float(reason.diagnostics[0].helps[0].split("fps=")[1].split(",")[0])
    assert estimated(fps=best)["fps"] == pytest.approx(best)


def test_what_does_not_fit_names_the_size_that_it_does() -> None:
    reason = refused(max_luts=20)
    assert (reason.diagnostics[0].code, reason.exit_code) == ("B0632", Exit.CHECK_FAILED)
    estimated(max_luts=int(reason.diagnostics[0].helps[0].split("max-luts=")[1]))
    reason = refused(max_luts=20, fps=1e5)
    assert any("even the smallest circuit" in note for note in reason.diagnostics[0].notes)
    both = refused(fps=1e8, max_luts=smallest() * 11 // 10)
    assert any("samples a second fit" in note for note in both.diagnostics[0].notes)


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("B0631", {"device": "ecp6"}),
        ("B0632", {"fps": -1.0}),
        ("B0632", {"fps": float("nan")}),
        ("B0632", {"clock": 0.0, "fps": 1.0}),
        ("B0632", {"max_luts": -5}),
        ("B0632", {"max_brams": -1}),
    ],
    ids=str,
)
def test_what_is_no_goal(code: str, options: dict[str, Any]) -> None:
    reason = refused(**options)
    assert (reason.diagnostics[0].code, reason.exit_code) == (code, Exit.USAGE)


@pytest.mark.parametrize("goal", [{"fps": 10.0}, {"max_luts": 9999}, {"max_brams": 9}], ids=str)
def test_a_folding_is_given_or_chosen(goal: dict[str, Any]) -> None:
    for given in ({"pe": "1"}, {"simd": "1"}):
        reason = refused(**goal, **given)
        assert (reason.diagnostics[0].code, reason.exit_code) == ("B0621", Exit.USAGE)
    estimated(pe="1", device="ecp5-25f")


def test_unrolled_layers_are_no_faster_than_the_clock() -> None:
    reason = refused(unroll="all", fps=1e9)
    assert reason.diagnostics[0].code == "B0632"
    assert "1e+08" in reason.diagnostics[0].helps[0]
