"""Max pools and steps change places: integers are pooled before a monotone map, bits after a step."""

from __future__ import annotations

import numpy as np

from bnnc.ir import bit, nn
from bnnc.ir.module import Module
from bnnc.ir.op import Op
from bnnc.ir.rewrite import rebuild, replace
from bnnc.ir.types import Bit
from bnnc.passes.canonical import per_channel
from bnnc.passes.images import Images
from bnnc.passes.lattice import lattice_of
from bnnc.passes.regions import Region
from bnnc.passes.tables import ENUMERATE
from bnnc.passes.values import Values, Whole


def pool_integers_first(module: Module) -> Module:
    """max over windows of f(sum), f monotone in every channel, becomes f(max over windows of the sum).

    Where f falls, the weights of the channel are negated, so that the maximum is always the right end.
    """
    images = Images()

    def change(op: Op) -> Op:
        if not isinstance(op, nn.Pool) or op.function != "max":
            return op
        region = images.regions.region(op.x)
        if region is None or not isinstance(region.source, nn.Conv) or lattice_of(images.of(op.x)) is not None:
            return op
        domain = images.sets.of(region.source)
        falls = _falling(region, domain)
        return op if falls is None else _pooled_first(op, region, region.source, falls)

    return rebuild(module, change)


def _pooled_first(pool: nn.Pool, region: Region, source: nn.Conv, falls: np.ndarray) -> Op:
    assert isinstance(source.w, nn.Constant)
    sign = np.where(falls, -1, 1).astype(np.float32)
    kernel = nn.Constant(source.w.values * sign.reshape(-1, *(1,) * (source.w.values.ndim - 1)))
    conv = nn.Conv(source.x, kernel, None, source.strides, source.pads, source.dilations, source.groups, loc=source.loc)
    pooled: Op = nn.Pool(
        conv, "max", pool.kernel, pool.strides, pool.pads, pool.dilations, pool.ceil_mode, loc=pool.loc
    )
    if falls.any():
        pooled = nn.Map("mul", (pooled, per_channel(sign, len(pooled.type.shape))), loc=pool.loc)
    new: dict[Op, Op] = {source: pooled}
    for op in region.ops:
        new[op] = op.with_operands(lambda x: new.get(x, x))
    return new[region.root]


def _falling(region: Region, domain: Values) -> np.ndarray | None:
    """For every channel whether the region falls over its domain (else it rises); None if some channel does neither."""
    if not isinstance(domain, Whole):
        return None
    channels = region.root.type.shape[0]
    lo, hi = np.broadcast_to(domain.lo, channels), np.broadcast_to(domain.hi, channels)
    index = np.arange(channels)
    if region.steps_only_up_or_down():
        falls = region.evaluate(hi, index) < region.evaluate(lo, index)
        return np.asarray(falls)
    if int((hi - lo).max()) >= ENUMERATE:
        return None
    result = np.zeros(channels, bool)
    for channel in range(channels):
        points = np.arange(lo[channel], hi[channel] + 1, domain.step)
        change = np.diff(region.evaluate(points, np.full(points.shape, channel)))
        if ((change < 0).any() and (change > 0).any()) or np.isnan(change).any():
            return None
        result[channel] = bool((change < 0).any())
    return result


def pool_bits_last(module: Module) -> Module:
    """step(max over windows) becomes max over windows of the step: OR of bits, AND in channels where the step falls."""
    users = module.users()
    moved = {op: _pooled_bits(op, op.x) for op in users if isinstance(op, bit.Step) and isinstance(op.x, bit.Pool)}
    alone = {op: new for op, new in moved.items() if new is not None and len(users[op.operands[0]]) == 1}
    return replace(module, alone)


def _pooled_bits(step: bit.Step, pool: bit.Pool) -> Op | None:
    if pool.function != "max" or pool.smallest is not None:
        return None
    rises = (np.diff(step.values, axis=1) >= 0).all(1)
    falls = (np.diff(step.values, axis=1) <= 0).all(1)
    if not (rises | falls).all():
        return None
    below = bit.Step(pool.x, step.thresholds, step.values, step.dtype, loc=step.loc)
    smallest = np.broadcast_to(~rises, pool.type.shape[:1]).copy()
    kept = smallest if smallest.any() else None
    if kept is not None and not isinstance(step.dtype, Bit):
        return None
    return bit.Pool(
        below, "max", pool.kernel, pool.strides, pool.pads, pool.dilations, pool.ceil_mode, kept, loc=pool.loc
    )
