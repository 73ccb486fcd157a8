"""The float baseline of the training table: the same net by a straight-through estimator in PyTorch, where installed.

Sign weights and sign activations with batch norm behind every layer, float weights beneath, Adam with a cosine
schedule: what binary networks are usually trained by. The last layer is trained too, unlike that of LBE and BEP.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bnnc.train.engine import Samples
from bnnc.train.samples import unpack_rows

BATCH = 100
RATE = 2e-3
MOMENTUM = 0.9
"""Of the running means and variances of the batch norms."""


@dataclass(frozen=True)
class Float:
    """What the baseline reached: accuracies as fractions, CPU seconds of an epoch."""

    epochs: int
    train: float
    test: float
    seconds: float

    @property
    def document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def installed() -> bool:
    """Whether PyTorch is here."""
    return importlib.util.find_spec("torch") is not None


def straight_through(train: Samples, test: Samples, widths: tuple[int, ...], epochs: int, seed: int) -> Float:
    """Train on packed bits for some epochs on one thread; the accuracy is that of the last epoch. Needs PyTorch."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)

    class Sign(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(context: Any, x: Any) -> Any:
            context.save_for_backward(x)
            return torch.where(x >= 0, 1.0, -1.0)

        @staticmethod
        def backward(context: Any, gradient: Any) -> Any:
            (x,) = context.saved_tensors
            return gradient * (x.abs() <= 1)

    sizes = [train.width, *widths, int(train.labels.max()) + 1]
    weights = [torch.nn.Parameter(0.1 * torch.randn(rows, columns)) for columns, rows in itertools.pairwise(sizes)]
    norms = [torch.nn.BatchNorm1d(rows, momentum=1 - MOMENTUM) for rows in sizes[1:]]
    optimiser = torch.optim.Adam([*weights, *(p for norm in norms for p in norm.parameters())], lr=RATE)

    def scores(x: Any) -> Any:
        for number, (weight, norm) in enumerate(zip(weights, norms, strict=True)):
            x = norm(x @ Sign.apply(weight).T)
            if number < len(weights) - 1:
                x = Sign.apply(x)
        return x

    generator = np.random.default_rng(seed)
    batches = -(-len(train) // BATCH)
    right, start = 0, time.process_time()
    for epoch in range(epochs):
        right = 0
        for number, chosen in enumerate(_batches(generator.permutation(len(train)))):
            for group in optimiser.param_groups:
                group["lr"] = RATE * (1 + math.cos(math.pi * (epoch * batches + number) / (epochs * batches))) / 2
            answers = scores(_floats(train, chosen))
            labels = torch.from_numpy(train.labels[chosen].astype(np.int64))
            right += int((answers.argmax(1) == labels).sum())
            loss = torch.nn.functional.cross_entropy(answers, labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                for weight in weights:
                    weight.clamp_(-1, 1)
    seconds = time.process_time() - start
    for norm in norms:
        norm.eval()
    found = 0
    with torch.no_grad():
        for chosen in _batches(np.arange(len(test)), 1000):
            found += int((scores(_floats(test, chosen)).argmax(1).numpy() == test.labels[chosen]).sum())
    return Float(epochs, right / len(train), found / len(test), seconds / max(1, epochs))


def _batches(order: np.ndarray, size: int = BATCH) -> Iterator[np.ndarray]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _floats(samples: Samples, chosen: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(unpack_rows(samples.bits[chosen], samples.width).astype(np.float32))
