"""Float arithmetic between integers and a step, as a net says it (`dense -> norm -> sign`), joins the step's table.

Imported models come here through tabulation.py. A net in the .bnn language is written on integers from the start: only
what stands between a `decode` and a step is left to be evaluated, on every integer that the step can see.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bnnc.ir import bit, nn
from bnnc.ir.module import Module
from bnnc.ir.op import Op
from bnnc.ir.rewrite import rebuild
from bnnc.ir.types import is_integer, value_range
from bnnc.passes.canonical import batch_norm_as_maps, per_channel
from bnnc.passes.regions import Regions
from bnnc.passes.tables import Steps, tabulate
from bnnc.passes.values import whole

MOST_THRESHOLDS = 256
_FAR = np.iinfo(np.int32).max


def fold_islands(module: Module) -> Module:
    """Steps that read the integers themselves, wherever that is proven to give the same; the rest stays as it is."""
    regions = Regions()

    def change(op: Op) -> Op:
        if isinstance(op, bit.Step) and not is_integer(op.x.type.dtype):
            return _folded(op, regions)
        return op

    if not any(isinstance(op, bit.Step) and not is_integer(op.x.type.dtype) for op in module.ops()):
        return module
    spelled = rebuild(module, lambda op: batch_norm_as_maps(op) if isinstance(op, nn.BatchNorm) else op)
    return rebuild(spelled, change)


def _folded(op: bit.Step, regions: Regions) -> Op:
    """The step on the integers behind its decode; `op` if there are none, or the function is no step function."""
    tables: list[Steps] = []
    source: Op | None = None
    if not 0 < op.thresholds.shape[1] <= MOST_THRESHOLDS:
        return op
    for column in op.thresholds.T:
        # One threshold at a time: each of them is a monotone end of a monotone chain.
        reached = nn.Map(function="greater_equal", xs=(op.x, per_channel(column, len(op.type.shape))))
        region = regions.region(reached)
        if region is None or not isinstance(region.source, bit.Decode):
            return op
        source = region.source.x
        steps = tabulate(region, whole(*value_range(source.type.dtype)))
        if steps is None or steps.thresholds.dtype != np.int32:
            return op
        tables.append(steps)
    assert source is not None
    thresholds, counts = _joined(tables)
    values = np.take_along_axis(np.broadcast_to(op.values, (len(counts), op.values.shape[1])), counts, axis=1)
    if (thresholds == thresholds[:1]).all() and (values == values[:1]).all():
        thresholds, values = thresholds[:1], values[:1]
    return dataclasses.replace(op, x=source, thresholds=thresholds, values=np.ascontiguousarray(values))


def _joined(tables: list[Steps]) -> tuple[np.ndarray, np.ndarray]:
    """The sum of several tables as one: thresholds int32 [C, n], counts int64 [C, n + 1]. Rows of fewer changes are
    filled with a threshold that counts for nothing."""
    rows = []
    for channel in range(len(tables[0].thresholds)):
        points = np.unique(np.concatenate([table.thresholds[channel] for table in tables])).astype(np.int64)
        counts = np.zeros(len(points) + 1, np.int64)
        for table in tables:
            passed = np.searchsorted(table.thresholds[channel], points, side="right")
            places = np.concatenate([np.zeros(1, np.int64), passed])
            counts += table.values[channel][places].astype(np.int64)
        rows.append((points, counts))
    most = max(len(points) for points, _ in rows)
    thresholds = np.stack([np.pad(p, (0, most - len(p)), constant_values=_FAR) for p, _ in rows])
    return thresholds.astype(np.int32), np.stack([np.pad(c, (0, most - len(c) + 1), mode="edge") for _, c in rows])
