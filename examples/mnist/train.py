"""Trains the binary MNIST network of this folder in PyTorch and exports it as model.onnx.

    pip install torch numpy onnx onnxscript
    python train.py --data FOLDER            # the four idx files of MNIST, .gz or not; four minutes on one core

PyTorch is needed for this script only: bnnc reads the exported file. Measured with torch 2.13.0.

Every weight and every activation is -1 or +1, from the pixels on. Training keeps real ("latent") weights and binarises
them in the forward pass; the gradient passes the sign as if it were a hard tanh (the straight-through estimator).
Nothing is chosen by looking at the test set: the network is the one of the last epoch, and the settings below were
found on the last 10 000 training images.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, RemoveUnusedNodesPass
from onnxscript.optimizer import fold_constants_ir
from torch import Tensor, nn
from torch.nn import functional

EPOCHS, BATCH, RATE = 40, 100, 0.01


class StraightThrough(torch.autograd.Function):
    """Forward: -1 or +1, and +1 at zero. Backward: the gradient of clip(x, -1, 1)."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * (x.abs() <= 1)


sign = StraightThrough.apply


class BinaryConv2d(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, sign(self.weight), stride=self.stride)


class BinaryLinear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, sign(self.weight))


class Network(nn.Module):
    """float [N, 1, 28, 28] with pixels in 0..1 -> float [N, 10] scores. 29 200 weights: 3 650 bytes at one bit each.

    No layer pads, so that no zero ever mixes with the -1 and +1. The scores are integers times one common scale:
    the class with the most votes wins, on every machine the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = BinaryConv2d(1, 16, 5, stride=2, bias=False)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = BinaryConv2d(16, 32, 3, bias=False)
        self.norm2 = nn.BatchNorm2d(32)
        self.conv3 = BinaryConv2d(32, 64, 3, bias=False)
        self.norm3 = nn.BatchNorm2d(64)
        self.votes = BinaryLinear(64 * 3 * 3, 10, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        x = torch.where(pixels >= 0.5, 1.0, -1.0)
        x = sign(self.norm1(self.conv1(x)))  # 16 channels of 12x12
        x = sign(self.norm2(functional.max_pool2d(self.conv2(x), 2)))  # 32 channels, 10x10 -> 5x5
        x = sign(self.norm3(self.conv3(x)))  # 64 channels of 3x3
        return self.votes(x.reshape(-1, 64 * 3 * 3)) * (1 / 32)

    def latent_weights(self) -> list[nn.Parameter]:
        return [layer.weight for layer in self.children() if isinstance(layer, (BinaryConv2d, BinaryLinear))]


def read_idx(folder: Path, name: str) -> np.ndarray:
    """The array of an idx file of bytes, `name` or `name`.gz in `folder`."""
    plain = folder / name
    data = plain.read_bytes() if plain.exists() else gzip.decompress((folder / f"{name}.gz").read_bytes())
    shape = np.frombuffer(data, ">u4", count=data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def read_split(folder: Path, prefix: str) -> tuple[Tensor, Tensor]:
    """Images as float [N, 1, 28, 28] in 0..1, and labels."""
    images = read_idx(folder, f"{prefix}-images-idx3-ubyte")[:, None].astype(np.float32) / 255
    labels = read_idx(folder, f"{prefix}-labels-idx1-ubyte").astype(np.int64)
    return torch.from_numpy(images), torch.from_numpy(labels)


def jitter(images: Tensor) -> Tensor:
    """Each image turned, slanted, stretched and moved a little, at random."""
    turn, slant, wide, high, right, down = (torch.rand(6, len(images)) * 2 - 1) * torch.tensor(
        [[0.075], [0.05], [0.05], [0.05], [0.07], [0.07]]
    )
    first = torch.stack([(1 + wide) * turn.cos(), slant - turn.sin(), right], 1)
    second = torch.stack([turn.sin(), (1 + high) * turn.cos(), down], 1)
    grid = functional.affine_grid(torch.stack([first, second], 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def train(network: Network, images: Tensor, labels: Tensor, epochs: int) -> None:
    steps = len(images) // BATCH
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=epochs * steps, pct_start=0.1)
    network.train()
    for epoch in range(epochs):
        right = 0
        for picked in torch.randperm(len(images))[: steps * BATCH].split(BATCH):
            scores = network(jitter(images[picked]))
            loss = functional.cross_entropy(scores, labels[picked])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                for weight in network.latent_weights():
                    weight.clamp_(-1, 1)  # beyond 1 the straight-through gradient could never bring it back
            right += int((scores.argmax(1) == labels[picked]).sum())
        print(f"epoch {epoch + 1:2}  train {right / (steps * BATCH):.2%}", flush=True)


def accuracy(network: Network, images: Tensor, labels: Tensor) -> float:
    network.eval()
    with torch.no_grad():
        guesses = torch.cat([network(some).argmax(1) for some in images.split(500)])
    return float((guesses == labels).double().mean())


def export(network: Network, path: Path) -> None:
    """Writes the network with its weights as plain -1 and +1, for any batch, and free of traces of this machine."""
    network.eval()
    program = torch.onnx.export(
        network,
        (torch.zeros(2, 1, 28, 28),),
        input_names=["pixels"],
        output_names=["scores"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        opset_version=18,
        dynamo=True,
        optimize=False,  # it would multiply batch norm into the ±1 weights: bnnc copes, but this reads better
        verbose=False,
    )
    fold_constants_ir(program.model, input_size_limit=1 << 20, output_size_limit=1 << 20)  # signs of latent weights
    RemoveUnusedNodesPass()(program.model)
    ClearMetadataAndDocStringPass()(program.model)  # they hold stack traces
    graph = program.model.graph
    for value in [*graph.inputs, *graph.outputs, *graph.initializers.values()]:
        value.metadata_props.clear()
    kernels = [node for node in graph if node.op_type in ("Conv", "Gemm")]
    for node, layer in zip(kernels, ("conv1", "conv2", "conv3", "votes"), strict=True):
        node.name, node.inputs[1].name = layer, f"{layer}.weight"  # bnnc calls the layers by these names
    program.save(path)
    onnx.checker.check_model(path, full_check=True)


def main() -> None:
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description="Train the binary MNIST network and export it to ONNX.")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="folder with the MNIST idx files")
    parser.add_argument("--output", type=Path, default=here / "model.onnx", metavar="FILE")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="more threads sum in another order")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(arguments.seed)
    network = Network()
    for weight in network.latent_weights():
        nn.init.normal_(weight, std=0.1)

    train(network, *read_split(arguments.data, "train"), arguments.epochs)
    bits = sum(weight.numel() for weight in network.latent_weights())
    print(f"test accuracy {accuracy(network, *read_split(arguments.data, 't10k')):.2%}, {bits} weights of one bit")
    export(network, arguments.output)
    print(f"wrote {arguments.output} ({arguments.output.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
