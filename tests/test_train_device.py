"""Training one sample at a time, as microcontrollers do: the state is the reference's, bit by bit."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from bnnc.loops.kernels.training.planes import Planes
from bnnc.loops.lower.training.device import DeviceProgram, lower_device
from bnnc.loops.machine import CONTROLLERS
from bnnc.reference.loop import run_entry
from bnnc.train import rules
from bnnc.train.engine import Samples, Step
from bnnc.train.interpreted import ReferenceEngine
from bnnc.train.plan import Recurrence, Settings, Signs, TrainingPlan
from tests import training


def lowered(step: Step, machine: str) -> DeviceProgram:
    of = next(each for each in CONTROLLERS if each.name == machine)
    modules = (step.accumulate(1), step.end_batch, step.end_epoch, step.evaluate(1))
    return lower_device("net", step.width, step.classes, *modules, of)


class Interpreted:
    """A device of which every statement is interpreted, and every access checked."""

    def __init__(self, step: Step, machine: str) -> None:
        self.step, self.program = step, lowered(step, machine)
        self.memory = np.zeros(self.program.bytes, np.uint8)
        for name, array in step.state.items():
            self.program.homes[name].store(self.memory, array)

    def accumulate(self, bits: np.ndarray, label: int) -> None:
        place = self.program.label.offset
        self.memory[place : place + 4].view(np.int32)[0] = label
        run_entry(self.program.accumulate, [bits.view(np.int32).copy()], [1], self.memory)

    def epoch(self, samples: Samples, order: np.ndarray) -> None:
        for start in range(0, len(order), self.step.batch):
            for number in order[start : start + self.step.batch]:
                self.accumulate(samples.bits[number], samples.labels[number])
            run_entry(self.program.end_batch, [], [1], self.memory)
        run_entry(self.program.end_epoch, [], [1], self.memory)

    def scores(self, bits: np.ndarray) -> np.ndarray:
        out = np.zeros(self.step.classes, np.int32)
        run_entry(self.program.run, [bits.view(np.int32).copy(), out], [1], self.memory)
        return out

    def state(self) -> dict[str, np.ndarray]:
        return {name: self.program.homes[name].fetch(self.memory) for name in self.step.state}


NETS: dict[str, dict[str, Any]] = {
    "lbe": {},
    "bep": {"rule": "bep", "widths": (15, 12, 9)},
    "odd sizes": {
        "rule": "bep",
        "widths": (40, 33, 16),
        "inputs": 70,
        "gate": Fraction(1, 4),
        "tie": "lowest",
        "schedule": 1,
    },
    "committees": {"rule": "cpr", "widths": (15,), "groups": (5,)},
    "8 bits": {"hidden": 8, "widths": (16,), "batch": 20},
    "near the bound": {"hidden": 8, "widths": (33,), "batch": 31, "reinforcement": Fraction(1)},
    "no margin": {"margin": Fraction(0), "reinforcement": Fraction(0), "widths": (1, 7)},
    "many words": {"inputs": 1001, "widths": (3,)},
}


@pytest.mark.parametrize("machine", ["generic-c", "cortex-m4"])
@pytest.mark.parametrize("net", list(NETS))
def test_every_kernel_gives_the_state_of_the_reference(net: str, machine: str) -> None:
    more = NETS[net]
    plan = training.plan(**more)
    step, _ = rules.build(plan, plan.input_shape[0], 5)
    device, reference = Interpreted(step, machine), ReferenceEngine(step)
    samples = training.random_samples(21 if step.batch < 21 else 62, step.width, step.classes)
    for epoch in range(2):
        order = np.random.default_rng(epoch).permutation(len(samples))[: 12 if net == "many words" else len(samples)]
        device.epoch(samples, order)
        reference.epoch(samples, order)
        expected = reference.state()
        for name, array in device.state().items():
            np.testing.assert_array_equal(array, expected[name], err_msg=f"{name}, epoch {epoch}")
    wrong = sum(int(np.argmax(device.scores(samples.bits[n])) != samples.labels[n]) for n in range(8))
    eight = Samples(samples.bits[:8], samples.labels[:8], samples.width)
    assert reference.evaluate(eight) == 8 - wrong


def test_a_recurrent_cell_is_trained_through_time() -> None:
    settings = Settings(rule="bep", batch=4, groups=(5, 3), gate=Fraction(1, 3))
    plan = TrainingPlan("net", "x", (3, 6), 3, (Signs(),), (9,), settings, Recurrence(11, 3))
    step, _ = rules.build(plan, 18, 1)
    device, reference = Interpreted(step, "cortex-m4"), ReferenceEngine(step)
    samples = training.random_samples(10, 18, 3)
    for _ in range(2):
        for engine in (device, reference):
            engine.epoch(samples, np.arange(10))
    expected = reference.state()
    for name, array in device.state().items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


@pytest.mark.parametrize("limit", [127, 1023, 32767])
def test_planes_hold_every_odd_number(limit: int) -> None:
    layout = Planes(3, 45, limit)
    numbers = np.random.default_rng(0).integers(-(limit + 1) // 2, (limit + 1) // 2, (3, 45)) * 2 + 1
    numbers[0, :2] = limit, -limit
    words = layout.pack(numbers)
    assert words.size == layout.length == 3 * 2 * limit.bit_length()
    np.testing.assert_array_equal(layout.unpack(words), numbers)
    signs = words.view(np.uint32).reshape(3, 2, -1)[0, :, -1]
    assert signs[0] & 3 == 1, "the last plane is the weight"
