"""The parts of matrix-vector engines, from the parameters of their Verilog."""

from __future__ import annotations

from collections.abc import Mapping

from bnnc.backends.verilog.parts import Parts, Shape, Table, adder_tree, clog2, fifo, multiplier


def _folds(parts: Parts, p: Mapping[str, int], width: int, table: Table, delay: int, room: int) -> None:
    """bnnc_folds."""
    beats, passes = p["INPUTS"] // p["SIMD"], p["OUTPUTS"] // p["PE"]
    parts.counter(table.words, ahead=False)
    parts.counter(beats, ahead=False)
    parts.counter(passes)
    parts.up_and_down(room)
    parts.registers(3 + delay)
    if beats > 1:
        parts.line(1, 3 + delay)
    parts.registers(2 * width)
    parts.line(width, 1)
    parts.registers(parts.constants(table, p["ROM_STYLE"]))
    if passes > 1:
        parts.memory(beats, width)
        parts.registers(2)
        parts.logic("mux bit", width)


def _accumulate(parts: Parts, pe: int, width: int, depth: int, beats: int) -> None:
    """bnnc_accumulate."""
    if beats > 1:
        parts.adders(width + 1, pe)
        parts.registers(pe * width)
        parts.add("kept adder bit", pe * width)
    else:
        parts.adders(width, pe)
    fifo(parts, pe * width, depth)


def mvu_bits(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    pe, simd, ternary, summed = p["PE"], p["SIMD"], p.get("TERNARY", 0), p.get("SUM", 0)
    beats = p["INPUTS"] // simd
    tree = 1 + clog2(-(-simd // 8))
    delay = tree + (summed != 0)
    room = -(-(delay + 6) // beats)
    flags = p.get("FLAGS", 0)
    _folds(parts, p, simd + flags, shape.tables[0], delay, room)
    if shape.tables[0].words > 1:
        parts.logic("ternary product" if ternary else "binary product", pe * simd)
    counted = clog2(simd + 1)
    part = min(counted, 3)
    groups = -(-simd // 8)
    for group in range(groups):
        size = min(8, simd - 8 * group)
        parts.logic("full adder", pe * (4 if size > 3 else 1 if size == 3 else 0))
        parts.logic("short adder bit", pe * (2 if size == 2 else 0))
        parts.registers(pe * (part if size > 1 else 1) + pe * (size == 8))
    adder_tree(parts, groups, part, counted, pe, True)
    if summed:
        even = (simd & -simd).bit_length() - 1
        parts.adders(counted + 1 - even * (not ternary), pe)
        parts.registers(pe * (min(counted + 1, p["ACC_WIDTH"]) + 1))
        parts.logic("mask bit", pe * (counted if flags == 1 else simd if flags else 0))
        if flags:
            parts.line(1 if flags == 1 else counted + 1, tree)
        if ternary and flags > 1:
            parts.logic("full adder", pe * 4 * groups)
            adder_tree(parts, groups, part, counted, pe, True)
        elif ternary:
            parts.line(pe * counted, tree)
    _accumulate(parts, pe, p["ACC_WIDTH"], room, beats)


def mvu_integers(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    pe, simd, one = p["PE"], p["SIMD"], p["WEIGHT_WIDTH"] == 1
    wide = p["IN_WIDTH"] + (not p.get("IN_SIGNED", 0))
    multiply = 0 if one else 1 if wide <= 18 and p["WEIGHT_WIDTH"] <= 18 else 3
    beats = p["INPUTS"] // simd
    delay = multiply + clog2(simd)
    room = -(-(delay + 6) // beats)
    _folds(parts, p, simd * p["IN_WIDTH"], shape.tables[0], delay, room)
    if one:
        parts.logic("negated bit", (pe if shape.tables[0].words > 1 else 1) * simd * wide)
    else:
        multiplier(parts, wide, p["WEIGHT_WIDTH"], pe * simd)
    adder_tree(
        parts,
        simd,
        wide if one else wide + p["WEIGHT_WIDTH"],
        p["ACC_WIDTH"],
        pe,
        one,
        one and shape.tables[0].words == 1,
    )
    _accumulate(parts, pe, p["ACC_WIDTH"], room, beats)


def mvu_serial(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    pe, simd, bits = p["PE"], p["SIMD"], p["IN_WIDTH"]
    beats, table = p["INPUTS"] // simd * bits, shape.tables[0]
    tree = 1 + clog2(-(-simd // 8))
    room = -(-(tree + 8) // beats)
    _folds(parts, {**p, "INPUTS": simd * beats}, simd, table, tree + 1, room)
    parts.counter(bits)
    parts.counter(bits)
    parts.registers(3)
    if table.words > 1:
        parts.logic("binary product", pe * simd)
    counted = clog2(simd + 1)
    part, groups = min(counted, 3), -(-simd // 8)
    for group in range(groups):
        size = min(8, simd - 8 * group)
        parts.logic("full adder", pe * (4 if size > 3 else 1 if size == 3 else 0))
        parts.logic("short adder bit", pe * (2 if size == 2 else 0))
        parts.registers(pe * (part if size > 1 else 1) + pe * (size == 8))
    adder_tree(parts, groups, part, counted, pe, True)
    parts.line(pe * counted, tree)
    parts.adders(counted + 1, pe)
    parts.registers(pe * (counted + 2))
    total = min(counted + 1 + bits, p["ACC_WIDTH"])
    parts.adders(total + 1, pe)
    parts.logic("mask bit", pe * total)
    parts.registers(pe * total)
    _accumulate(parts, pe, p["ACC_WIDTH"], room, beats)


__all__ = ["mvu_bits", "mvu_integers", "mvu_serial"]
