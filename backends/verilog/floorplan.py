"""Where the groups of neurons of unrolled layers lie on a chip: columns, in the order in which the inputs reach them.

A layer with many inputs passes them on from groups to groups. Placers gather all groups in one place, where the wires
do not suffice; spread over the chip in the order of that passing, the same wires find their ways in a third of the time
(nextpnr-ecp5 0.7; newer placers do about as well by themselves).
"""

from __future__ import annotations

from bnnc.backends.verilog.design import Design
from bnnc.backends.verilog.unrolled.network import LayerNet


def floorplan_text(design: Design, made_by: str) -> str | None:
    """constraints/NAME_floorplan.py for `nextpnr-ecp5 --pre-place`; None where no layer passes its inputs on."""
    columns = [
        [(f"{engine.name}.core.u_{name}", tables) for name, tables in column]
        for engine in design.engines
        if engine.unrolled
        for number, layer in enumerate(engine.unrolled.network.layers)
        for column in _columns(number, layer)
    ]
    if not columns:
        return None
    listed = "".join(f"    {column!r},\n" for column in columns)
    return _SCRIPT.replace("@MADE_BY@", made_by).replace("@COLUMNS@", listed)


def _columns(number: int, layer: LayerNet) -> list[list[tuple[str, int]]]:
    """For each cycle in which groups see the inputs: how the names of their cells begin, and how many tables they have.

    Smaller layers find their places between them.
    """
    columns: dict[int, list[tuple[str, int]]] = {}
    for n, part in enumerate(layer.parts):
        if part.outputs:
            columns.setdefault(part.relay, []).append((f"l{number}_g{n}.", len(part.pipeline.cells)))
    return list(columns.values()) if len(columns) > 1 else []


_SCRIPT = """\
# @MADE_BY@
#
# nextpnr-ecp5 --pre-place, of a nextpnr that runs Python scripts: a rectangle for each group of neurons, in columns
# from the inputs on, each as large as its share of the tables.

# Columns of groups: how the names of their cells begin, and how many tables they have.
COLUMNS = [
@COLUMNS@]
SIZES = {"12": (71, 49), "25": (71, 49), "45": (89, 70), "85": (125, 94)}

width, height = SIZES[ctx.getChipName().split("-")[1][:2]]
whole = sum(tables for column in COLUMNS for _, tables in column)
before, left = 0, 1
for column in COLUMNS:
    inside = sum(tables for _, tables in column)
    before += inside
    right = 1 + (width - 1) * before // whole
    below, low = 0, 1
    for name, tables in column:
        below += tables
        high = 1 + (height - 1) * below // inside
        ctx.createRectangularRegion(name, left, low, right - 1, high - 1)
        low = high
    left = right
names = [name for column in COLUMNS for name, _ in column]
for cell, _ in ctx.cells:
    for name in names:
        if name in cell:
            ctx.constrainCellToRegion(cell, name)
            break
"""

__all__ = ["floorplan_text"]
