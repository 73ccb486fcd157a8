"""A network whose code runs on an emulated board, called with the user's arrays like one that runs in this process."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bnnc.backends.c.boards import Emulated
from bnnc.backends.c.interface import Interface
from bnnc.protocols import Counts, Place


class OnBoard:
    """Callable: arrays by input name, batch first, to arrays by output name."""

    def __init__(self, interface: Interface, emulated: Emulated) -> None:
        self._interface, self._emulated = interface, emulated
        board = emulated.board
        by = "the Python package unicorn" if board.emulator == "unicorn" else board.emulator
        how = ", its input row by row" if emulated.rows else ""
        self.place = Place(
            f"{board.core}, emulated: {board.name} in {by}, built by {emulated.toolchain.name}{how}", True
        )

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run a batch of any length."""
        found = self._emulated(self._arrays(inputs))
        outputs = self._interface.module.outputs
        return {o.name: self._interface.taken(o, r) for o, r in zip(outputs, found, strict=True)}

    def count(self, inputs: Mapping[str, np.ndarray]) -> Counts:
        """What every layer executes on a batch."""
        return self._emulated.count(self._arrays(inputs))[0]

    def _arrays(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        given = self._interface.given(inputs)
        return [np.asarray(given[op.name]) for op in self._interface.module.inputs]


__all__ = ["OnBoard"]
