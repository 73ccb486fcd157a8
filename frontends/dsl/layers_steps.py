"""Layers that turn sums into bits, trits and codes: every one of them becomes a `bit.step`."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from bnnc.frontends.dsl.catalogue import BadArgument, Layer, Parameter, Use
from bnnc.frontends.dsl.kinds import LARGEST, Exact, Table, Type, Whole, Words
from bnnc.ir import bit
from bnnc.ir.op import Op
from bnnc.ir.types import F32, Bit, Code, DType, Int, Trit, is_integer

_FAR = Fraction(10) ** 40
_ANY = Exact(-_FAR, _FAR)
_INT32 = Int(-(2**31), 2**31 - 1)


def _thresholds(use: Use, numbers: list[list[Fraction]], name: str) -> np.ndarray:
    """Thresholds for the operand: int32 (the next whole number above), or float32."""
    if not is_integer(use.type.dtype):
        return np.array([[float(number) for number in row] for row in numbers], np.float32)
    whole = [[-((-number.numerator) // number.denominator) for number in row] for row in numbers]
    if any(abs(number) > LARGEST for row in whole for number in row):
        raise BadArgument(name, "is beyond 32 bits")
    return np.array(whole, np.int32)


def _step(use: Use, thresholds: np.ndarray, values: list[list[int]], dtype: DType) -> Op:
    return bit.Step(x=use.x, thresholds=thresholds, values=np.array(values, np.int32), dtype=dtype, loc=use.loc)


def sign(use: Use) -> Op:
    return _step(use, _thresholds(use, [[use["at"]]], "at"), [[-1, 1]], Bit())


def ternary(use: Use) -> Op:
    width: Fraction = use["at"]
    if width <= 0:
        raise BadArgument("at", "must be above 0")
    if is_integer(use.type.dtype):
        above = (-width.numerator) // width.denominator + 1  # the smallest whole number that is not <= -at
        thresholds = _thresholds(use, [[Fraction(above), width]], "at")
    else:
        high = np.float32(float(width))
        thresholds = np.array([[np.nextafter(-high, np.float32(0)), high]], np.float32)
    return _step(use, thresholds, [[-1, 0, 1]], Trit())


def codes(use: Use) -> Op:
    count = 2 ** use["bits"] - 1
    every, first = use["every"], use["start"]
    if every <= 0:
        raise BadArgument("every", "must be above 0")
    thresholds = _thresholds(use, [[first + every * i for i in range(count)]], "start")
    dtype = Code(use["bits"], use["multiplier"], use["offset"])
    return _step(use, thresholds, [[dtype.multiplier * c + dtype.offset for c in range(count + 1)]], dtype)


def step(use: Use) -> Op:
    dtype: DType = use["type"]
    integer = is_integer(use.type.dtype)
    thresholds, values = use["thresholds"], use["values"]
    if isinstance(thresholds, np.ndarray):
        thresholds = np.atleast_2d(thresholds)
        if integer and not np.array_equal(thresholds, np.clip(np.rint(thresholds), -LARGEST - 1, LARGEST)):
            raise BadArgument("thresholds", f"must be whole numbers of 32 bits for {use.type}")
        thresholds = thresholds.astype(np.int32 if integer else np.float32)
    elif integer:
        thresholds = use.arrays.integers(use.name, "thresholds", None, _INT32).astype(np.int32)
    else:
        thresholds = use.arrays.floats(use.name, "thresholds", None)
    if values is None or isinstance(values, np.ndarray):
        values = np.atleast_2d(values) if values is not None else _default_values(dtype, thresholds.shape[1] + 1)
        if not isinstance(dtype, F32) and not np.array_equal(values, np.clip(np.rint(values), -LARGEST - 1, LARGEST)):
            raise BadArgument("values", f"must be whole numbers for a step to {dtype}")
        values = values.astype(np.float32 if isinstance(dtype, F32) else np.int32)
    elif isinstance(dtype, F32):
        values = use.arrays.floats(use.name, "values", (thresholds.shape[0], thresholds.shape[1] + 1))
    else:
        shape = (thresholds.shape[0], thresholds.shape[1] + 1)
        values = use.arrays.integers(use.name, "values", shape, dtype).astype(np.int32)
    rows = max(len(thresholds), len(values))
    if {len(thresholds), len(values)} - {1, rows}:
        raise BadArgument("values", f"has {len(values)} rows, `thresholds` {len(thresholds)}")
    if rows not in (1, use.type.shape[0] if use.rank else 1):
        raise BadArgument("thresholds", f"has {rows} rows, but {use.type} has {use.type.shape[0]} channels")
    if values.shape[1] != thresholds.shape[1] + 1:
        raise BadArgument("values", f"needs {thresholds.shape[1] + 1} a row: one more than thresholds")
    if not bool((thresholds[:, 1:] >= thresholds[:, :-1]).all()):
        raise BadArgument("thresholds", "must ascend in every row")
    thresholds, values = (np.repeat(t, rows, 0) if len(t) == 1 else t for t in (thresholds, values))
    return bit.Step(x=use.x, thresholds=thresholds, values=values, dtype=dtype, loc=use.loc)


def _default_values(dtype: DType, count: int) -> np.ndarray:
    """-1, +1 for bits, -1, 0, +1 for trits, the codes in order; else 0, 1, 2 …"""
    match dtype:
        case Bit() if count == 2:
            row = [-1, 1]
        case Trit() if count == 3:
            row = [-1, 0, 1]
        case Code(bits, multiplier, offset) if count == 2**bits:
            row = [multiplier * c + offset for c in range(count)]
        case Bit() | Trit() | Code():
            raise BadArgument("values", f"must be given: {count} of them are not all that a {dtype} can be")
        case _:
            row = list(range(count))
    return np.array([row], np.float64)


def _at(default: Any = Fraction(0)) -> Parameter:
    return Parameter("at", _ANY, "the threshold", default)


_FILE = Words(("file",), Table())

LAYERS = (
    Layer(
        "sign", "A bit for each element: +1 from `at` on, else -1. So sign(0) is +1.", sign, (_at(),), example="sign"
    ),
    Layer(
        "ternary",
        "A trit for each element: +1 from `at` on, -1 from -`at` down, else 0.",
        ternary,
        (_at(Fraction(1)),),
        example="ternary(4)",
    ),
    Layer(
        "codes",
        "A code of a few bits: how many of the thresholds start, start + every, … (2^bits - 1 of them) are reached. A"
        " code c stands for the integer multiplier · c + offset.",
        codes,
        (
            Parameter("bits", Whole(1, 8), "bits of the code"),
            Parameter("every", _ANY, "distance of the thresholds", Fraction(1)),
            Parameter("start", _ANY, "the first threshold", Fraction(1)),
            Parameter("multiplier", Whole(-(2**15), 2**15), "integers between two codes", 1),
            Parameter("offset", Whole(-(2**15), 2**15), "the integer of code 0", 0),
        ),
        example="codes(2, every=8, start=-8)",
    ),
    Layer(
        "step",
        "values[c, i], where i counts the ascending thresholds[c] that are reached. Both have a row for every channel,"
        " or one for all.",
        step,
        (
            Parameter("type", Type(), "what comes out"),
            Parameter("thresholds", _FILE, "numbers, or `file`: they stand in the weights", "file"),
            Parameter("values", _FILE, "numbers, or `file`; left out: all values of the type, in order", None),
        ),
        arrays=("thresholds [channels or 1, n]", "values [channels or 1, n + 1]"),
        example="step(bit, [[3], [-2]], [[-1, 1], [1, -1]])",
    ),
)
