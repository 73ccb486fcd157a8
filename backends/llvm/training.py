"""Executes training steps natively: the state lives in one arena, an epoch is one call on each of some threads."""

from __future__ import annotations

import ctypes
import itertools
import os
import threading
from collections.abc import Iterable, Mapping

import llvmlite.binding as llvm
import numpy as np

from bnnc.backends.llvm.codegen import optimised, target_machine
from bnnc.backends.llvm.jit import aligned
from bnnc.backends.llvm.printer import constant_symbol, print_llvm
from bnnc.loops.lower.training import TrainingProgram, lower_training
from bnnc.loops.lower.training.program import EPOCH, EVALUATE
from bnnc.loops.lower.training.tasks import MOST_THREADS
from bnnc.loops.lower.training.values import view
from bnnc.loops.machine import Machine
from bnnc.train.engine import Samples, Step

_names = itertools.count()


def lowered_step(step: Step, machine: Machine, timed: bool = False) -> TrainingProgram:
    """The step as one program. Raises BnncError B0615 for a step that it cannot express."""
    return lower_training(
        "train",
        step.width,
        step.batch,
        step.accumulate,
        step.end_batch,
        step.end_epoch,
        step.evaluate,
        machine,
        timed,
    )


class NativeEngine:
    """An Engine (see bnnc.train.engine): the same state as the reference's, whatever the number of threads."""

    def __init__(self, step: Step, machine: Machine, threads: int, timed: bool = False) -> None:
        """Compiles the step for `machine`, which this process must be able to run; `timed`: for `times`."""
        self.step = step
        self.threads = max(1, min(threads, MOST_THREADS))
        self.lowered = lowered_step(step, machine, timed)
        self._program = self.lowered.program
        self._link(machine)
        self._arena = aligned(self._program.arena_bytes)
        self._prepared: list[tuple[Samples, np.ndarray, np.ndarray]] = []
        self.load_state(step.state)

    def _link(self, machine: Machine) -> None:
        target = target_machine(machine, jit=True)
        text = print_llvm(self._program, embed_constants=False)
        self._compiler = llvm.create_lljit_compiler(target)
        library = llvm.JITLibraryBuilder().add_object_img(bytes(target.emit_object(optimised(text, target))))
        self._constants = []
        for buffer in self._program.constants():
            assert buffer.data is not None
            data = aligned(buffer.data.size, buffer.data.dtype, max(64, buffer.alignment))
            data[:] = buffer.data
            self._constants.append(data)
            library.import_symbol(constant_symbol(self._program, buffer), data.ctypes.data)
        library.import_symbol("bnnc_pause", pause_address())
        entry = f"{self._program.name}_{self._program.entry.name}"
        library.export_symbol(entry)
        self._tracker = library.link(self._compiler, f"{self._program.name}.{next(_names)}")
        arguments = [ctypes.c_void_p] * 4 + [ctypes.c_int64] * 4 + [ctypes.c_void_p]
        self._entry = ctypes.CFUNCTYPE(ctypes.c_int32, *arguments)(self._tracker[entry])

    # ------------------------------------------------------------------------------------------------------ state
    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace the whole state."""
        assert state.keys() == self.step.state.keys(), sorted(state.keys() ^ self.step.state.keys())
        for name, array in state.items():
            assert array.shape == self.step.state[name].shape, name
            self.lowered.homes[name].store(self._arena, array)
        self.lowered.settle(self._arena)

    def state(self, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Copies of the tensors named, or of all."""
        wanted = self.step.state if names is None else names
        return {name: self.lowered.homes[name].fetch(self._arena) for name in wanted}

    # -------------------------------------------------------------------------------------------------------- run
    def epoch(self, samples: Samples, order: np.ndarray) -> None:
        """One epoch over samples[order]."""
        self._run(EPOCH, samples, np.ascontiguousarray(order, np.int64))

    def evaluate(self, samples: Samples) -> int:
        """How many samples are put into the right class."""
        return len(samples) - self._run(EVALUATE, samples, np.arange(len(samples), dtype=np.int64))

    def times(self) -> dict[str, int]:
        """Ticks that the first thread has spent in each kernel (of a program that was made to tell)."""
        clock = self.lowered.clock
        return {} if clock is None else {n: int(view(self._arena, clock)[i]) for n, i in self.lowered.times.items()}

    def _run(self, task: int, samples: Samples, order: np.ndarray) -> int:
        bits, labels = self._prepare(samples)
        if order.size and not 0 <= int(order.min()) <= int(order.max()) < len(samples):
            raise IndexError("the order names a sample that does not exist")
        answer = np.zeros(1, np.int32)
        places = [array.ctypes.data for array in (bits, labels, order, answer)]
        arena = self._arena.ctypes.data

        def share(thread: int) -> None:
            self._entry(*places, len(order), task, thread, self.threads, arena)

        others = [threading.Thread(target=share, args=(thread,)) for thread in range(1, self.threads)]
        for other in others:
            other.start()
        share(0)
        for other in others:
            other.join()
        return int(answer[0])

    def _prepare(self, samples: Samples) -> tuple[np.ndarray, np.ndarray]:
        """The samples in the layout of the program; remembered, since epochs take the same again and again."""
        if samples.width != self.step.width or (
            samples.labels.size
            and not (0 <= int(samples.labels.min()) <= int(samples.labels.max()) < self.step.classes)
        ):
            raise ValueError("these samples are not for this step")
        for known, rows, labels in self._prepared:
            if known is samples:
                return rows, labels
        words = self.lowered.sample_words
        rows = aligned(len(samples) * words, np.uint32).reshape(len(samples), words)
        rows[:, : samples.bits.shape[1]] = samples.bits
        labels = np.ascontiguousarray(samples.labels, np.int32)
        # Training, validation and test sets take turns.
        self._prepared = [*self._prepared[-2:], (samples, rows, labels)]
        return rows, labels


def pause_address() -> int:
    """A function of the system that lets a thread sleep for so many microseconds (Windows: lets others run)."""
    library = ctypes.CDLL("kernel32" if os.name == "nt" else None)
    function = library.SwitchToThread if os.name == "nt" else library.usleep
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address
