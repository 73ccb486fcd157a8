"""What must hold of a module beyond the types of its ops. A failure is a fault of bnnc, not of the user's model."""

from __future__ import annotations

import numpy as np

from bnnc.diagnostics import BnncError, Exit, error
from bnnc.ir.module import Input, Module
from bnnc.ir.nn import NN_OPS, ArgMax, Constant
from bnnc.ir.op import Op, TypeRuleError
from bnnc.ir.syntax import STORAGES
from bnnc.ir.types import U8, Code, Fix, Int, is_integer, value_range
from bnnc.ir.vocabulary import OPS

EXACT_F32 = 2**24


def verify(module: Module, after: str = "") -> None:
    """Check the whole module. Raises BnncError B0901 (exit code 70) naming the op, its place and, if given, the pass
    `after` which it was found."""
    _verify_interface(module, after)
    listed = set(module.inputs)
    for op in module.ops():
        if isinstance(op, Input) and op not in listed:
            raise _fault(f"input `{op.name}` is read but not listed", after, op)
        for text in _faults(op):
            raise _fault(text, after, op)


def _fault(text: str, after: str, op: Op | None = None) -> BnncError:
    where = f" after pass `{after}`" if after else ""
    subject = f"`{op.opcode}` ({op.type}): " if op else ""
    places = (op.loc,) if op and op.loc.name else ()
    note = "this is a fault of bnnc, not of your model; please report it with the model"
    return error(
        "B0901", f"the module is broken{where}: {subject}{text}", places=places, notes=(note,), exit_code=Exit.INTERNAL
    )


def _verify_interface(module: Module, after: str) -> None:
    for kind, names in (("input", [i.name for i in module.inputs]), ("output", [o.name for o in module.outputs])):
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise _fault(f"there are two {kind}s named `{doubled[0]}`", after)
    if not module.outputs:
        raise _fault("it has no output", after)
    for output in module.outputs:
        if output.storage not in STORAGES:
            raise _fault(f"output `{output.name}` is stored as `{output.storage}`", after, output.value)
        if not 0 <= output.batch_axis <= len(output.value.type.shape):
            raise _fault(f"output `{output.name}` has its batch on axis {output.batch_axis}", after, output.value)
    types = {op.name: op.dtype for op in module.inputs}
    for pixels in module.pixels:
        if types.get(pixels.name) != U8:
            raise _fault(f"the pixel map of `{pixels.name}` belongs to no u8 input", after)


def _faults(op: Op) -> list[str]:
    """What is wrong with one op (usually nothing)."""
    if OPS.get(op.code) is not type(op):
        return ["the op belongs to no vocabulary"]
    try:
        if op.infer() != op.type:
            return [f"its type should be {op.infer()}"]
    except TypeRuleError as rule:
        return [str(rule)]
    found = []
    if any(n < 1 for n in op.type.shape):
        found.append("its shape is empty")
    found += _dtype_faults(op)
    for name, value in op.attributes().items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            allowed = ~np.isnan(value) if name == "thresholds" else np.isfinite(value)
            if not allowed.all():
                found.append(f"its {name} hold {value[~allowed].flat[0]}")
    if isinstance(op, NN_OPS) and not isinstance(op, ArgMax | Constant):
        for operand in op.operands:
            if is_integer(operand.type.dtype):
                lo, hi = value_range(operand.type.dtype)
                if lo < -EXACT_F32 or hi > EXACT_F32:
                    found.append(f"its operand {operand.type} does not fit f32 exactly")
            elif isinstance(operand.type.dtype, Fix):
                found.append(f"its operand {operand.type} is not decoded")
    return found


def _dtype_faults(op: Op) -> list[str]:
    dtype = op.type.dtype
    if isinstance(dtype, Fix) and not (dtype.whole + dtype.fraction == 32 and 0 <= dtype.fraction <= 31):
        return [f"{dtype} is no format of 32 bits"]
    if isinstance(dtype, Code) and not (1 <= dtype.bits <= 16 and dtype.multiplier != 0):
        return [f"{dtype} is no code"]
    if is_integer(dtype):
        lo, hi = value_range(dtype)
        if lo > hi:
            return [f"{dtype} holds no value"]
        if isinstance(dtype, Int | Code) and (lo < -(2**31) or hi >= 2**31):
            return [f"{dtype} leaves int32"]
    return []
