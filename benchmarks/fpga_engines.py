"""Engines that the cost model is fitted to: a few shapes of each module, made up, none taken from a network.

What is varied is what a part depends on: width and depth, padding, signs, multipliers.
"""

from __future__ import annotations

from collections.abc import Iterator

from bnnc.backends.verilog.memories import in_block
from bnnc.backends.verilog.parts import Shape, clog2, nominal

Sizes = tuple[tuple[int, int], ...]


def _shape(module: str, memories: Sizes = (), styled: bool = False, /, **numbers: int) -> tuple[Shape, Sizes]:
    if styled:
        numbers["ROM_STYLE"] = 2 if any(in_block(*memory) for memory in memories) else 1
    return Shape(module, numbers, tuple(nominal(*memory) for memory in memories)), memories


def _bits(
    inputs: int, outputs: int, simd: int, pe: int, groups: int = 1, flag: int = 0, ternary: int = 0
) -> tuple[Shape, Sizes]:
    summed = int(flag > 0 or ternary > 0)
    field = 2 * simd + clog2(simd + 1) if ternary else simd
    return _shape(
        "bnnc_mvu_bits",
        ((groups * inputs // simd * outputs // pe, pe * field),),
        True,
        INPUTS=inputs, OUTPUTS=outputs, SIMD=simd, PE=pe, GROUPS=groups, FLAGS=flag, TERNARY=ternary, SUM=summed,
        ACC_WIDTH=inputs.bit_length() + summed,
    )  # fmt: skip


def _integers(
    inputs: int, outputs: int, simd: int, pe: int, wide: int, signed: int, weight: int
) -> tuple[Shape, Sizes]:
    return _shape(
        "bnnc_mvu_integers",
        ((inputs // simd * outputs // pe, pe * simd * weight),),
        True,
        INPUTS=inputs, OUTPUTS=outputs, SIMD=simd, PE=pe, GROUPS=1, IN_WIDTH=wide,
        IN_SIGNED=signed, WEIGHT_WIDTH=weight, ACC_WIDTH=min(64, wide + weight + inputs.bit_length()),
    )  # fmt: skip


def _serial(inputs: int, outputs: int, simd: int, pe: int, wide: int, signed: int) -> tuple[Shape, Sizes]:
    field = simd + clog2(simd + 1)
    return _shape(
        "bnnc_mvu_serial", ((inputs // simd * outputs // pe, pe * field),), True,
        INPUTS=inputs, OUTPUTS=outputs, SIMD=simd, PE=pe, GROUPS=1, IN_WIDTH=wide, IN_SIGNED=signed,
        ACC_WIDTH=wide + inputs.bit_length() + 1,
    )  # fmt: skip


def _step(lanes: int, wide: int, signed: int, out: int, chunks: int, count: int) -> tuple[Shape, Sizes]:
    field = count * wide + (count + 1) * out
    return _shape(
        "bnnc_step", ((chunks, lanes * field),), True,
        LANES=lanes, IN_WIDTH=wide, IN_SIGNED=signed, OUT_WIDTH=out, CHUNKS=chunks, COUNT=count,
    )  # fmt: skip


def _window(
    wide: int, lanes: int, channels: int, side: int, kernel: int, stride: int, pad: int, groups: int = 1, high: int = 0
) -> tuple[Shape, Sizes]:
    height = high or side
    taps_h = min(kernel, height)
    out = [(n + 2 * p - k) // stride + 1 for n, p, k in ((height, pad * (height > 1), taps_h), (side, pad, kernel))]
    return _shape(
        "bnnc_window",
        WIDTH=wide, LANES=lanes, CHANNELS=channels, GROUPS=groups, HEIGHT=height, COLUMNS=side, KERNEL_H=taps_h,
        KERNEL_W=kernel, STRIDE_H=stride, STRIDE_W=stride, DILATION_H=1, DILATION_W=1, PAD_TOP=pad * (height > 1),
        PAD_LEFT=pad, OUT_HEIGHT=out[0], OUT_COLUMNS=out[1], PAD_VALUE=0,
    )  # fmt: skip


def _lines(lanes: int, wide: int, count: int, slope: int, offset: int, chunks: int, shift: int) -> tuple[Shape, Sizes]:
    field = 32 * count + (count + 1) * (slope + offset)
    return _shape(
        "bnnc_fix_lines", ((chunks, lanes * field),),
        LANES=lanes, IN_WIDTH=wide, IN_SIGNED=1, COUNT=count, SLOPE_WIDTH=slope, OFFSET_WIDTH=offset, CHUNKS=chunks,
        SUM_WIDTH=max(wide + slope, offset) + 1, SHIFT=shift,
    )  # fmt: skip


def _settle(lanes: int, wide: int, factor: int, bias: int, chunks: int, shift: int) -> tuple[Shape, Sizes]:
    numbers = {"BIAS_WIDTH": bias, "CHUNKS": chunks} if bias else {"BIAS_WIDTH": 0}
    return _shape(
        "bnnc_fix_settle", ((chunks, lanes * bias),) if bias else (),
        LANES=lanes, IN_WIDTH=wide, IN_SIGNED=1, FACTOR=factor, SUM_WIDTH=wide + factor.bit_length() + (bias > 0),
        SHIFT=shift, **numbers,
    )  # fmt: skip


def engines() -> Iterator[tuple[Shape, Sizes]]:
    """All of them, with (words, width) of their constants; small ones, for a synthesis of each takes seconds."""
    for bits in (
        (64, 16, 8, 4), (100, 20, 5, 2), (128, 32, 32, 8), (96, 8, 16, 8), (300, 12, 60, 3), (48, 48, 3, 12),
        (512, 64, 64, 2), (36, 16, 36, 4), (1152, 24, 24, 2), (40, 10, 1, 1), (784, 16, 49, 4), (256, 256, 16, 1),
    ):  # fmt: skip
        yield _bits(*bits)
    for bits in ((64, 16, 8, 4), (144, 16, 16, 8), (72, 12, 4, 3), (288, 8, 32, 4), (9, 1, 1, 1)):
        yield _bits(*bits, flag=1)
        yield _bits(*bits, ternary=1)
    yield _bits(27, 4, 9, 4, groups=8)
    yield _bits(18, 1, 2, 1, groups=24, flag=1)
    yield _bits(72, 8, 24, 4, flag=3)
    yield _bits(144, 4, 144, 4, flag=9)
    yield _bits(9, 1, 9, 1, groups=24, flag=9)
    for numbers in (
        (27, 16, 3, 4, 8, 0, 1), (64, 10, 8, 5, 2, 1, 1), (48, 12, 4, 2, 2, 0, 2), (128, 16, 16, 4, 2, 0, 2),
        (96, 8, 2, 2, 8, 0, 4), (144, 10, 6, 2, 32, 1, 1), (36, 8, 4, 4, 32, 1, 10), (50, 5, 1, 1, 16, 1, 12),
        (256, 32, 8, 8, 3, 0, 1), (64, 64, 4, 16, 2, 1, 2), (72, 16, 1, 1, 32, 1, 18), (25, 6, 25, 1, 8, 0, 1),
        (60, 6, 10, 3, 4, 0, 3), (16, 4, 2, 2, 20, 1, 20), (640, 20, 20, 2, 2, 1, 1), (90, 3, 1, 1, 6, 1, 1),
        (18, 6, 18, 6, 8, 0, 1),
    ):  # fmt: skip
        yield _integers(*numbers)
    for serial in (
        (784, 64, 28, 4, 8, 0), (256, 64, 64, 8, 2, 0), (27, 16, 27, 8, 8, 0), (144, 10, 16, 5, 4, 1),
        (9, 1, 9, 1, 8, 0),
    ):  # fmt: skip
        yield _serial(*serial)
    for lanes, wide in ((28, 8), (64, 2), (9, 8), (1, 4)):
        yield _shape("bnnc_planes", LANES=lanes, WIDTH=wide)
    for step in (
        (4, 7, 0, 1, 4, 1), (16, 8, 0, 1, 16, 1), (1, 10, 0, 1, 64, 1), (8, 11, 1, 1, 1, 1), (2, 32, 1, 1, 12, 1),
        (4, 9, 1, 2, 16, 3), (10, 6, 0, 2, 1, 3), (3, 5, 0, 1, 3, 1), (1, 12, 1, 4, 8, 7), (2, 8, 0, 1, 1, 1),
        (6, 16, 1, 2, 32, 2), (1, 32, 1, 1, 1, 1),
    ):  # fmt: skip
        yield _step(*step)
    for window in (
        (1, 4, 4, 8, 3, 1, 1), (1, 16, 16, 14, 3, 1, 0), (8, 1, 3, 32, 3, 1, 1), (2, 8, 8, 10, 3, 2, 1),
        (32, 1, 4, 12, 3, 1, 1), (1, 8, 64, 7, 2, 2, 0), (1, 2, 8, 6, 5, 1, 2), (32, 2, 8, 9, 2, 2, 0, 4),
        (1, 32, 32, 20, 3, 1, 1), (1, 6, 6, 30, 5, 2, 2, 1, 1), (8, 3, 3, 16, 4, 4, 0), (1, 1, 12, 11, 3, 1, 1, 12),
        (16, 4, 16, 7, 7, 1, 0), (1, 64, 128, 5, 3, 1, 0), (4, 5, 10, 13, 3, 3, 1, 2),
    ):  # fmt: skip
        yield _window(*window)
    for window in (
        (1, 1, 1, 28, 5, 2, 0), (8, 1, 1, 28, 3, 1, 1), (8, 3, 3, 32, 3, 1, 1), (1, 16, 16, 14, 3, 1, 1),
        (1, 1, 24, 10, 3, 1, 1), (2, 4, 8, 9, 3, 2, 1), (1, 2, 2, 30, 9, 1, 4, 1, 1), (1, 32, 64, 7, 2, 2, 0),
    ):  # fmt: skip
        narrow, memories = _window(*window)
        kept = {name: value for name, value in narrow.parameters.items() if name != "GROUPS"}
        yield Shape("bnnc_window_wide", {**kept, "FLAG": window[0] & 1}, narrow.tables), memories
    for wide, depth in (
        (8, 1), (12, 2), (40, 2), (4, 8), (16, 16), (64, 12), (9, 33), (32, 64), (16, 100), (2, 200), (128, 20),
        (48, 300), (1, 784), (96, 5), (32, 600),
    ):  # fmt: skip
        yield _shape("bnnc_fifo", WIDTH=wide, DEPTH=depth)
    for wide, into, out in (
        (1, 4, 16), (1, 16, 4), (8, 1, 3), (8, 6, 1), (1, 60, 1), (32, 2, 4), (2, 1, 49), (10, 16, 8), (16, 12, 3),
        (5, 24, 1), (1, 64, 16), (32, 4, 1), (9, 9, 3),
    ):  # fmt: skip
        yield _shape("bnnc_width", WIDTH=wide, IN=into, OUT=out)
    for lanes, wide, signed, out, taps, function, chunks in (
        (4, 1, 0, 1, 4, 0, 2), (32, 1, 0, 1, 9, 0, 1), (4, 8, 0, 8, 4, 0, 4), (2, 32, 1, 32, 4, 0, 4),
        (3, 6, 1, 6, 9, 1, 2), (1, 32, 1, 38, 49, 2, 16), (4, 8, 1, 12, 16, 2, 1), (16, 2, 1, 2, 4, 0, 1),
    ):  # fmt: skip
        yield _shape(
            "bnnc_pool", LANES=lanes, IN_WIDTH=wide, SIGNED=signed, OUT_WIDTH=out, TAPS=taps, FUNCTION=function,
            CHUNKS=chunks,
        )  # fmt: skip
    for lanes, wide, signed, size, out, shared, chunks in (
        (1, 8, 0, 256, 8, 1, 1), (2, 7, 0, 65, 9, 1, 1), (1, 5, 1, 20, 4, 0, 8), (4, 4, 0, 12, 6, 1, 1),
        (10, 7, 0, 65, 7, 1, 1), (3, 8, 0, 256, 8, 1, 1), (2, 6, 0, 40, 5, 0, 2),
    ):  # fmt: skip
        width = out if shared else lanes * out
        yield _shape(
            "bnnc_lookup", ((chunks * size, width),), True,
            LANES=lanes, IN_WIDTH=wide, IN_SIGNED=signed, OUT_WIDTH=out, LOW=-(size // 3), SIZE=size, CHUNKS=chunks,
            SHARED=shared,
        )  # fmt: skip
    for lanes, wide, signed, factor, out, chunks in (
        (1, 8, 0, 2, 9, 1), (4, 8, 0, 3, 10, 1), (2, 1, 0, 3, 2, 1), (2, 12, 1, 10, 24, 6), (1, 32, 1, 20, 48, 8),
        (16, 7, 0, 3, 8, 1), (3, 6, 1, 5, 12, 4),
    ):  # fmt: skip
        yield _shape(
            "bnnc_affine", ((chunks, lanes * (factor + out)),),
            LANES=lanes, IN_WIDTH=wide, IN_SIGNED=signed, FACTOR_WIDTH=factor, OUT_WIDTH=out, CHUNKS=chunks,
        )  # fmt: skip
    for lanes, a, b, k, m, constant, out in (
        (2, 8, 8, 1, 1, 0, 9), (4, 9, 9, 2, 2, -36, 11), (1, 12, 10, 1, 3, 5, 14), (8, 4, 6, 1, -1, 0, 7),
    ):  # fmt: skip
        yield _shape(
            "bnnc_add", LANES=lanes, A_WIDTH=a, A_SIGNED=1, A_FACTOR=k, B_WIDTH=b, B_SIGNED=1, B_FACTOR=m,
            CONSTANT=constant, OUT_WIDTH=out,
        )  # fmt: skip
    for wide, signed, count, lanes in (
        (8, 0, 10, 10), (7, 0, 10, 2), (32, 1, 10, 1), (11, 1, 12, 4), (6, 0, 100, 1), (16, 1, 5, 5), (9, 0, 26, 13),
    ):  # fmt: skip
        yield _shape("bnnc_argmax", WIDTH=wide, SIGNED=signed, COUNT=count, LANES=lanes)
    for lines in (
        (1, 32, 0, 18, 30, 1, 12), (1, 32, 1, 18, 40, 8, 16), (2, 32, 0, 20, 44, 4, 18), (1, 8, 0, 16, 24, 1, 8),
        (4, 12, 0, 14, 26, 4, 10), (1, 32, 1, 24, 56, 16, 20), (1, 32, 3, 18, 40, 6, 14), (3, 10, 1, 17, 30, 1, 9),
        (1, 18, 0, 18, 40, 32, 16), (1, 32, 1, 17, 17, 1, 16),
    ):  # fmt: skip
        yield _lines(*lines)
    for settle in (
        (1, 40, 1, 0, 1, 8), (2, 32, 1, 20, 4, 6), (4, 44, 1, 30, 2, 10), (1, 38, 5243, 0, 1, 18),
        (1, 16, 819, 0, 1, 12),
        (1, 48, 1, 36, 10, 12), (8, 36, 1, 0, 1, 7), (2, 50, 1, 40, 32, 0), (1, 12, 1, 10, 16, -6),
    ):  # fmt: skip
        yield _settle(*settle)
    for lanes, a, shift_a, b, shift_b, negative, shift in (
        (1, 32, 0, 32, 0, 0, 0), (2, 32, 0, 32, 4, 0, 4), (4, 32, 2, 32, 0, 0, 2), (1, 32, 0, 12, 8, 0, 0),
        (1, 32, 0, 32, 0, 1, 1),
    ):  # fmt: skip
        yield _shape(
            "bnnc_fix_add", LANES=lanes, A_WIDTH=a, A_SIGNED=1, A_SHIFT=shift_a, A_NEGATIVE=0, B_WIDTH=b, B_SIGNED=1,
            B_SHIFT=shift_b, B_NEGATIVE=negative, SHIFT=shift,
        )  # fmt: skip
    for lanes, a, b, shift in ((1, 32, 32, 16), (2, 16, 16, 10), (1, 32, 12, 8)):
        yield _shape(
            "bnnc_fix_mul", LANES=lanes, A_WIDTH=a, A_SIGNED=1, B_WIDTH=b, B_SIGNED=1, SHIFT=shift
        )  # fmt: skip
    for lanes, apart, count in ((1, 12, 32), (2, 8, 64), (1, 20, 8)):
        yield _shape(
            "bnnc_fix_table", ((count, 65),),
            LANES=lanes, IN_WIDTH=32, IN_SIGNED=1, FIRST=-4096, STEP=apart, COUNT=count,
        )  # fmt: skip
    for wide, inside, outside in (
        (1, 64, 64),
        (8, 192, 192),
        (32, 16, 32),
        (32, 128, 128),
        (4, 30, 45),
        (16, 300, 100),
    ):
        yield _shape(
            "bnnc_reorder", ((outside, inside.bit_length()),), WIDTH=wide, IN_BEATS=inside, OUT_BEATS=outside
        )  # fmt: skip
    for wide, beats, times in ((32, 8, 16), (8, 1, 9), (16, 32, 49), (64, 4, 25)):
        yield _shape("bnnc_repeat", WIDTH=wide, BEATS=beats, TIMES=times)
    for wide, a, b in ((32, 4, 4), (8, 3, 5), (64, 1, 1), (1, 16, 48)):
        yield _shape("bnnc_concat", WIDTH=wide, A_BEATS=a, B_BEATS=b)
    for wide, beats in ((32, 8), (8, 100), (16, 1), (4, 30), (12, 16), (8, 24), (24, 32), (10, 48), (6, 64), (40, 12)):
        yield _shape("bnnc_constant", ((beats, wide),), WIDTH=wide, BEATS=beats)
    for wide, copies in ((8, 2), (32, 3), (1, 5)):
        yield _shape("bnnc_fork", WIDTH=wide, COPIES=copies)


__all__ = ["engines"]
