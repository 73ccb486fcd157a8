"""Runs a «loop» program in this process: compiles it with LLVM, keeps its constants, and calls it without the GIL."""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from bnnc.backends.llvm.codegen import optimised, target_machine
from bnnc.backends.llvm.printer import calls_of, constant_symbol, print_llvm
from bnnc.loops.ir import NUMPY, Program
from bnnc.loops.machine import Machine

_names = itertools.count()


def aligned(count: int, dtype: np.dtype[Any] | type = np.uint8, alignment: int = 64) -> np.ndarray:
    """A zeroed array whose data starts at a multiple of `alignment` bytes."""
    size = count * np.dtype(dtype).itemsize
    raw = np.zeros(size + alignment, np.uint8)
    start = -raw.ctypes.data % alignment
    return raw[start : start + size].view(dtype)


class JitProgram:
    """A compiled program. Calls are safe from many threads: every thread has its own arena."""

    def __init__(self, program: Program, machine: Machine, bench: bool = False) -> None:
        """Compiles for `machine`, which this process must be able to run."""
        self.program = program
        target = target_machine(machine, jit=True)
        text = print_llvm(program, embed_constants=False, bench=bench)
        self.object = bytes(target.emit_object(optimised(text, target)))
        self._compiler = llvm.create_lljit_compiler(target)
        self._constants: list[np.ndarray] = []
        names = [f"{program.name}_{program.entry.name}"]
        if bench:
            names.append(f"{program.name}_bench")
            names += [f"{program.name}_bench_{position}" for position in range(len(calls_of(program.entry)))]
        library = llvm.JITLibraryBuilder().add_object_img(self.object)
        for buffer in program.constants():
            assert buffer.data is not None
            data = buffer.data
            if data.ctypes.data % max(buffer.alignment, 1):
                data = aligned(data.size, data.dtype, buffer.alignment)
                data[:] = buffer.data
            self._constants.append(data)
            library.import_symbol(constant_symbol(program, buffer), data.ctypes.data)
        for name in names:
            library.export_symbol(name)
        # The tracker keeps the code alive; it must die before the compiler does.
        self._tracker = library.link(self._compiler, f"{program.name}.{next(_names)}")
        pointers = [ctypes.c_void_p] * (len(program.inputs) + len(program.outputs))
        arguments = [*pointers, ctypes.c_int64, ctypes.c_void_p]
        self._run = ctypes.CFUNCTYPE(ctypes.c_int32, *arguments)(self._tracker[names[0]])
        repeat = ctypes.CFUNCTYPE(None, *arguments, ctypes.c_int64)
        self._benches = [repeat(self._tracker[name]) for name in names[1:]]
        self._local = threading.local()

    def __call__(self, inputs: Sequence[np.ndarray], samples: int) -> list[np.ndarray]:
        """Runs `samples` samples. Each input holds them one after the other, as flat elements of its buffer's type.

        Gives one flat array per output. Raises ValueError when an input has the wrong dtype or size.
        """
        arrays = self._checked(inputs, samples)
        outputs = [aligned(buffer.length * samples, NUMPY[buffer.element]) for buffer in self.program.outputs]
        self._run(*self._addresses(arrays, outputs), samples, self._arena().ctypes.data)
        return outputs

    def repeat(self, inputs: Sequence[np.ndarray], samples: int, repeats: int, call: int | None = None) -> None:
        """Runs everything, or only the call-th call of the entry, `repeats` times in a native loop (needs `bench`)."""
        arrays = self._checked(inputs, samples)
        outputs = [aligned(buffer.length * samples, NUMPY[buffer.element]) for buffer in self.program.outputs]
        bench = self._benches[0 if call is None else call + 1]
        bench(*self._addresses(arrays, outputs), samples, self._arena().ctypes.data, repeats)

    def _checked(self, inputs: Sequence[np.ndarray], samples: int) -> list[np.ndarray]:
        if len(inputs) != len(self.program.inputs):
            raise ValueError(f"{len(self.program.inputs)} inputs are needed, not {len(inputs)}")
        arrays = []
        for buffer, array in zip(self.program.inputs, inputs, strict=True):
            wanted = NUMPY[buffer.element]
            if array.dtype.itemsize != wanted.itemsize or (array.dtype.kind == "f") != buffer.element.is_float:
                raise ValueError(f"input {buffer.name} holds {buffer.element}, not {array.dtype}")
            if array.size != buffer.length * samples:
                raise ValueError(f"input {buffer.name} needs {buffer.length} x {samples} elements, not {array.size}")
            flat = np.ascontiguousarray(array).reshape(-1)
            if flat.ctypes.data % max(buffer.alignment, 1):
                moved = aligned(flat.size, flat.dtype, buffer.alignment)
                moved[:] = flat
                flat = moved
            arrays.append(flat)
        return arrays

    def _arena(self) -> np.ndarray:
        arena: np.ndarray | None = getattr(self._local, "arena", None)
        if arena is None:
            arena = self._local.arena = aligned(max(self.program.arena_bytes, 64))
        return arena

    @staticmethod
    def _addresses(inputs: list[np.ndarray], outputs: list[np.ndarray]) -> list[int]:
        return [array.ctypes.data for array in (*inputs, *outputs)]
