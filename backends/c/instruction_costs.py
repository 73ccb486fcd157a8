"""What nodes of a program cost a processor, in instructions: data for expression_costs.py."""

from __future__ import annotations

from dataclasses import dataclass

from bnnc.loops.machine import Machine


@dataclass(frozen=True)
class Costs:
    """Instructions of one node each, as gcc -O2 makes them of the printed C, fitted to emulated runs of layers of all
    kernels. `place`: of an index into elements wider than a byte; `round`: of a loop; `call`: with what the callee
    saves; `divide`: once, and for every bit of the quotient; `wide`: so many times as much for 64 bits. None: not
    known, as libraries do it. `margin`: a bound is so many times the sum of all, and above all that was measured.
    """

    operation: float
    constant: float
    load: float
    place: float
    store: float
    choice: float
    branch: float
    round: float
    call: float
    argument: float
    popcount: float
    lowest_bit: float
    divide: tuple[float, float]
    wide: float
    floats: float | None
    square_root: float | None
    margin: float


_THUMB1 = Costs(
    operation=1.2, constant=0.5, load=1.6, place=0.8, store=2, choice=3, branch=2.5, round=3.5, call=26, argument=2,
    popcount=20, lowest_bit=18, divide=(30, 4), wide=3, floats=None, square_root=None, margin=1.75,
)  # fmt: skip
_THUMB2 = Costs(
    operation=1, constant=0.3, load=1.2, place=0, store=1.2, choice=2.5, branch=2, round=3, call=10, argument=1.5,
    popcount=14, lowest_bit=5, divide=(3, 0), wide=2.5, floats=2, square_root=3, margin=1.4,
)  # fmt: skip
COSTS = {
    "cortex-m0": _THUMB1,
    "cortex-m3": _THUMB2,
    "cortex-m4": _THUMB2,
    "cortex-m7": _THUMB2,
    "cortex-m33": _THUMB2,
}
"""By machine. Of others nothing is known: the clock of AVR counts cycles, and vectors have costs of their own."""


def costs_of(machine: Machine) -> Costs | None:
    """Those of a machine; None where nobody has measured them."""
    return COSTS.get(machine.name)


__all__ = ["COSTS", "Costs", "costs_of"]
