"""Pushes a few hidden weights away from zero in the order of memory: one draw a block of neighbours, in vectors."""

from __future__ import annotations

from bnnc.ir.training import REINFORCE
from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I8,
    I16,
    I32,
    I64,
    Binary,
    Buffer,
    Convert,
    Expression,
    Function,
    LaneIndex,
    Unary,
    binary,
    compare,
    constant,
    load,
    pack,
    select,
    splat,
    vector_of,
)
from bnnc.loops.kernels.training.draws import draw, stream
from bnnc.loops.kernels.training.layouts import Hidden, half_lanes, long_lanes
from bnnc.loops.machine import Machine

_TOGETHER = 32
"""So many draws are looked at before any is used."""


def reinforce(name: str, hidden: Hidden, layer: int, block: int, bound: int, machine: Machine) -> Function:
    """A function (rate, active, clock, hidden, changed, first, last) for rows first … last - 1.

    A weight outside ±bound can only be in a row whose `changed` (int8) is not 0.
    """
    b = Builder(name, comment=f"reinforcement of {hidden.rows} rows of {hidden.width} hidden weights")
    rate = b.parameter("rate", I32, 1)
    active = b.parameter("active", I32, 1)
    clock = b.parameter("clock", I32, 3)
    weights = b.parameter("hidden", I16, hidden.length, "both", alignment=64)
    changed = b.parameter("changed", I8, hidden.rows)
    first, last = b.scalar("first", I64), b.scalar("last", I64)
    if bound < hidden.limit:
        _clamp(b, hidden, bound, machine, weights, changed, first, last)
    threshold = b.let(Convert("zext", load(rate, 0), I64), "threshold")
    with b.when(compare("ne", load(active, 0), 0) & compare("ne", threshold, 0)):
        key = stream(b, Convert("sext", load(clock, 0), I64), REINFORCE, layer, Convert("sext", load(clock, 1), I64))
        blocks = -(-hidden.width // block)
        lanes = long_lanes(machine)
        type_ = vector_of(I64, lanes)
        end = b.let(last * blocks, "end")
        lane = LaneIndex(type_)
        with b.loop(end, "index", start=first * blocks, step=_TOGETHER, unroll_one=False) as index:
            flags = []
            for n in range(0, _TOGETHER, lanes):
                u = draw(b, key, splat(index + n, type_) + lane)
                high = Binary("lshr", u, constant(33, type_))
                flags.append(b.let(compare("lt", high, splat(threshold, type_)), "hit"))
            hits = b.variable("hits", pack(tuple(flags)))
            rest = b.let(end - index, "rest")
            with b.when(rest < _TOGETHER):
                below = Binary("shl", constant(1, I32), Convert("trunc", rest, I32)) - 1
                b.assign(hits, hits & below)
            with b.loop_while(compare("ne", hits, 0)):
                which = b.let(index + Convert("zext", Unary("count_trailing_zeros", hits), I64), "which")
                b.assign(hits, hits & (hits - 1))
                _push(b, hidden, block, bound, blocks, weights, draw(b, key, which), which)
    return b.function()


def _push(
    b: Builder,
    hidden: Hidden,
    block: int,
    bound: int,
    blocks: int,
    weights: Buffer,
    drawn: Expression,
    which: Expression,
) -> None:
    row = b.let(binary("udiv", which, blocks), "row")
    column = b.let((which - row * blocks) * block + (drawn & (block - 1)), "column")
    inside = constant(True, compare("lt", column, 0).type) if hidden.width % block == 0 else column < hidden.width
    with b.when(inside):
        place = b.let(row * hidden.stride + column, "place")
        h = b.let(Convert("sext", load(weights, place), I32), "h")
        up = binary("min", h + 2, constant(bound, I32))
        down = binary("max", h - 2, constant(-bound, I32))
        b.store(weights, place, Convert("trunc", select(h >= 0, up, down), I16))


def _clamp(
    b: Builder,
    hidden: Hidden,
    bound: int,
    machine: Machine,
    weights: Buffer,
    changed: Buffer,
    first: Expression,
    last: Expression,
) -> None:
    lanes = half_lanes(machine)
    type_ = vector_of(I16, lanes)
    with (
        b.loop(last, "row", start=first, unroll_one=False) as row,
        b.when(compare("ne", load(changed, row), 0)),
        b.loop(hidden.stride // lanes, "vector") as vector,
    ):
        place = b.let(row * hidden.stride + vector * lanes, "place")
        h = binary("max", load(weights, place, type_, 2 * lanes), constant(-bound, type_))
        b.store(weights, place, binary("min", h, constant(bound, type_)), alignment=2 * lanes)
