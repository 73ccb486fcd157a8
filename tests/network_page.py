"""docs/networks.md: for each network of the field how its block becomes bits, with the IR before and after."""

from __future__ import annotations

import re
import tempfile
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from benchmarks.field_networks import Net
from bnnc import api
from bnnc.ir import nn
from bnnc.ir.module import Module
from bnnc.ir.text import print_module

CHANNELS, SIDE = 32, 8

HEAD = """# Networks of the field

How the blocks of published binary networks become bits. Each block below is exported as its papers' code exports it,
and shown as it was read («nn», the float meaning) and as it is compiled («bit», exact integers and named float
islands). Made from the program by `python -m tests.write_docs`; a test holds that it is current.

To be read: `%3 = bit.conv %2` is a convolution on bits, its result the exact sum, `int<-288,288>`. A `bit.step` turns
sums into bits by thresholds for each channel: that is all that is left of batch norms, shifts, slopes and signs between
two layers. `bit.decode` is the only way from integers to real numbers. Constants and usual attributes (strides of 1, no
padding, one group) are left out, and `…` stands for arrays. The same for any file: `bnnc show model.onnx --at nn` and
`--at bit`.

Whole networks, with what is packed, whether they are right and how large they become: `python benchmarks/field.py`.
"""

C = CHANNELS
USUAL = (
    r"(?:, |(?<=\{))(?:(?:strides|dilations)=\[1(?:, 1)*\]|pads=\[0(?:, 0)*\]|groups=1|pad_value=0|ceil_mode=false"
    r"|count_include_pad=false)(?=[,}])"
)
"""Attributes that are not worth a place on the page."""


def ftbnn(n: Net) -> str:
    bits = n.at_least(n.shift("x", C))
    y = n.prelu(n.norm(n.binary(bits, (C, C), group=4), C), C)
    split = n.node("Reshape", n.at_least(y), np.array([-1, 4, 8, SIDE, SIDE]))
    mixed = n.node("Reshape", n.node("Transpose", split, perm=[0, 2, 1, 3, 4]), np.array([-1, C, SIDE, SIDE]))
    return n.norm(n.binary(mixed, (C, C)), C)


def real_to_binary(n: Net) -> str:
    pooled = n.node("Flatten", n.node("GlobalAveragePool", "x"))
    inner = n.node("Relu", n.node("Gemm", pooled, n.random.normal(size=(C, 4))))
    gate = n.node("Reshape", n.node("Sigmoid", n.node("Gemm", inner, n.random.normal(size=(4, C)))), [-1, C, 1, 1])
    return n.node("Add", "x", n.prelu(n.node("Mul", n.binary(n.at_least("x"), (C, C)), gate), C))


def fracbnn(n: Net) -> str:
    half = n.node("Div", n.node("Add", n.node("Clip", "x", -1.0, 1.0), 1.0), 2.0)
    codes = n.node("Sub", n.node("Mul", n.node("Div", n.node("Round", n.node("Mul", half, 3.0)), 3.0), 2.0), 1.0)
    weights = n.signs(C, C, 3, 3)
    high = n.conv(n.node("Mul", n.at_least(codes), np.float32(2 / 3)), weights, "high bit")
    full = n.conv(codes, weights, "both bits")
    sure = n.node("Sigmoid", n.node("Mul", n.node("Sub", high, n.rows(C)), 5.0))
    mask = n.node("Cast", n.node("Greater", sure, 0.5), to=TensorProto.FLOAT)
    return n.node("Add", n.node("Mul", n.node("Sub", 1.0, mask), high), n.node("Mul", mask, full))


def elastic_link(n: Net) -> str:
    y = n.node("Add", n.binary(n.sign("x"), (C, C), 1), n.node("Mul", "x", -0.7))
    return n.node("Relu", n.norm(y, C))


def distillation(n: Net) -> str:
    side = n.node("Relu", n.conv("x", n.random.normal(size=(4, C, 1, 1)), "squeeze"))
    side = n.conv(side, n.random.normal(size=(C, 4, 1, 1)), "expand")
    return n.node("Add", n.norm(n.binary(n.sign("x"), (C, C)), C), side)


def reactnet(n: Net) -> str:
    bits = n.sign(n.shift("x", C))
    halves = [n.node("Add", n.norm(n.binary(bits, (C, C), 1), C), "x") for _ in range(2)]
    wide = n.node("Concat", *halves, axis=1)
    return n.shift(n.prelu(n.shift(wide, 2 * C), 2 * C), 2 * C)


def sub_bit(n: Net) -> str:
    weights = n.signs(16, 3, 3)[n.random.integers(0, 16, (C, C))] * n.random.random((C, 1, 1, 1))
    return n.conv(n.sign("x"), weights, "layer")


