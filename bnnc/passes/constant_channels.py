"""Channels of bits that never change, or that nobody reads, are not computed: what they add joins the steps behind."""

from __future__ import annotations

from dataclasses import replace as with_fields

import numpy as np

from bnnc.ir import bit
from bnnc.ir.module import Module
from bnnc.ir.op import Op
from bnnc.ir.rewrite import replace
from bnnc.ir.types import Bit, Trit

ROUNDS = 64


def drop_constant_channels(module: Module) -> Module:
    """Steps that give one value in a channel lose that channel, together with its filter and its readers' weights.

    Only where every reader is a layer whose sums all go into steps: their thresholds move by what the channel adds.
    """
    for _ in range(ROUNDS):
        users = module.users()
        results = {output.value for output in module.outputs}
        smaller = next((new for op in users if (new := _without(op, users, results))), None)
        if smaller is None:
            break
        module = replace(module, smaller)
    return module


def _without(op: Op, users: dict[Op, list[Op]], results: set[Op]) -> dict[Op, Op] | None:
    """The replacements that take useless channels out of a step; None if there are none, or something needs them."""
    if not isinstance(op, bit.Step) or op in results or len(op.thresholds) != op.type.shape[0]:
        return None
    source = op.x
    if not isinstance(source, bit.Conv | bit.Dense) or len(users[source]) != 1 or source in results:
        return None
    if isinstance(source, bit.Conv) and source.groups > 1:
        return None
    readers = _readers(op, users, results)
    if readers is None:
        return None
    constant = (op.values == op.values[:, :1]).all(1)
    read = np.zeros(len(constant), bool)
    for reader, _ in readers:
        read |= reader.weights.swapaxes(0, 1).reshape(len(constant), -1).any(1)
    if any(not _same_everywhere(reader, op.values[constant & read, 0]) for reader, _ in readers):
        constant &= ~read
    useless = constant | ~read
    if not useless.any() or useless.all():
        return None
    kept = ~useless
    thin = with_fields(source, weights=np.ascontiguousarray(source.weights[kept]))
    values = op.values[kept]
    dtype = Bit() if isinstance(op.dtype, Trit) and bool(values.all()) else op.dtype
    bits = with_fields(op, x=thin, thresholds=op.thresholds[kept], values=values, dtype=dtype)
    found: dict[Op, Op] = {}
    for reader, steps in readers:
        x: Op = bits
        if isinstance(reader.x, bit.Pool):
            smallest = None if reader.x.smallest is None else reader.x.smallest[kept]
            x = with_fields(reader.x, x=bits, smallest=smallest)
        layer = with_fields(reader, x=x, weights=np.ascontiguousarray(reader.weights[:, kept]))
        taps = reader.weights[:, useless].astype(np.int64)
        added = (taps * op.values[useless, 0].reshape(1, -1, *(1,) * (taps.ndim - 2))).reshape(len(taps), -1).sum(1)
        for step in steps:
            moved = step.thresholds.astype(np.int64) - added[:, None]
            limits = np.iinfo(np.int32)
            # A threshold that is never reached stays so.
            moved = np.where(step.thresholds == limits.max, limits.max, np.clip(moved, limits.min, limits.max))
            table = np.broadcast_to(step.values, (len(moved), step.values.shape[1]))
            found[step] = with_fields(step, x=layer, thresholds=moved.astype(np.int32), values=table)
    return found


def _readers(
    op: Op, users: dict[Op, list[Op]], results: set[Op]
) -> list[tuple[bit.Conv | bit.Dense, list[bit.Step]]] | None:
    """The layers that read op, directly or through a max pool, with the steps that read them; None if others do."""
    found = []
    for reader in dict.fromkeys(users[op]):
        if isinstance(reader, bit.Pool) and reader.function == "max" and reader not in results:
            layers = dict.fromkeys(users[reader])
            if any(isinstance(layer, bit.Pool) for layer in layers):
                return None
        else:
            layers = dict.fromkeys([reader])
        for layer in layers:
            plain = isinstance(layer, bit.Dense) or (isinstance(layer, bit.Conv) and layer.groups == 1)
            steps = users[layer]
            if not plain or layer in results or not all(isinstance(s, bit.Step) for s in steps):
                return None
            assert isinstance(layer, bit.Conv | bit.Dense)
            found.append((layer, [s for s in steps if isinstance(s, bit.Step)]))
    return found


def _same_everywhere(layer: bit.Conv | bit.Dense, values: np.ndarray) -> bool:
    """Whether channels of these values add the same at every position: padding must not show."""
    if isinstance(layer, bit.Dense) or not any(layer.pads):
        return True
    return bool((values == layer.pad_value).all())
