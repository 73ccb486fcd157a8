"""Random small modules of fixed-point streams among layers of bits, for backends that take them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from bnnc.ir import bit, fixed
from bnnc.ir.module import Module
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, Fix, Trit, is_integer
from tests import strategies
from tests.strategies import Growth, Maker


def _number(g: Growth, rank: int | None = None, least: int = 1) -> Op | None:
    """An integer or fixed-point value."""
    found = [
        op
        for op in g.values
        if (is_integer(op.type.dtype) or isinstance(op.type.dtype, Fix))
        and len(op.type.shape) >= least
        and (rank is None or len(op.type.shape) == rank)
    ]
    return found[g.number(0, len(found) - 1)] if found else None


def _fix(g: Growth) -> Fix:
    fraction = g.number(0, 31)
    return Fix(32 - fraction, fraction)


def _lines(g: Growth) -> Op | None:
    x = _number(g)
    if x is None:
        return None
    rows, count = g.pick([1, x.type.shape[0]]), g.number(0, 3)
    reach = g.pick([8, 1000, 2**20, 2**30])
    thresholds = np.sort(g.rng.integers(-reach, reach, (rows, count)), axis=1).astype(np.int32)
    slopes = g.rng.integers(-reach, reach, (rows, count + 1)).astype(np.int32)
    offsets = g.rng.integers(-(2**40), 2**40, (rows, count + 1)).astype(np.int64)
    return fixed.Map(x, thresholds, slopes, offsets, g.number(0, 30), _fix(g), loc=g.loc())


def _curve(g: Growth) -> Op | None:
    x = _number(g)
    if x is None:
        return None
    values = g.rng.integers(-(2**31), 2**31, g.number(2, 9)).astype(np.int32)
    return fixed.Table(x, values, g.number(-500, 10), g.number(0, 30), _fix(g), loc=g.loc())


def _constant(g: Growth, shape: tuple[int, ...]) -> Op:
    shape = tuple(g.pick([1, n]) for n in shape)[g.number(0, len(shape)) if g.flag() else 0 :]
    return fixed.Constant(g.rng.integers(-(2**20), 2**20, shape).astype(np.int32), _fix(g))


def _others(g: Growth, x: Op) -> Op:
    """Something that broadcasts with x: a value, or a constant."""
    fitting = [
        op
        for op in g.values
        if (is_integer(op.type.dtype) or isinstance(op.type.dtype, Fix))
        and len(op.type.shape) <= len(x.type.shape)
        and all(a in (1, b) for a, b in zip(op.type.shape[::-1], x.type.shape[::-1], strict=False))
    ]
    return g.pick(fitting) if g.number(0, 3) else _constant(g, x.type.shape)


def _sum(g: Growth) -> Op | None:
    x = _number(g)
    if x is None:
        return None
    xs = (x, *(_others(g, x) for _ in range(g.number(0, 2))))
    return fixed.Add(xs, tuple(g.pick([1, -1]) for _ in xs), _fix(g), loc=g.loc())


def _product(g: Growth) -> Op | None:
    x = _number(g)
    return None if x is None else fixed.Mul(x, _others(g, x), _fix(g), loc=g.loc())


def _layer(g: Growth) -> Op | None:
    x = _number(g)
    if x is None or len(x.type.shape) > 3:
        return None
    reach = g.pick([2, 100, 2**20])
    if len(x.type.shape) == 1:
        weights = g.rng.integers(-reach, reach, (g.number(1, 5), x.type.shape[0])).astype(np.int32)
        bias = g.rng.integers(-(2**40), 2**40, len(weights)).astype(np.int64) * g.number(0, 1)
        return fixed.Dense(x, weights, bias, g.number(0, 30), _fix(g), loc=g.loc())
    channels, *sizes = x.type.shape
    groups = g.pick([n for n in range(1, channels + 1) if channels % n == 0])
    window = g.window(tuple(sizes))
    kernel = window.pop("kernel")
    shape = (groups * g.number(1, 2), channels // groups, *kernel)
    weights = g.rng.integers(-reach, reach, shape).astype(np.int32)
    bias = g.rng.integers(-(2**40), 2**40, len(weights)).astype(np.int64) * g.number(0, 1)
    return fixed.Conv(x, weights, bias, **window, groups=groups, shift=g.number(0, 30), dtype=_fix(g), loc=g.loc())


def _pool(g: Growth) -> Op | None:
    x = _number(g, least=2)
    if x is None or len(x.type.shape) > 3:
        return None
    window: dict[str, Any] = {**g.window(x.type.shape[1:]), "ceil_mode": g.flag()}
    if any(p >= k for p, k in zip(window["pads"], window["kernel"] * 2, strict=True)):
        window["pads"] = (0,) * len(window["pads"])
    if isinstance(x.type.dtype, Fix) and g.flag():
        return bit.Pool(x, g.pick(["max", "min"]), **window, loc=g.loc())
    return fixed.Pool(x, **window, factor=g.number(-(2**20), 2**20), shift=g.number(0, 30), dtype=_fix(g), loc=g.loc())


def _step(g: Growth) -> Op | None:
    x = _number(g)
    if x is None or not isinstance(x.type.dtype, Fix):
        return None
    rows, count = g.pick([1, x.type.shape[0]]), g.number(1, 3)
    thresholds = np.sort(g.rng.integers(-(2**31), 2**31, (rows, count)), axis=1).astype(np.int32)
    dtype = g.pick([Bit(), Trit()])
    return bit.Step(
        x, thresholds, strategies.integers_of(dtype, g.rng, (rows, count + 1)).astype(np.int32), dtype, loc=g.loc()
    )


MAKERS: tuple[Maker, ...] = (_lines, _curve, _sum, _sum, _product, _layer, _layer, _pool, _step)


def fixed_modules(most: int = 6) -> st.SearchStrategy[Module]:
    """Modules of integer inputs, fixed-point ops, layers of bits and movement."""
    return strategies.modules(
        most, (*MAKERS, strategies._bit_conv, strategies._bit_step, strategies._integer_add, strategies._move), False
    )


__all__ = ["fixed_modules"]
