"""From what the user wants (samples a second, or a size) to a folding, by the cost model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bnnc.backends.verilog.cost import Cost, layer_cost
from bnnc.backends.verilog.design import Fold, Folding, Layer
from bnnc.backends.verilog.devices import DEVICES, FIRST_OF, Device, device_named
from bnnc.backends.verilog.folding import Choice, Price, fastest, for_cycles, within
from bnnc.diagnostics import BnncError, Exit, error

MEMORY_IN_LUTS = 60
"""A block RAM counts as so many LUTs when folds are compared: chips have about 400 LUTs for each."""
ROOM = 0.85
"""So full a chip may be estimated to get: routers fail on fuller ones."""

PARALLEL = 1024
"""Products of single bits in a cycle, of all layers together, where the user asks for nothing."""


@dataclass(frozen=True)
class Goals:
    """What the user asked for; 0 and "" are "no demand". `fps` at `clock` MHz; `device` bounds LUTs and block RAMs."""

    fps: float = 0.0
    clock: float = 100.0
    max_luts: int = 0
    max_brams: int = 0
    device: str = ""

    def __post_init__(self) -> None:
        for name, value, good in (("fps", self.fps, self.fps >= 0), ("clock", self.clock, self.clock > 0)):
            if not good or value == float("inf"):
                raise error("B0632", f"`-X {name}={value:g}` is not a rate", exit_code=Exit.USAGE)
        for name, most in (("max-luts", self.max_luts), ("max-brams", self.max_brams)):
            if most < 0:
                raise error("B0632", f"`-X {name}={most}` is not a size", exit_code=Exit.USAGE)

    @property
    def sized(self) -> bool:
        """Whether there is a bound on the size."""
        return bool(self.max_luts or self.max_brams or self.device)

    @property
    def any(self) -> bool:
        """Whether anything is asked for."""
        return self.sized or self.fps > 0

    def chip(self, technology: str) -> Device:
        """The device, or one that stands for the technology. Raises BnncError B0631."""
        if self.device:
            return device_named(self.device)
        return device_named(FIRST_OF.get(technology, FIRST_OF["ecp5"]))

    def bounds(self) -> tuple[float, float]:
        """The most LUTs and block RAMs."""
        luts, memories = float(self.max_luts or 1 << 40), float(self.max_brams or 1 << 40)
        if self.device:
            chip = device_named(self.device)
            luts, memories = min(luts, ROOM * chip.luts), min(memories, chip.memories)
        return luts, memories


def technology_of(goals: Goals, given: str) -> str:
    """The technology that costs are estimated for. Raises BnncError B0631 for an unknown device."""
    if goals.device:
        return device_named(goals.device).technology
    return given if given in FIRST_OF else "ecp5"


def priced(technology: str) -> Price:
    """What a layer costs at a fold, in LUTs; asked for often, so it is kept."""
    known: dict[tuple[str, Fold], float] = {}

    def price(layer: Layer, fold: Fold) -> float:
        key = (layer.name, fold)
        if key not in known:
            cost = layer_cost(layer, fold, technology)
            known[key] = cost.luts + 2 * cost.carries + MEMORY_IN_LUTS * cost.memories
        return known[key]

    return price


def plain(layers: Sequence[Layer], technology: str) -> Folding:
    """A folding where nothing is asked for: about PARALLEL products of bits a cycle, no layer faster than the slowest
    can be."""
    work = sum(layer.work * layer.input_width * layer.weight_width for layer in layers)
    most = max([work // PARALLEL, *(fastest(layer) for layer in layers), 1])
    choice = for_cycles(layers, most, priced(technology))
    return choice.folding if choice else Folding()


def chosen(layers: Sequence[Layer], goals: Goals, technology: str, others: Callable[[Folding], Cost]) -> Folding:
    """The folding: the smallest for `fps`, else the fastest within the size. `others`: what all else costs with it.

    Raises BnncError B0632, which says the best that can be had.
    """
    price = priced(technology)

    def size(choice: Choice) -> Cost:
        result = others(choice.folding)
        for layer in layers:
            result = result + layer_cost(layer, choice.folding.of(layer), technology)
        return result

    def fits(choice: Choice) -> bool:
        if not goals.sized:
            return True
        (luts, memories), cost = goals.bounds(), size(choice)
        return cost.luts + 2 * cost.carries <= luts and cost.memories <= memories

    def smallest() -> Cost:
        choice = for_cycles(layers, max(layer.work for layer in layers), price) if layers else None
        return size(choice) if choice else others(Folding())

    if goals.fps > 0:
        most = int(goals.clock * 1e6 / goals.fps)
        choice = for_cycles(layers, most, price) if most >= 1 else None
        if choice is None:
            raise _too_fast(layers, goals)
        if fits(choice):
            return choice.folding
        best = within(layers, fits, price)
        if best is None:
            least = smallest()
            text = f"even the smallest circuit takes about {_area(least)} LUTs and {least.memories} block RAMs"
        else:
            text = f"at most {goals.clock * 1e6 / best.cycles:.4g} samples a second fit"
        raise _too_large(size(choice), goals, text)
    best = within(layers, fits, price)
    if best is None:
        raise _too_large(smallest(), goals, "")
    return best.folding


def _too_fast(layers: Sequence[Layer], goals: Goals) -> BnncError:
    if not layers:
        return error(
            "B0632",
            f"{goals.fps:g} samples a second at {goals.clock:g} MHz cannot be reached",
            notes=("unrolled layers take a cycle a sample",),
            helps=(f"-X fps={goals.clock * 1e6:.6g}, the best at this clock",),
            exit_code=Exit.CHECK_FAILED,
        )
    slowest = max(layers, key=fastest)
    reached = goals.clock * 1e6 / fastest(slowest)
    return error(
        "B0632",
        f"{goals.fps:g} samples a second at {goals.clock:g} MHz cannot be reached",
        places=(slowest.loc,),
        notes=(f"layer `{slowest.name}` takes at least {fastest(slowest)} cycles a sample",),
        helps=(f"-X fps={reached:.6g}, the best at this clock", "-X unroll=all, for small dense networks"),
        exit_code=Exit.CHECK_FAILED,
    )


def _area(cost: Cost) -> int:
    return math.ceil(cost.luts + 2 * cost.carries)


def _too_large(cost: Cost, goals: Goals, best: str) -> BnncError:
    luts, memories = goals.bounds()
    asked = [f"{luts:.0f} LUTs"] if luts < 1 << 40 else []
    asked += [f"{memories:.0f} block RAMs"] if memories < 1 << 40 else []
    area = _area(cost)
    larger = [d.name for d in DEVICES if area <= ROOM * d.luts and cost.memories <= d.memories]
    sizes = [f"-X max-luts={area}"] if 0 < goals.max_luts < area else []
    sizes += [f"-X max-brams={cost.memories}"] if 0 < goals.max_brams < cost.memories else []
    sizes += [f"-X device={larger[0]}"] if goals.device and larger else []
    kind = "" if goals.fps > 0 else "even the smallest circuit takes "
    return error(
        "B0632",
        f"the network does not fit {' and '.join(asked)}",
        notes=(f"{kind}about {area} LUTs and {cost.memories} block RAMs", *([best] if best else [])),
        helps=(" ".join(sizes) or "a smaller network",),
        exit_code=Exit.CHECK_FAILED,
    )


__all__ = ["Goals", "chosen", "plain", "priced", "technology_of"]
