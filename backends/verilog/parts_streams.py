"""The parts of engines between layers: windows, steps, tables, pools, joins, movements."""

from __future__ import annotations

from bnnc.backends.verilog.parts import Parts, Shape, Table, clog2, multiplier, table_reader, valid


def step(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    lanes, wide, count, out = p["LANES"], p["IN_WIDTH"], p["COUNT"], p["OUT_WIDTH"]
    needed = wide - p.get("ZEROS", 0)
    valid(parts, 3)
    parts.line(lanes * needed, 2)
    table_reader(parts, shape, p["CHUNKS"])
    parts.comparators(needed, lanes * count, fixed=p["CHUNKS"] == 1)
    # Most steps have the same values in all channels: then only the thresholds vary.
    values = lanes * out * (count + 1)
    varying = min(values, max(0, shape.tables[0].varying - lanes * count * wide)) / values
    parts.choice(count, lanes * out * varying)
    parts.logic("fixed mux bit", lanes * out * count * (1 - varying))
    parts.registers(lanes * out)


def _share(table: Table, lanes: int) -> Table:
    """One lane's part of a table."""
    return Table(table.words, -(-table.varying // lanes), -(-table.different // lanes))


def lookup(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    valid(parts, 3)
    lanes, table = p["LANES"], shape.tables[0]
    address = clog2(table.words)
    parts.counter(p["CHUNKS"])
    parts.registers(lanes * address + address * (p["CHUNKS"] > 1))
    if p["LOW"] or p["CHUNKS"] > 1:
        parts.adders(address, lanes)
    for _ in range(lanes):
        parts.constants(table if p["SHARED"] else _share(table, lanes), p.get("ROM_STYLE"))


def affine(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    lanes, wide = p["LANES"], p["IN_WIDTH"] + (not p.get("IN_SIGNED", 0))
    cycles = 1 if wide <= 18 and p["FACTOR_WIDTH"] <= 18 else 3
    valid(parts, 3 + cycles)
    parts.line(lanes * p["IN_WIDTH"], 2)
    table_reader(parts, shape, p["CHUNKS"])
    if p["CHUNKS"] > 1:
        multiplier(parts, wide, p["FACTOR_WIDTH"], lanes)
        parts.line(lanes * p["OUT_WIDTH"], cycles)
    else:
        parts.registers(lanes * wide * cycles)
    parts.adders(p["OUT_WIDTH"], lanes)
    parts.registers(lanes * p["OUT_WIDTH"])


def window(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    beat, pixel = p["WIDTH"] * p["LANES"], p["CHANNELS"] // p["LANES"]
    row = p["COLUMNS"] * pixel
    span_h, span_w = (p["KERNEL_H"] - 1) * p["DILATION_H"], (p["KERNEL_W"] - 1) * p["DILATION_W"]
    size = 1 << clog2((span_h + 1 + p["STRIDE_H"]) * row)
    place = clog2(p["HEIGHT"] * row + size) + 2
    parts.memory(size, beat)
    parts.registers(4 * place + beat + 4)
    loops = (pixel // p["GROUPS"], p["KERNEL_W"], p["KERNEL_H"], p["GROUPS"], p["OUT_COLUMNS"], p["OUT_HEIGHT"])
    for count in loops:
        parts.counter(count)
    parts.add("window loop", sum(count > 1 for count in loops))
    last_y, last_x = (p["OUT_HEIGHT"] - 1) * p["STRIDE_H"] + span_h, (p["OUT_COLUMNS"] - 1) * p["STRIDE_W"] + span_w
    top, left = p["PAD_TOP"], p["PAD_LEFT"]
    padded = top > 0 or left > 0 or last_y - top >= p["HEIGHT"] or last_x - left >= p["COLUMNS"]
    hanging = padded and -top % p["STRIDE_H"] > 0
    parts.adders(place, 5 + (p["OUT_HEIGHT"] > 1) + padded + hanging + 2 * (p["GROUPS"] > 1))
    parts.add("window place bit", place)
    if padded:
        y, x = clog2(p["HEIGHT"] + last_y + p["STRIDE_H"] + 1) + 1, clog2(p["COLUMNS"] + last_x + 1) + 1
        parts.registers(y + x + 1)
        parts.adders(y, 2)
        parts.comparators(y, 3, fixed=True)
        parts.adders(x)
        parts.comparators(x, fixed=True)
        parts.add("window coordinate bit", y + x)
        parts.logic("mask bit", beat)


def window_wide(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    tap, pixel, rows, columns = p["WIDTH"] * p["LANES"], p["CHANNELS"] // p["LANES"], p["KERNEL_H"], p["KERNEL_W"]
    parts.registers(tap)
    row, sample = p["COLUMNS"] * pixel, p["HEIGHT"] * p["COLUMNS"] * pixel
    for bits, length in (
        ((rows - 1) * tap, p["DILATION_H"] * row),
        ((columns - 1) * rows * tap, p["DILATION_W"] * pixel),
    ):
        if bits and length <= 4:
            parts.registers(bits * length)
        elif bits:
            parts.memory(length, bits)
            parts.registers(2 * clog2(length))
            parts.counter(length, ahead=False)
    place = clog2(sample + 1)
    parts.registers(2 * place + 2)
    parts.adders(place, 2)
    parts.add("window place bit", place)
    for count in (pixel, p["OUT_COLUMNS"], p["OUT_HEIGHT"]):
        parts.counter(count)
    span_h, span_w = (rows - 1) * p["DILATION_H"], (columns - 1) * p["DILATION_W"]
    last_y, last_x = (p["OUT_HEIGHT"] - 1) * p["STRIDE_H"] + span_h, (p["OUT_COLUMNS"] - 1) * p["STRIDE_W"] + span_w
    top, left = p["PAD_TOP"], p["PAD_LEFT"]
    if top > 0 or left > 0 or last_y - top >= p["HEIGHT"] or last_x - left >= p["COLUMNS"]:
        y, x = clog2(p["HEIGHT"] + last_y + p["STRIDE_H"] + 1) + 1, clog2(p["COLUMNS"] + last_x + p["STRIDE_W"] + 1) + 1
        parts.registers(y + x + rows + columns)
        parts.comparators(y, rows, fixed=True)
        parts.comparators(x, columns, fixed=True)
        parts.add("window coordinate bit", y + x)
        parts.logic("mask bit", rows * columns * tap)


def width(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    wide, narrow = max(p["IN"], p["OUT"]), min(p["IN"], p["OUT"])
    parts.registers(p["WIDTH"] * wide + 1 + (p["IN"] > p["OUT"]))
    parts.counter(wide // narrow, ahead=False)
    if p["IN"] > p["OUT"]:
        parts.logic("shifted bit", p["WIDTH"] * (wide - narrow))


def planes(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    width(parts, Shape(shape.module, {"WIDTH": p["LANES"], "IN": p["WIDTH"], "OUT": 1}, ()))


def pool(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    lanes, wide, out = p["LANES"], p["IN_WIDTH"], p["OUT_WIDTH"]
    parts.counter(p["TAPS"])
    parts.registers(2 * lanes * out + 2)
    if p["FUNCTION"] == 2:
        parts.adders(out, lanes)
        parts.logic("mask bit", lanes * (wide + out))
    elif wide > 1:
        parts.comparators(wide, lanes)
        parts.logic("signed comparator bit", wide * lanes * p["SIGNED"])
        parts.logic("mux bit", lanes * wide)
    else:
        parts.logic("mux bit", lanes)


def add(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    lanes, out = p["LANES"], p["OUT_WIDTH"]
    valid(parts, 2)
    parts.registers(lanes * (p["A_WIDTH"] + p["B_WIDTH"] + out))
    parts.adders(out, lanes)
    for name in ("A", "B"):
        factor = p[f"{name}_FACTOR"]
        terms = abs(factor).bit_count() - 1 + (factor < 0) + (name == "A" and p["CONSTANT"] != 0)
        parts.adders(out, lanes * terms)
        parts.logic("negated bit", lanes * out * (factor < 0))


def argmax(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    wide, lanes, index = p["WIDTH"], p["LANES"], max(1, clog2(p["COUNT"]))
    beats = p["COUNT"] // lanes
    level = 0
    while lanes > 1:
        level += 1
        parts.comparators(wide, lanes // 2)
        parts.logic("signed comparator bit", wide * (lanes // 2) * p["SIGNED"])
        parts.logic("mux bit", (wide + min(level, index)) * (lanes // 2))
        lanes = -(-lanes // 2)
        parts.registers(lanes * (wide + min(level, index)) + 1)
    parts.registers(index + 1)
    if beats > 1:
        parts.comparators(wide)
        parts.logic("signed comparator bit", wide * p["SIGNED"])
        parts.registers(wide + index)
        parts.counter(beats, ahead=False)
        parts.adders(index, 2)


def reorder(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    inside, outside, wide = p["IN_BEATS"], p["OUT_BEATS"], p["WIDTH"]
    parts.constants(shape.tables[0], p.get("ROM_STYLE"))
    parts.memory(2 * inside, wide)
    parts.counter(inside)
    parts.counter(2 * inside, ahead=False)
    parts.counter(outside, ahead=False)
    parts.registers(wide + 10)
    parts.up_and_down(2)
    parts.up_and_down(2)
    parts.adders(clog2(2 * inside))
    parts.comparators(clog2(inside + 1), fixed=True)
    parts.logic("mask bit", wide)


def repeat(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    parts.counter(p["TIMES"])
    parts.counter(p["BEATS"], ahead=False)
    parts.memory(p["BEATS"], p["WIDTH"])
    parts.registers(2 * p["WIDTH"] + 4)
    parts.logic("mux bit", p["WIDTH"])


def concat(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    parts.counter(p["A_BEATS"])
    parts.counter(p["B_BEATS"])
    parts.registers(1)
    parts.logic("mux bit", p["WIDTH"])


def constant(parts: Parts, shape: Shape) -> None:
    valid(parts, 2)
    table_reader(parts, shape, shape.parameters["BEATS"])


def fork(parts: Parts, shape: Shape) -> None:
    parts.registers(shape.parameters["COPIES"])
    parts.add("pair of fork copies", shape.parameters["COPIES"] ** 2)


__all__ = [
    "add", "affine", "argmax", "concat", "constant", "fork", "lookup", "planes", "pool", "reorder", "repeat", "step",
    "width", "window", "window_wide",
]  # fmt: skip
