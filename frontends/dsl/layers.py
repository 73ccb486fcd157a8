"""All layers of the language by name, in the order of the documentation."""

from __future__ import annotations

from bnnc.frontends.dsl import (
    layers_encoders,
    layers_floats,
    layers_moves,
    layers_pools,
    layers_products,
    layers_steps,
)
from bnnc.frontends.dsl.catalogue import Layer

GROUPS: dict[str, tuple[Layer, ...]] = {
    "Encoders": layers_encoders.LAYERS,
    "Sums": layers_products.LAYERS,
    "Steps": layers_steps.LAYERS,
    "Pools": layers_pools.LAYERS,
    "Joining and moving": layers_moves.LAYERS,
    "Real numbers": layers_floats.LAYERS,
}
LAYERS: dict[str, Layer] = {layer.name: layer for group in GROUPS.values() for layer in group}
ENCODERS = frozenset(layer.name for layer in layers_encoders.LAYERS)
