"""Runs passes in order: verifies the module after each, shows it to whoever watches, and keeps the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bnnc.ir.module import Module
from bnnc.ir.verify import verify


@dataclass(frozen=True)
class Pass:
    """A named function from module to module.

    `exact`: the values of the module before and after are the same bits (translation validation demands it). The few
    passes that are not exact fix the meaning of an imported model (design §6) and run before the reference point.
    `chosen`: the user asked for another meaning (`--stream fixed`), so that values may differ by more than roundings.
    """

    name: str
    summary: str
    run: Callable[[Module], Module]
    exact: bool = True
    chosen: bool = False


@dataclass(frozen=True)
class PassReport:
    """What a pass did: how many ops it left, and how long it took."""

    name: str
    ops: int
    seconds: float


Observer = Callable[[Pass, Module, PassReport], None]


def run_passes(module: Module, passes: Sequence[Pass], observe: Observer | None = None) -> Module:
    """The module after all passes. Raises BnncError (internal) when a pass makes a module that does not verify."""
    for each in passes:
        start = time.perf_counter()
        module = each.run(module)
        verify(module)
        if observe is not None:
            observe(each, module, PassReport(each.name, len(module.ops()), time.perf_counter() - start))
    return module
