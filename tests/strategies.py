"""Random small typed modules for property tests: `modules()` of all graph levels, `bit_modules()` for backends.

A module grows op by op from its inputs; a maker that does not fit the values at hand is passed over, so everything
that comes out is well typed. Float functions are given arguments inside their domains, so that no NaN comes about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from bnnc.ir import bit, move, nn
from bnnc.ir.location import UNKNOWN, Location
from bnnc.ir.module import Input, Module, Note, Output, PixelMap
from bnnc.ir.op import Op, TypeRuleError
from bnnc.ir.types import F32, U8, Bit, Code, DType, Int, Trit, is_integer, value_range

LARGEST = 2048
INTEGER_TYPES: tuple[DType, ...] = (Bit(), Trit(), Code(2, 2, -3), Code(2), Int(-5, 7), Int(0, 3), U8)
# Names as users have them: quotes, line ends, other alphabets, half a surrogate pair.
NAMES = st.one_of(st.sampled_from(["x", "conv1", 'a "b"', "c\nd", "/features/3/Conv", "层", "\u2028", "\ud800", ""]))


def integers_of(dtype: DType, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Random values of an integer dtype (the whole range, its ends included)."""
    lo, hi = value_range(dtype)
    match dtype:
        case Bit():
            return rng.choice([-1, 1], shape)
        case Code(bits, multiplier, offset):
            return rng.integers(0, 2**bits, shape) * multiplier + offset
    return rng.integers(lo, hi + 1, shape)


