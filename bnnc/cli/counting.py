"""The part of `bnnc bench` for emulated boards: what every layer executes, instead of how long it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bnnc.cli.console import Console

if TYPE_CHECKING:
    import numpy as np

    from bnnc.cli.work import Model
    from bnnc.config import Config
    from bnnc.ir.module import Module
    from bnnc.protocols import Counted


def count(
    compiled: Counted,
    found: Model,
    chosen: Config,
    batch: int,
    versus: str | None,
    inputs: dict[str, np.ndarray],
    console: Console,
    place: dict[str, Any],
) -> None:
    """On an emulated board no time is measured: what is executed is counted."""
    from bnnc import api
    from bnnc.report import facts

    if versus:
        console.note(f"{versus} runs on no emulated board")
    counts = compiled.count(inputs)
    bits = api.optimise(found.module)
    macs_of = _macs(bits)
    rows: list[dict[str, Any]] = []
    for layer in counts.layers:
        each = layer.count / counts.samples
        macs = macs_of.pop((layer.layer, layer.op), 0)  # of several functions of one op, the first does its work
        rows.append(
            {
                "name": layer.layer or layer.function,
                "op": layer.op,
                "function": layer.function,
                counts.unit: round(each, 1),
                "bit_macs": macs,
                "per_word": round(32 * each / macs, 2) if macs else None,
            }
        )
    document = {
        counts.unit: round(counts.total / counts.samples, 1),
        "flash_bytes": counts.flash,
        "ram_bytes": counts.ram,
        "stack_bytes": counts.stack,
    }
    if not console.json:
        each = counts.total / counts.samples
        console.put(f"{found.title}, {counts.samples} sample{'s' if counts.samples > 1 else ''}")
        console.put(f"{each:,.0f} {counts.unit} a sample".replace(",", " "))
        ram = f"{facts.size(counts.ram)} of RAM with input and output, {counts.stack} bytes of stack"
        console.put(f"{facts.size(counts.flash)} of flash, {ram}")
        console.put("")
        console.table(
            ["layer", "op", ">bit-ops", f">{counts.unit}", ">share", ">a word"],
            [
                [
                    row["name"],
                    row["op"],
                    facts.amount(row["bit_macs"]) if row["bit_macs"] else "",
                    f"{row[counts.unit]:.0f}",
                    f"{100 * row[counts.unit] / max(each, 1):.0f} %",
                    "" if row["per_word"] is None else f"{row['per_word']:.2f}",
                ]
                for row in rows
            ],
        )
    console.finish(model=found.title, target=chosen.target, batch=batch, bench=document, layers=rows, **place)


def _macs(bits: Module) -> dict[tuple[str, str], int]:
    """Multiply-accumulates by the name and the opcode of the op that a layer ends in: steps are part of the layer."""
    from bnnc.passes.report import layers
    from bnnc.report import facts

    own = {(fact.name, fact.op): fact.bit_macs for fact in facts.layers(layers(bits))}
    found = dict(own)
    for op in bits.ops():
        if op.opcode.endswith(".step") and op.operands:
            layer = op.operands[0]
            key = (layer.loc.name, layer.opcode)
            if key in own and found.pop(key, 0):
                found[op.loc.name, op.opcode] = own[key]
    return found
