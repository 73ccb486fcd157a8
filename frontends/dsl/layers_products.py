"""Layers with weights: dense, convolutions, the classifier of a trained net, and the recurrent cell."""

from __future__ import annotations

from typing import Any

import numpy as np

from bnnc.frontends.dsl.catalogue import BadArgument, Layer, Mismatch, Parameter, Use, need_windows, per_axis
from bnnc.frontends.dsl.kinds import Flag, Type, Whole, Window, Words
from bnnc.ir import bit, move, nn
from bnnc.ir.op import Op
from bnnc.ir.types import F32, Bit, DType, is_integer

WIDEST = 1 << 20
MOST_STEPS = 1 << 12
_WEIGHTS = Parameter(
    "weights", Type(), "what a weight can be: bit (±1), trit, int<-7,7> …; f32 makes a float layer", Bit()
)
_BIAS = Parameter("bias", Flag(), "a bias is added (float layers only)", False)


def stored(weights: np.ndarray) -> np.ndarray:
    """Integer weights in the smallest dtype that «bit» takes."""
    small = weights.size == 0 or (int(weights.min()) >= -128 and int(weights.max()) <= 127)
    return weights.astype(np.int8 if small else np.int16)


def _integer_weights(use: Use, shape: tuple[int, ...], dtype: DType) -> np.ndarray:
    if not is_integer(use.type.dtype):
        raise Mismatch(
            f"`{use.layer}` with {dtype} weights needs bits or integers, but gets {use.type}",
            "expects integers",
            f"put `sign` before it, or write {use.layer}(…, weights=f32)",
        )
    if use.values.get("bias"):
        raise BadArgument("bias", "belongs to a float layer: a threshold in the step behind does the same")
    return stored(use.arrays.integers(use.name, "weights", shape, dtype))


def _float_weights(use: Use, shape: tuple[int, ...]) -> tuple[Op, Op | None]:
    weights = nn.Constant(values=use.arrays.floats(use.name, "weights", shape))
    bias = nn.Constant(values=use.arrays.floats(use.name, "bias", shape[:1])) if use["bias"] else None
    return weights, bias


def _as_float(op: Op) -> Op:
    return bit.Decode(x=op, loc=op.loc) if is_integer(op.type.dtype) else op


def need_flat(use: Use) -> int:
    """The number of elements. Raises Mismatch for a tensor with several axes."""
    if use.rank != 1:
        raise Mismatch(
            f"`{use.layer}` needs a flat input, but gets {use.type}",
            f"expects {use.type.dtype}[k]",
            "put `flatten` or a pool between them",
        )
    return use.type.shape[0]


def dense(use: Use) -> Op:
    dtype: DType = use["weights"]
    if isinstance(dtype, F32):
        if use.rank < 1:
            raise Mismatch(f"`dense` needs a flat input, but gets {use.type}", "expects f32[k]")
        weights, bias = _float_weights(use, (use["n"], use.type.shape[-1]))
        return nn.Dense(x=_as_float(use.x), w=weights, bias=bias, loc=use.loc)
    length = need_flat(use)
    return bit.Dense(x=use.x, weights=_integer_weights(use, (use["n"], length), dtype), loc=use.loc)


def classify(use: Use) -> Op:
    length = need_flat(use)
    return bit.Dense(x=use.x, weights=_integer_weights(use, (use["classes"], length), Bit()), loc=use.loc)


