"""Hints: layers that are float by mistake, named with what would make them binary."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bnnc.ir import move, nn
from bnnc.ir.module import Input, Module, Note
from bnnc.ir.op import Op
from bnnc.passes.lattice import split_weights
from bnnc.passes.values import ValueSets, integers

FEWEST_INPUTS = 8  # of an output: with fewer, float weights look ±1 by accident
FEW_VALUES = 16  # an input of more integers than this was not binarised
CLIPPED = 0.01  # of the weights stand exactly at -1 or 1, where clipped latent weights gather

Layer = nn.Conv | nn.Dense


def add_hints(module: Module) -> Module:
    """Warn of lost signs (B0411, B0415), and say of other float layers what their packed neighbours have."""
    sets = ValueSets()
    found = [op for op in module.ops() if isinstance(op, Layer) and isinstance(op.w, nn.Constant)]
    packed = [op for op in found if _binary_weights(op) and _few(op, sets)]
    warnings: list[Note] = []
    more: dict[object, str] = {}
    for op in found:
        if op in packed or op.w.type.size // op.w.type.shape[0] < FEWEST_INPUTS:
            continue
        if _binary_weights(op):
            if _clipped(op.x):
                warnings.append(Note("warning", LOST_SIGN, op.loc, "B0411"))
            elif packed and _is_hidden(op):
                more[op.loc] = f"; a Sign in front of it, as `{packed[0].loc.name}` has, would make it binary"
        elif _few(op, sets):
            assert isinstance(op.w, nn.Constant)
            if packed and _latent(op.w.values):
                warnings.append(Note("warning", LOST_WEIGHTS, op.loc, "B0415"))
            more[op.loc] = "; its input is binary, and a Sign on its weights would make all of it so"
    if not warnings and not more:
        return module
    notes = [_longer(note, more) for note in module.notes]
    return replace(module, notes=tuple(dict.fromkeys((*notes, *warnings))))


LOST_SIGN = (
    "its weights are ±1 and its input is clipped to -1..1 but never binarised: the export has probably "
    "lost a sign (`input.data = sign(input.data)` is invisible to the exporter)"
)
LOST_WEIGHTS = (
    "its input is binary and its weights are clipped to -1..1 but never binarised: these are probably latent "
    "weights whose sign the export has lost (`weight.data = sign(weight.org)` before the export brings it back)"
)


def _longer(note: Note, more: dict[object, str]) -> Note:
    extra = more.get(note.loc) if note.kind == "float" else None
    return note if extra is None or note.text.endswith(extra) else replace(note, text=note.text + extra)


def _binary_weights(op: Layer) -> bool:
    assert isinstance(op.w, nn.Constant)
    split = split_weights(op.w.values)
    return split is not None and int(np.abs(split.integers).max(initial=0)) <= 1


def _few(op: Layer, sets: ValueSets) -> bool:
    ends = integers(sets.of(op.x))
    return ends is not None and ends[1] - ends[0] < FEW_VALUES


def _clipped(x: Op) -> bool:
    """Whether x is clipped to -1..1: what a Hardtanh leaves when the sign behind it is lost."""
    while isinstance(x, move.Reshape | move.Transpose | nn.Pool):
        x = x.x
    if not isinstance(x, nn.Map) or x.function != "clip":
        return False
    return [bound.values.reshape(-1)[0] for bound in x.xs[1:] if isinstance(bound, nn.Constant)] == [-1, 1]


def _is_hidden(op: Layer) -> bool:
    """Whether another layer comes before this one."""
    stack, seen = [op.x], set()
    while stack:
        below = stack.pop()
        if isinstance(below, Layer):
            return True
        if below not in seen and not isinstance(below, Input):
            seen.add(below)
            stack.extend(below.operands)
    return False


def _latent(weights: np.ndarray) -> bool:
    magnitudes = np.abs(weights)
    return float(magnitudes.max(initial=0)) == 1 and float((magnitudes == 1).mean()) >= CLIPPED
