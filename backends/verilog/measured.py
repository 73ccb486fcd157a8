"""Measures a circuit with the tools at hand, so that report.json can put what is beside what was estimated."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bnnc.backends.verilog.devices import Device
from bnnc.backends.verilog.few_pins import few_pins_name
from bnnc.backends.verilog.synthesis import NETLIST_OPTIONS, route, router_command, synthesise

NETLIST = "netlist.json"
FEW_PINS = "few_pins.v"


def measured(
    files: Mapping[str, str],
    top: str,
    technology: str,
    device: Device,
    clock: float,
    *,
    few_pins: str | None = None,
    netlists: bool = False,
) -> dict[str, Any]:
    """The cells of a circuit (path -> text of `rtl/` and `mem/`) and, where nextpnr is found, its clock after routing.

    few_pins: a top around a circuit with more ports than a chip has pins, to be routed in its place; netlists: whether
    there are unrolled layers. Raises BnncError B0602 without yosys, B0630 if a tool fails. Seconds are left out: equal
    circuits, equal reports.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, text in {**files, **({FEW_PINS: few_pins} if few_pins else {})}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        sources = sorted(name for name in files if name.endswith(".v"))
        cells = synthesise(folder, sources, top, technology, NETLIST)
        found: dict[str, Any] = {
            "technology": technology,
            "tool": cells.tool,
            "luts": cells.luts,
            "carries": cells.carries,
            "flip_flops": cells.flip_flops,
            "block_rams": cells.memories,
        }
        if not device.nextpnr or router_command(technology) is None:
            return found | {"routed": None}
        options = NETLIST_OPTIONS if netlists else ()
        if few_pins:
            synthesise(folder, [*sources, FEW_PINS], few_pins_name(top), technology, NETLIST)
        routed = route(folder, NETLIST, technology, device.nextpnr, clock, options=options)
    return found | {
        "routed": {
            "device": device.name,
            "tool": routed.tool,
            "seed": routed.seed,
            "fmax_mhz": round(routed.fmax, 2),
            "used": dict(routed.cells),
        }
    }


__all__ = ["measured"]
