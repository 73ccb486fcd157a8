"""How fast training is: epochs of MNIST on the 785-525-525 net, where the time goes, and a peer in the same run.

    python benchmarks/training.py [--data-dir FOLDER] [--epochs 20] [--end-to-end] [--json]

Every round trains one epoch of each rule with one and with two threads, so that all meet the same state of the machine;
figures are medians. CPU time is that of the process; other processes change it little, but the wall time much. The
kernels' shares are those of the first thread. The peer (where torch is installed) trains the same net by a
straight-through estimator: sign weights and signs as activations, no batch norm, batches of 100, Adam, on one thread.
`--end-to-end`: what `bnnc train` of the shipped example takes for 50 epochs, from the start of the process to its end,
with an evaluation on the test set after every epoch.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.process import ROOT, bnnc, environment
from bnnc.backends.llvm.host import native_machine
from bnnc.backends.llvm.training import NativeEngine
from bnnc.data.registry import both
from bnnc.data.split import Pair
from bnnc.train.engine import Samples
from bnnc.train.plan import Settings, TrainingPlan
from bnnc.train.rules import build
from bnnc.train.samples import packed

WIDTHS = (525, 525)
WARM_EPOCHS = 5
"""The first epochs have more to correct; after these, an epoch costs what the many others will."""
SETTINGS = {
    "lbe": Settings(rule="lbe", groups=(75,)),
    "bep": Settings(rule="bep", groups=(35,), schedule=3),
}


def encoded(pair: Pair) -> tuple[Samples, Samples]:
    """Pixels that are not 0, and one bit that is always +1, as the shipped example has them."""
    found = []
    for part in (pair.train, pair.test):
        images, labels = part.load()
        bits = images.reshape(len(images), -1) > 0
        found.append(packed(np.pad(bits, ((0, 0), (0, 1)), constant_values=True), labels))
    return found[0], found[1]


def engine_for(rule: str, width: int, threads: int, timed: bool = False) -> NativeEngine:
    """The engine of a rule on the net."""
    plan = TrainingPlan("net", "x", (width,), 10, (), WIDTHS, SETTINGS[rule])
    return NativeEngine(build(plan, width, 1)[0], native_machine(), threads, timed)


def epoch_times(train: Samples, epochs: int) -> dict[str, dict[str, float]]:
    """Milliseconds of CPU and wall of an epoch, by rule and threads."""
    engines = {
        f"{rule}, {threads} thread{'s' * (threads > 1)}": engine_for(rule, train.width, threads)
        for rule in SETTINGS
        for threads in (1, 2)
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
    for number in range(WARM_EPOCHS + epochs):
        order = np.random.default_rng(number).permutation(len(train))
        for name, engine in engines.items():
            wall, cpu = time.perf_counter(), time.process_time()
            engine.epoch(train, order)
            times[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    # However the work is split, the result is one.
    for rule in SETTINGS:
        one, two = (engine.state() for name, engine in engines.items() if name.startswith(rule))
        assert all(np.array_equal(one[name], two[name]) for name in one), f"{rule}: threads change the result"
    return {
        name: {
            "cpu_ms": 1e3 * statistics.median(cpu for cpu, _ in found[WARM_EPOCHS:]),
            "least_cpu_ms": 1e3 * min(cpu for cpu, _ in found[WARM_EPOCHS:]),
            "wall_ms": 1e3 * statistics.median(wall for _, wall in found[WARM_EPOCHS:]),
            "least_wall_ms": 1e3 * min(wall for _, wall in found[WARM_EPOCHS:]),
        }
        for name, found in times.items()
    }


def shares(rule: str, train: Samples, epochs: int) -> dict[str, float]:
    """The share of each kernel in an epoch on one thread: of the least time that each took in any epoch."""
    engine = engine_for(rule, train.width, 1, timed=True)
    least: dict[str, int] = {}
    before: dict[str, int] = {}
    for number in range(WARM_EPOCHS + epochs):
        engine.epoch(train, np.random.default_rng(number).permutation(len(train)))
        now = engine.times()
        if number >= WARM_EPOCHS:
            spent = {name: ticks - before.get(name, 0) for name, ticks in now.items()}
            least = {name: min(ticks, least.get(name, ticks)) for name, ticks in spent.items()}
        before = now
    total = sum(least.values())
    return {name: ticks / total for name, ticks in sorted(least.items(), key=lambda item: -item[1])}


def torch_epoch(train: Samples) -> float | None:
    """CPU seconds of an epoch of the same net by a straight-through estimator in PyTorch, or None without it."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(1)

    class Sign(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(context: Any, x: Any) -> Any:
            context.save_for_backward(x)
            return torch.where(x >= 0, 1.0, -1.0)

        @staticmethod
        def backward(context: Any, gradient: Any) -> Any:
            (x,) = context.saved_tensors
            return gradient * (x.abs() <= 1)

    sizes = [train.width, *WIDTHS, 10]
    weights = [torch.nn.Parameter(0.1 * torch.randn(outputs, inputs)) for inputs, outputs in itertools.pairwise(sizes)]
    optimiser = torch.optim.Adam(weights, lr=1e-3)
    octets = np.unpackbits(train.bits.view(np.uint8), axis=1, bitorder="little", count=train.width)
    x = torch.from_numpy(octets.astype(np.float32) * 2 - 1)
    y = torch.from_numpy(train.labels.astype(np.int64))
    order = torch.randperm(len(train))
    start = time.process_time()
    for begin in range(0, len(train), 100):
        chosen = order[begin : begin + 100]
        a = x[chosen]
        for number, weight in enumerate(weights):
            a = a @ Sign.apply(weight).T / weight.shape[1] ** 0.5
            if number < len(weights) - 1:
                a = Sign.apply(a)
        loss = torch.nn.functional.cross_entropy(a, y[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return time.process_time() - start


def end_to_end(data_dir: str | None) -> dict[str, float]:
    """What `bnnc train` of the shipped example takes for 50 epochs on two threads."""
    with tempfile.TemporaryDirectory() as folder:
        command = bnnc("train", str(ROOT / "examples" / "mnist" / "net.bnn"), "--data", "mnist", "--epochs", "50")
        command += ["--threads", "2", "--seed", "1", "-o", str(Path(folder) / "net.bnnm")]
        command += ["--data-dir", data_dir] if data_dir else []
        measured = [sys.executable, str(ROOT / "benchmarks" / "process.py"), *command]
        done = subprocess.run(measured, capture_output=True, text=True, env=environment(), check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    cost = json.loads(done.stdout.splitlines()[-1])
    return {"wall_s": cost["seconds"], "cpu_s": cost["cpu_seconds"]}


def main() -> int:
    """Prints the tables; with --json, one document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir", default=os.environ.get("BNNC_DATA"), help="where the MNIST files are")
    parser.add_argument("--epochs", type=int, default=20, help="epochs that are measured")
    parser.add_argument("--end-to-end", action="store_true", help="also time `bnnc train` for 50 epochs")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    given = parser.parse_args()
    train, _ = encoded(both("mnist", given.data_dir))
    document: dict[str, Any] = {
        "machine": native_machine().cpu,
        "samples": len(train),
        "epochs": epoch_times(train, given.epochs),
        "shares": {rule: shares(rule, train, given.epochs) for rule in SETTINGS},
    }
    peer = torch_epoch(train)
    if peer is not None:
        document["torch_ste_ms"] = 1e3 * peer
        document["times_faster"] = 1e3 * peer / document["epochs"]["lbe, 1 thread"]["cpu_ms"]
    if given.end_to_end:
        document["end_to_end"] = end_to_end(given.data_dir)
    if given.json:
        print(json.dumps(document, indent=1))
        return 0
    print(f"one epoch of {len(train)} MNIST samples, 785-525-525, batches of 100, on {document['machine']}")
    print(f"{'':18}{'CPU ms':>10}{'least':>10}{'wall ms':>10}{'least':>10}")
    for name, row in document["epochs"].items():
        print(f"{name:18}" + "".join(f"{value:10.1f}" for value in row.values()))
    for rule, found in document["shares"].items():
        print(f"{rule}: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in found.items() if share > 0.004))
    if peer is None:
        print("PyTorch: not installed, not compared")
    else:
        print(f"PyTorch STE: {1e3 * peer:.0f} ms of CPU; LBE is {document['times_faster']:.0f} times faster")
    if "end_to_end" in document:
        cost = document["end_to_end"]
        print(f"bnnc train, 50 epochs, 2 threads: {cost['wall_s']:.2f} s of wall, {cost['cpu_s']:.2f} s of CPU")
    return 0


if __name__ == "__main__":
    sys.exit(main())
