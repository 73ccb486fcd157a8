"""Training on emulated Cortex-M boards: the weights are those of the desktop, and corrections stay cheap."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import boards, training_on_device
from bnnc import api
from bnnc.backends.c.training import trainer
from bnnc.backends.c.training_header import header_text
from bnnc.backends.c.training_source import source_text
from bnnc.backends.llvm.training import NativeEngine
from bnnc.loops.machine import CONTROLLERS, machine_for
from bnnc.train import rules
from bnnc.train.loop import permutation
from bnnc.train.plan import Comparisons, Settings, Thermometer, Threshold, TrainingPlan
from tests import training
from tests.shared import SHARED, needs_shared

needs_boards = pytest.mark.skipif(
    bool(set(boards.missing()) - {"mcu-harness"}), reason="needs gcc-arm-none-eabi and qemu-system-arm"
)


@needs_boards
@needs_shared
@pytest.mark.parametrize("workload", ["256-256, hidden 8", "256-256, hidden 16"])
def test_a_visited_weight_costs_what_it_did(workload: str) -> None:
    found = training_on_device.measure(training_on_device.WORKLOADS[workload], "cortex-m4")
    assert found.right, found.said
    assert found.per_weight <= {"256-256, hidden 8": 3, "256-256, hidden 16": 6}[workload]
    version = subprocess.run(["arm-none-eabi-gcc", "-dumpversion"], capture_output=True, text=True, check=True).stdout
    if version.startswith("12."):  # what was reached, and two in a hundred
        assert found.per_weight <= {"256-256, hidden 8": 1.22, "256-256, hidden 16": 1.68}[workload]


@needs_boards
@needs_shared
@pytest.mark.parametrize("rule", ["lbe", "bep"])
def test_epochs_on_a_board_make_the_weights_of_llvm(rule: str, tmp_path: Path) -> None:
    """Three epochs in the order of `bnnc train`; after the first, the power goes and only the kept words come back."""
    plan = training.plan(inputs=63, widths=(33, 15), rule=rule, batch=16, schedule=1, groups=(3,))
    step, _ = rules.build(plan, 63, 9)
    samples = training.random_samples(40, 63, 4)
    engine = NativeEngine(step, machine_for("generic"), 1)
    orders = [permutation(9, epoch, 40, 40) for epoch in range(3)]
    for order in orders:
        engine.epoch(samples, order)
    of = trainer(step, step.state, None, "net_train", next(m for m in CONTROLLERS if m.name == "cortex-m4"))
    (tmp_path / "net_train.h").write_text(header_text(of))
    (tmp_path / "net_train.c").write_text(source_text(of))

    def table(numbers: np.ndarray) -> str:
        return ", ".join(f"{n}u" for n in numbers.reshape(-1).tolist())

    (tmp_path / "main.c").write_text(
        f"""#include "harness.h"
#include "net_train.h"
static const uint32_t samples[] = {{{table(samples.bits)}}};
static const uint32_t labels[] = {{{table(samples.labels)}}};
static const uint32_t orders[] = {{{table(np.concatenate(orders))}}};
static uint32_t state[NET_TRAIN_WORDS], flash[NET_TRAIN_KEPT_WORDS];
int main(void) {{
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
    h_puts(net_train_checksum(state) == {of.checksum(engine.state())}u ? "right\\n" : "WRONG\\n");
    return 0;
}}
"""
    )
    for board in ("m4", "m0big"):
        command = [sys.executable, str(boards.HARNESS), "--cpu", board, "net_train.c", "main.c"]
        done = subprocess.run(
            [*command, "--", "-I", str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert "right" in json.loads(done.stdout).get("stdout", ""), done.stdout + done.stderr


@pytest.mark.slow
@needs_boards
@needs_shared
@pytest.mark.parametrize("board", ["m0", "m3", "m4", "m7", "m33", "m55"])
def test_the_self_test_passes_on_every_board(board: str, tmp_path: Path) -> None:
    """m0 is a micro:bit with its 16 KB of RAM."""
    plan = TrainingPlan("net", "image", (3, 5, 6), 3, (Thermometer(3), Comparisons(20)), (21, 9), Settings(batch=8))
    (tmp_path / "net.bnnm").write_bytes(api.train(plan, training.images(60, (3, 5, 6)), epochs=1).result())
    machine = next(name for name, other in boards.BOARDS.items() if other.startswith(board))
    files = api.emit(tmp_path / "net.bnnm", "c", machine=machine, train=True, name="net").files
    for name in ("net_train.h", "net_train.c", "net_train_selftest.c"):
        (tmp_path / name).write_bytes(files[name])
    (tmp_path / "main.c").write_text(
        '#include "harness.h"\n#include "net_train.h"\nstatic uint32_t state[NET_TRAIN_WORDS];\n'
        'int main(void) { h_puts(net_train_selftest(state) == 0 ? "right\\n" : "WRONG\\n"); return 0; }\n'
    )
    sources = ["net_train.c", "net_train_selftest.c", "main.c"]
    command = [sys.executable, str(boards.HARNESS), "--cpu", board, *sources, "--", "-I", str(tmp_path)]
    done = subprocess.run([*command, "-DBNNC_NO_MAIN"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "right" in json.loads(done.stdout).get("stdout", ""), done.stdout + done.stderr


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
