"""Counts of instructions and cycles that are kept: with the same compiler they may not grow by more than 2 %."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.shared import ROOT

GOLDEN = ROOT / "tests" / "golden" / "cycles.json"
GATE = 0.02


def compiler(program: str) -> str:
    """The compiler and its version, since other versions make other code."""
    done = subprocess.run([program, "-dumpversion"], capture_output=True, text=True, check=True)
    return f"{program} {done.stdout.strip()}"


def hold(key: str, count: int, version: str, request: pytest.FixtureRequest) -> None:
    """Compares a count with the one that is kept; `--update-golden` keeps it."""
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if request.config.getoption("--update-golden"):
        golden.setdefault(version, {})[key] = count
        GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
        return
    known = golden.get(version, {}).get(key)
    if known is not None:
        assert count <= known * (1 + GATE), f"{key}: {count}, {known} before"


__all__ = ["compiler", "hold"]
