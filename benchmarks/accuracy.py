"""The accuracy table: the trained networks on their whole test sets, by `bnnc run --data` itself."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT, bnnc, environment

NEAR = 0.0002  # 0.02 points
EXAMPLE = ROOT / "examples" / "mnist" / "model.onnx"
SHIPPED: dict[str, Any] = {"task": "MNIST digits", "accuracy_measured": 0.9870}  # as its README says
# The one network whose float input holds pixels from 0 to 255 needs to be told so.
FLAGS = {"finn_tfc_multithreshold": ["--pixels", "1"]}


@dataclass(frozen=True)
class Row:
    """Accuracies as fractions: published (in words), recorded with the model file, and ours; `fault` if they differ."""

    name: str
    data: str
    published: str
    recorded: float
    ours: float | None
    images: int
    seconds: float
    fault: str = ""

    @property
    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def found_in(shared: Path) -> list[Path]:
    """The model files with a recorded accuracy: those of the fixtures, and the shipped example."""
    return [*sorted((shared / "models" / "zoo").glob("*/*.onnx")), EXAMPLE]


def row(path: Path, data_dir: Path) -> Row:
    """Run one network over its whole test set."""
    info = SHIPPED if path == EXAMPLE else json.loads(path.with_name("info.json").read_text(encoding="utf-8"))
    data = "cifar-10" if "CIFAR" in info["task"] else "mnist"
    command = bnnc("run", str(path), "--data", data, "--data-dir", str(data_dir), "--json", *FLAGS.get(path.stem, []))
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    published = re.match(r"[\d.]+ %", info.get("accuracy_published") or "")
    known = published.group() if published else "-"
    name = "shipped example" if path == EXAMPLE else path.stem
    recorded = float(info["accuracy_measured"])
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        return Row(name, data, known, recorded, None, 0, 0.0, said[0])
    answer = json.loads(done.stdout)
    ours = float(answer["accuracy"])
    fault = (
        "" if abs(ours - recorded) <= NEAR + 1e-9 else f"{100 * (ours - recorded):+.2f} points from the recorded one"
    )
    return Row(name, data, known, recorded, ours, int(answer["inputs"]), float(answer["seconds"]), fault)
