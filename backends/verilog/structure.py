"""What an engine is made of, counted from its parameters: the registers, adders, comparators, tables and memories that
its Verilog describes. cost.py says how many cells each of them takes in a technology.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from bnnc.backends.verilog.memories import blocks, kept_in, luts_of, rows_of


@dataclass(frozen=True)
class Table:
    """Constants: so many words, of so many bits that are not the same in all of them, of which so many differ."""

    words: int
    varying: int
    different: int


@dataclass(frozen=True)
class Shape:
    """What the cost of an engine depends on: its whole-number parameters and its constants."""

    module: str
    parameters: Mapping[str, int]
    tables: tuple[Table, ...] = ()


def table_of(words: np.ndarray) -> Table:
    """What tools leave of a table: uint8 [words, bytes], bits packed. In LUTs they merge equal columns, too."""
    bits = np.packbits(np.unpackbits(words, axis=1), axis=0).T
    rows = np.packbits(np.ones(len(words), np.uint8))
    varying = bits[(bits != 0).any(1) & (bits != rows).any(1)]
    return Table(len(words), len(varying), len({column.tobytes() for column in varying}))


def nominal(words: int, width: int) -> Table:
    """A table of which only the size is known."""
    return Table(words, width if words > 1 else 0, min(width, (1 << min(words, 60)) - 2))


def clog2(number: int) -> int:
    """$clog2 of Verilog."""
    return (max(1, number) - 1).bit_length()


@dataclass
class Parts:
    """How much there is of each kind of part."""

    technology: str
    amounts: dict[str, float] = field(default_factory=dict)
    blocks: int = 0

    def add(self, kind: str, amount: float) -> None:
        """More of a part."""
        if amount:
            self.amounts[kind] = self.amounts.get(kind, 0.0) + amount

    def registers(self, bits: float) -> None:
        """Flip-flops."""
        self.add("register", bits)

    def line(self, bits: float, cycles: int) -> None:
        """A delay without reset, which may become a shift register of LUTs."""
        if cycles < 3 or self.technology != "xc7":
            self.registers(bits * cycles)
        else:
            self.add("line register", bits * cycles)
            self.add("line", bits)

    def adders(self, bits: int, count: float = 1) -> None:
        """Adders or subtractors; short ones become plain logic."""
        self._chains("adder", bits, count)

    def comparators(self, bits: int, count: float = 1, fixed: bool = False) -> None:
        """x >= y; `fixed`: y is a constant."""
        self._chains("fixed comparator" if fixed else "comparator", bits, count)

    def _chains(self, kind: str, bits: int, count: float) -> None:
        least, step = {"ecp5": (5, 2), "xc7": (3, 4), "ice40": (1, 1)}[self.technology]
        if bits < least:
            self.add(f"short {kind} bit", bits * count)
        else:
            self.add(f"{kind} bit", bits * count)
            self.add(f"{kind} chain", -(-bits // step) * count)

    def logic(self, kind: str, amount: float) -> None:
        """Gates of some kind, by their number."""
        self.add(kind, amount)

    def choice(self, count: int, bits: float) -> None:
        """One of count + 1 words, by so many comparators. From three on they have too many inputs for one LUT."""
        self.add("mux bit" if count < 3 else "wide mux bit", count * bits)

    def counter(self, count: int, ahead: bool = True) -> None:
        """A counter of `count` steps; `ahead`: with a register that says when it is at its last."""
        bits = clog2(count)
        if bits:
            self.registers(bits + ahead)
            self.adders(bits)
            self.add("counter bit", bits)
            self.add("counter", 1)

    def up_and_down(self, count: int) -> None:
        """A register that counts up and down to `count`."""
        bits = clog2(count + 1)
        self.registers(bits)
        self.adders(bits, 2)
        self.add("counter bit", bits)

    def constants(self, table: Table, style: int | None) -> int:
        """bnnc_rom: a table and its two registers; the bits of the last. `style`: where it lies, if that is said."""
        if style == 2 or (style is None and kept_in(self.technology, table.words, table.varying, True) == "block"):
            self.blocks += blocks(self.technology, table.words, table.varying)
            self.registers(table.varying)
            self.add("wide memory bit", table.varying * (table.words >> 14))
            return table.varying
        size = 1 << max(4, clog2(table.words))
        if size <= 64:
            self.add(f"bit of a table of {size}", table.different)
        else:
            self.add("bit of a deep table", table.different * table.words / 64)
        self.registers(2 * table.different)
        return table.different

    def memory(self, words: int, width: int) -> None:
        """A memory that is written, with a registered output; a word is never read while it is written."""
        place = kept_in(self.technology, words, width, False)
        if place == "block":
            self.blocks += blocks(self.technology, words, width)
        elif place == "luts":
            self.add("memory LUT", luts_of(self.technology, words, width))
            self.add("memory bit of more words", width * (rows_of(self.technology, words) - 1))
            self.registers(width)
        else:
            self.registers(width * (words + 1))
            self.add("memory bit in registers", width * (words - 1))


def _fifo(parts: Parts, width: int, depth: int) -> None:
    if depth <= 2:
        parts.registers(width * depth + depth)
        parts.logic("mux bit", width * (depth - 1))
        return
    parts.memory(depth, width)
    parts.registers(1)
    parts.counter(depth, ahead=False)
    parts.counter(depth, ahead=False)
    parts.up_and_down((2 << clog2(depth)) - 1)
    parts.add("ring", 1)


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
    _fifo(parts, pe * width, depth)


def _tree(parts: Parts, lanes: int, wide: int, most: int, neurons: int, carries: bool, fixed: bool = False) -> None:
    """bnnc_adder_tree, `neurons` times; `fixed`: the weights never change, so that equal sums are made once."""
    level = 0
    while lanes > 1:
        level += 1
        copies = min(neurons, 2 ** min(1 << level, 30)) if fixed else neurons
        bits = min(wide + level, most)
        pairs = lanes // 2
        parts.adders(bits + carries, copies * pairs)
        lanes = -(-lanes // 2)
        parts.registers(copies * lanes * (bits + carries))


def _mvu_bits(parts: Parts, shape: Shape) -> None:
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
    _tree(parts, groups, part, counted, pe, True)
    if summed:
        even = (simd & -simd).bit_length() - 1
        parts.adders(counted + 1 - even * (not ternary), pe)
        parts.registers(pe * (min(counted + 1, p["ACC_WIDTH"]) + 1))
        parts.logic("mask bit", pe * (counted if flags == 1 else simd if flags else 0))
        if flags:
            parts.line(1 if flags == 1 else counted + 1, tree)
        if ternary and flags > 1:
            parts.logic("full adder", pe * 4 * groups)
            _tree(parts, groups, part, counted, pe, True)
        elif ternary:
            parts.line(pe * counted, tree)
    _accumulate(parts, pe, p["ACC_WIDTH"], room, beats)


def multiplier(parts: Parts, a: int, b: int, count: int) -> None:
    """bnnc_multiply: blocks of 18 x 18 where the factors are large enough, else sums of their bits."""
    if a <= 18 and b <= 18:
        parts.registers(count * (a + b))
        _product(parts, a, b, count)
        return
    rows, columns = (1 if n == 1 else (n + 15) // 17 for n in (a, b))
    parts.registers(count * (rows * (a + b if columns > 1 else min(36, 18 + b)) + a + b))
    for row in range(rows):
        for column in range(columns):
            high, wide = (
                (18 if row < rows - 1 else a - 17 * row + 1),
                (18 if column < columns - 1 else b - 17 * column + 1),
            )
            _product(parts, min(18, high), min(18, wide), count)
            parts.registers(count * (min(18, high) + min(18, wide)))
            if column:
                parts.adders(b + 18 - 17 * column, count)
        if row:
            parts.adders(a + b - 17 * row, count)


def _product(parts: Parts, a: int, b: int, count: int) -> None:
    least = {"ecp5": 9, "xc7": 9, "ice40": 1 << 30}[parts.technology]
    if min(a, b) < 2 or a + b < least:
        parts.add("product bit", count * a * b)
        if min(a, b) > 1:
            parts.add("product row", count * (min(a, b) - 1))
            parts.add("product row bit", count * (min(a, b) - 1) * (max(a, b) + 1))
    else:
        parts.add("multiplier", count)


def _mvu_integers(parts: Parts, shape: Shape) -> None:
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
    _tree(
        parts,
        simd,
        wide if one else wide + p["WEIGHT_WIDTH"],
        p["ACC_WIDTH"],
        pe,
        one,
        one and shape.tables[0].words == 1,
    )
    _accumulate(parts, pe, p["ACC_WIDTH"], room, beats)


def _mvu_serial(parts: Parts, shape: Shape) -> None:
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
    _tree(parts, groups, part, counted, pe, True)
    parts.line(pe * counted, tree)
    parts.adders(counted + 1, pe)
    parts.registers(pe * (counted + 2))
    total = min(counted + 1 + bits, p["ACC_WIDTH"])
    parts.adders(total + 1, pe)
    parts.logic("mask bit", pe * total)
    parts.registers(pe * total)
    _accumulate(parts, pe, p["ACC_WIDTH"], room, beats)


def _planes(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    _width(parts, Shape(shape.module, {"WIDTH": p["LANES"], "IN": p["WIDTH"], "OUT": 1}, ()))


def _valid(parts: Parts, stages: int) -> None:
    """bnnc_valid."""
    parts.registers(stages)


def _table(parts: Parts, shape: Shape, chunks: int) -> None:
    """bnnc_table."""
    parts.counter(chunks, ahead=False)
    for table in shape.tables:
        parts.constants(table, shape.parameters.get("ROM_STYLE"))


def _step(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    lanes, wide, count, out = p["LANES"], p["IN_WIDTH"], p["COUNT"], p["OUT_WIDTH"]
    _valid(parts, 3)
    parts.line(lanes * wide, 2)
    _table(parts, shape, p["CHUNKS"])
    parts.comparators(wide, lanes * count, fixed=p["CHUNKS"] == 1)
    # Most steps have the same values in all channels: then only the thresholds vary.
    values = lanes * out * (count + 1)
    varying = min(values, max(0, shape.tables[0].varying - lanes * count * wide)) / values
    parts.choice(count, lanes * out * varying)
    parts.logic("fixed mux bit", lanes * out * count * (1 - varying))
    parts.registers(lanes * out)


def _share(table: Table, lanes: int) -> Table:
    """One lane's part of a table."""
    return Table(table.words, -(-table.varying // lanes), -(-table.different // lanes))


def _lookup(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    _valid(parts, 3)
    lanes, table = p["LANES"], shape.tables[0]
    address = clog2(table.words)
    parts.counter(p["CHUNKS"])
    parts.registers(lanes * address + address * (p["CHUNKS"] > 1))
    if p["LOW"] or p["CHUNKS"] > 1:
        parts.adders(address, lanes)
    for _ in range(lanes):
        parts.constants(table if p["SHARED"] else _share(table, lanes), p.get("ROM_STYLE"))


def _affine(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    lanes, wide = p["LANES"], p["IN_WIDTH"] + (not p.get("IN_SIGNED", 0))
    cycles = 1 if wide <= 18 and p["FACTOR_WIDTH"] <= 18 else 3
    _valid(parts, 3 + cycles)
    parts.line(lanes * p["IN_WIDTH"], 2)
    _table(parts, shape, p["CHUNKS"])
    if p["CHUNKS"] > 1:
        multiplier(parts, wide, p["FACTOR_WIDTH"], lanes)
        parts.line(lanes * p["OUT_WIDTH"], cycles)
    else:
        parts.registers(lanes * wide * cycles)
    parts.adders(p["OUT_WIDTH"], lanes)
    parts.registers(lanes * p["OUT_WIDTH"])


def _window(parts: Parts, shape: Shape) -> None:
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


def _window_wide(parts: Parts, shape: Shape) -> None:
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


def _width(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    wide, narrow = max(p["IN"], p["OUT"]), min(p["IN"], p["OUT"])
    parts.registers(p["WIDTH"] * wide + 1 + (p["IN"] > p["OUT"]))
    parts.counter(wide // narrow, ahead=False)
    if p["IN"] > p["OUT"]:
        parts.logic("shifted bit", p["WIDTH"] * (wide - narrow))


def _pool(parts: Parts, shape: Shape) -> None:
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


def _add(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    lanes, out = p["LANES"], p["OUT_WIDTH"]
    _valid(parts, 2)
    parts.registers(lanes * (p["A_WIDTH"] + p["B_WIDTH"] + out))
    parts.adders(out, lanes)
    for name in ("A", "B"):
        factor = p[f"{name}_FACTOR"]
        terms = abs(factor).bit_count() - 1 + (factor < 0) + (name == "A" and p["CONSTANT"] != 0)
        parts.adders(out, lanes * terms)
        parts.logic("negated bit", lanes * out * (factor < 0))


def _argmax(parts: Parts, shape: Shape) -> None:
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


def _settle(parts: Parts, wide: int, shift: int, lanes: int) -> None:
    """bnnc_settle."""
    right, left = max(0, shift), max(0, -shift)
    kept = wide + (right > 0) - right
    parts.registers(lanes * (kept + max(0, min(32 - left, kept))))
    if right:
        parts.adders(kept + 1, lanes)
    parts.logic("clamped bit", lanes * 32 * (kept + left > 32))


def _fix_lines(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    lanes, count = p["LANES"], p["COUNT"]
    wide = p["IN_WIDTH"] + (not p["IN_SIGNED"])
    cycles = 1 if wide <= 18 and p["SLOPE_WIDTH"] <= 18 else 3
    _valid(parts, 6 + cycles)
    parts.line(lanes * p["IN_WIDTH"], 2)
    _table(parts, shape, p["CHUNKS"])
    fixed = p["CHUNKS"] == 1
    parts.comparators(32 if not fixed else wide, lanes * count, fixed=fixed)
    chosen = lanes * (p["SLOPE_WIDTH"] + p["OFFSET_WIDTH"])
    known = min(chosen, lanes * ((2 << count) - 2)) if fixed else chosen if count else shape.tables[0].different
    if fixed:
        parts.logic("fixed mux bit", count * chosen)
    else:
        parts.choice(count, chosen)
    parts.registers(lanes * wide + known)
    multiplier(parts, wide, p["SLOPE_WIDTH"], lanes)
    parts.line(known * p["OFFSET_WIDTH"] / (p["SLOPE_WIDTH"] + p["OFFSET_WIDTH"]), cycles)
    parts.adders(p["SUM_WIDTH"], lanes)
    parts.registers(lanes * p["SUM_WIDTH"])
    _settle(parts, p["SUM_WIDTH"], p["SHIFT"], lanes)


def _fix_settle(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    lanes, factor = p["LANES"], p["FACTOR"]
    wide = p["IN_WIDTH"] + (not p["IN_SIGNED"])
    bits = 18 if -131072 <= factor < 131072 else 32
    cycles = 0 if factor == 1 else 1 if wide <= 18 and bits <= 18 else 3
    _valid(parts, 5 + cycles)
    parts.line(lanes * p["IN_WIDTH"], 2)
    if p.get("BIAS_WIDTH", 0):
        _table(parts, shape, p["CHUNKS"])
        parts.line(shape.tables[0].different, cycles)
        parts.adders(p["SUM_WIDTH"], lanes)
    if cycles:
        multiplier(parts, wide, min(bits, factor.bit_length() + 1), lanes)
    parts.registers(lanes * p["SUM_WIDTH"])
    _settle(parts, p["SUM_WIDTH"], p["SHIFT"], lanes)


def _fix_add(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    lanes = p["LANES"]
    wide = max(p["A_WIDTH"] + p["A_SHIFT"], p["B_WIDTH"] + p["B_SHIFT"]) + 1
    _valid(parts, 3)
    parts.adders(wide, lanes * (1 + p.get("A_NEGATIVE", 0)))
    parts.registers(lanes * wide)
    _settle(parts, wide + 2, p["SHIFT"], lanes)


def _fix_mul(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    lanes, a, b = p["LANES"], p["A_WIDTH"] + (not p["A_SIGNED"]), p["B_WIDTH"] + (not p["B_SIGNED"])
    _valid(parts, 3 + (1 if a <= 18 and b <= 18 else 3))
    parts.registers(lanes * (p["A_WIDTH"] + p["B_WIDTH"]))
    multiplier(parts, a, b, lanes)
    _settle(parts, a + b, p["SHIFT"], lanes)


def _fix_table(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    lanes, rest = p["LANES"], p["STEP"] + 1
    _valid(parts, 9)
    place = p["STEP"] + clog2(p["COUNT"])
    for _ in range(lanes):
        parts.constants(shape.tables[0], p.get("ROM_STYLE"))
    parts.registers(lanes * (33 + place + 2 * rest + 64))
    parts.adders(33, lanes)
    parts.comparators(33, lanes, fixed=True)
    parts.logic("clamped bit", lanes * place)
    multiplier(parts, 33, rest, lanes)
    parts.line(lanes * 32, 4)
    parts.adders(32, 2 * lanes)


def _reorder(parts: Parts, shape: Shape) -> None:
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


def _repeat(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    parts.counter(p["TIMES"])
    parts.counter(p["BEATS"], ahead=False)
    parts.memory(p["BEATS"], p["WIDTH"])
    parts.registers(2 * p["WIDTH"] + 4)
    parts.logic("mux bit", p["WIDTH"])


def _concat(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    parts.counter(p["A_BEATS"])
    parts.counter(p["B_BEATS"])
    parts.registers(1)
    parts.logic("mux bit", p["WIDTH"])


def _constant(parts: Parts, shape: Shape) -> None:
    _valid(parts, 2)
    _table(parts, shape, shape.parameters["BEATS"])


def _fork(parts: Parts, shape: Shape) -> None:
    parts.registers(shape.parameters["COPIES"])
    parts.add("pair of fork copies", shape.parameters["COPIES"] ** 2)


PARTS: Mapping[str, Callable[[Parts, Shape], None]] = {
    "bnnc_add": _add,
    "bnnc_affine": _affine,
    "bnnc_argmax": _argmax,
    "bnnc_concat": _concat,
    "bnnc_constant": _constant,
    "bnnc_copies": lambda parts, shape: None,  # wires
    "bnnc_fifo": lambda parts, shape: _fifo(parts, shape.parameters["WIDTH"], shape.parameters["DEPTH"]),
    "bnnc_fix_add": _fix_add,
    "bnnc_fix_lines": _fix_lines,
    "bnnc_fix_mul": _fix_mul,
    "bnnc_fix_settle": _fix_settle,
    "bnnc_fix_table": _fix_table,
    "bnnc_fork": _fork,
    "bnnc_lookup": _lookup,
    "bnnc_mvu_bits": _mvu_bits,
    "bnnc_mvu_integers": _mvu_integers,
    "bnnc_mvu_serial": _mvu_serial,
    "bnnc_planes": _planes,
    "bnnc_pool": _pool,
    "bnnc_reorder": _reorder,
    "bnnc_repeat": _repeat,
    "bnnc_step": _step,
    "bnnc_width": _width,
    "bnnc_window": _window,
    "bnnc_window_wide": _window_wide,
}


def _unknown(parts: Parts, shape: Shape) -> None:
    """Of a module that is not described here: registers at its input."""
    p = shape.parameters
    parts.registers(p.get("LANES", 1) * p.get("WIDTH", p.get("IN_WIDTH", 32)))


def parts_of(shape: Shape, technology: str) -> Parts:
    """What an engine is made of."""
    parts = Parts(technology)
    parts.add(shape.module, 1)
    PARTS.get(shape.module, _unknown)(parts, shape)
    return parts


__all__ = ["PARTS", "Parts", "Shape", "Table", "clog2", "nominal", "parts_of", "table_of"]
