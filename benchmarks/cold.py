"""What `bnnc compile` costs as a whole process: seconds on the wall, and the most memory it held."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import process
from benchmarks.process import bnnc, environment


@dataclass(frozen=True)
class Cost:
    """Medians over the runs, `least_seconds` the best of them (others only add), and the largest peak."""

    name: str
    file_bytes: int
    seconds: float
    least_seconds: float
    cpu_seconds: float
    peak_bytes: int

    @property
    def limit_bytes(self) -> int:
        """The most memory that compiling this file may take: ten times the file and 200 MB."""
        return 10 * self.file_bytes + 200_000_000

    @property
    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "limit_bytes": self.limit_bytes}


def compile_cost(name: str, path: Path, runs: int = 5) -> Cost:
    """Compile a file in new processes, with the checks that are on by default. Raises RuntimeError when it fails.

    The first run is not counted: it brings files into memory and compiles Python sources that were never run before.
    """
    with tempfile.TemporaryDirectory(prefix="bnnc-bench-") as bytecode:
        found = [_once(path, bytecode) for _ in range(runs + 1)][1:]
    return Cost(
        name,
        sum(file.stat().st_size for file in (path, path.with_name(path.name + ".data")) if file.exists()),
        round(statistics.median(cost["seconds"] for cost in found), 3),
        round(min(cost["seconds"] for cost in found), 3),
        round(statistics.median(cost["cpu_seconds"] for cost in found), 3),
        max(cost["peak_bytes"] for cost in found),
    )


def _once(path: Path, bytecode: str) -> dict[str, Any]:
    """The cost of one process and those it started."""
    with tempfile.TemporaryDirectory(prefix="bnnc-bench-") as folder:
        command = bnnc("compile", str(path), "--output", str(Path(folder) / "out"), "--quiet")
        # As in an installed package, Python keeps its bytecode from one run to the next, whatever the caller's habits.
        keep = {key: value for key, value in environment().items() if key != "PYTHONDONTWRITEBYTECODE"}
        done = subprocess.run(
            [sys.executable, "-I", process.__file__, *command],
            env={**keep, "PYTHONPYCACHEPREFIX": bytecode},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"bnnc compile {path.name} failed: {done.stderr.strip()[:300]}")
    return dict(json.loads(done.stdout))
