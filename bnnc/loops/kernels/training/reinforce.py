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
    Unary,
    binary,
    compare,
    constant,
    load,
    pack,
    splat,
    vector_of,
)
from bnnc.loops.kernels.training.draws import GOLDEN, mix, stream
from bnnc.loops.kernels.training.layouts import WITHIN, Hidden, half_lanes, lane_numbers, long_lanes
from bnnc.loops.machine import Machine

PLACES = 64
"""int64 elements of scratch memory that a thread needs: so many draws are looked at before any is used."""


def reinforce(name: str, hidden: Hidden, layer: int, block: int, bound: int, machine: Machine) -> Function:
    """A function (rate, active, clock, hidden, changed, places, first, last) for rows first … last - 1.

    A weight outside ±bound can only be in a row whose `changed` (int8) is not 0 (WITHIN: not even there).
    places: scratch memory.
    """
    b = Builder(name, comment=f"reinforcement of {hidden.rows} rows of {hidden.width} hidden weights")
    rate = b.parameter("rate", I32, 1)
    active = b.parameter("active", I32, 1)
    clock = b.parameter("clock", I32, 3)
    weights = b.parameter("hidden", I16, hidden.length, "both", alignment=64)
    changed = b.parameter("changed", I8, hidden.rows)
    places = b.parameter("places", I64, PLACES, "both", alignment=64)
    first, last = b.scalar("first", I64), b.scalar("last", I64)
    if bound < hidden.limit:
        _clamp(b, hidden, bound, machine, weights, changed, first, last)
    threshold = b.let(Convert("zext", load(rate, 0), I64), "threshold")
    with b.when(compare("ne", load(active, 0), 0) & compare("ne", threshold, 0)):
        key = stream(b, Convert("sext", load(clock, 0), I64), REINFORCE, layer, Convert("sext", load(clock, 1), I64))
        blocks = -(-hidden.width // block)
        # Where rows are whole blocks, draw i belongs to elements i * block … of the matrix.
        whole = hidden.stride == blocks * block
        lanes = long_lanes(machine)
        type_ = vector_of(I64, lanes)
        together = PLACES if lanes > 1 else 1
        end = b.let(last * blocks, "end")
        lane = lane_numbers(type_)
        with b.loop(end, "index", start=first * blocks, step=together, unroll_one=False) as index:
            flags = []
            for n in range(0, together, lanes):
                u = _draws(b, key, index, n, lane)
                place: Expression = u & (block - 1)
                if whole:
                    place = place + (splat(index * block, type_) + (lane + n) * block)
                b.store(places, n, place, alignment=8 * lanes)
                flags.append(b.let(Binary("lshr", u, constant(33, type_)) < splat(threshold, type_), "hit"))
            hits = b.variable("hits", pack(tuple(flags), I64))
            rest = b.let(end - index, "rest")
            with b.when(rest < together):
                b.assign(hits, hits & (Binary("shl", constant(1, I64), rest) - 1))
            with b.loop_while(compare("ne", hits, 0)):
                which = Unary("count_trailing_zeros", hits)
                place = load(places, which)
                if not whole:
                    draw_number = b.let(index + which, "draw_number")
                    row = b.let(binary("udiv", draw_number, blocks), "row")
                    place = place + row * hidden.stride + (draw_number - row * blocks) * block
                place = b.let(place, "place")
                b.assign(hits, hits & (hits - 1))
                # A place behind the end of a row may be hit: nobody reads it.
                h = b.let(Convert("sext", load(weights, place), I32), "h")
                away = (Binary("ashr", h, constant(31, I32)) | 1) * 2
                pushed = binary("max", binary("min", h + away, constant(bound, I32)), constant(-bound, I32))
                b.store(weights, place, Convert("trunc", pushed, I16))
    return b.function()


def _draws(b: Builder, key: Expression, index: Expression, n: int, lane: Expression) -> Expression:
    """Draws index + n …, a lane each; only one product for all lanes goes into the counter."""
    begin = key + index * constant(GOLDEN, I64)
    return mix(b, splat(b.let(begin, "begin"), lane.type) + (lane + (n + 1)) * constant(GOLDEN, lane.type))


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
    with b.loop(last, "row", start=first, unroll_one=False) as row:
        state = b.let(load(changed, row), "state")
        with (
            b.when(compare("ne", state, 0) & compare("ne", state, WITHIN)),
            b.loop(hidden.stride // lanes, "vector") as vector,
        ):
            place = b.let(row * hidden.stride + vector * lanes, "place")
            h = binary("max", load(weights, place, type_, 2 * lanes), constant(-bound, type_))
            b.store(weights, place, binary("min", h, constant(bound, type_)), alignment=2 * lanes)
