"""The image of a tensor: its exact list of values, by exhaustive evaluation of the region that makes it if need be."""

from __future__ import annotations

from bnnc.ir.op import Op
from bnnc.passes.regions import Regions
from bnnc.passes.tables import Steps, tabulate
from bnnc.passes.values import Interval, Values, ValueSets, finite


class Images:
    """Value sets of a graph, sharpened by evaluation where a consumer asks for the values themselves."""

    def __init__(self) -> None:
        self.sets = ValueSets()
        self.regions = Regions()
        self._steps: dict[Op, Steps | None] = {}

    def steps(self, op: Op) -> Steps | None:
        """op as steps of its region's source; None if it is not elementwise in one tensor of known domain."""
        if op not in self._steps:
            region = self.regions.region(op)
            self._steps[op] = tabulate(region, self.sets.of(region.source)) if region else None
        return self._steps[op]

    def of(self, op: Op) -> Values:
        """What op can hold; if the value set alone is an interval, its region is evaluated."""
        values = self.sets.of(op)
        if isinstance(values, Interval):
            steps = self.steps(op)
            if steps is not None:
                values = finite(steps.image)
                self.sets.learn(op, values)
        return values
