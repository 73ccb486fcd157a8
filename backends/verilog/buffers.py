"""Buffers in front of layers, so that the slowest layer alone sets the pace.

A layer takes its input in bursts: a row ahead of a window, a whole vector before the first sum. While it works on what
it has, the layers before it must be able to go on. How much they make meanwhile is read off the cycle model, with a
source that delivers samples evenly at the pace of the slowest layer; what never fills is left out again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from bnnc.backends.verilog.cycles import Timing, slowest, timing
from bnnc.backends.verilog.design import Design, Engine, Port, buffer_pace
from bnnc.backends.verilog.fifos import deeper

WAITING = (
    "bnnc_window",
    "bnnc_window_wide",
    "bnnc_mvu_bits",
    "bnnc_mvu_integers",
    "bnnc_mvu_serial",
    "bnnc_pool",
    "bnnc_reorder",
)
NARROWING = "bnnc_width"
"""Waits too where it takes whole windows apart, which come one after the other in some rows, and none in others."""
SMALL = 2
"""Beats that engines hold anyway."""
MARGIN = 0.02
"""So much slower than its slowest layer a circuit may be."""


def buffered(design: Design) -> tuple[Design, Timing | None]:
    """The design with buffers of the depths that keep it at the pace of its slowest layer, and how it runs.

    Without a timing (None) the circuit is too large to step through, and has no such buffers. Raises Deadlock.
    """
    pace = max([cycles for _, cycles in slowest(design)] + [stream.beats for stream in design.inputs])
    as_it_is = timing(design)
    if as_it_is is None or as_it_is.interval <= (1 + MARGIN) * pace:
        return design, as_it_is
    wide = _with_buffers(design, None)
    evenly = timing(wide, pace=pace)
    if evenly is None:
        return design, as_it_is
    tight = _with_buffers(design, {name: filled + 1 for name, filled in evenly.filled.items() if filled > SMALL})
    run = timing(tight)
    if run is not None and run.interval <= (1 + MARGIN) * pace:
        return tight, run
    run = timing(wide)
    if run is not None and run.interval < as_it_is.interval / (1 + MARGIN):
        return wide, run
    return design, as_it_is


def _with_buffers(design: Design, depths: Mapping[str, int] | None) -> Design:
    """With a buffer before every waiting engine, of the given depth by its name, of a sample for None; none if the
    name is not in `depths`."""
    from_outside = {stream.name for stream in design.inputs}
    taken = {engine.name for engine in design.engines}
    whole = {engine.name for engine in design.engines if engine.module == "bnnc_window_wide"}
    engines: list[Engine] = []
    for engine in design.engines:
        inputs = []
        for number, port in enumerate(engine.inputs):
            name = f"{engine.name}_ahead" + (f"_{number}" if number else "")
            while name in taken:
                name += "_"
            wanted = port.stream.beats if depths is None else depths.get(name, 0)
            waits = engine.module in WAITING or (engine.module == NARROWING and port.stream.name in whole)
            if not waits or port.stream.name in from_outside or wanted <= SMALL:
                inputs.append(port)
                continue
            after = dataclasses.replace(port.stream, name=name)
            parameters = (("WIDTH", port.stream.bits), ("DEPTH", wanted))
            ends = ((Port("in", port.stream),), (Port("out", after),))
            engines.append(Engine(name, "bnnc_fifo", parameters, *ends, buffer_pace(wanted), engine.op, engine.loc))
            inputs.append(Port(port.prefix, after))
        engine = dataclasses.replace(engine, inputs=tuple(inputs))
        if engine.module == "bnnc_fifo":  # behind a fork: as deep as no branch waits, too
            depth = engine.parameter("DEPTH")
            most = depth + engine.outputs[0].stream.beats
            engine = deeper(engine, most if depths is None else max(depth, depths.get(engine.name, 0)))
        engines.append(engine)
    return dataclasses.replace(design, engines=tuple(engines))


__all__ = ["buffered"]
