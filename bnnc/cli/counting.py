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
    work_of = _Work(bits)
    rows: list[dict[str, Any]] = []
    for layer in counts.layers:
        each = layer.count / counts.samples
        macs = work_of.take(layer.layer, layer.op)
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


class _Work:
    """The multiply-accumulates of layers, handed out to the functions that do them: each to the first that could."""

    def __init__(self, bits: Module) -> None:
        from bnnc.passes.report import layers
        from bnnc.report import facts

        self._macs = {(fact.name, fact.op): fact.bit_macs for fact in facts.layers(layers(bits))}
        self._ops = {(op.loc.name, op.opcode): op for op in bits.ops()}

    def take(self, name: str, opcode: str) -> int:
        """Those of the function that makes this op: steps and pools behind a layer may be part of it."""
        key = name, opcode
        while key not in self._macs and key[1].endswith((".step", ".pool")) and key in self._ops:
            before = self._ops[key].operands[0]
            key = before.loc.name, before.opcode
        return self._macs.pop(key, 0)
