"""Measures how long a compiled network takes: native time, what a call from Python adds, and a peer in turn with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bnnc.protocols import Timed

Inputs = Mapping[str, np.ndarray]
Run = Callable[[Inputs], Any]
WARM_SECONDS = 0.1
FEWEST_RUNS = 5
ROUND_SECONDS = 0.02


@dataclass(frozen=True)
class Measured:
    """Times of single runs in microseconds; `call_overhead` is what calling from Python adds to a native run."""

    median: float
    least: float
    most: float
    runs: int
    call_overhead: float = 0.0
    peer: Measured | None = None


def measure(compiled: Run, inputs: Inputs, seconds: float, peer: Run | None = None, *, native: bool = True) -> Measured:
    """Measure for about `seconds`, ours and the peer's runs in turn, so that both meet the same state of the machine.

    With `native` (for one thread) all times are CPU times, which other processes hardly change. Where the network can
    time its native code they are of that, and what a call from Python takes longer is `call_overhead`. Without it they
    are of calls, by the clock on the wall.
    """
    clock = time.process_time_ns if native else time.perf_counter_ns
    for run in (compiled, peer):
        if run is not None:
            _warm(run, inputs)
    calls: list[float] = []
    inside: list[float] = []
    others: list[float] = []
    end = time.perf_counter() + seconds
    while len(calls) < FEWEST_RUNS or time.perf_counter() < end:
        calls += _round(compiled, inputs, clock)
        if native and isinstance(compiled, Timed):
            inside += [1e6 * second for second in compiled.time(inputs, FEWEST_RUNS)]
        if peer is not None:
            others += _round(peer, inputs, clock)
    ours = inside or calls
    overhead = float(np.median(calls) - np.median(ours))
    return _summary(ours, max(overhead, 0.0), _summary(others) if others else None)


def layers(compiled: Run, inputs: Inputs) -> list[dict[str, Any]]:
    """One row a layer, as the backend measures them; none where it cannot."""
    if not isinstance(compiled, Timed):
        return []
    return [
        {
            "name": row.name,
            "op": row.op,
            "median_us": round(1e6 * row.seconds, 3),
            "bit_macs": row.bit_macs,
            "roofline_share": row.roofline_share,
        }
        for row in compiled.layer_times(inputs)
    ]


def _warm(run: Run, inputs: Inputs) -> None:
    end = time.perf_counter() + WARM_SECONDS
    run(inputs)
    while time.perf_counter() < end:
        run(inputs)


def _round(run: Run, inputs: Inputs, clock: Callable[[], int]) -> list[float]:
    """The microseconds of a few calls in a row: the first after a switch is cold, and left out."""
    run(inputs)
    times: list[float] = []
    end = time.perf_counter() + ROUND_SECONDS
    while not times or time.perf_counter() < end:
        start = clock()
        run(inputs)
        times.append((clock() - start) / 1000)
    return times


def _summary(times: list[float], overhead: float = 0.0, peer: Measured | None = None) -> Measured:
    return Measured(float(np.median(times)), min(times), max(times), len(times), overhead, peer)
