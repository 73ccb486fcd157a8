"""Layers that move elements, join tensors and add them up."""

from __future__ import annotations

import math

import numpy as np

from bnnc.frontends.dsl.catalogue import ANY_NUMBER, BadArgument, Layer, Mismatch, Parameter, Use, as_float
from bnnc.frontends.dsl.kinds import LARGEST, Real, Whole, Wholes, Words
from bnnc.ir import bit, move, nn
from bnnc.ir.op import Op
from bnnc.ir.types import Int, is_integer

_AXIS = Parameter("axis", Whole(0, 15), "which axis", 0)


def add(use: Use) -> Op:
    coefficients = use["coefficients"]
    if not all(is_integer(x.type.dtype) for x in use.xs):
        if len(use.xs) != 2 or coefficients is not None:
            raise Mismatch("`add` of f32 takes two values, without coefficients", "not all are integers")
        return nn.Map(function="add", xs=tuple(as_float(x) for x in use.xs), loc=use.loc)
    if coefficients is None:
        coefficients = (1,) * len(use.xs)
    if len(coefficients) != len(use.xs):
        raise BadArgument("coefficients", f"has {len(coefficients)} for {len(use.xs)} values")
    shapes = list(dict.fromkeys(x.type.shape for x in use.xs))
    if len(shapes) > 1:
        raise Mismatch(
            f"`add` needs values of one shape, but gets {' and '.join(str(list(s)) for s in shapes)}",
            "shapes differ",
            "pads, strides and filters of the branches must lead to the same shape",
        )
    return bit.Add(xs=use.xs, coefficients=coefficients, loc=use.loc)


def concat(use: Use) -> Op:
    return move.Concat(xs=use.xs, axis=use["axis"], loc=use.loc)


def flatten(use: Use) -> Op:
    return move.Reshape(x=use.x, shape=(use.type.size,), loc=use.loc)


def reshape(use: Use) -> Op:
    shape = use["shape"]
    if math.prod(shape) != use.type.size:
        raise Mismatch(
            f"{use.type} has {use.type.size} elements, {list(shape)} {math.prod(shape)}", "does not have as many"
        )
    return move.Reshape(x=use.x, shape=shape, loc=use.loc)


def transpose(use: Use) -> Op:
    return move.Transpose(x=use.x, perm=use["axes"], loc=use.loc)


def expand(use: Use) -> Op:
    return move.Expand(x=use.x, shape=use["shape"], loc=use.loc)


def cut(use: Use) -> Op:
    shape = use.type.shape
    starts = use["starts"] or (0,) * use.rank
    steps = use["steps"] or (1,) * use.rank
    counts = use["counts"]
    if counts is None:
        fits = zip(shape, starts, steps, strict=False)
        counts = tuple(-(-(n - a) // s) if s > 0 else a // -s + 1 if s else 0 for n, a, s in fits)
    return move.Slice(x=use.x, starts=starts, counts=counts, steps=steps, loc=use.loc)


def pad(use: Use) -> Op:
    amounts = use["amounts"]
    if len(amounts) == 1:
        amounts = (0, *amounts * (use.rank - 1)) * 2
    elif len(amounts) == use.rank:
        amounts *= 2
    return move.Pad(x=use.x, pads=amounts, value=use["value"], mode=use["mode"], loc=use.loc)


def gather(use: Use) -> Op:
    if use["axis"] >= use.rank:
        raise BadArgument("axis", f"is no axis of {use.type}")
    indices = use["indices"]
    if indices == "file":
        count = use["count"] or use.type.shape[use["axis"]]
        high = use.type.shape[use["axis"]] - 1
        indices = use.arrays.integers(use.name, "indices", (count,), Int(0, high))
    return move.Gather(x=use.x, indices=np.array(indices, np.int64), axis=use["axis"], loc=use.loc)


def shuffle(use: Use) -> Op:
    channels, groups = (use.type.shape[0] if use.rank else 1), use["groups"]
    if channels % groups:
        raise BadArgument("groups", f"must divide the {channels} channels")
    order = np.arange(channels).reshape(groups, channels // groups).T.reshape(-1)
    return move.Gather(x=use.x, indices=order.astype(np.int64), axis=0, loc=use.loc)


_SHAPE = Parameter("shape", Wholes(1), "the new shape")

LAYERS = (
    Layer(
        "add",
        "The sum of values of one shape, each times its coefficient: a residual connection.",
        add,
        (Parameter("coefficients", Wholes(-LARGEST), "a whole number for each value (1, if left out)", None),),
        ANY_NUMBER,
        example="add(skip)",
    ),
    Layer("concat", "Values one behind the other along an axis.", concat, (_AXIS,), ANY_NUMBER, example="concat(a, b)"),
    Layer("flatten", "All elements on one axis, row by row.", flatten, example="flatten"),
    Layer(
        "reshape",
        "The same elements in the same order under another shape.",
        reshape,
        (_SHAPE,),
        example="reshape([4, 7])",
    ),
    Layer(
        "transpose",
        "Axes in another order: axis a of the result is axis axes[a] of the input.",
        transpose,
        (Parameter("axes", Wholes(), "the order"),),
        example="transpose([0, 2, 1])",
    ),
    Layer("expand", "Axes of length 1 repeated.", expand, (_SHAPE,), example="expand([8, 4, 4])"),
    Layer(
        "slice",
        "Along every axis: element start, start + step, …, count of them.",
        cut,
        (
            Parameter("starts", Wholes(), "the first element on every axis (0)", None),
            Parameter("counts", Wholes(1), "how many (all there are)", None),
            Parameter("steps", Wholes(-LARGEST), "distances (1)", None),
        ),
        example="slice(starts=[0, 1, 1], counts=[8, 2, 2])",
    ),
    Layer(
        "pad",
        "More elements around: a number for each spatial axis, one for every axis, or all begins and then all ends.",
        pad,
        (
            Parameter("amounts", Wholes(), "how many"),
            Parameter("value", Real(), "what stands there", 0.0),
            Parameter("mode", Words(("constant", "edge", "reflect")), "how it is filled", "constant"),
        ),
        example="pad(1, value=-1)",
    ),
    Layer(
        "gather",
        "Elements by index along an axis: a permutation, a selection.",
        gather,
        (
            Parameter("indices", Words(("file",), Wholes()), "which; `file`: they stand in the weights", "file"),
            Parameter("axis", Whole(0, 15), "which axis", 0),
            Parameter("count", Whole(1), "how many, if they stand in the weights (as many as there are)", None),
        ),
        arrays=("indices [count]",),
        example="gather([2, 0, 1])",
    ),
    Layer(
        "shuffle",
        "Channels dealt out to groups, as ShuffleNet does.",
        shuffle,
        (Parameter("groups", Whole(1, 1 << 20), "how many groups"),),
        example="shuffle(4)",
    ),
)
