"""Padding that stands as an op of its own joins the integer convolution behind it."""

from __future__ import annotations

from bnnc.ir import bit, move
from bnnc.ir.module import Module
from bnnc.ir.op import Op
from bnnc.ir.rewrite import rebuild


def join_padding(module: Module) -> Module:
    """conv(pad(x, v)) with v in -1, 0, 1 becomes a conv that pads with v itself."""

    def change(op: Op) -> Op:
        if not isinstance(op, bit.Conv) or not isinstance(op.x, move.Pad) or op.x.mode != "constant":
            return op
        pad, rank = op.x, len(op.x.type.shape)
        value = int(pad.value)
        fits = value in (-1, 0, 1) and (not any(op.pads) or op.pad_value == value)
        if not fits or pad.pads[0] or pad.pads[rank]:
            return op
        extra = (*pad.pads[1:rank], *pad.pads[rank + 1 :])
        pads = tuple(a + b for a, b in zip(op.pads, extra, strict=True))
        return bit.Conv(pad.x, op.weights, op.strides, pads, op.dilations, op.groups, value, loc=op.loc)

    return rebuild(module, change)
