"""How deep the buffers of forks must be, so that no branch can wait for another for ever.

A fork hands a beat on when all its readers have room. Where two branches meet again, one may need more beats of the
fork than the other before the same beat leaves the join: as many as it is behind, its buffer must hold.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bnnc.backends.verilog.design import Engine, buffer_pace

SLACK = 2
"""Beats beyond those that must fit, for the registers of the branches."""


def sized(engines: tuple[Engine, ...]) -> tuple[Engine, ...]:
    """The engines, with the depth of every buffer behind a fork."""
    depths: dict[str, int] = {}
    for at, engine in enumerate(engines):
        if engine.module == "bnnc_fork":
            depths |= _behind(engine, engines[at + 1 :])
    return tuple(deeper(engine, depths.get(engine.name, 0)) for engine in engines)


def _behind(fork: Engine, later: tuple[Engine, ...]) -> dict[str, int]:
    """The depths of the buffers behind one fork, by their names."""
    copies = len(fork.outputs)
    beats = fork.outputs[0].stream.beats
    # For each stream behind the fork, for each copy: how many of its beats a beat of the stream needs.
    wants: dict[str, list[np.ndarray | None]] = {}
    for number, port in enumerate(fork.outputs):
        wants[port.stream.name] = [np.arange(1, beats + 1) if n == number else None for n in range(copies)]
    buffers: list[str] = [""] * copies
    depths = [0] * copies
    for engine in later:
        reached = [number for number, port in enumerate(engine.inputs) if port.stream.name in wants]
        if not reached:
            continue
        outputs = engine.outputs[0].stream.beats
        merged: list[np.ndarray | None] = [None] * copies
        for number in reached:
            found = wants.pop(engine.inputs[number].stream.name)
            needs = engine.pace.needs[number].needs(outputs)
            for copy, counts in enumerate(found):
                if counts is not None:
                    merged[copy] = _most(merged[copy], _composed(counts, needs))
            if engine.module == "bnnc_fifo" and sum(c is not None for c in found) == 1:
                copy = next(n for n, c in enumerate(found) if c is not None)
                buffers[copy] = buffers[copy] or engine.name
        present = [counts for counts in merged if counts is not None]
        if len(present) > 1:
            most = np.maximum.reduce(present)
            for copy, counts in enumerate(merged):
                if counts is not None:
                    before = np.concatenate([[0], counts[:-1]])
                    depths[copy] = max(depths[copy], int((most - before).max()))
        for port in engine.outputs:
            wants[port.stream.name] = merged
        if len(wants) == 1 and all(counts is not None for counts in merged):
            break
    return {name: depth + SLACK for name, depth in zip(buffers, depths, strict=True) if name}


def _composed(counts: np.ndarray, needs: np.ndarray) -> np.ndarray:
    """The beats of the fork that are needed, where `needs` beats of a stream with these counts are."""
    return np.asarray(np.concatenate([[0], counts])[np.minimum(needs, len(counts))])


def _most(a: np.ndarray | None, b: np.ndarray) -> np.ndarray:
    return b if a is None else np.maximum(a, b)


def deeper(engine: Engine, depth: int) -> Engine:
    """A buffer of that depth; as it is where it need not be deep."""
    if depth <= SLACK:
        return engine
    parameters = tuple((name, depth if name == "DEPTH" else value) for name, value in engine.parameters)
    return dataclasses.replace(engine, parameters=parameters, pace=buffer_pace(depth))


__all__ = ["deeper", "sized"]
