"""The memory plan: what is alive together never overlaps, and sharing never costs."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from bnnc.loops.memory import Interval, plan_memory

intervals = st.lists(
    st.builds(
        lambda size, first, length: Interval(size, first, first + length),
        st.integers(1, 5000),
        st.integers(0, 12),
        st.integers(0, 6),
    ),
    max_size=14,
)


@given(intervals, st.sampled_from([1, 4, 64]))
def test_buffers_alive_together_never_overlap(given_: list[Interval], alignment: int) -> None:
    plan = plan_memory(given_, alignment)
    assert all(offset % alignment == 0 for offset in plan.offsets)
    spans = [(o, o + i.bytes) for o, i in zip(plan.offsets, given_, strict=True)]
    for a, first in enumerate(given_):
        for b, second in enumerate(given_[:a]):
            if first.meets(second):
                assert spans[a][1] <= spans[b][0] or spans[b][1] <= spans[a][0]
    assert plan.bytes == max((end for _, end in spans), default=0)


@given(intervals)
def test_sharing_is_never_worse_than_one_after_the_other(given_: list[Interval]) -> None:
    total = 0
    for interval in given_:
        total = -(-total // 64) * 64 + interval.bytes
    assert plan_memory(given_).bytes <= max(total, sum(-(-i.bytes // 64) * 64 for i in given_))


@given(intervals)
def test_the_arena_holds_what_is_alive_at_once(given_: list[Interval]) -> None:
    alive = [sum(i.bytes for i in given_ if i.first <= step <= i.last) for step in range(20)]
    assert plan_memory(given_).bytes >= max(alive)


def test_a_chain_of_layers_needs_its_two_largest_neighbours() -> None:
    sizes = [6400, 3200, 1600, 6400, 640]
    chain = [Interval(size, step, step + 1) for step, size in enumerate(sizes)]
    assert plan_memory(chain).bytes == max(a + b for a, b in itertools.pairwise(sizes))


def test_the_plan_is_deterministic() -> None:
    chain = [Interval(100 * (step % 3 + 1), step, step + 2) for step in range(9)]
    assert plan_memory(chain) == plan_memory(list(chain))
