"""The honest report: for every layer of the model whether it is packed, or left float and why."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bnnc.ir import bit, nn
from bnnc.ir.location import Location
from bnnc.ir.module import Module
from bnnc.ir.op import Op
from bnnc.ir.types import DType
from bnnc.passes.lattice import kind_of, split_weights


@dataclass(frozen=True)
class LayerFact:
    """One conv or dense layer. `macs` are multiply-accumulates a sample; `weight_bytes` as the artifact stores them."""

    name: str
    op: str
    output: str
    macs: int
    weight_bytes: int
    packed: bool
    weights: str
    input: str
    why: str | None
    low_bit: bool
    loc: Location


def layers(module: Module) -> tuple[LayerFact, ...]:
    """Every layer of a «bit» (or «nn») module, in order."""
    reasons = {note.loc: note.text for note in module.notes if note.kind == "float"}
    found = []
    for op in module.ops():
        if isinstance(op, bit.Conv | bit.Dense):
            found.append(_packed(op))
        elif isinstance(op, nn.Conv | nn.Dense) and isinstance(op.w, nn.Constant):
            found.append(_float(op, op.w.values.size, reasons))
    return tuple(found)


def _packed(op: bit.Conv | bit.Dense) -> LayerFact:
    kind = kind_of(op.weights)
    bits = bits_per_weight(op)
    return LayerFact(
        op.loc.name,
        op.opcode,
        str(op.type),
        _macs(op, op.weights.size),
        math.ceil(op.weights.size * bits / 8),
        True,
        kind,
        str(op.x.type.dtype),
        None,
        True,
        op.loc,
    )


def bits_per_weight(op: bit.Conv | bit.Dense) -> int:
    """How many bit planes the weights of a layer take."""
    low, high = int(op.weights.min(initial=0)), int(op.weights.max(initial=0))
    if low >= -1 and high <= 1:
        return 1 if low == 0 or (op.weights != 0).all() else 2
    return max(high, -low - 1).bit_length() + (low < 0)


def _float(op: nn.Conv | nn.Dense, size: int, reasons: dict[Location, str]) -> LayerFact:
    assert isinstance(op.w, nn.Constant)
    split = split_weights(op.w.values)
    return LayerFact(
        op.loc.name,
        op.opcode,
        str(op.type),
        _macs(op, size),
        4 * size,
        False,
        split.kind if split else "float",
        str(_below(op.x)),
        reasons.get(op.loc, "its input is float"),
        split is not None and _many_inputs(op),
        op.loc,
    )


def _below(op: Op) -> DType:
    return op.x.type.dtype if isinstance(op, bit.Decode) else op.type.dtype


def _many_inputs(op: nn.Conv | nn.Dense) -> bool:
    """With fewer than four weights an output, float weights look k-valued by accident."""
    return math.prod(op.w.type.shape[1:]) >= 4


def _macs(op: Op, weights: int) -> int:
    return weights * math.prod(op.type.shape[1:])
