"""Units inside of engines that SAT looks at by themselves: no handshake, often all bits that the circuit has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bnnc.backends.verilog.proof.harness import Unit

Numbers = Mapping[str, int]


def popcount(bits: int) -> Unit:
    """bnnc_popcount."""
    width, groups = bits.bit_length(), -(-bits // 8)
    return Unit(
        "bnnc_popcount",
        {"BITS": bits},
        (("bits", bits),),
        (("count", width), ("carry", 1)),
        "count + carry",
        " + ".join(f"bits[{n}]" for n in range(bits)),
        width + 1,
        1 + (groups - 1).bit_length(),
    )


FULL_ADDER = Unit(
    "bnnc_full_adder",
    {},
    tuple((name, 1) for name in "abc"),
    (("sum", 1), ("carry", 1)),
    "{carry, sum}",
    "a + b + c",
    2,
    0,
    clocked=False,
)


def tree(lanes: int, width: int, signed: bool) -> Unit:
    """bnnc_adder_tree."""
    out = width + lanes.bit_length()
    terms: list[str] = []
    for n in range(lanes):
        top = f"numbers[{n * width + width - 1}]" if signed else "1'b0"
        terms += [f"{{{{{out - width}{{{top}}}}}, numbers[{n * width}+:{width}]}}", f"pending[{n}]"]
    return Unit(
        "bnnc_adder_tree",
        {"LANES": lanes, "IN_WIDTH": width, "IN_SIGNED": int(signed), "WIDTH": out},
        (("numbers", lanes * width), ("pending", lanes)),
        (("sum", out), ("carry", 1)),
        "sum + carry",
        " + ".join(terms),
        out,
        (lanes - 1).bit_length(),
    )


def settle_of(width: int, shift: int) -> Unit:
    """bnnc_settle."""
    wide = max(width, 32) + 2 + max(0, -shift)
    x = f"$signed({{{{{wide - width}{{x[{width - 1}]}}}}, x}})"
    half = f"{wide}'sd1 <<< {shift - 1}"
    moved = f"(({x} + ({half})) >>> {shift})" if shift > 0 else f"({x} <<< {-shift})"
    most, least = f"{wide}'sd2147483647", f"-{wide}'sd2147483648"
    return Unit(
        "bnnc_settle",
        {"WIDTH": width, "SHIFT": shift},
        (("x", width),),
        (("y", 32),),
        "y",
        f"{moved} > {most} ? {most} : {moved} < {least} ? {least} : {moved}",
        32,
        2,
        enable=True,
    )


def multiply(a: int, b: int) -> Unit:
    """bnnc_multiply."""
    out = a + b
    factors = [f"$signed({{{{{out - w}{{{name}[{w - 1}]}}}}, {name}}})" for name, w in (("a", a), ("b", b))]
    return Unit(
        "bnnc_multiply",
        {"A_WIDTH": a, "B_WIDTH": b},
        (("a", a), ("b", b)),
        (("product", out),),
        "product",
        " * ".join(factors),
        out,
        1 if max(a, b) <= 18 else 3,
        enable=True,
    )


def units_of(module: str, n: Numbers) -> Iterator[Unit]:
    """The units of an instance."""
    if module in ("bnnc_mvu_bits", "bnnc_mvu_serial"):
        yield FULL_ADDER
        yield popcount(min(n["SIMD"], 16))
        if n["SIMD"] > 8:
            yield tree(3, 3, False)
    if module == "bnnc_mvu_integers":
        yield tree(min(n["SIMD"], 3), 3, True)
    if module in ("bnnc_mvu_integers", "bnnc_affine", "bnnc_fix_lines", "bnnc_fix_mul"):
        yield multiply(3, 3)
    if module == "bnnc_fix_settle":
        yield settle_of(n["SUM_WIDTH"], n["SHIFT"])
    if module == "bnnc_fix_lines":
        yield settle_of(n["SUM_WIDTH"], n["SHIFT"])


__all__ = ["units_of"]
