"""Checks the arrays a user gives to a network before anything runs on them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import numpy as np

from bnnc.diagnostics import BnncError, Diagnostic
from bnnc.ir.module import Input, Module
from bnnc.ir.types import Bit, Code, is_integer, value_range
from bnnc.reference.bit import array_dtype


def check_inputs(module: Module, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays by input name, batch first, in the reference's own dtypes: float32, or integers.

    Whole numbers are taken for a float input, and floats for an integer input if every one is a whole number in range.
    Raises BnncError with every fault at once: B0510 unknown name, B0511 missing, B0512 shape, B0513 kind of number,
    B0514 out of range, B0515 NaN or infinity, B0516 batches of different length.
    """
    wanted = {op.name: op for op in module.inputs}
    faults = [_unknown(name, list(wanted)) for name in inputs if name not in wanted]
    checked: dict[str, np.ndarray] = {}
    for name, op in wanted.items():
        if name not in inputs:
            given = ", ".join(f"`{n}`" for n in inputs) or "none"
            faults.append(_fault("B0511", f"input `{name}` ({op.type}) has no array", f"arrays given: {given}"))
            continue
        array = np.asarray(inputs[name])
        fault = _shape_fault(op, array) or _kind_fault(op, array) or _value_fault(op, array)
        if fault:
            faults.append(fault)
        else:
            checked[name] = np.ascontiguousarray(array, array_dtype(op.dtype))
    lengths = {name: len(array) for name, array in checked.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"`{name}` has {length}" for name, length in lengths.items())
        faults.append(_fault("B0516", f"the inputs have different batch lengths: {listed}"))
    if faults:
        raise BnncError(*faults)
    return checked


def batch_size(arrays: Mapping[str, np.ndarray]) -> int:
    """The length of the batch of checked inputs; 1 for a module without inputs."""
    return next((len(array) for array in arrays.values()), 1)


def _fault(code: str, message: str, note: str = "", help_text: str = "") -> Diagnostic:
    return Diagnostic(code, message, notes=(note,) if note else (), helps=(help_text,) if help_text else ())


def _unknown(name: str, known: list[str]) -> Diagnostic:
    near = difflib.get_close_matches(name, known, 1)
    listed = ", ".join(f"`{n}`" for n in known) or "none"
    help_text = f"did you mean `{near[0]}`?" if near else ""
    return _fault("B0510", f"the network has no input `{name}`", f"inputs: {listed}", help_text)


def _shape_fault(op: Input, array: np.ndarray) -> Diagnostic | None:
    if array.ndim == len(op.shape) + 1 and array.shape[1:] == op.shape:
        return None
    expected = ", ".join(["batch", *map(str, op.shape)])
    help_text = ""
    if array.shape == op.shape:
        help_text = f"give a batch of one: array[None], of shape {[1, *op.shape]}"
    elif array.ndim == len(op.shape) + 1 and array.ndim > 3 and (array.shape[-1], *array.shape[1:-1]) == op.shape:
        help_text = "channels come first: numpy.moveaxis(array, -1, 1)"
    elif array.ndim >= 1 and array.shape[0] * op.type.size == array.size:
        help_text = f"the number of elements fits: array.reshape({', '.join(map(str, (-1, *op.shape)))})"
    return _fault("B0512", f"input `{op.name}` takes [{expected}], but the array is {list(array.shape)}", "", help_text)


def _kind_fault(op: Input, array: np.ndarray) -> Diagnostic | None:
    if array.dtype.kind in "fiub":
        return None
    return _fault("B0513", f"input `{op.name}` takes numbers ({op.dtype}), but the array holds {array.dtype}")


def _value_fault(op: Input, array: np.ndarray) -> Diagnostic | None:
    if array.size == 0:
        return None
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            finite = np.isfinite(array if is_integer(op.dtype) else array.astype(np.float32, copy=False))
        if not finite.all():
            return _fault("B0515", f"input `{op.name}` {_first(array, ~finite)}, which is not a finite number")
        if not is_integer(op.dtype):
            return None
        fraction = array != np.rint(array)
        if fraction.any():
            text = f"input `{op.name}` takes whole numbers ({op.dtype}), but {_first(array, fraction)}"
            return _fault("B0514", text, "", "give the values as integers, before any scaling to 0..1")
    if not is_integer(op.dtype):
        return None
    numbers = array.astype(np.int8) if array.dtype.kind == "b" else array
    lo, hi = value_range(op.dtype)
    outside = (numbers < lo) | (numbers > hi)
    allowed = f"{lo} to {hi}"
    if isinstance(op.dtype, Bit):
        outside, allowed = (numbers != -1) & (numbers != 1), "-1 and 1"
    elif isinstance(op.dtype, Code):
        codes = [op.dtype.multiplier * c + op.dtype.offset for c in range(2**op.dtype.bits)]
        outside, allowed = ~np.isin(numbers, codes), ", ".join(map(str, codes[:8])) + (" …" if len(codes) > 8 else "")
    if outside.any():
        return _fault("B0514", f"input `{op.name}` takes {allowed} ({op.dtype}), but {_first(numbers, outside)}")
    return None


def _first(array: np.ndarray, wrong: np.ndarray) -> str:
    index = [int(i) for i in np.argwhere(wrong)[0]]
    return f"holds {array[tuple(index)]} at {index}"
