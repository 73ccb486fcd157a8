"""When every beat crosses every stream: a circuit of engines with valid and ready is a marked graph.

The transfer of beat i on a stream waits for three things: its source has made it, its reader has room for it, and the
beat before it has crossed. All times follow from these; nothing is guessed and no clock is stepped. The result tells
cycles a sample, the latency, and how full every FIFO becomes, before any simulation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bnnc.backends.verilog.design import Block, Design, Engine, Pace, Stream

SAMPLES = 4
"""So many samples follow one another, so that the pace has settled when the last ones pass; fewer of long ones."""
MOST_BEATS = 600_000
"""A circuit with more beats in two samples is not stepped through: people wait for the answer."""


@dataclass(frozen=True)
class Timing:
    """`interval`: cycles between samples when they come without a pause. `latency`: cycles from the first input beat of
    a sample that finds the circuit empty to its last output beat. `filled`: the most beats that each FIFO held."""

    interval: int
    latency: int
    filled: dict[str, int]


class Deadlock(Exception):
    """No beat can cross any more; `waiting` names the streams with beats left."""

    def __init__(self, waiting: tuple[str, ...]) -> None:
        super().__init__(", ".join(waiting))
        self.waiting = waiting


class _Crossing:
    """The beats of one stream. `times[i]` is the cycle in which beat i crosses."""

    def __init__(self, stream: Stream, samples: int) -> None:
        self.stream, self.times = stream, [0] * (stream.beats * samples)
        self.done = 0
        self.source: Engine | None = None
        self.wanted: tuple[tuple[_Crossing, list[int], list[int]], ...] = ()
        self.pauses: list[int] = [1] * stream.beats * samples
        self.room: tuple[tuple[_Crossing, list[int], int], ...] = ()
        self.followers: tuple[_Crossing, ...] = ()
        self.earliest: list[int] = []
        self.queued = True

    def advance(self) -> bool:
        """Let beats cross until one has to wait for a time that is not known yet; whether any did."""
        times, start = self.times, self.done
        wanted, room, earliest, pauses = self.wanted, self.room, self.earliest, self.pauses
        last = times[start - 1] if start else -pauses[0]
        i = start
        while i < len(times):
            when = last + pauses[i]
            if earliest and earliest[i] > when:
                when = earliest[i]
            for crossing, needs, latency in wanted:
                need = needs[i]
                if need > crossing.done:
                    self.done = i
                    return i > start
                if need:
                    when = max(when, crossing.times[need - 1] + latency[i])
            for crossing, outputs, pause in room:
                gone = outputs[i]
                if gone > crossing.done:
                    self.done = i
                    return i > start
                if gone:
                    when = max(when, crossing.times[gone - 1] + pause)
            times[i] = last = when
            i += 1
        self.done = i
        return i > start


def timing(design: Design, samples: int = 0, pace: int = 0) -> Timing | None:
    """How a design runs while its input never pauses and its output is always taken; None if it is too large to step
    through. `samples`: how many, 0 for as many as are reasonable. `pace`: a sample comes in evenly over so many cycles,
    0 for as fast as it is taken. Raises Deadlock if it can stop."""
    samples = samples or min(SAMPLES, MOST_BEATS // max(1, sum(stream.beats for stream in _streams(design))))
    if samples < 2:
        return None
    found = _crossed(design, samples, pace)
    ends = [
        max(found[stream.name].times[(s + 1) * stream.beats - 1] for stream in design.outputs) for s in range(samples)
    ]
    start = min(found[stream.name].times[0] for stream in design.inputs)
    pauses = np.diff(ends)
    interval = int(pauses[len(pauses) // 2 :].max())
    filled = {e.name: _filled(e, found) for e in design.engines if e.module == "bnnc_fifo"}
    return Timing(interval, ends[0] - start + 1, filled)


def crossings(design: Design, samples: int = 2) -> dict[str, list[int]]:
    """For every stream, by name, the cycle in which each beat of the first samples crosses. Raises Deadlock."""
    found = _crossed(design, samples, 0)
    return {stream.name: found[stream.name].times for stream in _streams(design)}


def _crossed(design: Design, samples: int, pace: int) -> dict[str, _Crossing]:
    """All streams with the times of their beats. Raises Deadlock."""
    crossings = {stream.name: _Crossing(stream, samples) for stream in _streams(design)}
    for engine in design.engines:
        if len(engine.inputs) > 1 and all(need == Block(1, 1) for need in engine.pace.needs):
            # A join takes a beat of every input in the same cycle: they cross as one.
            names = [port.stream.name for port in engine.inputs]
            crossings.update(dict.fromkeys(names, crossings[names[0]]))
    for engine in design.engines:
        _place(engine, crossings, samples)
    for stream in design.inputs if pace else ():
        crossings[stream.name].earliest = (np.arange(samples * stream.beats) * pace // stream.beats).tolist()
    order = list(dict.fromkeys(crossings.values()))
    waking: deque[_Crossing] = deque(order)
    while waking:
        crossing = waking.popleft()
        crossing.queued = False
        if crossing.advance():
            for other in crossing.followers:
                if not other.queued:
                    other.queued = True
                    waking.append(other)
    waiting = tuple(c.stream.name for c in order if c.done < len(c.times))
    if waiting:
        raise Deadlock(waiting)
    return crossings


def _streams(design: Design) -> tuple[Stream, ...]:
    found: dict[str, Stream] = {stream.name: stream for stream in design.inputs}
    for engine in design.engines:
        found.update((port.stream.name, port.stream) for port in engine.outputs)
    return tuple(found.values())


def _place(engine: Engine, crossings: dict[str, _Crossing], samples: int) -> None:
    """Connect the streams of an engine; where results wait behind its work, with one more stream between."""
    pace = engine.pace
    inputs = [crossings[port.stream.name] for port in engine.inputs]
    outputs = [crossings[port.stream.name] for port in engine.outputs]
    if not pace.underway:
        _connect(pace, inputs, outputs, samples)
        return
    done = crossings[f"{engine.name}/"] = _Crossing(engine.outputs[0].stream, samples)
    _connect(Pace(pace.needs, pace.interval, latency=0), inputs, [done], samples)
    _connect(Pace((Block(1, 1),), 1, pace.latency, (pace.underway - 1,)), [done], outputs, samples)


def _connect(pace: Pace, inputs: Sequence[_Crossing], outputs: Sequence[_Crossing], samples: int) -> None:
    """What the outputs of an engine wait for, and what its inputs do."""
    for output in outputs:
        late = pace.late.needs(output.stream.beats) if pace.late else np.zeros(output.stream.beats, np.int64)
        pauses = np.maximum(np.diff(late, prepend=0), pace.interval).tolist() * samples
        output.pauses = list(map(max, output.pauses, pauses))
        latencies = (late + pace.latency).tolist() * samples
    for number, source in enumerate(inputs):
        needs = pace.needs[number].needs(outputs[0].stream.beats)
        all_needs = _repeated(needs, source.stream.beats, samples)
        # Beat i of the input has room once every output beat has gone that has enough without it and its like; or, in
        # a pipeline, while the last of them goes that its registers have no place for.
        pipeline = not pace.ahead and pace.latency > 0
        ahead, places, pause = (0, pace.latency - 1, 0) if pipeline else (pace.ahead[number] if pace.ahead else 0, 0, 1)
        enough = np.searchsorted(all_needs, np.arange(len(source.times)) - ahead, side="right")
        gone = np.maximum(enough - places, 0).tolist()
        listed = all_needs.tolist()
        for output in outputs:
            output.wanted = (*output.wanted, (source, listed, latencies))
            source.room = (*source.room, (output, gone, pause))
            source.followers = (*source.followers, output)
            output.followers = (*output.followers, source)


def _repeated(needs: np.ndarray, beats: int, samples: int) -> np.ndarray:
    return np.asarray(np.arange(samples)[:, None] * beats + needs[None]).reshape(-1)


def _filled(fifo: Engine, crossings: dict[str, _Crossing]) -> int:
    came = crossings[fifo.inputs[0].stream.name].times
    went = np.asarray(crossings[fifo.outputs[0].stream.name].times)
    return int((np.arange(1, len(came) + 1) - np.searchsorted(went, came, side="right")).max(initial=0))


def slowest(design: Design) -> Iterable[tuple[str, int]]:
    """(layer, cycles a sample) of the foldable layers, the slowest first."""
    return sorted(
        ((layer.name, layer.cycles(design.folding.of(layer))) for layer in design.layers), key=lambda x: (-x[1], x[0])
    )


__all__ = ["Deadlock", "Timing", "crossings", "slowest", "timing"]
