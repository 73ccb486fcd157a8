"""How many multipliers each layer gets: the smallest circuit for a speed, or the fastest for a size.

A layer with pe outputs and simd inputs at work takes outputs/pe * inputs/simd cycles a vector. All layers run at the
same time, so the slowest sets the pace, and a layer faster than that is wasted area.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bnnc.backends.verilog.design import Fold, Folding, Layer
from bnnc.backends.verilog.layers import folds_of

Price = Callable[[Layer, Fold], float]
"""What a layer costs at a fold, in one unit for all (LUTs, with memories counted as some)."""


@dataclass(frozen=True)
class Choice:
    """A folding and the cycles a sample of its slowest layer."""

    folding: Folding
    cycles: int


def fastest(layer: Layer) -> int:
    """The fewest cycles a sample that any fold of a layer allows."""
    return min(layer.cycles(fold) for fold in folds_of(layer))


def for_cycles(layers: Sequence[Layer], most: int, price: Price) -> Choice | None:
    """The cheapest folding that takes at most so many cycles a sample; None if a layer cannot."""
    chosen: list[tuple[str, Fold]] = []
    slowest = 1
    for layer in layers:
        allowed = [fold for fold in folds_of(layer) if layer.cycles(fold) <= most]
        if not allowed:
            return None
        best = min(allowed, key=lambda fold: (price(layer, fold), layer.cycles(fold), fold.pe))
        chosen.append((layer.name, best))
        slowest = max(slowest, layer.cycles(best))
    return Choice(Folding(tuple(chosen)), slowest)


def paces(layers: Sequence[Layer]) -> tuple[int, ...]:
    """The cycles a sample that can be the slowest layer's, ascending: nothing between them makes another folding."""
    limit = max((fastest(layer) for layer in layers), default=1)
    return tuple(sorted({max(limit, layer.cycles(fold)) for layer in layers for fold in folds_of(layer)} or {1}))


def within(layers: Sequence[Layer], fits: Callable[[Choice], bool], price: Price) -> Choice | None:
    """The fastest folding of which `fits` holds (which must hold of all slower ones too); None if of none."""
    candidates = paces(layers)
    low, high = 0, len(candidates)
    best: Choice | None = None
    while low < high:
        middle = (low + high) // 2
        choice = for_cycles(layers, candidates[middle], price)
        if choice is not None and fits(choice):
            best, high = choice, middle
        else:
            low = middle + 1
    return best


__all__ = ["Choice", "Price", "fastest", "for_cycles", "paces", "within"]
