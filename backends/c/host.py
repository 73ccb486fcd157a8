"""Compiles generated C on this computer and calls it: with the C compiler that is there, or the one of `ziglang`."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bnnc.backends.c.interface import Interface, Signature
from bnnc.diagnostics import Exit, error
from bnnc.ir.module import Module
from bnnc.protocols import Place

COMPILERS = ("cc", "gcc", "clang")
STRICT = (
    "-std=c99", "-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wundef",
    "-Wcast-align", "-Wcast-qual", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wdouble-promotion",
    "-Wswitch-default", "-Wvla", "-Wwrite-strings",
)  # fmt: skip
"""The warnings that generated code is free of."""
_NUMPY = {
    "float": np.float32,
    "int8_t": np.int8,
    "uint8_t": np.uint8,
    "int16_t": np.int16,
    "int32_t": np.int32,
    "int64_t": np.int64,
}


def compiler() -> list[str]:
    """The command of a C compiler: $CC, cc, gcc, clang, or `python -m ziglang cc`. Raises BnncError B0608."""
    named = os.environ.get("CC", "").split()
    for command in ([named] if named else []) + [[name] for name in COMPILERS]:
        if shutil.which(command[0]):
            return command
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    raise error(
        "B0608",
        "the C target runs code with a C compiler, and there is none here",
        notes=(f"looked for $CC, {', '.join(COMPILERS)} and the Python package ziglang",),
        helps=("pip install ziglang", "bnnc emit --target c only writes the code"),
        exit_code=Exit.ENVIRONMENT,
    )


def shared_object(sources: Mapping[str, bytes], folder: Path, extra: tuple[str, ...] = ("-O2",)) -> Path:
    """A shared object of the sources (.c files are compiled). Raises BnncError when the compiler refuses them."""
    for name, content in sources.items():
        (folder / name).write_bytes(content)
    target = folder / "net.so"
    files = [str(folder / name) for name in sources if name.endswith(".c")]
    command = [*compiler(), "-std=c99", *extra, "-fPIC", "-shared", "-o", str(target), *files, "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise error(
            "B0608",
            f"`{command[0]}` cannot compile the generated code",
            notes=tuple(done.stderr.strip().splitlines()[:6]),
            helps=("CC=gcc bnnc check --target c chooses another compiler",),
            exit_code=Exit.ENVIRONMENT,
        )
    return target


class Compiled:
    """Callable: arrays by input name, batch first, to arrays by output name."""

    def __init__(
        self,
        module: Module,
        interface: Interface,
        signature: Signature,
        prefix: str,
        files: Mapping[str, bytes],
        words: int,
        place: Place,
    ) -> None:
        self.place = place
        self._module, self._interface, self._signature = module, interface, signature
        self._arena = np.zeros(max(words, 1), np.uint32)
        self._folder = tempfile.TemporaryDirectory(prefix="bnnc-c-")
        sources = {name: files[name] for name in (f"{prefix}.h", f"{prefix}.c")}
        self._library = ctypes.CDLL(str(shared_object(sources, Path(self._folder.name))))
        self._run = getattr(self._library, f"{prefix}_run")
        self._run.restype = ctypes.c_int

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run a batch of any length, one sample after the other."""
        given = self._interface.given(inputs)
        arrays = []
        for op, p in zip(self._module.inputs, self._signature.inputs, strict=True):
            wanted = _NUMPY[p.kind]
            arrays.append(np.ascontiguousarray(np.asarray(given[op.name]).astype(wanted, copy=False)))
        count = len(arrays[0]) if arrays else 1
        results = [np.empty((count, p.length), _NUMPY[p.kind]) for p in self._signature.outputs]
        arena = ctypes.c_void_p(self._arena.ctypes.data)
        for number in range(count):
            places = [ctypes.c_void_p(a.ctypes.data + number * a[0].nbytes) for a in (*arrays, *results)]
            self._run(*places, arena)
        outputs = self._interface.module.outputs
        return {o.name: self._interface.taken(o, r) for o, r in zip(outputs, results, strict=True)}


__all__ = ["COMPILERS", "STRICT", "Compiled", "compiler", "shared_object"]
