"""Where memories lie, in each technology: flip-flops, LUTs or block RAM, and how many of them.

Constants of layers and steps go where the planner says (`in_block`); of all others the tools choose the cheapest, as
yosys' memory_libmap does with the costs of its libraries (share/*/lutrams_*.txt, brams_*.txt).
"""

from __future__ import annotations

from typing import Literal

_SHAPES = {
    "ecp5": ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1)),
    "xc7": ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1)),
    "ice40": ((256, 16), (512, 8), (1024, 4), (2048, 2)),
}
"""(words, bits) that one block RAM can have."""
_BLOCK_COST = {"ecp5": 128, "xc7": 129, "ice40": 64}
_READ_ONLY_BIT = 1 / 16
Place = Literal["block", "luts", "registers"]


def blocks(technology: str, words: int, width: int) -> int:
    """Block RAMs that hold `words` of `width` bits."""
    return 0 if words * width == 0 else min(-(-words // deep) * -(-width // wide) for deep, wide in _SHAPES[technology])


def luts_of(technology: str, words: int, width: int) -> int:
    """LUTs that hold a memory with one port to write and one to read: 16 x 4 in four LUT4s, 32 x 6 or 64 x 3 in four
    LUT6s."""
    if technology == "xc7":
        return 4 * min(-(-words // 32) * -(-width // 6), -(-words // 64) * -(-width // 3))
    return 4 * -(-words // 16) * -(-width // 4)


def rows_of(technology: str, words: int) -> int:
    """Memories of LUTs one behind the other, between which is chosen."""
    return -(-words // (64 if technology == "xc7" else 16))


def in_block(words: int, width: int) -> bool:
    """Whether constants lie in block memory: from so many words on, LUTs would be more area than the memory's wires."""
    return words >= 16 and words * width >= 1024


def kept_in(technology: str, words: int, width: int, constant: bool) -> Place:
    """Where the tools put a memory that nobody places."""
    prices: dict[Place, float] = {"block": _BLOCK_COST[technology] * blocks(technology, words, width)}
    prices["registers"] = words * width * (_READ_ONLY_BIT if constant else 1)
    if not constant and technology != "ice40":
        luts = luts_of(technology, words, width) * (2 if technology == "xc7" else 1)
        prices["luts"] = luts + width * (rows_of(technology, words) - 1)
    return min(prices, key=lambda place: prices[place])


__all__ = ["blocks", "in_block", "kept_in", "luts_of", "rows_of"]
