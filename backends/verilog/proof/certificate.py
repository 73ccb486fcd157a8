"""The certificate of a circuit: what is proven about it, of which text, by what means, and what is not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from bnnc import __version__
from bnnc.backends.verilog.design import Engine
from bnnc.backends.verilog.package import Package
from bnnc.backends.verilog.proof.blocks import Blocks, blocks_of, proven_blocks
from bnnc.backends.verilog.proof.streams import Shown, prove_streams
from bnnc.backends.verilog.proof.unrolled import Claim, Refuted, prove
from bnnc.diagnostics import BnncError, Exit, error
from bnnc.ir import bit, fixed
from bnnc.ir.location import UNKNOWN, Location

SCHEMA = "bnnc.proof/2"
SECONDS = 30.0
"""Blocks are proven for so long, all together."""
NETLIST = (
    "the module's text is read back; integer rewriting of its tables shows, for every neuron and all inputs, its sum "
    "and its thresholds; registers are shown to join bits of one sample only"
)
STREAMS = (
    "the top and the memory files are read back, and what every element of every stream is made of is followed from "
    "the inputs; behind each op it is its result, for all values that can occur, where the library's modules do what "
    "the heads of their files say"
)
BLOCKS = (
    "yosys' SAT solver shows that a module of the emitted rtl/, with the parameters that stand here, does what the "
    "head of its file says, for all inputs and pauses within so many cycles"
)
NOT_PROVEN = (
    "that library modules do so at their full size, and for ever: small ones are proven by SAT, large ones simulated",
    "that no engine waits for another for ever, and the cycles it takes: a cycle model and simulation say so",
    "what the host does before and behind the circuit, in floats: the reference itself does it in `run` and `check`",
)


def certificate(package: Package, files: Mapping[str, str], seconds: float | None = None) -> dict[str, Any]:
    """Proves what can be proven of a circuit.

    files: path -> text of rtl/ and mem/. seconds: how long blocks are proven at most, all together (else SECONDS).
    Raises BnncError B0625 where a statement does not hold.
    """
    design = package.design
    rtl = {name.removeprefix("rtl/"): text for name, text in files.items() if name.startswith("rtl/")}
    netlists = [_netlist(engine, rtl) for engine in design.engines if engine.unrolled]
    try:
        shown = prove_streams(package, files)
        blocks = proven_blocks(blocks_of(design.name, files), files, SECONDS if seconds is None else seconds)
    except Refuted as reason:
        raise _refuted(reason.where, reason.reason, _place(package, reason.where)) from None
    return {
        "schema": SCHEMA,
        "tool": f"bnnc {__version__}",
        "circuit": design.name,
        "neurons": sum(layer["neurons"] for one in netlists for layer in one["layers"]) + _neurons(shown),
        "netlists": {"method": NETLIST, "engines": netlists},
        "layers": {
            "method": STREAMS,
            "of": {f"rtl/{design.name}.v": _digest(files[f"rtl/{design.name}.v"])},
            "ops": [_layer(one, files) for one in shown],
        },
        "blocks": {"method": BLOCKS, **_blocks(blocks, rtl)},
        "not_proven": [*NOT_PROVEN, *_without(blocks), *_whole(package, blocks)],
    }


def _refuted(where: str, reason: str, place: Location) -> BnncError:
    return error(
        "B0625",
        f"`{where}` is not proven: {reason}",
        places=(place,),
        notes=("the emitted Verilog does not, or not provably, compute the layers of the model",),
        helps=("bnnc check without --prove compares it with the reference in simulation",),
        exit_code=Exit.CHECK_FAILED,
    )


def _place(package: Package, where: str) -> Location:
    return next((engine.loc for engine in package.design.engines if where in (engine.name, engine.loc.name)), UNKNOWN)


def _netlist(engine: Engine, rtl: Mapping[str, str]) -> dict[str, Any]:
    """The entry of an unrolled engine."""
    made = engine.unrolled
    assert made is not None
    net = made.network
    claim = Claim(made.module, made.layers, net.source, net.result, [layer.inputs for layer in net.layers[1:]])
    try:
        files = {name: rtl[name] for name in sorted(made.files)}
        found = prove(claim, files)
    except KeyError as name:
        raise _refuted(engine.name, f"there is no file rtl/{name.args[0]}", engine.loc) from None
    except Refuted as reason:
        raise _refuted(engine.name, str(reason), engine.loc) from None
    layers = [
        {"name": layer.name, "neurons": neurons, "inputs": inputs}
        for layer, neurons, inputs in zip(made.layers, found.neurons, found.inputs, strict=True)
    ]
    return {
        "engine": engine.name,
        "module": made.module,
        "layers": layers,
        "tables": found.tables,
        "latency": found.latency,
        "sha256": {f"rtl/{name}": _digest(text) for name, text in files.items()},
    }


def _neurons(shown: Sequence[Shown]) -> int:
    """Those of folded layers."""
    layers = (bit.Conv, bit.Dense, fixed.Conv, fixed.Dense)
    return sum(len(one.op.weights) for one in shown if isinstance(one.op, layers) and not one.unrolled)


def _layer(shown: Shown, files: Mapping[str, str]) -> dict[str, Any]:
    """The entry of an op."""
    rests = {"netlist": list(shown.unrolled)} if shown.unrolled else {"modules": list(shown.modules)}
    return {
        "name": shown.label,
        "layer": shown.op.loc.name,
        "op": shown.op.opcode,
        "shown": shown.statement,
        "engines": list(shown.engines),
        "rests_on": rests,
        "sha256": {name: _digest(files[name]) for name in shown.memories},
    }


def _blocks(blocks: Blocks, rtl: Mapping[str, str]) -> dict[str, Any]:
    names = sorted({f"{one.block.module}.v" for one in blocks.found} & set(rtl))
    return {
        "tool": blocks.tool,
        "proven": sum(one.proven for one in blocks.found),
        "checks": [one.document() for one in blocks.found],
        "sha256": {f"rtl/{name}": _digest(rtl[name]) for name in names},
    }


def _without(blocks: Blocks) -> list[str]:
    if not blocks.tool:
        return ["any module by SAT: there is no yosys on this machine (pip install pyosys)"]
    late = [one.block.title for one in blocks.found if not one.proven]
    return [f"blocks that were given up when the time was over: {', '.join(late)}"] if late else []


def _whole(package: Package, blocks: Blocks) -> list[str]:
    """What there is no small instance of."""
    modules = {engine.module for engine in package.design.engines if not engine.unrolled}
    if any(engine.unrolled for engine in package.design.engines):
        modules.add("bnnc_pipeline")
    rest = sorted(modules - {one.block.module for one in blocks.found})
    return [f"{', '.join(rest)} by SAT, at any size: simulated"] if rest and blocks.tool else []


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def certificate_text(document: Mapping[str, Any]) -> str:
    """The certificate as a file."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def summary(document: Mapping[str, Any]) -> str:
    """How much is proven, in a line."""
    engines, ops = document["netlists"]["engines"], document["layers"]["ops"]
    memories = sum(len(op["sha256"]) for op in ops)
    rolled = sum(layer["neurons"] for engine in engines for layer in engine["layers"])
    parts = [f"{document['neurons']} neurons"]
    if rolled:
        parts[0] += f", {rolled} of them from netlists"
    parts.append(f"{len(ops)} ops and {memories} memories read back")
    blocks = document["blocks"]
    if blocks["tool"]:
        parts.append(f"{blocks['proven']} of {len(blocks['checks'])} blocks by {blocks['tool']}")
    return f"proven for all inputs: {'; '.join(parts)}"


__all__ = ["certificate", "certificate_text", "summary"]
