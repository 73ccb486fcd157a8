"""The parts of engines in fixed point, from the parameters of their Verilog."""

from __future__ import annotations

from bnnc.backends.verilog.parts import Parts, Shape, clog2, multiplier, table_reader, valid


def _settle(parts: Parts, wide: int, shift: int, lanes: int) -> None:
    """bnnc_settle."""
    right, left = max(0, shift), max(0, -shift)
    kept = wide + (right > 0) - right
    parts.registers(lanes * (kept + max(0, min(32 - left, kept))))
    if right:
        parts.adders(kept + 1, lanes)
    parts.logic("clamped bit", lanes * 32 * (kept + left > 32))


def fix_lines(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    lanes, count = p["LANES"], p["COUNT"]
    wide = p["IN_WIDTH"] + (not p["IN_SIGNED"])
    cycles = 1 if wide <= 18 and p["SLOPE_WIDTH"] <= 18 else 3
    valid(parts, 6 + cycles)
    parts.line(lanes * p["IN_WIDTH"], 2)
    table_reader(parts, shape, p["CHUNKS"])
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


def fix_settle(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    lanes, factor = p["LANES"], p["FACTOR"]
    wide = p["IN_WIDTH"] + (not p["IN_SIGNED"])
    bits = 18 if -131072 <= factor < 131072 else 32
    cycles = 0 if factor == 1 else 1 if wide <= 18 and bits <= 18 else 3
    valid(parts, 5 + cycles)
    parts.line(lanes * p["IN_WIDTH"], 2)
    if p.get("BIAS_WIDTH", 0):
        table_reader(parts, shape, p["CHUNKS"])
        parts.line(shape.tables[0].different, cycles)
        parts.adders(p["SUM_WIDTH"], lanes)
    # A power of two is a shift: the lowest bits of the sum are 0.
    zeros = factor.bit_length() - 1 if factor & (factor - 1) == 0 else 0
    if zeros:
        parts.line(lanes * wide, cycles)
    elif cycles:
        multiplier(parts, wide, min(bits, factor.bit_length() + 1), lanes)
    parts.registers(lanes * (p["SUM_WIDTH"] - zeros))
    dropped = min(zeros, max(0, p["SHIFT"]))
    _settle(parts, p["SUM_WIDTH"] - dropped, p["SHIFT"] - dropped, lanes)


def fix_add(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    lanes = p["LANES"]
    wide = max(p["A_WIDTH"] + p["A_SHIFT"], p["B_WIDTH"] + p["B_SHIFT"]) + 1
    valid(parts, 3)
    parts.adders(wide, lanes * (1 + p.get("A_NEGATIVE", 0)))
    parts.registers(lanes * wide)
    _settle(parts, wide + 2, p["SHIFT"], lanes)


def fix_mul(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    lanes, a, b = p["LANES"], p["A_WIDTH"] + (not p["A_SIGNED"]), p["B_WIDTH"] + (not p["B_SIGNED"])
    valid(parts, 3 + (1 if a <= 18 and b <= 18 else 3))
    parts.registers(lanes * (p["A_WIDTH"] + p["B_WIDTH"]))
    multiplier(parts, a, b, lanes)
    _settle(parts, a + b, p["SHIFT"], lanes)


def fix_table(parts: Parts, shape: Shape) -> None:
    p = shape.parameters
    lanes, rest = p["LANES"], p["STEP"] + 1
    valid(parts, 9)
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


__all__ = ["fix_add", "fix_lines", "fix_mul", "fix_settle", "fix_table"]
