"""Pools: over bits and integers in the integers, over f32 in f32."""

from __future__ import annotations

from typing import Any

import numpy as np

from bnnc.frontends.dsl.catalogue import (
    BadArgument,
    Layer,
    Parameter,
    Use,
    as_float,
    need_integers,
    need_windows,
    per_axis,
)
from bnnc.frontends.dsl.kinds import Flag, Wholes, Window, Words
from bnnc.frontends.dsl.layers_products import pads_of
from bnnc.ir import bit, nn
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, Int, is_integer


def _window(use: Use) -> dict[str, Any]:
    rank = need_windows(use)
    whole = use["kernel"] == "all"
    kernel = use.type.shape[1:] if whole else per_axis(use["kernel"], rank, "kernel")
    strides = kernel if use["stride"] is None else per_axis(use["stride"], rank, "stride")
    dilations = per_axis(use["dilation"], rank, "dilation")
    pads = pads_of(use["pad"], kernel, dilations)
    return {
        "kernel": kernel, "strides": strides, "pads": pads, "dilations": dilations, "ceil_mode": use["ceil"]
    }  # fmt: skip


def _pool(use: Use, function: str, smallest: np.ndarray | None = None) -> Op:
    window = _window(use)
    if is_integer(use.type.dtype):
        return bit.Pool(x=use.x, function=function, **window, smallest=smallest, loc=use.loc)
    if smallest is not None:
        raise BadArgument("smallest", "belongs to pools over integers")
    return nn.Pool(x=use.x, function=function, **window, loc=use.loc)


def maxpool(use: Use) -> Op:
    need_windows(use)
    channels, chosen = use.type.shape[0], use["smallest"]
    if chosen is None:
        return _pool(use, "max")
    if chosen == "file":
        marks = use.arrays.integers(use.name, "smallest", (channels,), _FLAG) != 0
    else:
        if max(chosen, default=0) >= channels:
            raise BadArgument("smallest", f"names channel {max(chosen)}, but {use.type} has {channels}")
        marks = np.isin(np.arange(channels), chosen)
    return _pool(use, "max", marks)


def minpool(use: Use) -> Op:
    need_windows(use)
    need_integers(use, "a minimum of f32 is a maximum of what is negated: neg -> maxpool(…) -> neg")
    return _pool(use, "min")


def sumpool(use: Use) -> Op:
    return _pool(use, "sum")


def avgpool(use: Use) -> Op:
    need_windows(use)
    return nn.Pool(
        x=as_float(use.x), function="average", **_window(use), count_include_pad=use["count_pad"], loc=use.loc
    )


def majority(use: Use) -> Op:
    need_windows(use)
    need_integers(use, "put `sign` before it")
    total = bit.Pool(x=use.x, function="sum", **_window(use), loc=use.loc)
    signs = np.array([[-1, 1]], np.int32)
    return bit.Step(x=total, thresholds=np.zeros((1, 1), np.int32), values=signs, dtype=Bit(), loc=use.loc)


_FLAG = Int(0, 1)
_PARAMETERS = (
    Parameter("kernel", Words(("all",), Window(1, 4096)), "size of the window; `all`: the whole image"),
    Parameter("stride", Window(), "step of the window (the window's own size, if left out)", None),
    Parameter("pad", Words(("same",), Window(0, 4096)), "how far the input is extended; padding never counts", 0),
    Parameter("dilation", Window(), "distance of the taps", 1),
    Parameter("ceil", Flag(), "a last window may stick out", False),
)

LAYERS = (
    Layer(
        "maxpool",
        "The largest of each window; on bits, OR.",
        maxpool,
        (
            *_PARAMETERS,
            Parameter("smallest", Words(("file",), Wholes()), "channels that take the smallest instead", None),
        ),
        arrays=("smallest [channels]",),
        example="maxpool(2x2)",
    ),
    Layer(
        "minpool",
        "The smallest of each window; on bits, AND. Integers only.",
        minpool,
        _PARAMETERS,
        example="minpool(2x2)",
    ),
    Layer("sumpool", "The sum of each window.", sumpool, _PARAMETERS, example="sumpool(all)"),
    Layer(
        "avgpool",
        "The average of each window, as f32.",
        avgpool,
        (*_PARAMETERS, Parameter("count_pad", Flag(), "padding counts as zeros", False)),
        example="avgpool(2x2)",
    ),
    Layer(
        "majority",
        "The sign of the sum of each window: what most bits say, +1 on a tie.",
        majority,
        _PARAMETERS,
        example="majority(2x2)",
    ),
)
