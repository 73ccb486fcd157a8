"""Emitted circuits for tests: written to a folder, built with Icarus Verilog, run with and without pauses."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from bnnc import api
from bnnc.ir.module import Module
from bnnc.reference.run import run
from tests.strategies import random_inputs


def write(module: Module, folder: Path, **options: Any) -> dict[str, Any]:
    """Emit a circuit into a folder; the facts of the artifact."""
    artifact = api.emit(module, "verilog", **options)
    for name, content in artifact.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return dict(artifact.facts)


def built(folder: Path) -> None:
    """Compile the testbench in a folder."""
    compiler = shutil.which("iverilog")
    assert compiler is not None
    sources = [str(p.relative_to(folder)) for p in sorted(folder.glob("rtl/*.v"))]
    bench = [str(p.relative_to(folder)) for p in sorted(folder.glob("tb/*.v"))]
    command = [compiler, "-g2005", "-Wall", "-Wno-timescale", "-s", "clock", "-o", "sim.vvp", *sources, *bench]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr


def bench(folder: Path, *plusargs: str) -> str:
    """What the testbench prints."""
    done = subprocess.run(
        ["vvp", "-n", "sim.vvp", *plusargs], cwd=folder, capture_output=True, text=True, check=False, timeout=3000
    )
    return done.stdout


def passes(module: Module, folder: Path, **options: Any) -> None:
    """The golden vectors pass at full speed and with pauses on all sides."""
    write(module, folder, **options)
    built(folder)
    for plusargs in (("+stall=9",), ()):
        printed = bench(folder, *plusargs)
        (folder / "sim.log").write_text(printed)
        assert printed.startswith("PASS"), (plusargs, printed)


def agrees(module: Module, seed: int, batch: int = 3, **options: Any) -> None:
    """The circuit gives the reference's bits on a random batch."""
    inputs = random_inputs(module, seed, batch)
    found = api.network(module, "verilog", {"simulator": "iverilog", **options}, bits=module).run(inputs)
    for name, expected in run(module, inputs).items():
        assert found[name].dtype == expected.dtype
        assert np.array_equal(found[name], expected, equal_nan=True), name


__all__ = ["agrees", "bench", "built", "passes", "write"]
