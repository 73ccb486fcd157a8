"""The speed tables: everything in one run, in turns, one thread, medians of CPU time.

Ours comes through the public path: an ONNX file, `bnnc.compile`, and the native timing behind `bnnc bench`. A network
is compared with the reference before it is timed: a wrong kernel is fast.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks import networks
from benchmarks.process import ROOT
from bnnc import api, checking
from bnnc.backends.llvm.host import native_machine
from bnnc.backends.llvm.roofline import Roofline
from bnnc.data.seeded import seeded

CONVS = ((56, 64), (28, 128), (14, 256), (7, 512))
WIDTHS = (784, 1024, 1024, 1024, 10)
BATCHES = (1, 64)
STRETCH_SECONDS = 0.01
EXAMPLE = ROOT / "examples" / "mnist" / "model.onnx"


@dataclass
class Layer:
    """The binary convolution of a network: what one run takes, and its share of the roofline measured next to it."""

    name: str
    bit_macs: int
    measure: Callable[[], tuple[float, float]]
    seconds: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)

    @property
    def document(self) -> dict[str, Any]:
        """Medians, for JSON."""
        return {
            "name": self.name,
            "bit_macs": self.bit_macs,
            "median_us": round(1e6 * statistics.median(self.seconds), 3),
            "roofline_share": round(statistics.median(self.shares), 4),
        }


@dataclass
class Case:
    """A network with some batch: native runs of ours, our calls from Python, and runs of peers, by name."""

    name: str
    batch: int
    measures: dict[str, Callable[[], float]]
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def median(self, who: str) -> float | None:
        """Median microseconds of a batch; None where that was not measured."""
        return 1e6 * statistics.median(self.seconds[who]) if who in self.seconds else None

    @property
    def document(self) -> dict[str, Any]:
        """Medians, for JSON."""
        return {
            "name": self.name,
            "batch": self.batch,
            "median_us": {who: round(float(self.median(who) or 0), 3) for who in self.measures},
        }


def cpu_seconds(call: Callable[[], object]) -> float:
    """The median CPU time of a call, over calls in a row; the first is left out, since others ran before it."""
    call()
    found: list[float] = []
    end = time.process_time() + STRETCH_SECONDS
    while not found or time.process_time() < end:
        start = time.process_time_ns()
        call()
        found.append((time.process_time_ns() - start) / 1e9)
    return statistics.median(found)


def checked(path: Path) -> api.Network:
    """The network, compiled. Raises RuntimeError when it does not give the bits of the reference."""
    network = api.compile(path)
    verdict = checking.compare(network.module, network.run, checking.seeded_pieces(network.module, 3, 1))
    if verdict.agreement.different:
        raise RuntimeError(f"{path.name}: {verdict.agreement.first}")
    return network


def conv_layer(size: int, channels: int, pad: int, folder: Path) -> Layer:
    """A network around one binary convolution."""
    path = folder / f"conv{size}x{size}x{channels}_pad{pad}.onnx"
    onnx.save(networks.binary_conv(size, channels, pad), path)
    network = checked(path)
    inputs = seeded(network.module, 1, 0)
    timed: Any = network.compiled

    def measure() -> tuple[float, float]:
        row = max(timed.layer_times(inputs), key=lambda layer: layer.bit_macs)
        return row.seconds, row.roofline_share

    return Layer(f"{size}x{size}x{channels}, padded with {pad}", size * size * channels * channels * 9, measure)


def whole(name: str, path: Path, batch: int, peers: dict[str, Path]) -> Case:
    """A network of ours, and files for ONNX Runtime to run on inputs of the same shape."""
    network = checked(path)
    inputs = seeded(network.module, batch, 0)
    timed: Any = network.compiled
    measures: dict[str, Callable[[], float]] = {
        "native": lambda: statistics.median(timed.time(inputs, 3)),
        "python": lambda: cpu_seconds(lambda: network.run(inputs)),
    }
    for peer, file in peers.items():
        run = _onnxruntime(file, inputs)
        if run is not None:
            measures[peer] = lambda run=run: cpu_seconds(run)  # type: ignore[misc]
    return Case(name, batch, measures)


def _onnxruntime(path: Path, inputs: dict[str, np.ndarray]) -> Callable[[], object] | None:
    """A call of ONNX Runtime with one thread; None where it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = dict(zip((given.name for given in session.get_inputs()), inputs.values(), strict=True))
    return lambda: session.run(None, feed)


def layers(folder: Path) -> list[Layer]:
    """The convolutions of residual networks, with a border of 0 (skipped taps) and of +1."""
    return [conv_layer(size, channels, pad, folder) for pad in (0, 1) for size, channels in CONVS]


def cases(folder: Path, zoo: Path) -> list[Case]:
    """The MLP against its shape in fp32, and the trained networks that are here against their own files."""
    binary, real = folder / "mlp.onnx", folder / "mlp_float.onnx"
    onnx.save(networks.binary_mlp(WIDTHS), binary)
    onnx.save(networks.float_mlp(WIDTHS), real)
    shape = "-".join(map(str, WIDTHS))
    found = [whole(shape, binary, batch, {"fp32": real, "same file": binary}) for batch in BATCHES]
    found.append(whole("shipped example", EXAMPLE, 1, {"same file": EXAMPLE}))
    for name, title in (("bnnpynq_lfc_w1a1_mnist", "LFC (MNIST)"), ("bnnpynq_cnv_w1a1_cifar10", "CNV (CIFAR-10)")):
        path = zoo / name / f"{name}.onnx"
        if path.exists():
            found.append(whole(title, path, 1, {"same file": path}))
    return found


def measure(layers: list[Layer], cases: list[Case], rounds: int) -> list[float]:
    """Rounds of everything in turn. Gives the rooflines found, in bit-MACs a second."""
    roofline = Roofline(native_machine())
    rates = []
    for _ in range(rounds):
        rates.append(roofline.rate())
        for layer in layers:
            seconds, share = layer.measure()
            layer.seconds.append(seconds)
            layer.shares.append(share)
        for case in cases:
            for who, run in case.measures.items():
                case.seconds.setdefault(who, []).append(run())
    return rates
