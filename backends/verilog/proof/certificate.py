"""The certificate of a circuit: what is proven about it, and of which text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from bnnc import __version__
from bnnc.backends.verilog.design import Design, Engine, Memory
from bnnc.backends.verilog.proof.memories import Different, compare, weights_of
from bnnc.backends.verilog.proof.unrolled import Claim, Refuted, prove
from bnnc.diagnostics import Exit, error

SCHEMA = "bnnc.proof/1"
METHOD = (
    "the module's text is read back; integer rewriting of its tables shows, for every neuron and all inputs, its sum "
    "and its thresholds; registers are shown to join bits of one sample only"
)
READ_BACK = "the weights in the memory file are those of the layer, but for the order in which its inputs come"
SIMULATED = "compared with the reference in simulation: folded engines, buffers, and how engines are joined"


def certificate(design: Design, files: Mapping[str, str], weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Proves what can be proven of a circuit.

    files: path -> text of rtl/ and mem/. weights: those of the folded layers by name, [groups, outputs, inputs].
    Raises BnncError B0625 where a statement does not hold.
    """
    rtl = {name.removeprefix("rtl/"): text for name, text in files.items() if name.startswith("rtl/")}
    proven = [_proven(engine, rtl) for engine in design.engines if engine.unrolled]
    read = [_read_back(engine, files, weights[engine.layer]) for engine in design.engines if engine.layer in weights]
    others = [engine.name for engine in design.engines if not engine.unrolled]
    return {
        "schema": SCHEMA,
        "tool": f"bnnc {__version__}",
        "circuit": design.name,
        "neurons": sum(layer["neurons"] for engine in proven for layer in engine["layers"]),
        "proven": proven,
        "read_back": read,
        "not_proven": {"engines": others, "why": SIMULATED},
    }


def _proven(engine: Engine, rtl: Mapping[str, str]) -> dict[str, Any]:
    """The entry of an unrolled engine."""
    made = engine.unrolled
    assert made is not None
    net = made.network
    files = {name: rtl[name] for name in sorted(made.files)}
    claim = Claim(made.module, made.layers, net.source, net.result, [layer.inputs for layer in net.layers[1:]])
    try:
        found = prove(claim, files)
    except Refuted as reason:
        raise error(
            "B0625",
            f"`{engine.name}` is not proven: {reason}",
            places=(engine.loc,),
            notes=("the emitted Verilog does not, or not provably, compute the layers of the model",),
            helps=("bnnc check without --prove compares it with the reference in simulation",),
            exit_code=Exit.CHECK_FAILED,
        ) from None
    layers = [
        {"name": layer.name, "neurons": neurons, "inputs": inputs}
        for layer, neurons, inputs in zip(made.layers, found.neurons, found.inputs, strict=True)
    ]
    return {
        "engine": engine.name,
        "module": made.module,
        "method": METHOD,
        "layers": layers,
        "tables": found.tables,
        "latency": found.latency,
        "sha256": {name: _digest(text) for name, text in files.items()},
    }


def _read_back(engine: Engine, files: Mapping[str, str], weights: np.ndarray) -> dict[str, Any]:
    """The entry of a folded engine."""
    memory = dict(engine.parameters)["WEIGHTS"]
    assert isinstance(memory, Memory)
    name = f"mem/{memory.name}.mem"
    try:
        compare(weights_of(engine, files[name]), weights)
    except Different as reason:
        raise error(
            "B0625",
            f"`{name}` does not hold the weights of `{engine.layer}`: {reason}",
            places=(engine.loc,),
            helps=("bnnc check without --prove compares the circuit with the reference in simulation",),
            exit_code=Exit.CHECK_FAILED,
        ) from None
    return {"engine": engine.name, "method": READ_BACK, "weights": weights.size, "sha256": {name: _digest(files[name])}}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def certificate_text(document: Mapping[str, Any]) -> str:
    """The certificate as a file."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
