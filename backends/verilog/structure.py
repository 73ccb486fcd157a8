"""What an engine is made of, by its module."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bnnc.backends.verilog import parts_fixed, parts_layers, parts_streams
from bnnc.backends.verilog.parts import Parts, Shape, fifo

PARTS: Mapping[str, Callable[[Parts, Shape], None]] = {
    "bnnc_add": parts_streams.add,
    "bnnc_affine": parts_streams.affine,
    "bnnc_argmax": parts_streams.argmax,
    "bnnc_concat": parts_streams.concat,
    "bnnc_constant": parts_streams.constant,
    "bnnc_copies": lambda parts, shape: None,  # wires
    "bnnc_fifo": lambda parts, shape: fifo(parts, shape.parameters["WIDTH"], shape.parameters["DEPTH"]),
    "bnnc_fix_add": parts_fixed.fix_add,
    "bnnc_fix_lines": parts_fixed.fix_lines,
    "bnnc_fix_mul": parts_fixed.fix_mul,
    "bnnc_fix_settle": parts_fixed.fix_settle,
    "bnnc_fix_table": parts_fixed.fix_table,
    "bnnc_fork": parts_streams.fork,
    "bnnc_lookup": parts_streams.lookup,
    "bnnc_mvu_bits": parts_layers.mvu_bits,
    "bnnc_mvu_integers": parts_layers.mvu_integers,
    "bnnc_mvu_serial": parts_layers.mvu_serial,
    "bnnc_planes": parts_streams.planes,
    "bnnc_pool": parts_streams.pool,
    "bnnc_reorder": parts_streams.reorder,
    "bnnc_repeat": parts_streams.repeat,
    "bnnc_step": parts_streams.step,
    "bnnc_width": parts_streams.width,
    "bnnc_window": parts_streams.window,
    "bnnc_window_wide": parts_streams.window_wide,
}


def _unknown(parts: Parts, shape: Shape) -> None:
    """Of a module that is not described here: registers at its input."""
    p = shape.parameters
    parts.registers(p.get("LANES", 1) * p.get("WIDTH", p.get("IN_WIDTH", 32)))


def parts_of(shape: Shape, technology: str) -> Parts:
    """What an engine is made of."""
    parts = Parts(technology)
    parts.add(shape.module, 1)
    PARTS.get(shape.module, _unknown)(parts, shape)
    return parts


__all__ = ["PARTS", "parts_of"]
