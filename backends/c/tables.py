"""Constant tables as arrays of C."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

import numpy as np

from bnnc.loops.ir import F32, I8, I16, I32, I64, Buffer, Scalar

COLUMNS = 118
"""Longer lines are broken."""
KINDS: dict[Scalar, str] = {I8: "uint8_t", I16: "uint16_t", I32: "uint32_t", I64: "uint64_t", F32: "float"}


def table_text(symbol: str, buffer: Buffer, about: str, placed: bool, index_bits: int) -> str:
    """A constant with a comment; `placed`: where tables go. Indices are kept in as many bits as variables have."""
    assert buffer.data is not None
    bits = buffer.element.bits
    kind = KINDS[buffer.element]
    if buffer.element == F32:
        values = [_float(value) for value in buffer.data]
    elif _indices(buffer, index_bits):
        kind = f"int{index_bits}_t"
        values = [str(int(value)) for value in buffer.data]
    else:
        digits = bits // 4
        mask = (1 << bits) - 1
        values = [f"0x{int(value) & mask:0{digits}x}{'u' if bits < 32 else ''}" for value in buffer.data]
        if bits == 64:
            values = [f"UINT64_C({value})" for value in values]
        elif bits == 32:
            values = [f"{value}u" for value in values]
    about = f"/* {about} */\n" if about else ""
    place = " BNNC_ROM" if placed else ""
    return f"{about}static const {kind}{place} {symbol}[{buffer.length}] = {{\n{filled(values)}\n}};\n"


def filled(values: Iterable[str]) -> str:
    """The elements of an array, as many a line as there is room for."""
    return textwrap.fill(
        ", ".join(values),
        COLUMNS - 4,
        initial_indent="    ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _indices(buffer: Buffer, index_bits: int) -> bool:
    """Whether a table of I64 holds indices, and is kept as such."""
    if buffer.element != I64 or buffer.data is None or not buffer.data.size:
        return False
    return bool(np.abs(buffer.data.astype(object)).max() < (1 << (index_bits - 1)) - 1)


def _float(value: np.float32) -> str:
    number = float(value)
    if np.isnan(number):
        return "NAN"
    if np.isinf(number):
        return "INFINITY" if number > 0 else "-INFINITY"
    return f"{float.hex(number)}f"


__all__ = ["COLUMNS", "KINDS", "filled", "table_text"]