def _same(kernel: tuple[int, ...], dilations: tuple[int, ...]) -> tuple[int, ...]:
    spans = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
    return (*(span // 2 for span in spans), *(span - span // 2 for span in spans))


def pads_of(value: Any, kernel: tuple[int, ...], dilations: tuple[int, ...]) -> tuple[int, ...]:
    """All begins, then all ends: from `same`, one number, one for each axis, or both for each axis."""
    rank = len(kernel)
    if value == "same":
        return _same(kernel, dilations)
    if isinstance(value, tuple) and len(value) == 2 * rank:
        return value
    return per_axis(value, rank, "pad") * 2


def _conv(use: Use, filters: int, groups: int) -> Op:
    rank = need_windows(use)
    channels, dtype = use.type.shape[0], use["weights"]
    if channels % groups or filters % groups:
        raise BadArgument("groups", f"must divide {channels} channels and {filters} filters")
    kernel, strides, dilations = (per_axis(use[name], rank, name) for name in ("kernel", "stride", "dilation"))
    pads = pads_of(use["pad"], kernel, dilations)
    shape = (filters, channels // groups, *kernel)
    if isinstance(dtype, F32):
        if use["pad_value"]:
            raise BadArgument("pad_value", "must be 0 for a float layer: put `pad` before it")
        weights, bias = _float_weights(use, shape)
        return nn.Conv(_as_float(use.x), weights, bias, strides, pads, dilations, groups, loc=use.loc)
    return bit.Conv(
        use.x, _integer_weights(use, shape, dtype), strides, pads, dilations, groups, use["pad_value"], loc=use.loc
    )


def conv(use: Use) -> Op:
    return _conv(use, use["filters"], use["groups"])


def depthwise(use: Use) -> Op:
    need_windows(use)
    channels = use.type.shape[0]
    return _conv(use, channels * use["multiplier"], channels)


def recurrent(use: Use) -> Op:
    """s_t = sign(W_x x_t + W_s s_(t-1)), s_0 all +1: unrolled, and s_0 becomes part of the first threshold."""
    if use.rank != 2 or not is_integer(use.type.dtype):
        raise Mismatch(
            f"`recurrent` needs a sequence of bits, but gets {use.type}",
            "expects bit[steps, k]",
            "write the input as bit[steps, k]; its first axis is the time",
        )
    (steps, length), width = use.type.shape, use["n"]
    if steps > MOST_STEPS:
        raise Mismatch(f"`recurrent` takes at most {MOST_STEPS} steps, but gets {steps}", "too long")
    inner = stored(use.arrays.integers(use.name, "input_weights", (width, length), Bit()))
    outer = stored(use.arrays.integers(use.name, "state_weights", (width, width), Bit()))
    signs = np.array([[-1, 1]], np.int32)
    state: Op | None = None
    for time in range(steps):
        row = move.Slice(x=use.x, starts=(time, 0), counts=(1, length), steps=(1, 1), loc=use.loc)
        total: Op = bit.Dense(x=move.Reshape(x=row, shape=(length,), loc=use.loc), weights=inner, loc=use.loc)
        if state is None:
            start = -outer.astype(np.int32).sum(1, keepdims=True)
            state = bit.Step(total, start.astype(np.int32), np.repeat(signs, width, 0), Bit(), loc=use.loc)
            continue
        total = bit.Add(xs=(total, bit.Dense(x=state, weights=outer, loc=use.loc)), coefficients=(1, 1), loc=use.loc)
        state = bit.Step(total, np.zeros((1, 1), np.int32), signs, Bit(), loc=use.loc)
    assert state is not None
    return state


_CONV = (
    Parameter("stride", Window(), "step of the window", 1),
    Parameter(
        "pad",
        Words(("same",), Window(0, 4096, takes="a size, or all begins and then all ends")),
        "how far the input is extended on each side; `same` keeps the size",
        0,
    ),
    Parameter("dilation", Window(), "distance of the taps", 1),
    Parameter("pad_value", Whole(-1, 1), "what stands in the padding: -1, 0 or 1", 0),
)
_KERNEL = Parameter("kernel", Window(1, 4096), "size of the window: 3, 3x3")

LAYERS = (
    Layer(
        "dense",
        "n sums over all inputs: Σ_k w[n, k] · x[k]. The input is flat (a float layer takes its last axis).",
        dense,
        (Parameter("n", Whole(1, WIDEST), "how many sums"), _WEIGHTS, _BIAS),
        arrays=("weights [n, k]", "bias [n]"),
        example="dense(525)",
    ),
    Layer(
        "conv",
        "Convolution over [channels, …] with one, two or more spatial axes.",
        conv,
        (
            Parameter("filters", Whole(1, WIDEST), "how many channels come out"),
            _KERNEL,
            *_CONV[:3],
            Parameter("groups", Whole(1, WIDEST), "groups of channels that do not see each other", 1),
            _CONV[3],
            _WEIGHTS,
            _BIAS,
        ),
        arrays=("weights [filters, channels / groups, …kernel]", "bias [filters]"),
        example="conv(64, 3x3, pad=1, pad_value=-1)",
    ),
    Layer(
        "depthwise",
        "A convolution in which every channel has its own filters: groups = channels.",
        depthwise,
        (
            _KERNEL,
            *_CONV,
            Parameter("multiplier", Whole(1, 4096), "filters for each channel", 1),
            _WEIGHTS,
            _BIAS,
        ),
        arrays=("weights [channels · multiplier, 1, …kernel]", "bias [channels · multiplier]"),
        example="depthwise(3x3, pad=same)",
    ),
    Layer(
        "classify",
        "The scores of the classes: a dense layer of ±1 weights. In a trained net it comes last, and stays as it was"
        " drawn.",
        classify,
        (Parameter("classes", Whole(2, 1 << 16), "how many classes"),),
        arrays=("weights [classes, k]",),
        example="classify(10)",
    ),
    Layer(
        "recurrent",
        "A binary recurrent cell over [time, k]: s_t = sign(W_x x_t + W_s s_(t-1)), s_0 all +1. Gives the last state.",
        recurrent,
        (Parameter("n", Whole(1, WIDEST), "bits of the state"),),
        arrays=("input_weights [n, k]", "state_weights [n, n]"),
        example="recurrent(135)",
    ),
)
