"""Training on emulated Cortex-M boards: the weights are those of the desktop, and corrections stay cheap."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import training_boards, training_on_device
from bnnc import api
from bnnc.backends.c.boards import missing
from bnnc.backends.c.boards.table import BOARDS
from bnnc.backends.c.training import trainer
from bnnc.backends.llvm.training import NativeEngine
from bnnc.loops.machine import CONTROLLERS, machine_for
from bnnc.train import rules
from bnnc.train.loop import permutation
from bnnc.train.plan import Comparisons, Settings, Thermometer, Threshold, TrainingPlan
from tests import training
from tests.shared import SHARED, needs_shared

needs_boards = pytest.mark.skipif(
    bool(missing("cortex-m0") or missing("cortex-m4")), reason="needs gcc-arm-none-eabi and qemu-system-arm"
)


@needs_boards
@pytest.mark.parametrize("workload", ["256-256, hidden 8", "256-256, hidden 16"])
def test_a_visited_weight_costs_what_it_did(workload: str) -> None:
    found = training_on_device.measure(training_on_device.WORKLOADS[workload], "cortex-m4")
    assert found.right, found.said
    assert found.per_weight <= {"256-256, hidden 8": 3, "256-256, hidden 16": 6}[workload]
    version = subprocess.run(["arm-none-eabi-gcc", "-dumpversion"], capture_output=True, text=True, check=True).stdout
    if version.startswith("12."):  # what was reached, and two in a hundred
        assert found.per_weight <= {"256-256, hidden 8": 1.22, "256-256, hidden 16": 1.68}[workload]


@needs_boards
@pytest.mark.parametrize("rule", ["lbe", "bep"])
def test_epochs_on_a_board_make_the_weights_of_llvm(rule: str) -> None:
    """Three epochs in the order of `bnnc train`; after the first, the power goes and only the kept words come back."""
    plan = training.plan(inputs=63, widths=(33, 15), rule=rule, batch=16, schedule=1, groups=(3,))
    step, _ = rules.build(plan, 63, 9)
    samples = training.random_samples(40, 63, 4)
    engine = NativeEngine(step, machine_for("generic"), 1)
    orders = [permutation(9, epoch, 40, 40) for epoch in range(3)]
    for order in orders:
        engine.epoch(samples, order)
    of = trainer(step, step.state, None, "net_train", next(m for m in CONTROLLERS if m.name == "cortex-m4"))

    def table(numbers: np.ndarray) -> str:
        return ", ".join(f"{n}u" for n in numbers.reshape(-1).tolist())

    train = f"""
static const uint32_t samples[] = {{{table(samples.bits)}}};
static const uint32_t labels[] = {{{table(samples.labels)}}};
static const uint32_t orders[] = {{{table(np.concatenate(orders))}}};
static uint32_t state[NET_TRAIN_WORDS], flash[NET_TRAIN_KEPT_WORDS];
static void train(uint32_t answers[]) {{
    net_train_init(state);
    for (uint32_t i = 0; i < 120u; ++i) {{
        const uint32_t at = orders[i];
        net_train_accumulate_bits(state, samples + at * NET_TRAIN_SAMPLE_WORDS, labels[at]);
        if (i % 40u % NET_TRAIN_BATCH == NET_TRAIN_BATCH - 1u || i % 40u == 39u) {{ net_train_end_batch(state); }}
        if (i % 40u == 39u) {{ net_train_end_epoch(state); }}
        if (i == 50u) {{  /* in the middle of a batch */
            for (uint32_t k = 0; k < NET_TRAIN_KEPT_WORDS; ++k) {{ flash[k] = state[k]; }}
            for (uint32_t k = 0; k < NET_TRAIN_WORDS; ++k) {{ state[k] = 0xdeadbeefu; }}
            for (uint32_t k = 0; k < NET_TRAIN_KEPT_WORDS; ++k) {{ state[k] = flash[k]; }}
        }}
    }}
    answers[0] = net_train_checksum(state);
}}
"""
    for machine in ("cortex-m4", "cortex-m0"):
        assert training_boards.run(of, train, machine, 1).answers == (of.checksum(engine.state()),)


@pytest.mark.slow
@needs_boards
@pytest.mark.parametrize("board", ["microbit", "mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547"])
def test_the_self_test_passes_on_every_board(board: str, tmp_path: Path) -> None:
    """A micro:bit has 16 KB of RAM."""
    plan = TrainingPlan("net", "image", (3, 5, 6), 3, (Thermometer(3), Comparisons(20)), (19, 9), Settings(batch=8))
    (tmp_path / "net.bnnm").write_bytes(api.train(plan, training.images(60, (3, 5, 6)), epochs=1).result())
    machine = next(each.machine for each in BOARDS if each.name == board)
    files = api.emit(tmp_path / "net.bnnm", "c", machine=machine, train=True, name="net").files
    train = f"""#define BNNC_NO_MAIN
{files["net_train_selftest.c"].decode()}
static uint32_t state[NET_TRAIN_WORDS];
static void train(uint32_t answers[]) {{ answers[0] = net_train_selftest(state) == 0; }}
"""
    assert training_boards.answers_of(files, "net_train", train, machine, 1, board) == (1,)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("ziglang") is None or shutil.which("qemu-ppc") is None, reason="needs ziglang and qemu-ppc"
)
def test_the_self_test_passes_where_bytes_are_the_other_way_round(tmp_path: Path) -> None:
    plan = TrainingPlan("net", "image", (1, 6, 6), 3, (Threshold(60),), (33, 9), Settings(rule="bep", batch=8))
    (tmp_path / "net.bnnm").write_bytes(api.train(plan, training.images(60), epochs=1).result())
    files = api.emit(tmp_path / "net.bnnm", "c", train=True, name="net").files
    for name in ("net_train.h", "net_train.c", "net_train_selftest.c"):
        (tmp_path / name).write_bytes(files[name])
    command = [
        sys.executable,
        "-m",
        "ziglang",
        "cc",
        "-target",
        "powerpc-linux-musleabi",
        "-static",
        "-O2",
        "-o",
        "net",
    ]
    subprocess.run([*command, "net_train.c", "net_train_selftest.c"], cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run(["qemu-ppc", "./net"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "net_train: ok, 48 golden samples\n")


@pytest.mark.slow
@needs_boards
@needs_shared
def test_an_epoch_of_mnist_on_a_board_makes_the_weights_of_llvm() -> None:
    found = training_on_device.mnist(str(SHARED / "data"))
    assert found["right"]
    assert found["test accuracy"] > 0.75
    assert found["state bytes"] < 68 * 1024
