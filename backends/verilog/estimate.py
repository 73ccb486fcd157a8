"""What a circuit will cost and how it will run, by layer, before any synthesis."""

from __future__ import annotations

from typing import Any

from bnnc.backends.verilog.cost import Cost, engine_cost
from bnnc.backends.verilog.cycles import Timing, slowest
from bnnc.backends.verilog.design import Design


def estimate(design: Design, run: Timing | None, technology: str, clock: float) -> dict[str, Any]:
    """The estimate as it stands in report.json; `run` of the cycle model. Samples a second are at `clock` MHz."""
    layers: dict[str, dict[str, Any]] = {}
    whole = Cost()
    folds = {layer.name: layer.cycles(design.folding.of(layer)) for layer in design.layers}
    for engine in design.engines:
        cost = engine_cost(engine, technology)
        whole = whole + cost
        name = engine.loc.name or engine.op
        row = layers.setdefault(name, {"layer": name, "cycles": 0, "cost": Cost()})
        row["cost"] = row["cost"] + cost
        busy = folds.get(engine.layer, max(port.stream.beats for port in (*engine.inputs, *engine.outputs)))
        row["cycles"] = max(row["cycles"], busy)
    found: dict[str, Any] = {"technology": technology, "clock_mhz": clock}
    interval = (
        run.interval if run else max([cycles for _, cycles in slowest(design)] + [s.beats for s in design.inputs])
    )
    found |= {"cycles": interval, "fps": float(f"{clock * 1e6 / interval:.6g}"), "modelled": run is not None}
    if run:
        found |= {"latency_cycles": run.latency, "fifos": run.filled}
    found |= _numbers(whole)
    found["layers"] = [
        {"layer": row["layer"], "cycles": row["cycles"], **_numbers(row["cost"])} for row in layers.values()
    ]
    return found


def _numbers(cost: Cost) -> dict[str, int]:
    return {
        "luts": round(cost.luts),
        "carries": round(cost.carries),
        "flip_flops": round(cost.flip_flops),
        "block_rams": cost.memories,
    }


def table(found: dict[str, Any], measured: dict[str, Any] | None) -> dict[str, Any]:
    """The estimate as a table for people, with what was measured in its last row: headings and rows."""
    names = ("cycles", "luts", "carries", "flip_flops", "block_rams")
    rows = [[row["layer"], *(f"{row[name]:,}".replace(",", " ") for name in names)] for row in found["layers"]]
    rows.append(["in all", *(f"{found[name]:,}".replace(",", " ") for name in names)])
    if measured:
        rows.append(["measured", "", *(f"{measured[name]:,}".replace(",", " ") for name in names[1:])])
    headings = ["layer", ">cycles", ">LUT", ">carry", ">FF", ">RAM"]
    said = f"{found['fps']:.6g} samples a second at {found['clock_mhz']:g} MHz (estimated, {found['technology']})"
    if measured and measured["routed"]:
        said += f"\n{measured['routed']['fmax_mhz']} MHz after routing on {measured['routed']['device']}"
    return {"headings": headings, "rows": rows, "said": said}


__all__ = ["estimate", "table"]
