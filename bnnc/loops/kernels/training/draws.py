"""Random numbers by the counter (`bnnc.ir.training.draw`) as code, one or a vector at a time."""

from __future__ import annotations

from bnnc.loops.builder import Builder
from bnnc.loops.ir import I64, Binary, Expression, constant, splat

GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def _shifted(z: Expression, bits: int) -> Expression:
    return Binary("lshr", z, constant(bits, z.type))


def mix(b: Builder, z: Expression) -> Expression:
    """The finaliser of splitmix64, on I64 or a vector of it."""
    for shift, factor in ((30, _FIRST), (27, _SECOND)):
        z = b.let(z, "z")
        z = (z ^ _shifted(z, shift)) * factor
    z = b.let(z, "z")
    return b.let(z ^ _shifted(z, 31), "drawn")


def stream(b: Builder, seed: Expression, purpose: int, layer: int, time: Expression) -> Expression:
    """The key of a stream (I64)."""
    first = mix(b, seed + constant(GOLDEN * (256 * purpose + layer + 1), I64))
    return mix(b, first + (time + 1) * constant(GOLDEN, I64))


def draw(b: Builder, key: Expression, index: Expression) -> Expression:
    """Draw number `index`; a vector of indices gives a vector of draws."""
    return mix(b, splat(key, index.type) + (index + 1) * constant(GOLDEN, index.type))
