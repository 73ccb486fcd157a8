"""One-channel images are flattened before their quantiser: it costs nothing there, and bits fill whole words."""

from __future__ import annotations

from dataclasses import replace as with_fields

from bnnc.ir import bit, move
from bnnc.ir.module import Module
from bnnc.ir.op import Op
from bnnc.ir.rewrite import rebuild


def flatten_first(module: Module) -> Module:
    """reshape(step(x)) of an image x [1, …] becomes step(reshape(x)): bits are packed along the channels."""

    def change(op: Op) -> Op:
        if not isinstance(op, move.Reshape) or len(op.shape) != 1 or not isinstance(op.x, bit.Step):
            return op
        step = op.x
        if step.type.shape[0] != 1 or len(step.type.shape) == 1:
            return op
        flat = move.Reshape(step.x, op.shape, loc=op.loc)
        return with_fields(step, x=flat)

    return rebuild(module, change)
