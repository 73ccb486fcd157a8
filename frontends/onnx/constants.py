"""Arithmetic on constants at import: shape computations, and small float ones that round the same way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bnnc.frontends.onnx.problems import malformed, unsupported
from bnnc.frontends.onnx.values import INTEGER_RANGES, Shape, Value, elements, known, shrink

_SMALL = 4096
_LARGEST = 2**25


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype == np.float32:
        return np.asarray(a / b)
    if bool((b == 0).any()):
        raise malformed("divides integers by zero")
    return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)))


def _modulo(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if bool((b == 0).any()):
        raise malformed("divides integers by zero")
    return np.asarray(np.mod(a, b))


def _power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if bool((b < 0).any()):
        raise malformed("raises integers to a negative power")
    return np.asarray(np.power(a, b.astype(np.int64)))


# Only what rounds correctly (or is exact), so that it gives the bits that the «nn» op would give.
_EXACT: dict[str, Callable[..., Any]] = {
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "trunc": np.trunc,
    "sqrt": np.sqrt,
    "reciprocal": lambda x: np.float32(1) / x,
    "relu": lambda x: np.maximum(x, 0),
    "not": lambda x: x == 0,
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": _divide,
    "min": np.minimum,
    "max": np.maximum,
    "equal": np.equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "xor": np.logical_xor,
    "where": lambda c, a, b: np.where(c != 0, a, b),
    "clip": lambda x, low, high: np.minimum(np.maximum(x, low), high),
}
_WHOLE: dict[str, Callable[..., Any]] = {**_EXACT, "mod": _modulo, "fmod": np.fmod, "pow": _power}


def evaluate(function: str, values: Sequence[Value], shape: Shape, dtype: str) -> Value | None:
    """The result of an elementwise function of constants, or None if it is left to an op.

    Integers and booleans are always computed here (they are shapes and indices); floats if they are few and the
    function is correctly rounded. Repeated axes are computed once.
    """
    arrays = [value.array for value in values]
    if any(array is None for array in arrays):
        return None
    cores = [shrink(array) for array in arrays if array is not None]
    size = elements(np.broadcast_shapes(*(core.shape for core in cores)))
    floats = any(core.dtype == np.float32 for core in cores)
    compute = (_EXACT if floats else _WHOLE).get(function)
    if compute is None and floats:
        return None
    if compute is None:
        raise unsupported("computes this function of integer constants")
    if floats and size > _SMALL:
        return None
    if size > _LARGEST:
        raise unsupported(f"computes {size} integers while the model is imported")
    with np.errstate(all="ignore"):
        found = np.asarray(compute(*cores))
        if dtype in INTEGER_RANGES:
            found = wrapped(found.astype(np.int64), dtype)
    result = known(found, dtype, derived=any(value.derived for value in values))
    assert result.array is not None
    return Value(dtype, shape, array=np.broadcast_to(result.array, shape), derived=result.derived)


def wrapped(values: np.ndarray, dtype: str) -> np.ndarray:
    """Integers as an element type of up to 32 bits keeps them: modulo 2^bits."""
    low, high = INTEGER_RANGES[dtype]
    return values if high > 2**62 else (values - low) % (high - low + 1) + low


def cast(value: Value, dtype: str) -> Value:
    """A known constant under another element type."""
    assert value.array is not None
    core = shrink(value.array)
    with np.errstate(all="ignore"):
        if dtype == "bool":
            core = core != 0
        elif dtype == "float16":
            core = core.astype(np.float16).astype(np.float32)
        elif dtype in INTEGER_RANGES:
            core = wrapped(np.nan_to_num(np.trunc(core)).astype(np.int64), dtype)
    result = known(core, dtype, derived=value.derived, name=value.name)
    assert result.array is not None
    array = np.broadcast_to(result.array, value.shape)
    return Value(dtype, value.shape, array=array, derived=value.derived, name=value.name)