def sbnn(n: Net) -> str:
    weights = np.where(n.random.random((C, C, 3, 3)) < 0.15, 0.93, -0.47)
    return n.node("Relu", n.conv(n.at_least("x"), weights, "layer"))


def bep(n: Net) -> str:
    bits, state = n.sign("x"), ""
    wx, wh = n.constant(n.signs(16, 32)), n.constant(n.signs(32, 32))
    for time in range(2):
        now = n.node("MatMul", n.node("Gather", bits, np.array(time), axis=1), wx)
        state = n.sign(now if not state else n.node("Add", now, n.node("MatMul", state, wh)))
    return state


def iterative(n: Net) -> str:
    codes = n.node("Div", n.node("Round", n.node("Mul", n.node("Clip", "x", 0.0, 1.0), 15.0)), 15.0)
    return n.node("Relu", n.norm(n.binary(codes, (C, C)), C))


def graph_net(n: Net) -> str:
    matrix = np.minimum((n.random.random((20, 20)) < 0.2) + np.eye(20), 1)
    mixed = n.node("MatMul", matrix / matrix.sum(1, keepdims=True), n.at_least("x"))
    return n.node("MatMul", mixed, n.signs(16, 16))


def bireal(n: Net) -> str:
    return n.node("Add", "x", n.norm(n.binary(n.sign("x"), (C, C)), C))


