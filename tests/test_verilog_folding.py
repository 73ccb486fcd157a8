"""The choice of multipliers for a speed or a size, and the cycle model that knows how a circuit will run."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnnc.backends.verilog.cycles import Deadlock, timing
from bnnc.backends.verilog.design import Block, Design, Engine, Fold, Folding, Layer, Listed, Pace, Port, Stream
from bnnc.backends.verilog.folding import Choice, fastest, for_cycles, paces, within
from bnnc.backends.verilog.layers import folds_of


def layer(name: str, vectors: int, inputs: int, outputs: int, taps: int = 1) -> Layer:
    return Layer(name, "bnnc_mvu_bits", vectors, 1, inputs * taps, outputs, inputs, taps, 1, 1, False)


layers = st.lists(
    st.builds(layer, st.uuids().map(str), *(st.integers(1, 30) for _ in range(3)), st.sampled_from([1, 3, 9])),
    min_size=1,
    max_size=4,
)


def price(each: Layer, fold: Fold) -> float:
    return 7 + fold.pe * fold.simd + 0.5 * fold.pe + 0.25 * fold.simd


@given(layers, st.integers(1, 3000))
def test_the_cheapest_folding_of_a_speed(each: list[Layer], most: int) -> None:
    choice = for_cycles(each, most, price)
    if choice is None:
        assert any(fastest(one) > most for one in each)
        return
    assert choice.cycles <= most
    for one in each:
        fold = choice.folding.of(one)
        assert one.inputs % fold.simd == one.outputs % fold.pe == 0
        assert price(one, fold) == min(price(one, f) for f in folds_of(one) if one.cycles(f) <= most)


@given(layers, st.integers(0, 400))
def test_the_fastest_folding_of_a_size(each: list[Layer], budget: int) -> None:
    def total(choice: Choice) -> float:
        return sum(price(one, choice.folding.of(one)) for one in each)

    found = within(each, lambda choice: total(choice) <= budget, price)
    fitting = [
        choice
        for most in paces(each)
        for choice in [for_cycles(each, most, price)]
        if choice is not None and total(choice) <= budget
    ]
    if found is None:
        assert not fitting
    else:
        assert total(found) <= budget
        assert found.cycles == min(choice.cycles for choice in fitting)


def engine(name: str, inputs: list[Stream], outputs: list[Stream], pace: Pace, module: str = "bnnc_x") -> Engine:
    return Engine(name, module, (), tuple(Port("in", s) for s in inputs), tuple(Port("out", s) for s in outputs), pace)


def stream(name: str, beats: int) -> Stream:
    return Stream(name, beats, 1, 1, 1)


def design(engines: list[Engine], first: Stream, last: Stream) -> Design:
    return Design("x", tuple(engines), (first,), (last,), (), Folding())


def clocked(made: Design, samples: int) -> int:
    """The cycle of the last output beat, found by stepping clock by clock: slow, and hard to get wrong."""
    streams = {made.inputs[0].name: made.inputs[0]}
    streams |= {port.stream.name: port.stream for e in made.engines for port in e.outputs}
    crossed: dict[str, list[int]] = {name: [] for name in streams}
    source = {port.stream.name: e for e in made.engines for port in e.outputs}
    reader = {port.stream.name: (e, n) for e in made.engines for n, port in enumerate(e.inputs)}

    def counts(e: Engine, number: int) -> list[int]:
        beats, of = e.outputs[0].stream.beats, e.inputs[number].stream.beats
        once = e.pace.needs[number].needs(beats).tolist()
        return [sample * of + count for sample in range(samples) for count in once]

    needs = {(e.name, number): counts(e, number) for e in made.engines for number in range(len(e.inputs))}

    def need(e: Engine, number: int, beat: int) -> int:
        return int(needs[e.name, number][beat])

    for cycle in itertools.count():
        before = {name: len(times) for name, times in crossed.items()}
        moved = []
        for name, each in streams.items():
            beat = before[name]
            if beat == each.beats * samples:
                continue
            made_now = True
            if name in source:
                e = source[name]
                made_now = not crossed[name] or cycle >= crossed[name][-1] + e.pace.interval
                for number, port in enumerate(e.inputs):
                    wanted = need(e, number, beat)
                    times = crossed[port.stream.name]
                    made_now &= wanted == 0 or (len(times) >= wanted and cycle >= times[wanted - 1] + e.pace.latency)
            room = True
            if name in reader:
                e, number = reader[name]
                ahead = e.pace.ahead[number] if e.pace.ahead else 0
                for port in e.outputs:
                    gone = before[port.stream.name]
                    most = port.stream.beats * samples
                    room &= gone >= most or beat < need(e, number, gone) + ahead
            if made_now and room:
                moved.append(name)
        for name in moved:
            crossed[name].append(cycle)
        if len(crossed[made.outputs[0].name]) == made.outputs[0].beats * samples:
            return cycle
        assert cycle < 10_000, "it stands still"
    raise AssertionError


@given(st.data())
def test_the_model_is_the_clock(data: st.DataObject) -> None:
    """A chain of engines that take and give blocks of beats, some with buffers, runs as if the clock were stepped."""
    number = st.integers(1, 4)
    first = last = stream("s0", 12)
    engines = []
    for n in range(data.draw(st.integers(1, 3))):
        take = data.draw(st.sampled_from([k for k in (1, 2, 3, 4) if last.beats % k == 0]))
        give = data.draw(st.sampled_from([k for k in (1, 2, 3, 4) if last.beats // take * k <= 24]))
        after = stream(f"s{n + 1}", last.beats // take * give)
        pace = Pace((Block(take, give),), data.draw(number), data.draw(number), (data.draw(st.integers(0, 3)),))
        engines.append(engine(f"e{n}", [last], [after], pace))
        last = after
    made = design(engines, first, last)
    found = timing(made, 3)
    assert found is not None
    assert found.latency == clocked(made, 1) + 1
    assert found.interval == clocked(made, 3) - clocked(made, 2)


def branches(depth: int) -> Design:
    """A fork: one branch holds 6 beats back before its first, the other waits in a buffer of `depth`."""
    s = {name: stream(name, 12) for name in ("x", "a", "b", "slow", "fast", "y")}
    late = Listed(np.minimum(np.arange(12) + 7, 12))
    return design(
        [
            engine("fork", [s["x"]], [s["a"], s["b"]], Pace((Block(1, 1),), latency=0)),
            engine("late", [s["a"]], [s["slow"]], Pace((late,))),
            engine("buffer", [s["b"]], [s["fast"]], Pace((Block(1, 1),), ahead=(depth,)), "bnnc_fifo"),
            engine("join", [s["slow"], s["fast"]], [s["y"]], Pace((Block(1, 1), Block(1, 1)))),
        ],
        s["x"],
        s["y"],
    )


def test_branches_that_meet_again() -> None:
    found = timing(branches(16))
    assert found is not None
    # A beat waits in the buffer while the other branch is 6 behind, and while engines hand it on.
    assert 6 <= found.filled["buffer"] <= 12
    with pytest.raises(Deadlock, match="slow"):
        timing(branches(3))
