"""Convolutions in groups by adding rows: layers on words of their own, one after the other."""

from __future__ import annotations

import numpy as np

from bnnc.ir.location import UNKNOWN, Location
from bnnc.loops.builder import Builder
from bnnc.loops.ir import I16, I32, Function
from bnnc.loops.kernels.row_conv import RowConv
from bnnc.loops.kernels.tiling import Window
from bnnc.loops.layout import WORD, Packed
from bnnc.loops.machine import Machine


def row_conv(
    name: str,
    image: Packed,
    weights: np.ndarray,
    window: Window,
    target: Packed,
    thresholds: np.ndarray,
    values: np.ndarray,
    *,
    groups: int,
    pad_value: int,
    halo_value: int,
    machine: Machine,
    loc: Location = UNKNOWN,
) -> tuple[Function, int, int]:
    """NAME(x, lists, planes, y), and the elements of lists (i16) and planes (i32): see RowConv. Groups, of weights
    [O, C / groups, KH, KW], are layers one after the other."""
    if groups == 1:
        layer = RowConv(name, image, weights, window, target, thresholds, values, pad_value, halo_value, machine, loc)
        return layer.function(), layer.lists_length, layer.planes_length
    each, channels = len(weights) // groups, weights.shape[1]
    thresholds, values = (np.broadcast_to(table, (len(weights), table.shape[1])) for table in (thresholds, values))
    layers = []
    for group in range(groups):
        own = slice(group * each, (group + 1) * each)
        part = (group * channels // WORD, group * each // WORD)
        layers.append(
            RowConv(
                f"{name}_{group}", image, weights[own], window, target, thresholds[own], values[own], pad_value,
                halo_value, machine, loc, part,
            )
        )  # fmt: skip
    lengths = (max(layer.lists_length for layer in layers), max(layer.planes_length for layer in layers))
    b = Builder(name, f"{groups} groups, one after the other, rows added", loc)
    x = b.parameter("x", I32, image.length)
    lists = b.parameter("lists", I16, lengths[0], access="both")
    planes = b.parameter("planes", I32, lengths[1], access="both")
    y = b.parameter("y", I32, target.length, access="write")
    for layer in layers:
        b.call(layer.function(), x, lists, planes, y)
    return b.function(), *lengths


__all__ = ["row_conv"]
