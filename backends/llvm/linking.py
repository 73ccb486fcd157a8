"""Makes a shared object where the computer has a linker; LLVM's Python package brings none."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from bnnc.loops.machine import Machine

LINKERS = ("cc", "gcc", "clang", "ld.lld", "ld")


def linked(compiled: bytes, machine: Machine, own: Machine) -> tuple[bytes | None, str]:
    """The object as a shared object, or None and why there is none."""
    if machine.triple.split("-")[0] != own.triple.split("-")[0]:
        return None, f"no shared object: link the object on a computer with a linker for {machine.triple}"
    linker = next((found for found in map(shutil.which, LINKERS) if found), None)
    if linker is None:
        return None, f"no shared object: none of {', '.join(LINKERS)} is on PATH"
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "net.o"), Path(folder, "net.so")
        source.write_bytes(compiled)
        command = [linker, "-shared", "-o", str(target), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not target.exists():
            return None, f"no shared object: {Path(linker).name} failed: {done.stderr.strip()[:200]}"
        return target.read_bytes(), ""
