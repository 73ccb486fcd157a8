"""Native training gives the state of the reference, bit for bit: rules, settings, threads and machines."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from bnnc.backends.llvm.backend import Backend
from bnnc.backends.llvm.host import native_machine
from bnnc.backends.llvm.printer import print_llvm
from bnnc.backends.llvm.training import NativeEngine, lowered_step
from bnnc.diagnostics import BnncError
from bnnc.loops.lower.training.program import EPOCH, EVALUATE
from bnnc.loops.machine import Machine, machine_for
from bnnc.reference.loop import run_entry
from bnnc.train.engine import Engine, Samples, Step, Trains
from bnnc.train.interpreted import ReferenceEngine
from bnnc.train.plan import Recurrence, Settings, Signs, TrainingPlan
from bnnc.train.rules import build
from bnnc.train.samples import packed

CLASSES = 5


def make_step(
    rule: Any = "lbe",
    widths: tuple[int, ...] = (35, 21),
    width: int = 51,
    batch: int = 50,
    groups: tuple[int, ...] | None = (8,),
    recurrence: Recurrence | None = None,
    **settings: Any,
) -> Step:
    """A small step; groups of 8 leave ragged ones."""
    chosen = Settings(rule=rule, batch=batch, groups=groups, **settings)
    plan = TrainingPlan("small", "x", (width,), CLASSES, (Signs(),), widths, chosen, recurrence)
    return build(plan, width, 3)[0]


def make_samples(width: int, count: int, seed: int = 1) -> Samples:
    """Noisy prototypes of the classes."""
    draw = np.random.default_rng(seed)
    prototypes = np.where(draw.random((CLASSES, width)) < 0.5, 1, -1)
    labels = draw.integers(0, CLASSES, count)
    return packed(prototypes[labels] * np.where(draw.random((count, width)) < 0.3, -1, 1), labels)


def assert_same_state(one: Engine, two: Engine) -> None:
    first, second = one.state(), two.state()
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert array.dtype == second[name].dtype, name
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def assert_trains_alike(step: Step, native: Engine, samples: Samples, epochs: int = 3) -> None:
    """Epochs in random order on both engines; the state and the answers are compared after each."""
    reference = ReferenceEngine(step)
    reference.load_state(native.state())
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(len(samples))
        reference.epoch(samples, order)
        native.epoch(samples, order)
        assert_same_state(reference, native)
        assert reference.evaluate(samples) == native.evaluate(samples)
    assert not all((native.state([name])[name] == step.state[name]).all() for name in step.state if "hidden" in name)


STEPS: dict[str, dict[str, Any]] = {
    "lbe": {},
    "lbe-lowest": {"tie": "lowest"},
    "lbe-8-bits": {"hidden": 8, "batch": 25},
    "lbe-even": {"width": 64, "widths": (32, 64)},
    "lbe-one-group": {"groups": (64,), "widths": (64,)},
    "lbe-groups-of-one": {"groups": (1,)},
    "lbe-schedule": {"schedule": 1, "groups": (3,)},
    "lbe-no-reinforcement": {"reinforcement": Fraction(0)},
    "lbe-weak-reinforcement": {"reinforcement": Fraction(1, 50), "width": 300},
    "lbe-wide": {"width": 1000, "widths": (531,), "groups": (97,)},
    "bep": {"rule": "bep"},
    "bep-schedule": {"rule": "bep", "schedule": 1, "gate": Fraction(1, 5), "groups": (5,)},
    "bep-three-layers": {"rule": "bep", "widths": (35, 22, 37), "gate": Fraction(1, 10)},
    "cpr": {"rule": "cpr", "widths": (45,), "groups": (5,)},
    "through-time": {"rule": "bep", "width": 48, "widths": (), "recurrence": Recurrence(35, 3), "batch": 25},
    "through-time-and-layers": {
        "rule": "bep",
        "width": 44,
        "widths": (21,),
        "recurrence": Recurrence(37, 4),
        "batch": 25,
        "gate": Fraction(1, 5),
        "schedule": 1,
    },
    "bep-wide": {"rule": "bep", "width": 100, "widths": (131, 67), "gate": Fraction(1, 10)},
}


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", STEPS)
def test_native_training_is_the_reference(name: str, threads: int) -> None:
    step = make_step(**STEPS[name])
    # 130 samples: the last batch is short.
    samples = make_samples(step.width, 130)
    assert_trains_alike(step, NativeEngine(step, native_machine(), threads), samples, epochs=2)


@pytest.mark.parametrize("machine", ["generic", "x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("rule", ["lbe", "bep"])
def test_code_for_lesser_machines_trains_alike(machine: str, rule: str) -> None:
    if machine != "generic" and machine not in _runnable():
        pytest.skip(f"this computer does not run code for {machine}")
    step = make_step(rule, gate=Fraction(1, 10))
    assert_trains_alike(step, NativeEngine(step, machine_for(machine), 2), make_samples(step.width, 130), epochs=2)


def _runnable() -> tuple[str, ...]:
    own = native_machine()
    if not own.triple.startswith("x86_64"):
        return ()
    levels = ("x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4")
    return levels[: 2 + (own.vector_bits >= 256) + (own.vector_bits >= 512)]


@pytest.mark.parametrize("machine", ["generic", "x86-64-v3", "znver5", "aarch64"])
@pytest.mark.parametrize("rule", ["lbe", "bep"])
def test_interpreted_programs_train_alike(machine: str, rule: str) -> None:
    """The interpreter checks every access, and knows machines that are not here."""
    step = make_step(rule, widths=(19, 9), width=35, batch=4, groups=(4,), gate=Fraction(1, 5))
    samples = make_samples(step.width, 10)
    lowered = lowered_step(step, machine_for(machine))
    reference, arena = ReferenceEngine(step), np.zeros(lowered.program.arena_bytes, np.uint8)
    for name, array in step.state.items():
        lowered.homes[name].store(arena, array)
    lowered.settle(arena)
    answer, order = np.zeros(1, np.int32), np.arange(10)[::-1].copy()
    arrays = [lowered.samples(samples.bits), samples.labels, order, answer]
    reference.epoch(samples, order)
    run_entry(lowered.program, arrays, [10, EPOCH, 0, 1], arena)
    for name, array in reference.state().items():
        np.testing.assert_array_equal(lowered.homes[name].fetch(arena), array, err_msg=name)
    run_entry(lowered.program, arrays, [10, EVALUATE, 0, 1], arena)
    assert 10 - answer[0] == reference.evaluate(samples)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("hidden", [8, 16])
def test_any_state_that_fits_its_types_is_continued_alike(hidden: int, seed: int) -> None:
    """Hidden weights at the ends of their range, weights that are not their signs, rates and counters of any size."""
    step = make_step("bep" if seed % 2 else "lbe", hidden=hidden, batch=25, gate=Fraction(1, 4))
    draw = np.random.default_rng(seed)
    limit = 2 ** (hidden - 1) - 1
    state = {name: array.copy() for name, array in step.state.items()}
    for name, array in state.items():
        if name.startswith("hidden"):
            ends = draw.choice([-limit, -limit + 1, -1, 0, 1, limit - 3, limit], array.shape)
            array[...] = np.where(draw.random(array.shape) < 0.5, ends, draw.integers(-limit, limit + 1, array.shape))
        elif name.startswith("weights"):
            array[...] = draw.choice([-1, 1], array.shape)
        elif name.startswith("rate"):
            array[...] = draw.integers(0, 2**31, 1)
        elif name == "clock":
            array[...] = draw.integers(0, 2**31 - 10_000, 3)
        else:
            array[...] = draw.integers(0, 1000, array.shape)
    native = NativeEngine(step, native_machine(), 2)
    native.load_state(state)
    for name, array in native.state().items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)
    assert_trains_alike(step, native, make_samples(step.width, 60), epochs=2)


@pytest.mark.parametrize("name", ["lbe", "bep", "bep-schedule"])
@pytest.mark.parametrize("machine", ["native", "generic", "aarch64"])
def test_no_float_is_in_the_step(name: str, machine: str) -> None:
    chosen: Machine = native_machine() if machine == "native" else machine_for(machine)
    text = print_llvm(lowered_step(make_step(**STEPS[name]), chosen).program, embed_constants=False)
    assert "define" in text
    assert not re.findall(r"\b(?:half|bfloat|float|double|fp128|x86_fp80)\b", text)


def test_orders_and_samples_that_do_not_fit_are_refused() -> None:
    step = make_step()
    engine = NativeEngine(step, native_machine(), 1)
    samples = make_samples(step.width, 20)
    before = engine.state()
    for order in ([0, 20], [-1]):
        with pytest.raises(IndexError):
            engine.epoch(samples, np.array(order))
    with pytest.raises(ValueError):
        engine.epoch(make_samples(step.width + 1, 20), np.arange(20))
    with pytest.raises(ValueError):
        engine.evaluate(Samples(samples.bits, samples.labels + CLASSES, samples.width))
    engine.epoch(samples, np.arange(0))
    np.testing.assert_array_equal(engine.state(["clock"])["clock"], before["clock"])


def test_a_layer_that_reads_too_much_is_refused_with_a_way_out() -> None:
    with pytest.raises(BnncError) as raised:
        NativeEngine(make_step(width=32769, widths=(3,), groups=(3,)), native_machine(), 1)
    assert raised.value.diagnostics[0].code == "B0615"
    assert raised.value.diagnostics[0].helps


def test_samples_may_be_named_twice_and_left_out() -> None:
    step = make_step()
    samples = make_samples(step.width, 40)
    reference, native = ReferenceEngine(step), NativeEngine(step, native_machine(), 2)
    order = np.random.default_rng(0).integers(0, 40, 333)
    reference.epoch(samples, order)
    native.epoch(samples, order)
    assert_same_state(reference, native)


def test_the_backend_offers_its_engine() -> None:
    backend = Backend()
    assert isinstance(backend, Trains)
    step = make_step()
    engine = backend.engine(step, backend.Options(threads=2))
    assert engine.evaluate(make_samples(step.width, 30)) <= 30
