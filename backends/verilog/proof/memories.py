"""The weights of folded engines, read back from their memory files and compared with the layers of the model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bnnc.backends.verilog.design import Engine


class Different(Exception):
    """The memory does not hold the weights."""


def weights_of(engine: Engine, text: str) -> np.ndarray:
    """The weights (int64 [groups, outputs, inputs]) that the file of a matrix-vector engine holds. Raises Different."""
    pe, simd, groups = (engine.parameter(name) for name in ("PE", "SIMD", "GROUPS"))
    inputs, outputs = engine.parameter("INPUTS"), engine.parameter("OUTPUTS")
    numbers = {name for name, value in engine.parameters if isinstance(value, int)}
    ternary = "TERNARY" in numbers and bool(engine.parameter("TERNARY"))
    width = engine.parameter("WEIGHT_WIDTH") if "WEIGHT_WIDTH" in numbers else 1
    shape = (groups, outputs // pe, inputs // simd, pe, simd)
    try:
        words = [int(word, 16) for line in text.splitlines() for word in line.split("//")[0].split()]
    except ValueError:
        raise Different("a word is no hexadecimal number") from None
    if len(words) != int(np.prod(shape[:3])):
        raise Different(f"it has {len(words)} words, not {int(np.prod(shape[:3]))}")
    read = _ternary if ternary else _plain
    found = np.array([list(read(word, pe, simd, width)) for word in words], np.int64).reshape(shape)
    return found.transpose(0, 1, 3, 2, 4).reshape(groups, outputs, inputs)


def _plain(word: int, pe: int, simd: int, width: int) -> Iterator[int]:
    """Numbers of two's complement; of one bit, +1 and -1."""
    for _ in range(pe * simd):
        value = word & ((1 << width) - 1)
        yield 2 * value - 1 if width == 1 else value - (value >> (width - 1) << width)
        word >>= width
    if word:
        raise Different("a word has more bits than it should")


def _ternary(word: int, pe: int, simd: int, width: int) -> Iterator[int]:
    """For each neuron: which weights are +1, which are not 0, and how many."""
    for _ in range(pe):
        positive, nonzero = word & ((1 << simd) - 1), word >> simd & ((1 << simd) - 1)
        count = word >> (2 * simd) & ((1 << simd.bit_length()) - 1)
        if positive & ~nonzero or count != bin(nonzero).count("1"):
            raise Different("the planes of its weights contradict each other")
        for lane in range(simd):
            yield (nonzero >> lane & 1) * (2 * (positive >> lane & 1) - 1)
        word >>= 2 * simd + simd.bit_length()
    if word:
        raise Different("a word has more bits than it should")


def compare(found: np.ndarray, wanted: np.ndarray) -> None:
    """Weights [groups, outputs, inputs] of a memory and of a layer: the same but for the order in which the inputs (and
    the groups) come. Raises Different."""
    if found.shape != wanted.shape:
        raise Different(f"it holds {list(found.shape)} weights, not {list(wanted.shape)}")
    if sorted(map(_columns, found)) != sorted(map(_columns, wanted)):
        raise Different("its weights are not those of the layer")


def _columns(group: np.ndarray) -> list[bytes]:
    """The weights of every input, in an order that does not depend on that of the inputs."""
    return sorted(column.astype(np.int64).tobytes() for column in group.T)