def xnor_net(n: Net) -> str:
    mean = n.node("ReduceMean", n.node("Abs", "x"), axes=[1], keepdims=1)
    scale = n.node("AveragePool", mean, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    return n.node("Relu", n.node("Mul", n.binary(n.sign("x"), (C, C)), scale))


def binary_alexnet(n: Net) -> str:
    x = n.node("MaxPool", n.binary(n.at_least("x"), (C, C)), kernel_shape=[3, 3], strides=[2, 2])
    return n.node("MatMul", n.node("Flatten", n.at_least(n.norm(x, C))), n.signs(9 * C, 10))


def quicknet(n: Net) -> str:
    around = n.node("Pad", n.at_least("x"), np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.float32(1))
    return n.node("Add", "x", n.norm(n.node("Relu", n.binary(around, (C, C), pads=[0] * 4)), C))


def binary_densenet(n: Net) -> str:
    y = n.binary(n.at_least(n.norm("x", C)), (C, C), dilations=[2, 2], pads=[2] * 4)
    return n.node("Concat", "x", y, axis=1)


def meliusnet(n: Net) -> str:
    better = n.binary(n.sign(n.norm("x", C)), (C, 8))
    return n.node("Add", "x", n.node("Pad", better, np.array([0, C - 8, 0, 0, 0, 0, 0, 0])))


def dorefa(n: Net) -> str:
    codes = n.node("Div", n.node("Round", n.node("Mul", n.node("Clip", "x", 0.0, 1.0), 3.0)), 3.0)
    pooled = n.node("MaxPool", codes, kernel_shape=[2, 2], strides=[2, 2])
    y = n.norm(n.binary(pooled, (C, C)), C)
    return n.node("Round", n.node("Mul", n.node("Clip", y, 0.0, 1.0), 3.0))


def ternary(n: Net) -> str:
    weights = n.random.integers(-1, 2, (C, C, 3, 3)) * (n.random.random((C, 1, 1, 1)) + 0.1)
    return n.sign(n.norm(n.conv(n.sign("x"), weights, "layer"), C))


@dataclass(frozen=True)
class Section:
    """A block and what is worth saying of it."""

    title: str
    text: str
    block: Callable[[Net], str]
    shape: tuple[int, ...] = (CHANNELS, SIDE, SIDE)


SECTIONS = (
    Section(
        "FTBNN",
        "A shift, a grouped convolution, a batch norm and a PReLU with slopes of any sign: where nothing but a sign "
        "reads the result, all of it is no, one or two thresholds a channel. The shuffle joins the weights behind it.",
        ftbnn,
    ),
    Section(
        "Real-to-Binary",
        "The gate depends on data: two small dense layers and a sigmoid on real numbers. The convolution is bits.",
        real_to_binary,
    ),
    Section(
        "FracBNN",
        "Activations of two bits are the integers -3, -1, 1, 3 over 3: two planes. The convolution of the high bit and "
        "the one of both bits are exact integers, and the sigmoid behind the gate is one threshold on the first.",
        fracbnn,
    ),
    Section(
        "Elastic-Link",
        "The real input, times any number, is added behind the sums; a sign behind a ReLU gives 0 and 1.",
        elastic_link,
    ),
    Section("Distillation-guided residual", "A float side branch stands beside the bits.", distillation),
    Section(
        "ReActNet-A, S2-BNN, RBONN",
        "RSign is a threshold a channel. Channels double by two layers on the same bits. Scales of weights (alpha, or "
        "0.02 |s| in RBONN) stand behind the sums; RPReLU stays on the stream, as the shortcut reads it.",
        reactnet,
    ),
    Section(
        "Sub-bit networks, Sparse Kernel Selection",
        "The file holds plain weights. That all kernels of a layer are among a few is found by counting: `.bnnm` files "
        "and native artifacts keep the number of each kernel (here four bits for nine weights) and expand it once a "
        "call. Negative scales turn filters around, so that a fused gamma does not double the list. Partial sums that "
        "outputs share do not pay: with 16 kernels a layer, 512 to 512 channels at 7x7, tables and byte look-ups took "
        "57.8 us against 52.9 us of the popcount loop in the same program (a sketch with AVX-512, best of 60).",
        sub_bit,
    ),
    Section(
        "SBNN",
        "Weights of two values a and b are ±1 times half their distance, and their middle times the sum of the window, "
        "which all channels share. Weights of 0 and 1 take one plane as they are.",
        sbnn,
    ),
    Section(
        "BEP",
        "A recurrent net over a sequence: two exact sums are added, ties give 0. The state is trits (bits, where the "
        "sign has no 0), and all steps of time share one copy of the weights.",
        bep,
        (4, 16),
    ),
    Section(
        "Iterative layer binarisation",
        "Layers whose weights are binary on activations of a few bits count planes of bits; those on real numbers stay "
        "float, and the report says so.",
        iterative,
    ),
    Section(
        "QP-SBGD, graph networks",
        "A product with a constant matrix is a 1x1 convolution with nodes as channels. The means of neighbours are "
        "0/1 weights and a factor for each node, which passes through the next layer: it is the same in all features.",
        graph_net,
        (20, 16),
    ),
    Section("Bi-Real", "The stream is real; what is added to it is a scale and a bias on exact sums.", bireal),
    Section(
        "XNOR-Net",
        "The K map is computed from the real input, and multiplies exact sums.",
        xnor_net,
    ),
    Section(
        "Binary AlexNet",
        "A max pool before a batch norm and a sign is a pool of bits: OR, or AND where gamma is negative.",
        binary_alexnet,
    ),
    Section("QuickNet", "Padding of +1 joins the convolution; ReLU stands before the batch norm.", quicknet),
    Section("BinaryDenseNet", "Each layer normalises all channels so far, and adds its own.", binary_densenet),
    Section("MeliusNet", "The improvement block adds to the last channels only.", meliusnet),
    Section(
        "DoReFa",
        "Codes of two bits on ±1 weights; from layer to layer nothing but codes, by three thresholds.",
        dorefa,
    ),
    Section("Ternary weights", "A second plane marks the weights that are not 0.", ternary),
)


def module_of(section: Section) -> Module:
    """The block as a file, read again."""
    net = Net("block", *section.shape)
    model = net.model(section.block(net))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "block.onnx"
        onnx.save(model, path)
        return api.load(path)


def shown(module: Module) -> str:
    """The text of a module without constants, arrays and names of places."""
    hidden = {number for number, op in enumerate(module.ops()) if isinstance(op, nn.Constant)}
    lines = []
    for line in print_module(module).splitlines()[1:]:
        if line.startswith(("fact ", "note ")):
            continue
        number = re.match(r"%(\d+) = ", line)
        if number and int(number[1]) in hidden:
            continue
        line = re.sub(r" loc\(.*\)$", "", line)
        line = re.sub(r"#[0-9a-f]{16}|(?:u?int|float)\d+\[[^\]]*\]\([^)]*\)", "…", line)
        line = re.sub(r"%(\d+)\b", lambda m: "…" if int(m[1]) in hidden else m[0], line)
        line = re.sub(r", storage=\"float32\", batch_axis=0", "", line)
        line = re.sub(USUAL, "", line)
        lines.append(re.sub(r"\{, ", "{", re.sub(r" \{\}", "", line)))
    return "\n".join(lines)


def networks_page() -> str:
    """The whole page."""
    parts = [HEAD]
    for section in SECTIONS:
        module = module_of(section)
        bits = api.optimise(module)
        blocks = "\n\n".join(f"```text\n{shown(each)}\n```" for each in (module, bits))
        parts.append(f"## {section.title}\n\n{textwrap.fill(section.text, 118)}\n\n{blocks}\n")
    return "\n".join(parts)
