"""Small modules of the library for SAT: an instance of a circuit with fewer bits, lanes, taps and beats.

What chooses between parts of a module (signs, functions, paddings, ternary weights) stays as it is. What such a module
should give is what its meaning in the proof of the circuit says: the same statement, of the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from bnnc.backends.verilog.circuit import width_of
from bnnc.backends.verilog.design import Stream
from bnnc.backends.verilog.proof.arithmetic import ARITHMETIC
from bnnc.backends.verilog.proof.contents import BIT, Atoms, Code, Contents, Elements
from bnnc.backends.verilog.proof.fixed_point import FIXED
from bnnc.backends.verilog.proof.harness import Flow, Parameters, Source
from bnnc.backends.verilog.proof.moves import MOVES
from bnnc.backends.verilog.proof.reading import Reading
from bnnc.backends.verilog.proof.top import Placed, Taken

Numbers = Mapping[str, int]
FILE = "made_up.mem"
FIXED_WIDE = 48


@dataclass(frozen=True)
class Plan:
    """A small instance: its parameters, its inputs, and the memory it reads (name of the parameter, words as bits)."""

    parameters: Mapping[str, int]
    inputs: tuple[Source, ...]
    cycles: int
    late: int
    memory: tuple[str, np.ndarray] | None = None
    wide: int = 16


def _random(words: int, bits: int) -> np.ndarray:
    """Words of a made-up memory, always the same."""
    return np.random.default_rng(words * 1000 + bits).integers(0, 2, (words, bits))


def _source(prefix: str, lanes: int, width: int, signed: int, beats: int, code: Code = Code()) -> Source:  # noqa: B008
    return Source(prefix, lanes, width, signed != 0, beats, 0, code)


def _at_most(numbers: Numbers, **most: int) -> dict[str, int]:
    """The parameters, those that are named at most so large."""
    return {**numbers, **{name: min(numbers[name], value) for name, value in most.items()}}


def _near(value: int, most: int) -> int:
    return max(-most, min(most, value))


def fifo(n: Numbers) -> Plan:
    p = _at_most(n, WIDTH=2, DEPTH=3)
    return Plan(p, (_source("in", 1, p["WIDTH"], 0, 1),), 9, 3)


def width(n: Numbers) -> Plan:
    ratio = min(max(n["IN"], n["OUT"]) // min(n["IN"], n["OUT"]), 3)
    lanes, bits = min(n["IN"], n["OUT"], 2), min(n["WIDTH"], 2)
    wide, narrow = n["IN"] > n["OUT"], n["IN"] < n["OUT"]
    p = {**n, "WIDTH": bits, "IN": lanes * ratio if wide else lanes, "OUT": lanes * ratio if narrow else lanes}
    return Plan(p, (_source("in", p["IN"], bits, 0, ratio if narrow else 1),), 10, 3)


def concat(n: Numbers) -> Plan:
    p = _at_most(n, WIDTH=2, A_BEATS=2, B_BEATS=2)
    sources = [_source(prefix, 1, p["WIDTH"], 0, p[f"{prefix.upper()}_BEATS"]) for prefix in "ab"]
    return Plan(p, tuple(sources), 8, 2)


def copies(n: Numbers) -> Plan:
    p = _at_most(n, WIDTH=2, LANES=2, COPIES=3)
    return Plan(p, (_source("in", p["LANES"], p["WIDTH"], 0, 1),), 6, 2)


def planes(n: Numbers) -> Plan:
    p = _at_most(n, LANES=2, WIDTH=3)
    return Plan(p, (_source("in", p["LANES"], p["WIDTH"], 0, 1),), 9, 3)


def repeat(n: Numbers) -> Plan:
    p = _at_most(n, WIDTH=2, BEATS=2, TIMES=3)
    return Plan(p, (_source("in", 1, p["WIDTH"], 0, p["BEATS"]),), 12, 4)


def reorder(n: Numbers) -> Plan:
    p = _at_most(n, WIDTH=2, IN_BEATS=3, OUT_BEATS=3)
    p["FILL"] = 2 & ((1 << p["WIDTH"]) - 1)
    bits, beats = p["IN_BEATS"].bit_length(), p["IN_BEATS"]
    index = np.array([[beats - k % (beats + 1)] for k in range(p["OUT_BEATS"])]) >> np.arange(bits) & 1
    return Plan(p, (_source("in", 1, p["WIDTH"], 0, beats),), 17, 9, ("INDEX", index))


def constant(n: Numbers) -> Plan:
    p = _at_most(n, WIDTH=3, BEATS=3)
    return Plan(p, (), 9, 4, ("TABLE", _random(p["BEATS"], p["WIDTH"])))


def window(n: Numbers) -> Plan:
    p = _at_most(n, WIDTH=1, GROUPS=2)
    plain = min(n["KERNEL_H"], n["KERNEL_W"]) == 1
    chunks = min(n["CHANNELS"] // (n["LANES"] * n["GROUPS"]), 2 if p["GROUPS"] == 1 and plain else 1)
    p |= {"LANES": 1, "CHANNELS": p["GROUPS"] * chunks, "PAD_VALUE": n["PAD_VALUE"] & 1}
    _picture(p)
    outputs = p["OUT_HEIGHT"] * p["OUT_COLUMNS"] * p["KERNEL_H"] * p["KERNEL_W"] * p["CHANNELS"]
    beats = p["HEIGHT"] * p["COLUMNS"] * p["CHANNELS"]
    return Plan(p, (_source("in", 1, 1, 0, beats),), min(max(outputs, beats) + 8, 24), 6)


def window_wide(n: Numbers) -> Plan:
    p = _at_most(n, WIDTH=1)
    chunks = min(n["CHANNELS"] // n["LANES"], 2)
    p |= {"LANES": 1, "CHANNELS": chunks, "PAD_VALUE": n["PAD_VALUE"] & 1}
    _picture(p)
    beats = p["HEIGHT"] * p["COLUMNS"] * chunks
    outputs = p["OUT_HEIGHT"] * p["OUT_COLUMNS"] * chunks
    return Plan(p, (_source("in", 1, 1, 0, beats),), min(max(outputs, beats) + 14, 30), 14)


def _picture(p: dict[str, int]) -> None:
    """A small picture with windows of the same kind."""
    for axis, side, size, pad in (("H", "HEIGHT", 2, "PAD_TOP"), ("W", "COLUMNS", 3, "PAD_LEFT")):
        kernel = p[f"KERNEL_{axis}"] = min(p[f"KERNEL_{axis}"], 2)
        dilation = p[f"DILATION_{axis}"] = min(p[f"DILATION_{axis}"], 2) if kernel > 1 else 1
        stride = p[f"STRIDE_{axis}"] = min(p[f"STRIDE_{axis}"], 2)
        p[pad] = min(p[pad], 1, (kernel - 1) * dilation)
        p[side] = min(p[side], size if kernel > 1 else 1)
        p[side] = max(p[side], (kernel - 1) * dilation + 1 - 2 * p[pad])
        most = (p[side] + 2 * p[pad] - (kernel - 1) * dilation - 1) // stride + 1
        p[f"OUT_{side}"] = min(p[f"OUT_{side}"], 2, most)


def _vectors(n: Numbers, simd: int) -> dict[str, int]:
    """A matrix-vector engine of two inputs, neurons, beats, passes and groups at most; not all of them at once."""
    sf, nf = min(n["INPUTS"] // n["SIMD"], 2), min(n["OUTPUTS"] // n["PE"], 2)
    simd, pe, groups = min(n["SIMD"], simd), min(n["PE"], 2 // nf), min(n["GROUPS"], 2 // nf)
    return {**n, "SIMD": simd, "PE": pe, "GROUPS": groups, "INPUTS": sf * simd, "OUTPUTS": nf * pe}


def _passes(p: Numbers) -> tuple[int, int]:
    """Beats of a round of all groups, and of its weights."""
    beats = p["GROUPS"] * (p["INPUTS"] // p["SIMD"])
    return beats, beats * (p["OUTPUTS"] // p["PE"])


def mvu_bits(n: Numbers) -> Plan:
    p = _vectors(n, 2)
    flags = p["FLAGS"] = min(n.get("FLAGS", 0), p["SIMD"])
    simd, amount = p["SIMD"], p["SIMD"].bit_length()
    p["ACC_WIDTH"] = width_of(-p["INPUTS"], p["INPUTS"])[0] if n["SUM"] else p["INPUTS"].bit_length()
    beats, words = _passes(p)
    field = 2 * simd + amount if n["TERNARY"] else simd
    memory = _random(words, p["PE"] * field).reshape(words, p["PE"], field)
    if n["TERNARY"]:
        counts = memory[:, :, simd : 2 * simd].sum(2)
        memory[:, :, 2 * simd :] = counts[..., None] >> np.arange(amount) & 1
    pads = tuple("".join(map(str, row)) for row in _random(beats, flags).tolist()) if flags else ()
    source = replace(_source("in", simd, 1, 0, beats, BIT), pads=pads)
    return Plan(p, (source,), 14, 12, ("WEIGHTS", memory.reshape(words, -1)), 8)


def mvu_integers(n: Numbers) -> Plan:
    p = {**_vectors(n, 2), **_at_most({k: n[k] for k in ("IN_WIDTH", "WEIGHT_WIDTH")}, IN_WIDTH=2, WEIGHT_WIDTH=2)}
    p["ACC_WIDTH"] = 6
    beats, words = _passes(p)
    memory = _random(words, p["PE"] * p["SIMD"] * p["WEIGHT_WIDTH"])
    source = _source("in", p["SIMD"], p["IN_WIDTH"], n["IN_SIGNED"], beats)
    return Plan(p, (source,), 14, 13, ("WEIGHTS", memory), 8)


def step(n: Numbers) -> Plan:
    p = _at_most(n, LANES=2, IN_WIDTH=3, OUT_WIDTH=2, CHUNKS=2, COUNT=3)
    field = p["COUNT"] * p["IN_WIDTH"] + (p["COUNT"] + 1) * p["OUT_WIDTH"]
    source = _source("in", p["LANES"], p["IN_WIDTH"], n["IN_SIGNED"], p["CHUNKS"])
    return Plan(p, (source,), 9, 4, ("TABLE", _random(p["CHUNKS"], p["LANES"] * field)))


def lookup(n: Numbers) -> Plan:
    p = _at_most(n, LANES=2, IN_WIDTH=3, OUT_WIDTH=2, CHUNKS=2)
    p |= {"SIZE": 1 << p["IN_WIDTH"], "LOW": -(1 << (p["IN_WIDTH"] - 1)) if n["IN_SIGNED"] else 0}
    bits = p["OUT_WIDTH"] * (1 if n.get("SHARED", 0) else p["LANES"])
    source = _source("in", p["LANES"], p["IN_WIDTH"], n["IN_SIGNED"], p["CHUNKS"])
    return Plan(p, (source,), 9, 4, ("TABLE", _random(p["CHUNKS"] * p["SIZE"], bits)))


def affine(n: Numbers) -> Plan:
    p = _at_most(n, LANES=2, IN_WIDTH=3, FACTOR_WIDTH=3, OUT_WIDTH=6, CHUNKS=2)
    source = _source("in", p["LANES"], p["IN_WIDTH"], n["IN_SIGNED"], p["CHUNKS"])
    bits = p["LANES"] * (p["FACTOR_WIDTH"] + p["OUT_WIDTH"])
    return Plan(p, (source,), 10, 6, ("TABLE", _random(p["CHUNKS"], bits)))


def pool(n: Numbers) -> Plan:
    p = _at_most(n, LANES=2, IN_WIDTH=2, TAPS=3, CHUNKS=2)
    p["OUT_WIDTH"] = 6 if n["FUNCTION"] == 2 else p["IN_WIDTH"]
    if "SMALLEST" in n:
        p["SMALLEST"] = n["SMALLEST"] & ((1 << (p["LANES"] * p["CHUNKS"])) - 1) or 1
    beats = p["TAPS"] * p["CHUNKS"]
    pads = tuple(str(int(b % 3 == 1)) for b in range(beats))
    offset, factor = n.get("OFFSET", 0), n.get("FACTOR", 1)
    code = Code(1, -offset, factor) if n["FUNCTION"] == 2 and factor in (1, 2) else Code()
    source = replace(_source("in", p["LANES"], p["IN_WIDTH"], n["SIGNED"], beats, code), pads=pads)
    return Plan(p, (source,), min(2 * beats + 3, 14), 4)


def add(n: Numbers) -> Plan:
    p = _at_most(n, LANES=1, A_WIDTH=3, B_WIDTH=3, OUT_WIDTH=6)
    p |= {"A_FACTOR": _near(n["A_FACTOR"], 3), "B_FACTOR": _near(n["B_FACTOR"], 3), "CONSTANT": _near(n["CONSTANT"], 9)}
    sources = [_source(x, p["LANES"], p[f"{x.upper()}_WIDTH"], n[f"{x.upper()}_SIGNED"], 1) for x in "ab"]
    return Plan(p, tuple(sources), 7, 4, None, 10)


def argmax(n: Numbers) -> Plan:
    lanes, beats = min(n["LANES"], 3), min(n["COUNT"] // n["LANES"], 3 if n["LANES"] < 2 else 2)
    p = {**n, "LANES": lanes, "COUNT": lanes * beats, "WIDTH": min(n["WIDTH"], 2)}
    return Plan(p, (_source("in", lanes, p["WIDTH"], n["SIGNED"], beats),), 2 * beats + 5, 6)


def fix_settle(n: Numbers) -> Plan:
    p = _at_most(n, LANES=1, IN_WIDTH=4, BIAS_WIDTH=4)
    p |= {"FACTOR": _near(n["FACTOR"], 3), "SHIFT": _near(n["SHIFT"], 2), "SUM_WIDTH": 10}
    memory = None
    if n["BIAS_WIDTH"]:
        p["CHUNKS"] = min(n["CHUNKS"], 2)
        memory = "TABLE", _random(p["CHUNKS"], p["BIAS_WIDTH"])
    source = _source("in", 1, p["IN_WIDTH"], n["IN_SIGNED"], p.get("CHUNKS", 1))
    return Plan(p, (source,), 11, 8, memory, FIXED_WIDE)


def fix_add(n: Numbers) -> Plan:
    p = _at_most(n, LANES=1, A_WIDTH=4, B_WIDTH=4, A_SHIFT=2, B_SHIFT=2)
    p["SHIFT"] = _near(n["SHIFT"], 2)
    sources = [_source(x, 1, p[f"{x.upper()}_WIDTH"], n[f"{x.upper()}_SIGNED"], 1) for x in "ab"]
    return Plan(p, tuple(sources), 8, 5, None, FIXED_WIDE)


def fix_mul(n: Numbers) -> Plan:
    p = _at_most(n, LANES=1, A_WIDTH=3, B_WIDTH=3)
    p["SHIFT"] = _near(n["SHIFT"], 2)
    sources = [_source(x, 1, p[f"{x.upper()}_WIDTH"], n[f"{x.upper()}_SIGNED"], 1) for x in "ab"]
    return Plan(p, tuple(sources), 8, 6, None, FIXED_WIDE)


def fix_lines(n: Numbers) -> Plan:
    p = _at_most(n, LANES=1, IN_WIDTH=3, COUNT=2, SLOPE_WIDTH=3, OFFSET_WIDTH=4, CHUNKS=2)
    p |= {"SUM_WIDTH": 10, "SHIFT": _near(n["SHIFT"], 2)}
    memory = _random(p["CHUNKS"], p["COUNT"] * 32 + (p["COUNT"] + 1) * (p["SLOPE_WIDTH"] + p["OFFSET_WIDTH"]))
    for at in range(p["COUNT"]):  # thresholds that are reached: -1 and 1
        memory[:, at * 32 : (at + 1) * 32] = [1] + [1 - at] * 31
    source = _source("in", 1, p["IN_WIDTH"], n["IN_SIGNED"], p["CHUNKS"])
    return Plan(p, (source,), 11, 9, ("TABLE", memory), FIXED_WIDE)


def fix_table(n: Numbers) -> Plan:
    p = _at_most(n, LANES=1, IN_WIDTH=4, STEP=1, COUNT=3)
    p["FIRST"] = -3 if n["IN_SIGNED"] else 2
    values = np.array([[5, -3, 7, 2][k] for k in range(p["COUNT"])])
    rises = np.diff(np.append(values, 1))
    memory = np.concatenate([values[:, None] >> np.arange(32) & 1, rises[:, None] >> np.arange(33) & 1], axis=1)
    return Plan(p, (_source("in", 1, p["IN_WIDTH"], n["IN_SIGNED"], 1),), 12, 10, ("TABLE", memory), FIXED_WIDE)


PLANS: dict[str, Callable[[Numbers], Plan]] = {
    "bnnc_fifo": fifo,
    "bnnc_width": width,
    "bnnc_concat": concat,
    "bnnc_copies": copies,
    "bnnc_planes": planes,
    "bnnc_repeat": repeat,
    "bnnc_reorder": reorder,
    "bnnc_constant": constant,
    "bnnc_window": window,
    "bnnc_window_wide": window_wide,
    "bnnc_mvu_bits": mvu_bits,
    "bnnc_mvu_integers": mvu_integers,
    "bnnc_step": step,
    "bnnc_lookup": lookup,
    "bnnc_affine": affine,
    "bnnc_pool": pool,
    "bnnc_add": add,
    "bnnc_argmax": argmax,
    "bnnc_fix_settle": fix_settle,
    "bnnc_fix_add": fix_add,
    "bnnc_fix_mul": fix_mul,
    "bnnc_fix_lines": fix_lines,
    "bnnc_fix_table": fix_table,
}
"""By the name of the module."""


def flows_of(module: str, numbers: Numbers) -> list[Flow]:
    """The small modules that stand for an instance: a matrix-vector engine of several passes also has one pass."""
    if module not in PLANS:
        return []
    if "PE" in numbers and numbers["OUTPUTS"] > numbers["PE"]:
        once = {**numbers, "OUTPUTS": numbers["PE"]}
        return [_flow(module, numbers), _flow(module, once)]
    return [_flow(module, numbers)]


def _flow(module: str, numbers: Numbers) -> Flow:
    plan = PLANS[module](numbers)
    elements = Elements()
    sources, contents = [], []
    for source in plan.inputs:
        raws = (
            (-(1 << (source.width - 1)), (1 << (source.width - 1)) - 1)
            if source.signed
            else (0, (1 << source.width) - 1)
        )
        lo, hi = (int(source.code.value(np.array(raw))) for raw in raws)
        ids = elements.tensor(source.beats * source.lanes, lo, hi)
        source = replace(source, first=int(ids[0]))
        pads = np.array([[bit == "1" for bit in row] for row in source.pads]) if source.pads else None
        sources.append(source)
        contents.append(Contents(Atoms(ids, source.code), source.lanes, source.width, len(ids), pads))
    parameters: dict[str, int | str] = {name: value for name, value in plan.parameters.items() if name != "ROM_STYLE"}
    files = {}
    if plan.memory is not None:
        name, bits = plan.memory
        parameters[name] = FILE
        digits = -(-bits.shape[1] // 4)
        words = [int("".join(map(str, row[::-1])), 2) for row in bits.tolist()]
        files[FILE] = "".join(f"{word:0{digits}x}\n" for word in words)
    inputs = {source.prefix: Taken(source.prefix, source.bits) for source in sources}
    stream = Stream("out", 1, plan.parameters["BEATS"], 1, plan.parameters["WIDTH"]) if not sources else None
    reading = Reading(Placed(module, "dut", parameters, inputs, ("out",)), files, stream)
    result = {**MOVES, **ARITHMETIC, **FIXED}[module](reading, contents, elements)
    given: Parameters = {name: _given(name, value, plan.parameters) for name, value in parameters.items()}
    return Flow(
        module, given, tuple(sources), result, plan.cycles, plan.late, elements.numbers(), plan.wide, files
    )  # fmt: skip


def _given(name: str, value: int | str, numbers: Numbers) -> int | str:
    """A parameter as it is written: FILL has the bits of a beat."""
    return f"{numbers['WIDTH']}'d{value}" if name == "FILL" else value


__all__ = ["PLANS", "flows_of"]
