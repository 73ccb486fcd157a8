"""Compiles what the C target emits, for tests: strict flags, sanitizers, the self-test."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from bnnc.backends.c.host import STRICT

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def prefix_of(files: Mapping[str, bytes]) -> str:
    """The network's name in C."""
    return next(name for name in files if name.endswith(".h"))[:-2]


def build(files: Mapping[str, bytes], folder: Path, *flags: str, compiler: str = "gcc") -> Path:
    """The self-test's program, compiled without a warning."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    sources = [str(folder / name) for name in files if name.endswith(".c")]
    target = folder / "selftest"
    command = [compiler, *STRICT, "-Werror", *(flags or ("-O1",)), "-o", str(target), *sources, "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    return target


def run(program: Path) -> tuple[int, str]:
    """Exit code and output."""
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr
