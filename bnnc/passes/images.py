"""The image of a tensor: its exact list of values, by exhaustive evaluation of the region that makes it if need be."""

from __future__ import annotations

from collections.abc import Callable

from bnnc.ir import move, nn
from bnnc.ir.op import Op
from bnnc.passes.regions import Region, Regions
from bnnc.passes.tables import Steps, tabulate
from bnnc.passes.values import Interval, Values, ValueSets, finite

Refine = Callable[[Region, Values, Steps], Steps]


class Images:
    """Value sets of a graph, sharpened by evaluation where a consumer asks for the values themselves."""

    def __init__(self, refine: Refine | None = None) -> None:
        """`refine`: puts steps right that were evaluated in fp32 (for other semantics)."""
        self._refine = refine
        self.sets = ValueSets()
        self.regions = Regions()
        self._steps: dict[Op, Steps | None] = {}

    def steps(self, op: Op) -> Steps | None:
        """op as steps of its region's source; None if it is not elementwise in one tensor of known domain."""
        if op not in self._steps:
            region = self.regions.region(op)
            domain = self.sets.of(region.source) if region else None
            steps = tabulate(region, domain) if region and domain else None
            if steps and region and domain and self._refine:
                steps = self._refine(region, domain, steps)
            self._steps[op] = steps
        return self._steps[op]

    def of(self, op: Op) -> Values:
        """What op can hold; where a set alone is an interval, its region, or that of what it moves, is evaluated."""
        for each in _carried(op) if isinstance(self.sets.of(op), Interval) else ():
            if isinstance(each, _CARRIERS):
                self.sets.again(each)
            if isinstance(self.sets.of(each), Interval):
                steps = self.steps(each)
                if steps is not None:
                    self.sets.learn(each, finite(steps.image))
        return self.sets.of(op)


_CARRIERS: tuple[type[Op], ...] = (nn.Pool, *move.MOVES)


def _carried(op: Op) -> list[Op]:
    """op and, where it is a pool or moves elements, what it reads, and so on; operands first."""
    order: list[Op] = []
    seen: set[Op] = set()
    stack = [(op, False)]
    while stack:
        top, ready = stack.pop()
        if ready:
            order.append(top)
        elif top not in seen:
            seen.add(top)
            stack.append((top, True))
            stack.extend((x, False) for x in top.operands if isinstance(top, _CARRIERS))
    return order
