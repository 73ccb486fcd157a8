"""Float islands: layers on real numbers, with the roundings of docs/numerics.md. Integers are decoded on the way in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bnnc.frontends.dsl.catalogue import BadArgument, Layer, Parameter, Use, as_float, need_integers
from bnnc.frontends.dsl.kinds import Flag, Real, Table, Whole, Wholes, Words
from bnnc.ir import bit, nn
from bnnc.ir.op import Op

# Functions whose own names mean something else in the language.
RENAMED = {"sign": "signum", "add": "", "and": "both", "or": "either", "xor": "unlike", "not": "is_zero"}


def function_layers() -> tuple[Layer, ...]:
    """A layer for every elementwise function of «nn»."""
    return tuple(
        Layer(
            RENAMED.get(name, name),
            f"{function.formula}, element by element."
            + (" Numbers stand for themselves." if function.arity > 1 else ""),
            _mapped(name),
            operands=function.arity,
            example=_example(RENAMED.get(name, name), function.arity),
        )
        for name, function in nn.FUNCTIONS.items()
        if RENAMED.get(name, name)
    )


def _example(name: str, arity: int) -> str:
    return {"clip": "clip(-1, 1)", "where": "where(a, 0)"}.get(name, f"{name}(0.5)" if arity == 2 else name)


def _mapped(function: str) -> Callable[[Use], Op]:
    def build(use: Use) -> Op:
        return nn.Map(function=function, xs=tuple(as_float(x) for x in use.xs), loc=use.loc)

    return build


def decode(use: Use) -> Op:
    need_integers(use, "take `decode` away: these are real numbers already")
    return bit.Decode(x=use.x, loc=use.loc)


def constant(use: Use) -> Op:
    shape, values = use["shape"], use["values"]
    if isinstance(values, np.ndarray):
        array = values.astype(np.float32)
        if shape is not None:
            if array.size != int(np.prod(shape)):
                raise BadArgument("values", f"has {array.size} numbers for the shape {list(shape)}")
            array = array.reshape(shape)
        return nn.Constant(values=array, loc=use.loc)
    return nn.Constant(values=use.arrays.floats(use.name, "values", shape or ()), loc=use.loc)


def norm(use: Use) -> Op:
    channels = use.type.shape[:1]
    fields = {
        name: nn.Constant(values=use.arrays.floats(use.name, name, channels))
        for name in ("scale", "bias", "mean", "variance")
    }
    return nn.BatchNorm(x=as_float(use.x), epsilon=use["epsilon"], loc=use.loc, **fields)


def matmul(use: Use) -> Op:
    return nn.MatMul(a=as_float(use.xs[0]), b=as_float(use.xs[1]), loc=use.loc)


def reduce(use: Use) -> Op:
    axes = tuple(range(use.rank)) if use["axes"] is None else use["axes"]
    return nn.Reduce(x=as_float(use.x), function=use["function"], axes=axes, keepdims=use["keep"], loc=use.loc)


def _extreme(smallest: bool) -> Callable[[Use], Op]:
    def build(use: Use) -> Op:
        return nn.ArgMax(
            x=use.x, axis=use["axis"], keepdims=use["keep"], last=use["last"], smallest=smallest, loc=use.loc
        )

    return build


def softmax(use: Use) -> Op:
    return nn.Softmax(x=as_float(use.x), axis=use["axis"], log=use["log"], loc=use.loc)


def count(use: Use) -> Op:
    thresholds = use["thresholds"]
    if isinstance(thresholds, np.ndarray):
        array = np.atleast_2d(thresholds).astype(np.float32)
    else:
        array = use.arrays.floats(use.name, "thresholds", None)
    return nn.MultiThreshold(x=as_float(use.x), thresholds=nn.Constant(values=array), loc=use.loc)


_AXIS = Parameter("axis", Whole(0, 15), "which axis", 0)
_KEEP = Parameter("keep", Flag(), "the axis stays, with length 1", False)
_ARG = (_AXIS, _KEEP, Parameter("last", Flag(), "the highest index wins a tie, not the lowest", False))

LAYERS = (
    Layer("decode", "Integers as f32, exactly.", decode, example="decode"),
    Layer(
        "constant",
        "Fixed real numbers. It stands at the head of a chain.",
        constant,
        (
            Parameter("values", Words(("file",), Table()), "numbers, or `file`: they stand in the weights", "file"),
            Parameter("shape", Wholes(1), "their shape (of the numbers as they are written)", None),
        ),
        operands=0,
        arrays=("values [shape]",),
        example="constant([0.5, 1, 2])",
    ),
    Layer(
        "norm",
        "Batch norm: (x - mean) · (scale / sqrt(variance + epsilon)) + bias for each channel.",
        norm,
        (Parameter("epsilon", Real(), "added to the variance", 1e-5),),
        arrays=("scale [channels]", "bias [channels]", "mean [channels]", "variance [channels]"),
        example="norm",
    ),
    Layer("matmul", "The matrix product of the last two axes.", matmul, operands=2, example="matmul(b)"),
    Layer(
        "reduce",
        "Sum, mean … over axes.",
        reduce,
        (
            Parameter("function", Words(nn.REDUCTIONS), "what is computed"),
            Parameter("axes", Wholes(), "ascending (all, if left out)", None),
            _KEEP,
        ),
        example="reduce(mean, axes=[1, 2])",
    ),
    Layer(
        "argmax",
        "The index of the largest along an axis, the lowest on a tie.",
        _extreme(False),
        _ARG,
        example="argmax",
    ),
    Layer("argmin", "The index of the smallest along an axis.", _extreme(True), _ARG, example="argmin"),
    Layer(
        "softmax",
        "exp(x - max) / Σ exp(x - max) along an axis.",
        softmax,
        (_AXIS, Parameter("log", Flag(), "its logarithm", False)),
        example="softmax",
    ),
    Layer(
        "count",
        "How many of the ascending thresholds are reached, as f32 (FINN's MultiThreshold).",
        count,
        (Parameter("thresholds", Words(("file",), Table()), "a row for every channel, or one; or `file`", "file"),),
        arrays=("thresholds [channels or 1, n]",),
        example="count([0, 1, 2])",
    ),
    *function_layers(),
)
