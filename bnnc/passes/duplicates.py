"""Equal ops are computed once: two of one class, with equal attributes, that read the same operands."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from bnnc.ir import bit, nn
from bnnc.ir.module import Input, Module, Note
from bnnc.ir.op import Op
from bnnc.ir.rewrite import rebuild

LAYERS = (nn.Conv, nn.Dense, bit.Conv, bit.Dense)


def merge_duplicates(module: Module) -> Module:
    """Every op that repeats another is replaced by it; a layer that goes away so is noted."""
    first: dict[tuple[Any, ...], Op] = {}
    notes: dict[Note, None] = {}

    def change(op: Op) -> Op:
        if isinstance(op, Input):
            return op
        same = first.setdefault(_key(op), op)
        if same is not op and isinstance(op, LAYERS) and op.loc != same.loc:
            notes[Note("info", f"the same as `{same.loc.name}`: computed once", op.loc)] = None
        return same

    result = rebuild(module, change)
    if result is module:
        return module
    merged = tuple(dict.fromkeys((*module.notes, *notes)))
    return Module(result.name, result.inputs, result.outputs, merged, result.pixels, result.facts)


def _key(op: Op) -> tuple[Any, ...]:
    attributes = tuple((name, _value(value)) for name, value in op.attributes().items())
    # How many operands an optional field has shows in their number; which they are, in their identity.
    return type(op), attributes, tuple(id(x) for x in op.operands)


def _value(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).digest()
    if isinstance(value, float):
        return value.hex()  # -0 and 0 are different
    return value
