"""Networks that circuits are measured with: the zoo's, with the folds of their sources, and those that the cost model
never saw. The engines that it was fitted to are those of benchmarks.fpga_engines, of no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bnnc import api
from bnnc.ir.module import Module
from bnnc.passes.options import PassOptions
from tests.shared import ROOT, SHARED

ZOO, NETS = SHARED / "models" / "zoo", SHARED / "models" / "nets"
TFC = ZOO / "TFC_1W1A" / "TFC_1W1A.onnx"
LFC = ZOO / "bnnpynq_lfc_w1a1_mnist" / "bnnpynq_lfc_w1a1_mnist.onnx"
CNV = ZOO / "bnnpynq_cnv_w1a1_cifar10" / "bnnpynq_cnv_w1a1_cifar10.onnx"
EXAMPLE = ROOT / "examples" / "mnist" / "model.onnx"

FINN_TFC = {"pe": "16,8,8,10", "simd": "49,16,8,8"}
FINN_LFC = {"pe": "32,64,32,10", "simd": "49,32,64,8"}
FINN_CNV = {"pe": "16,32,16,16,4,1,1,1,5", "simd": "3,32,32,32,32,32,4,8,1"}

Mode = Literal["plain", "pixels", "fixed"]


@dataclass(frozen=True)
class Network:
    """A file, how it is read (its input as 8-bit pixels; sums in fixed point), and the options of the target."""

    name: str
    path: Path
    mode: Mode = "plain"
    options: Mapping[str, Any] = field(default_factory=dict)


def network(name: str, file: str, mode: Mode = "plain", **options: Any) -> Network:
    """One of the exports among the shared fixtures."""
    return Network(name, NETS / f"{file}.onnx", mode, options)


HELD_OUT: tuple[Network, ...] = (
    Network("MNIST example", EXAMPLE),
    Network("MNIST example, pixels", EXAMPLE, "pixels"),
    Network("MNIST example, 20 k FPS", EXAMPLE, options={"fps": 20_000.0}),
    Network("TFC 1W1A as finn-examples", TFC, options=FINN_TFC),
    Network("TFC 1W1A, 200 k FPS", TFC, options={"fps": 200_000.0}),
    Network("TFC 1W2A (2-bit activations)", ZOO / "TFC_1W2A" / "TFC_1W2A.onnx"),
    Network("TFC 2W2A (2-bit weights)", ZOO / "TFC_2W2A" / "TFC_2W2A.onnx"),
    Network("LFC, 20 k FPS", LFC, options={"fps": 20_000.0}),
    Network("CNV, 500 FPS", CNV, options={"fps": 500.0}),
    network("MLP, sign(0) = 0 (ternary activations)", "mlp_dyadic_ties_sign0_dynamo20"),
    network("Brevitas CNV", "brevitas_cnv_1w1a_qonnx"),
    network("digits CNN, zero padding, pixels", "trained_digits_cnn_zeropad_dynamo18", "pixels"),
    network("depthwise, pixels", "dw_binary_legacy13", "pixels"),
    network("grouped and shuffled, fixed point", "ftbnn_group_shuffle_dynamo18", "fixed"),
    network("Bi-Real net (residual), fixed point", "birealnet_clean_dynamo18", "fixed"),
    network("ReActNet (residual), fixed point", "reactnet_resnet_legacy17", "fixed"),
    network("key words (1-D), fixed point", "kws1d_dynamo20", "fixed"),
    network("XNOR-Net, fixed point", "xnornet_alpha_dynamo18", "fixed"),
    Network("TFC 1W1A, unrolled", TFC, options={"unroll": "all", "technology": "ecp5"}),
    network("MLP, unrolled", "mlp_where_dynamo18", unroll="all", technology="ecp5"),
    network("digits MLP, pixels, unrolled", "trained_digits_mlp_legacy13", "pixels", unroll="all", technology="ecp5"),
)


def loaded(net: Network) -> Module:
    """The network as a «bit» module."""
    if net.mode == "plain":
        return api.optimise(api.load(net.path))
    module = api.load(net.path, pixels={"": (1 / 255, (0.5,), (0.25,))})
    if net.mode == "pixels":
        return api.optimise(module)
    arrays = np.load(net.path.with_suffix(".npz"))
    rng = np.random.default_rng(0)
    inputs = {k[3:]: rng.integers(0, 256, arrays[k].shape)[:2] for k in arrays.files if k.startswith("in_")}
    return api.optimise(module, options=PassOptions(stream="fixed", inputs=inputs))
