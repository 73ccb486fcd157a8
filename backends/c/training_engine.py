"""Executes training steps with the code that devices train with, compiled for this computer."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from bnnc.backends.c.host import shared_object
from bnnc.backends.c.training import trainer
from bnnc.backends.c.training_header import header_text
from bnnc.backends.c.training_source import source_text
from bnnc.diagnostics import BnncError, error
from bnnc.loops.machine import Machine
from bnnc.train.engine import Samples, Step

_LOOPS = """#include "net_train.h"

void bnnc_epoch(uint32_t state[], const uint32_t rows[], const int32_t labels[], const int64_t order[], int64_t count);
int64_t bnnc_right(uint32_t state[], const uint32_t rows[], const int32_t labels[], int64_t count);

void bnnc_epoch(uint32_t state[], const uint32_t rows[], const int32_t labels[], const int64_t order[], int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        const uint32_t *const bits = rows + order[i] * (int64_t)NET_TRAIN_SAMPLE_WORDS;
        net_train_accumulate_bits(state, bits, (uint32_t)labels[order[i]]);
        if (i + 1 == count || (i + 1) % (int64_t)NET_TRAIN_BATCH == 0) {
            net_train_end_batch(state);
        }
    }
    net_train_end_epoch(state);
}

int64_t bnnc_right(uint32_t state[], const uint32_t rows[], const int32_t labels[], int64_t count) {
    int64_t right = 0;
    for (int64_t i = 0; i < count; ++i) {
        int32_t scores[NET_TRAIN_CLASSES];
        int32_t best = 0;
        net_train_run_bits(state, rows + i * (int64_t)NET_TRAIN_SAMPLE_WORDS, scores);
        for (int32_t k = 1; k < (int32_t)NET_TRAIN_CLASSES; ++k) {
            best = scores[k] > scores[best] ? k : best;
        }
        right += best == labels[i];
    }
    return right;
}
"""


class DeviceEngine:
    """An Engine (see bnnc.train.engine): the same state as the reference's, one sample after the other."""

    def __init__(self, step: Step, machine: Machine) -> None:
        """Compiles the step. Raises BnncError B0608 where that cannot be done here, B0538 or B0615 for the step."""
        self.step = step
        self._of = trainer(step, step.state, None, "net_train", machine)
        self._folder = tempfile.TemporaryDirectory(prefix="bnnc-c-")
        files = {
            "net_train.h": header_text(self._of).encode(),
            "net_train.c": source_text(self._of, begins=False).encode(),
            "loops.c": _LOOPS.encode(),
        }
        self._library = ctypes.CDLL(str(_compiled(files, Path(self._folder.name))))
        self._right = self._library.bnnc_right
        self._right.restype = ctypes.c_int64
        self._memory = np.zeros(self._of.words * 4, np.uint8)
        self.load_state(step.state)

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace the whole state. Raises BnncError B0539 for even hidden weights, which no training makes."""
        assert state.keys() == self.step.state.keys(), sorted(state.keys() ^ self.step.state.keys())
        for name, array in state.items():
            assert array.shape == self.step.state[name].shape, name
            if name.startswith("hidden_") and bool((array & 1 == 0).any()):
                raise error("B0539", f"`{name}` holds even numbers, which no training makes")
            self._of.program.homes[name].store(self._memory, array)

    def state(self, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Copies of the tensors named, or of all."""
        wanted = self.step.state if names is None else names
        return {name: self._of.program.homes[name].fetch(self._memory) for name in wanted}

    def epoch(self, samples: Samples, order: np.ndarray) -> None:
        """One epoch over samples[order]."""
        bits, labels = self._checked(samples)
        order = np.ascontiguousarray(order, np.int64)
        if order.size and not 0 <= int(order.min()) <= int(order.max()) < len(samples):
            raise IndexError("the order names a sample that does not exist")
        self._library.bnnc_epoch(*self._places(bits, labels, order), ctypes.c_int64(len(order)))

    def evaluate(self, samples: Samples) -> int:
        """How many samples are put into the right class."""
        bits, labels = self._checked(samples)
        return int(self._right(*self._places(bits, labels), ctypes.c_int64(len(samples))))

    def _checked(self, samples: Samples) -> tuple[np.ndarray, np.ndarray]:
        labels = np.ascontiguousarray(samples.labels, np.int32)
        known = not labels.size or (0 <= int(labels.min()) <= int(labels.max()) < self.step.classes)
        if samples.width != self.step.width or not known:
            raise ValueError("these samples are not for this step")
        return np.ascontiguousarray(samples.bits, np.uint32), labels

    def _places(self, *arrays: np.ndarray) -> list[ctypes.c_void_p]:
        return [ctypes.c_void_p(array.ctypes.data) for array in (self._memory, *arrays)]


def _compiled(files: Mapping[str, bytes], folder: Path) -> Path:
    """For this very processor, if the compiler knows it."""
    try:
        return shared_object(files, folder, ("-O2", "-march=native"))
    except BnncError:
        return shared_object(files, folder)


__all__ = ["DeviceEngine"]