def random_inputs(module: Module, seed: int, batch: int) -> dict[str, np.ndarray]:
    """Arrays for every input, batch first: integers of the dtype, or floats of which some are exact small integers."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}
    for op in module.inputs:
        shape = (batch, *op.shape)
        if is_integer(op.dtype):
            arrays[op.name] = integers_of(op.dtype, rng, shape)
        else:
            floats = rng.standard_normal(shape) * 3
            arrays[op.name] = np.where(rng.random(shape) < 0.3, np.rint(floats), floats).astype(np.float32)
    return arrays


class Growth:
    """A module being grown: the values so far, and hypothesis' choices."""

    def __init__(self, draw: Callable[..., Any]) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(self.number(0, 2**32 - 1))
        self.values: list[Op] = []

    def number(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def pick(self, choices: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(choices))

    def flag(self) -> bool:
        return bool(self.number(0, 1))

    def loc(self) -> Location:
        return UNKNOWN if self.flag() else Location(self.draw(NAMES), "net.bnn", self.number(0, 9), self.number(0, 9))

    def value(self, integer: bool | None = None, rank: int | None = None, least_rank: int = 0) -> Op | None:
        """The last value of the kind asked for, or any of them."""
        found = [
            op
            for op in self.values
            if (integer is None or is_integer(op.type.dtype) == integer)
            and (rank is None or len(op.type.shape) == rank)
            and len(op.type.shape) >= least_rank
        ]
        if not found:
            return None
        return found[-1] if self.flag() else self.pick(found)

    def constant(self, *shape: int, positive: bool = False) -> nn.Constant:
        values = self.rng.standard_normal(shape)
        if self.flag():
            values = np.rint(values * 2)
        return nn.Constant(values=np.asarray(np.abs(values) + 0.5 if positive else values, np.float32))

    def window(self, sizes: tuple[int, ...]) -> dict[str, Any]:
        """Kernel, strides, pads and dilations of which most fit an input of these sizes."""
        kernel = tuple(self.number(1, 3) for _ in sizes)
        pads = tuple(self.number(0, min(2, k)) for k in kernel * 2)
        fitting = [n + a + b for n, a, b in zip(sizes, pads[: len(sizes)], pads[len(sizes) :], strict=True)]
        return {
            "kernel": tuple(min(k, room) for k, room in zip(kernel, fitting, strict=True)),
            "strides": tuple(self.number(1, 3) for _ in sizes),
            "pads": pads,
            "dilations": tuple(
                self.number(1, 2) if 2 * (k - 1) < room else 1 for k, room in zip(kernel, fitting, strict=True)
            ),
        }


Maker = Callable[[Growth], Op | None]


def _elementwise(g: Growth) -> Op | None:
    x = g.value()
    if x is None:
        return None
    name = g.pick([n for n in nn.FUNCTIONS if n not in ("and", "or", "xor", "not")])
    safe: Op = x
    if name in ("log", "sqrt", "reciprocal", "pow"):
        safe = nn.Map(function="add", xs=(nn.Map(function="abs", xs=(x,)), g.constant(positive=True)))
    if name in ("exp", "half", "pow"):
        low, high = (nn.Constant(values=np.array(v, np.float32)) for v in (0.25, 8))
        safe = nn.Map(function="clip", xs=(safe, low, high))
    shapes = [(), x.type.shape, (*x.type.shape[:1], *(1,) * (len(x.type.shape) - 1))]
    shape = g.pick(shapes)
    match nn.FUNCTIONS[name].arity:
        case 1:
            return nn.Map(function=name, xs=(safe,), loc=g.loc())
        case 2:
            other = g.value() if g.flag() else None
            positive = name in ("div", "mod", "fmod")
            if other is None or positive or name == "pow":
                other = g.constant(*shape, positive=positive)
            return nn.Map(function=name, xs=(safe, other), loc=g.loc())
    condition = nn.Map(function="greater", xs=(x, g.constant()))
    if name == "where":
        return nn.Map(function=name, xs=(condition, x, g.constant()), loc=g.loc())
    return nn.Map(function="clip", xs=(x, nn.Constant(values=np.array(-1, np.float32)), g.constant(positive=True)))


def _conv(g: Growth) -> Op | None:
    x = g.value(least_rank=2)
    if x is None or len(x.type.shape) > 4:
        return None
    channels, *sizes = x.type.shape
    groups = g.pick([n for n in range(1, channels + 1) if channels % n == 0])
    filters, depth, window = groups * g.number(1, 3), channels // groups, g.window(tuple(sizes))
    kernel = window.pop("kernel")
    if is_integer(x.type.dtype) and g.number(0, 3):
        low, high = g.pick([(-1, 1), (-1, 1), (-7, 7), (-300, 300)])
        weights = g.rng.integers(low, high + 1, (filters, depth, *kernel)).astype(np.int16 if high > 9 else np.int8)
        if high == 1 and g.flag():
            weights = np.where(weights == 0, np.int8(1), weights)
        return bit.Conv(x=x, weights=weights, **window, groups=groups, pad_value=g.number(-1, 1), loc=g.loc())
    bias = g.constant(filters) if g.flag() else None
    return nn.Conv(x=x, w=g.constant(filters, depth, *kernel), bias=bias, **window, groups=groups, loc=g.loc())


def _dense(g: Growth) -> Op | None:
    x = g.value(least_rank=1)
    if x is None:
        return None
    n, k = g.number(1, 6), x.type.shape[-1]
    if is_integer(x.type.dtype) and len(x.type.shape) == 1 and g.number(0, 3):
        weights = g.rng.choice(np.array([-1, 1] if g.flag() else [-1, 0, 1], np.int8), (n, k))
        return bit.Dense(x=x, weights=weights, loc=g.loc())
    return nn.Dense(x=x, w=g.constant(n, k), bias=g.constant(n) if g.flag() else None, loc=g.loc())


def _matmul(g: Growth) -> Op | None:
    a, b = g.value(least_rank=2), g.value(least_rank=2)
    if a is None or b is None:
        return None
    return nn.MatMul(a=a, b=b if g.flag() else g.constant(a.type.shape[-1], 3), loc=g.loc())


def _batch_norm(g: Growth) -> Op | None:
    x = g.value(least_rank=1)
    if x is None:
        return None
    scale, bias, mean = (g.constant(x.type.shape[0]) for _ in range(3))
    variance = g.constant(x.type.shape[0], positive=True)
    return nn.BatchNorm(x=x, scale=scale, bias=bias, mean=mean, variance=variance, epsilon=1e-5, loc=g.loc())


def _pool(g: Growth) -> Op | None:
    x = g.value(least_rank=2)
    if x is None:
        return None
    sizes = x.type.shape[1:]
    window = {**g.window(sizes), "ceil_mode": g.flag()}
    if any(p >= k for p, k in zip(window["pads"], window["kernel"] * 2, strict=True)):
        window["pads"] = (0,) * (2 * len(sizes))
    if is_integer(x.type.dtype) and g.number(0, 3):
        function = g.pick(["max", "min", "sum"])
        smallest = g.rng.random(x.type.shape[0]) < 0.5 if function == "max" and g.flag() else None
        return bit.Pool(x=x, function=function, **window, smallest=smallest, loc=g.loc())
    include = g.flag()
    function = g.pick(["max", "average"])
    return nn.Pool(x=x, function=function, **window, count_include_pad=include, loc=g.loc())


def _reduce(g: Growth) -> Op | None:
    x = g.value(least_rank=1)
    if x is None:
        return None
    axis, keepdims = g.number(0, len(x.type.shape) - 1), g.flag()
    match g.number(0, 3):
        case 0:
            return nn.ArgMax(x=x, axis=axis, keepdims=keepdims, last=g.flag(), smallest=g.flag(), loc=g.loc())
        case 1:
            return nn.Softmax(x=x, axis=axis, log=g.flag(), loc=g.loc())
        case 2:
            steps = np.sort(g.rng.standard_normal((g.pick([1, x.type.shape[0]]), g.number(1, 4))), axis=1)
            return nn.MultiThreshold(x=x, thresholds=nn.Constant(values=steps.astype(np.float32)), loc=g.loc())
    axes = tuple(a for a in range(len(x.type.shape)) if a == axis or g.flag())
    function = g.pick([f for f in nn.REDUCTIONS if f != "prod"])
    return nn.Reduce(x=x, function=function, axes=axes, keepdims=keepdims, loc=g.loc())


def _step(g: Growth) -> Op | None:
    x = g.value(least_rank=1)
    if x is None:
        return None
    rows, count = g.pick([1, x.type.shape[0]]), g.number(1, 12)
    if is_integer(x.type.dtype):
        lo, hi = value_range(x.type.dtype)
        thresholds = g.rng.integers(lo - 1, hi + 2, (rows, count)).astype(np.int32)
    else:
        thresholds = (g.rng.standard_normal((rows, count)) * 2).astype(np.float32)
    thresholds = np.sort(thresholds, axis=1)
    dtype = g.pick([*INTEGER_TYPES, F32()])
    if isinstance(dtype, F32):
        values = g.rng.standard_normal((rows, count + 1)).astype(np.float32)
    else:
        values = integers_of(dtype, g.rng, (rows, count + 1)).astype(np.int32)
    return bit.Step(x=x, thresholds=thresholds, values=values, dtype=dtype, loc=g.loc())


def _integer(g: Growth) -> Op | None:
    x = g.value(integer=True)
    if x is None:
        return None
    if g.flag():
        return bit.Decode(x=x, loc=g.loc())
    others = [op for op in g.values if is_integer(op.type.dtype) and op.type.shape == x.type.shape]
    xs = (x, *(g.pick(others) for _ in range(g.number(0, 2))))
    return bit.Add(xs=xs, coefficients=tuple(g.number(-3, 3) for _ in xs), loc=g.loc())


def _move(g: Growth) -> Op | None:
    x = g.value()
    if x is None:
        return None
    shape = x.type.shape
    rank = len(shape)
    choice = g.number(0, 6)
    if choice == 0:
        return move.Reshape(x=x, shape=g.pick([(x.type.size,), (1, *shape), (*shape, 1)]), loc=g.loc())
    if choice == 1:
        return move.Transpose(x=x, perm=tuple(int(a) for a in g.rng.permutation(rank)), loc=g.loc())
    if choice == 2:
        widened = tuple(2 if n == 1 else n for n in shape)
        return move.Expand(x=x, shape=(2, *widened) if g.flag() else widened, loc=g.loc())
    if rank == 0:
        return None
    axis = g.number(0, rank - 1)
    if choice == 3:
        others = [op for op in g.values if len(op.type.shape) == rank]
        return move.Concat(xs=(x, g.pick(others)), axis=axis, loc=g.loc())
    if choice == 4:
        starts = tuple(g.number(0, n - 1) for n in shape)
        steps = tuple(-1 if start and g.flag() else g.number(1, 2) for start in starts)
        room = [
            start + 1 if step < 0 else -(-(n - start) // step)
            for n, start, step in zip(shape, starts, steps, strict=True)
        ]
        return move.Slice(x=x, starts=starts, counts=tuple(g.number(1, r) for r in room), steps=steps, loc=g.loc())
    if choice == 5:
        value = 0.0
        if is_integer(x.type.dtype):
            value = float(integers_of(x.type.dtype, g.rng, ())) if not isinstance(x.type.dtype, Int) else 1.0
        pads = tuple(g.number(0, 1) for _ in range(2 * rank))
        return move.Pad(x=x, pads=pads, value=value, mode=g.pick(["constant", "edge", "reflect"]), loc=g.loc())
    indices = g.rng.integers(0, shape[axis], g.number(1, 4))
    return move.Gather(x=x, indices=indices, axis=axis, loc=g.loc())


FLOAT_MAKERS = (_elementwise, _elementwise, _conv, _dense, _matmul, _batch_norm, _pool, _reduce)
INTEGER_MAKERS = (_conv, _conv, _dense, _pool, _step, _step, _integer)


def _fits(op: Op) -> bool:
    if op.type.size > LARGEST or len(op.type.shape) > 5:
        return False
    return not is_integer(op.type.dtype) or max(map(abs, value_range(op.type.dtype))) < 2**24


@st.composite
def modules(draw: Callable[..., Any], most: int = 8, makers: tuple[Maker, ...] = (), floats: bool = True) -> Module:
    """A module of up to `most` ops over all graph levels, or over the given makers; with float inputs if `floats`."""
    g = Growth(draw)
    kinds: list[DType] = [*INTEGER_TYPES, *([F32()] * 4 if floats else [])]
    inputs: list[Input] = []
    for index in range(g.number(1, 2)):
        rank = g.pick([1, 2, 3, 3, 3, 4])
        shape = tuple(g.number(1, 6) for _ in range(rank))
        name = f"x{index}{draw(NAMES)}"
        inputs.append(Input(name=name, dtype=g.pick(kinds), shape=shape, loc=g.loc()))
    g.values += inputs
    chosen = makers or (*FLOAT_MAKERS, *INTEGER_MAKERS, _move, _move)
    for _ in range(g.number(1, most)):
        try:
            op = g.pick(chosen)(g)
        except TypeRuleError:
            continue
        if op is not None and _fits(op):
            g.values.append(op)
    results = [g.values[-1], *(op for op in g.values[:-1] if g.number(0, 5) == 0)]
    outputs = tuple(
        Output(
            f"y{i}{draw(NAMES)}",
            op,
            "int64" if is_integer(op.type.dtype) else "float32",
            g.number(0, len(op.type.shape)),
        )
        for i, op in enumerate(results)
    )
    notes = (Note("warning", "a note\nof two lines", g.loc(), "B0402"),) if g.flag() else ()
    pixels = tuple(PixelMap(op.name, 1 / 255, (0.5,), (0.25, 0.1)) for op in inputs if op.dtype == U8 and g.flag())
    facts = (("stream", "f32"), ("source", 'net "x".onnx')) if g.flag() else ()
    return Module(str(draw(NAMES)), tuple(inputs), outputs, notes, pixels, facts)


def bit_modules(most: int = 8) -> st.SearchStrategy[Module]:
    """Modules of integer inputs, «bit» ops and movement only, without f32: what every backend must take."""
    return modules(
        most, (_bit_conv, _bit_conv, _bit_dense, _bit_pool, _bit_step, _bit_step, _integer_add, _move), False
    )


def _only(kinds: tuple[type[Op], ...], maker: Maker) -> Maker:
    def make(g: Growth) -> Op | None:
        op = maker(g)
        return op if isinstance(op, kinds) and (not isinstance(op, bit.Step) or is_integer(op.dtype)) else None

    return make


_bit_conv = _only((bit.Conv,), _conv)
_bit_dense = _only((bit.Dense,), _dense)
_bit_pool = _only((bit.Pool,), _pool)
_bit_step = _only((bit.Step,), _step)
_integer_add = _only((bit.Add,), _integer)
