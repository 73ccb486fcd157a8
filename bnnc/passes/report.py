"""The honest report: for every layer of the model whether it is packed, or left float and why."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bnnc.ir import bit, fixed, nn
from bnnc.ir.codebook import codebook_of
from bnnc.ir.location import Location
from bnnc.ir.module import Module
from bnnc.ir.op import Op
from bnnc.ir.types import DType
from bnnc.passes.lattice import kind_of, split_weights

MASKED = 64  # so many filters share the decision whether there are zeros among their weights


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
    bits_a_weight: float = 32.0


def layers(module: Module) -> tuple[LayerFact, ...]:
    """Every layer of a «bit» (or «nn») module, in order."""
    reasons = {note.loc: note.text for note in module.notes if note.kind == "float"}
    found = []
    for op in module.ops():
        if isinstance(op, bit.Conv | bit.Dense):
            found.append(_packed(op))
        elif isinstance(op, fixed.Conv | fixed.Dense):
            found.append(_fixed(op, reasons))
        elif isinstance(op, nn.Conv | nn.Dense) and isinstance(op.w, nn.Constant):
            found.append(_float(op, op.w.values.size, reasons))
    return tuple(found)


def _packed(op: bit.Conv | bit.Dense) -> LayerFact:
    kind = kind_of(op.weights)
    book = codebook_of(op.weights) if op.weights.ndim > 2 else None
    if book is not None:
        kind = f"{kind} in {len(book.patterns)} kernels"
    bits = bits_per_weight(op.weights)
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
        bits,
    )


def bits_per_weight(weights: np.ndarray) -> float:
    """How many bits a weight takes in an artifact: its planes, less with a codebook; masks only where zeros are."""
    low, high = int(weights.min(initial=0)), int(weights.max(initial=0))
    book = codebook_of(weights) if weights.ndim > 2 else None
    if book is not None:
        return book.bits / weights.size
    if low == 0 and high == 1:
        return 1
    if low >= -1 and high <= 1:
        blocks = np.flatnonzero((weights.reshape(len(weights), -1) == 0).any(1)) // MASKED
        span = 0 if blocks.size == 0 else min(len(weights), int(blocks[-1] - blocks[0] + 1) * MASKED)
        return 1 + span / len(weights)
    return max(high, -low - 1).bit_length() + (low < 0)


def _fixed(op: fixed.Conv | fixed.Dense, reasons: dict[Location, str]) -> LayerFact:
    why = f"fixed point: {reasons.get(op.loc, 'its input is a stream')}"
    return LayerFact(
        op.loc.name,
        op.opcode,
        str(op.type),
        _macs(op, op.weights.size),
        op.weights.nbytes + op.bias.nbytes,
        False,
        "32-bit",
        str(op.x.type.dtype),
        why,
        False,
        op.loc,
    )


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
