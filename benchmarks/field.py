"""Every network of the field: one row a paper, with what is packed, whether it is right, and how large it becomes.

    python benchmarks/field.py [--shared DIR] [--json FILE] [--inputs 32] [--only TEXT]

Networks are made here (field_networks.py); where the shared fixtures are at hand (--shared, else BNNC_SHARED, else
../shared), those of the paper are checked too. Each is compiled, compared with the reference bit for bit, and with ONNX
Runtime or the recorded outputs within the tolerance. Exit code 1 if any row fails.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import onnx

from benchmarks import fixtures
from benchmarks.field_networks import FIELD
from benchmarks.main_job import say, table
from bnnc import api, checking
from bnnc.diagnostics import BnncError
from bnnc.passes.report import LayerFact, layers


@dataclass(frozen=True)
class Row:
    """One network of a paper. `integer` layers are packed ones whose inputs are wider than a code of bits; `agreement`
    counts inputs near the other runtime's outputs, `ties` those exempt; `fault` says what is wrong."""

    paper: str
    network: str
    packed: int = 0
    integer: int = 0
    floats: int = 0
    inputs: int = 0
    equal: int = 0
    agreement: int = 0
    ties: int = 0
    against: str = ""
    weight_bytes: int = 0
    bits_a_weight: float = 0.0
    fault: str = ""


def generated(paper: str, model: onnx.ModelProto, count: int) -> Row:
    """Compile and judge a network that was made here."""
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    random = np.random.default_rng(1)
    x = random.normal(size=(count, *shape)).astype(np.float32)
    if model.graph.name == "fracbnn":
        x = (random.integers(0, 256, x.shape) / np.float32(255)).astype(np.float32)
    expected = None
    if importlib.util.find_spec("onnxruntime") is not None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        expected = {model.graph.output[0].name: session.run(None, {"x": x})[0]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{model.graph.name}.onnx"
        onnx.save(model, path)
        return judged(paper, model.graph.name, path, {"x": x}, expected, "ONNX Runtime")


def judged(
    paper: str,
    name: str,
    path: Path,
    inputs: dict[str, np.ndarray],
    expected: dict[str, np.ndarray] | None,
    against: str,
) -> Row:
    """The row of one file. Layers named `binary…` must be packed."""
    try:
        module = api.load(path)
        bits = api.optimise(module)
        network = api.network(module, "llvm", {}, bits=bits)
        artifact = api.build(module)
    except BnncError as reason:
        return Row(paper, name, fault=f"{reason.diagnostics[0].code}: {reason.diagnostics[0].message}")
    exact = checking.compare(module, network.run, checking.pieces_of(inputs)).agreement
    near = exact
    if expected is not None:
        judge = checking.recorded(module, expected)
        near = checking.compare(module, network.run, checking.pieces_of(inputs), judge).agreement
    found = layers(bits)
    faults = []
    if exact.different:
        faults.append(f"not the bits of the reference: {exact.first}")
    if near.different:
        faults.append(f"not the outputs of {against}: {near.first}")
    faults += [f"`{fact.name}` is float: {fact.why}" for fact in found if not fact.packed and "binary" in fact.name]
    whole = [fact for fact in found if fact.packed and _wide(fact)]
    packed = [fact for fact in found if fact.packed and not _wide(fact)]
    sizes = [fact.bits_a_weight for fact in packed]
    return Row(
        paper,
        name,
        len(packed),
        len(whole),
        len(found) - len(packed) - len(whole),
        exact.inputs,
        exact.equal,
        near.equal,
        near.exempt_ties,
        against if expected is not None else "nothing: ONNX Runtime is not installed",
        int(artifact.facts["weight_bytes"]),
        round(min(sizes, default=0.0), 2),
        "; ".join(faults),
    )


def _wide(fact: LayerFact) -> bool:
    return fact.input.startswith(("int<", "u8"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table; gives the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("BNNC_SHARED", "../shared")))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--inputs", type=int, default=32)
    parser.add_argument("--only", default="")
    chosen = parser.parse_args(arguments)
    rows = []
    for paper, make, named in FIELD:
        if chosen.only.lower() not in paper.lower():
            continue
        rows.append(generated(paper, make(), chosen.inputs))
        for name in named:
            path = chosen.shared / "models" / "nets" / f"{name}.onnx"
            if path.exists():
                inputs, outputs = fixtures.recorded(path)
                rows.append(judged(paper, name, path, inputs, outputs, "recorded"))
    heads = ("paper", "network", ">packed", ">integer", ">float", ">equal bits", ">agree", ">ties", ">bytes", ">bits/w")
    cells = [
        (
            r.paper, r.network, str(r.packed), str(r.integer), str(r.floats), f"{r.equal} of {r.inputs}",
            f"{r.agreement} of {r.inputs}", str(r.ties), str(r.weight_bytes), f"{r.bits_a_weight:.2f}",
        )
        for r in rows
    ]  # fmt: skip
    table(heads, cells)
    say("bits/w: of the most compact packed layer. agree: with ONNX Runtime, or with the recorded outputs of fixtures.")
    failed = [row for row in rows if row.fault]
    for row in failed:
        say(f"FAILED {row.paper}, {row.network}: {row.fault}")
    say(f"{len(rows) - len(failed)} of {len(rows)} rows pass")
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    return 1 if failed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
