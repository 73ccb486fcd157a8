"""Vectors of words in C: Arm's MVE where the compiler has it, four words in a structure everywhere else.

Only what kernels for small processors use: vectors of four i32 and of eight i16, loaded, stored and joined bit by bit.
"""

from __future__ import annotations

from bnnc.loops.ir import I16, I32, Scalar, Type, Vector

WORDS, HALVES = Vector(I32, 4), Vector(I16, 8)
_NAMES: dict[Type, str] = {WORDS: "bnnc_4x32", HALVES: "bnnc_8x16"}
_LANES: dict[Scalar, str] = {I32: "uint32_t", I16: "uint16_t"}
# What a function does in MVE, and lane by lane: name -> (parameters, MVE's expression, the lane's expression).
_FUNCTIONS: dict[str, tuple[str, str, str]] = {
    "splat": ("LANE x", "vdupq_n_SUFFIX(x)", "x"),
    "load": ("const POINTER *p", "vldrEACHq_SUFFIX(p)", "p[i]"),
    "widen": ("const bnnc_u16 *p", "vldrhq_u32(p)", "p[i]"),
    "gather": ("const uint32_t *p, VECTOR k", "vldrwq_gather_shifted_offset_u32(p, k)", "p[k.lane[i]]"),
    "and": ("VECTOR a, VECTOR b", "vandq_SUFFIX(a, b)", "a.lane[i] & b.lane[i]"),
    "or": ("VECTOR a, VECTOR b", "vorrq_SUFFIX(a, b)", "a.lane[i] | b.lane[i]"),
    "xor": ("VECTOR a, VECTOR b", "veorq_SUFFIX(a, b)", "a.lane[i] ^ b.lane[i]"),
    "add": ("VECTOR a, VECTOR b", "vaddq_SUFFIX(a, b)", "a.lane[i] + b.lane[i]"),
    "not": ("VECTOR a", "vmvnq_SUFFIX(a)", "~a.lane[i]"),
}


def vector_name(type_: Type) -> str | None:
    """The C type of a vector; None for types that there is none for."""
    return _NAMES.get(type_)


def function_name(what: str, type_: Type) -> str:
    """The C function that does it, such as bnnc_xor_4x32; `vectors_text` gives its text."""
    return f"{_NAMES[type_].replace('bnnc_', f'bnnc_{what}_')}"


def vectors_text(used: set[str]) -> str:
    """Types and functions, in both forms; nothing where `used` names none."""
    types = [t for t, name in _NAMES.items() if any(use.endswith(name[4:]) for use in used)]
    if not types:
        return ""
    mve = ["#include <arm_mve.h>"]
    plain = []
    for type_ in types:
        assert isinstance(type_, Vector)
        name, lane = _NAMES[type_], _LANES[type_.element]
        mve.append(f"typedef {lane[:-2]}x{type_.lanes}_t {name};")
        plain.append(f"typedef struct {{\n    {lane} lane[{type_.lanes}];\n}} {name};")
    for type_ in types:
        for what in (*_FUNCTIONS, "store", "lane"):
            if function_name(what, type_) in used:
                one, other = _function(what, type_)
                mve.append(one)
                plain.append(other)
    head = "/* Vectors: Arm's MVE, or lane by lane. */\n#if defined(__ARM_FEATURE_MVE)"
    return "\n".join([head, *mve, "#else", *plain, "#endif", ""])


def _function(what: str, type_: Type) -> tuple[str, str]:
    """Its text with MVE, and without."""
    assert isinstance(type_, Vector)
    name, vector, lane = function_name(what, type_), _NAMES[type_], _LANES[type_.element]
    pointer = "bnnc_u16" if type_.element == I16 else lane
    suffix, each = f"u{type_.element.bits}", "h" if type_.element == I16 else "w"
    if what == "lane":
        return f"#define {name}(v, i) vgetq_lane_{suffix}((v), (i))", f"#define {name}(v, i) ((v).lane[i])"
    if what == "store":
        head = f"static inline void {name}({pointer} *p, {vector} v) {{\n"
        lanes = "".join(f"    p[{i}] = v.lane[{i}];\n" for i in range(type_.lanes))
        return f"{head}    vstr{each}q_{suffix}(p, v);\n}}", f"{head}{lanes}}}"
    parameters, fast, slow = _FUNCTIONS[what]
    parameters = parameters.replace("VECTOR", vector).replace("LANE", lane).replace("POINTER", pointer)
    head = f"static inline {vector} {name}({parameters}) {{\n"
    fast = fast.replace("SUFFIX", suffix).replace("EACH", each)
    slow = f"({lane})({slow})" if type_.element == I16 else slow
    # Lane by lane without a loop: sanitizers would make much of one in every function.
    lanes = "".join(f"    r.lane[{i}] = {slow.replace('[i]', f'[{i}]')};\n" for i in range(type_.lanes))
    return f"{head}    return {fast};\n}}", f"{head}    {vector} r;\n{lanes}    return r;\n}}"


__all__ = ["HALVES", "WORDS", "function_name", "vector_name", "vectors_text"]
