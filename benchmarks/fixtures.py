"""The pass table: real exports, compiled, compared with the reference bit by bit and with their recorded outputs."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bnnc import api, checking
from bnnc.compare import TOLERANCE
from bnnc.diagnostics import BnncError
from bnnc.passes.report import layers

LISTED = Path(__file__).resolve().parent.parent / "tests" / "golden" / "packed.json"
# Networks that must not compile, or only with a warning: the code that has to be among their diagnostics.
REFUSED = {"float_cnn_negative_legacy13": "B0402"}
WARNED = {"binarynet_data_idiom_sign_dropped_legacy13": "B0411"}


@dataclass(frozen=True)
class Row:
    """One network. `equal` counts the inputs on which native code and the reference give the same bits; `near` those
    that agree with the recorded outputs within the tolerance, `ties` those exempt; `fault` says what is wrong."""

    name: str
    packed: int = 0
    floats: int = 0
    inputs: int = 0
    equal: int = 0
    near: int = 0
    ties: int = 0
    max_abs_error: float = 0.0
    seconds: float = 0.0
    note: str = ""
    fault: str = ""

    @property
    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def found_in(shared: Path) -> list[tuple[str, Path]]:
    """The networks of the fixtures by the names that the list of packed layers has for them."""
    nets, zoo = shared / "models" / "nets", shared / "models" / "zoo"
    plain = [(str(path.relative_to(nets))[:-5], path) for path in sorted(nets.rglob("*.onnx"))]
    return plain + [(f"zoo/{path.stem}", path) for path in sorted(zoo.glob("*/*.onnx"))]


def recorded(path: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Inputs and recorded outputs of a network, by name; a lone array of the zoo has the name "" instead."""
    beside = path.with_suffix(".npz")
    arrays = np.load(beside if beside.exists() else path.with_name("sample.npz"))
    inputs = {key[3:]: arrays[key] for key in arrays.files if key.startswith("in_")}
    outputs = {key[4:]: arrays[key] for key in arrays.files if key.startswith("out_")}
    if not inputs:
        inputs = {"": arrays["image"]}
        outputs = {"": arrays["scores"] if "scores" in arrays.files else arrays["output"]}
    return inputs, outputs


def row(name: str, path: Path) -> Row:
    """Compile one network and judge it. An error becomes a fault of the row, unless the network must have it."""
    try:
        return _compiled(name, path)
    except BnncError as reason:
        codes = [diagnostic.code for diagnostic in reason.diagnostics]
        if REFUSED.get(name) in codes:
            return Row(name, note=f"refused with {REFUSED[name]}, as it must be")
        return Row(name, fault=f"{codes[0]}: {reason.diagnostics[0].message}")


def _compiled(name: str, path: Path) -> Row:
    start = time.perf_counter()
    module = api.load(path)
    bits = api.optimise(module)
    network = api.network(module, "llvm", {}, bits=bits)
    seconds = time.perf_counter() - start
    inputs, outputs = recorded(path)
    if "" in inputs:
        (given,), (made,) = module.inputs, module.outputs
        inputs = {given.name: inputs[""].reshape(-1, *given.shape)}
        count = len(inputs[given.name])
        outputs = {made.name: np.moveaxis(outputs[""].reshape(count, *made.value.type.shape), 0, made.batch_axis)}
    exact = checking.compare(module, network.run, checking.pieces_of(inputs)).agreement
    near = checking.compare(
        module, network.run, checking.pieces_of(inputs), checking.recorded(module, outputs)
    ).agreement
    facts = layers(bits)
    packed = sum(layer.packed for layer in facts)
    faults = []
    if name in REFUSED:
        faults.append(f"compiled, though it must be refused with {REFUSED[name]}")
    if exact.different:
        faults.append(f"not the bits of the reference: {exact.first}")
    if near.different:
        faults.append(f"not the recorded outputs: {near.first}")
    listed = json.loads(LISTED.read_text(encoding="utf-8")).get(name)
    if listed is not None and {f.name for f in facts if f.packed} != _packed_of(listed):
        faults.append("the packed layers are not those listed")
    note = ""
    if name in WARNED:
        if any(found.code == WARNED[name] for found in bits.notes):
            note = f"warned of with {WARNED[name]}, as it must be"
        else:
            faults.append(f"no warning {WARNED[name]}")
    return Row(
        name,
        packed,
        len(facts) - packed,
        exact.inputs,
        exact.equal,
        near.equal,
        near.exempt_ties,
        near.max_abs_error,
        round(seconds, 3),
        note,
        "; ".join(faults),
    )


def _packed_of(listed: dict[str, str]) -> set[str]:
    return {layer for layer, what in listed.items() if what.startswith("packed")}


def tolerance() -> str:
    """The tolerance for recorded outputs, in words."""
    return f"{TOLERANCE:g} (relative, and absolute)"
