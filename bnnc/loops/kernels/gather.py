"""The general mover: any elements of any operands to any places of a result, between any layouts.

Every op that only moves elements is one table: for each element of the result, in logical (row-major) order, the
element of the operands, counted through one after the other, or -1 for a fixed value. Regular tables become loops.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bnnc.ir.location import Location
from bnnc.loops.builder import Builder
from bnnc.loops.ir import Buffer, Expression, Function, load, vector_of
from bnnc.loops.kernels.digits import walk_of, write_walk
from bnnc.loops.kernels.halo import fill_image
from bnnc.loops.kernels.moves import Moves, moves_of, read_number
from bnnc.loops.kernels.numbers import converted
from bnnc.loops.kernels.repack import repack
from bnnc.loops.layout import Elements, Layout, Packed


def gather(
    name: str,
    loc: Location,
    sources: Sequence[Layout],
    target: Layout,
    table: np.ndarray,
    value: float = 0,
    lanes: int = 1,
) -> Function:
    """NAME(source…, target): element n of the target is element table[n] of all sources' elements in a row.

    `table` holds an integer for every element of the target in logical order; -1 stands for `value`, which must be a
    value of the target. Numbers change their width on the way, and integers may go from and to planes; integers become
    f32 too. Halos are neither read nor written. Raises ValueError for a table that does not fit, TypeError for f32 to
    integers.
    """
    moves = moves_of(sources, target, table)
    b = Builder(name, f"moves {moves.count} elements", loc)
    inputs = [b.parameter("source", source.element, source.length) for source in sources]
    access = "both" if isinstance(target, Packed) else "write"
    y = b.parameter("target", target.element, target.length, access=access)  # type: ignore[arg-type]
    if isinstance(target, Packed):
        repack(b, name, inputs, y, sources, target, moves, value, lanes)
    else:
        _numbers(b, name, inputs, y, sources, target, moves, value, lanes)
    return b.function()


def _numbers(
    b: Builder,
    name: str,
    inputs: Sequence[Buffer],
    y: Buffer,
    sources: Sequence[Layout],
    target: Elements,
    moves: Moves,
    value: float,
    lanes: int,
) -> None:
    if moves.any_fixed:
        fill_image(b, y, target, value, lanes)
    for number, (x, source) in enumerate(zip(inputs, sources, strict=True)):
        sequences = moves.addresses(number)
        if not sequences.size:
            continue

        def move(places: tuple[Expression, ...], width: int, x: Buffer = x, source: Layout = source) -> None:
            from_, to = places
            if isinstance(source, Packed):
                b.store(y, to, converted(read_number(b, x, source, from_), target.element))
            else:
                taken = load(x, from_, vector_of(x.element, width))
                b.store(y, to, converted(taken, target.element))

        walk = walk_of(sequences)
        write_walk(b, f"{name}_table_{number}", walk, move, lanes if isinstance(source, Elements) else 1)
