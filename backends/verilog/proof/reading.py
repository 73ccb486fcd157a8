"""An engine as its meaning sees it: parameters by name, and memories as the files that the text names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bnnc.backends.verilog.design import Stream
from bnnc.backends.verilog.proof.contents import Wrong
from bnnc.backends.verilog.proof.top import Placed

_WORDS = re.compile(r"[0-9a-fA-F\s]*")


@dataclass(frozen=True, eq=False)
class Words:
    """The words of a memory as bits: uint8 [words, width], the lowest first."""

    bits: np.ndarray

    def field(self, at: int, width: int, signed: bool = True) -> np.ndarray:
        """The number (int64 [words]) in `width` bits from `at` on; at most 64, or 63 without a sign."""
        weights = np.left_shift(np.int64(1), np.arange(width, dtype=np.int64))
        if signed:
            weights[-1] = -weights[-1] if width < 64 else np.iinfo(np.int64).min
        return np.asarray(self.bits[:, at : at + width].astype(np.int64) @ weights)

    def fields(self, at: int, count: int, width: int, signed: bool = True) -> np.ndarray:
        """`count` numbers side by side: int64 [words, count]."""
        found = [self.field(at + n * width, width, signed) for n in range(count)]
        return np.stack(found, axis=1) if found else np.empty((len(self.bits), 0), np.int64)


@dataclass
class Reading:
    """An instance and its files. stream: what the design says comes out of it. used: the memories that were read."""

    placed: Placed
    files: Mapping[str, str]
    stream: Stream | None = None
    used: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def number(self, name: str, default: int | None = None) -> int:
        """A parameter that is a whole number. Raises Wrong."""
        self._seen.add(name)
        value = self.placed.parameters.get(name, default)
        if not isinstance(value, int):
            raise Wrong(f"its parameter {name} is no number")
        return value

    def numbers(self, *names: str) -> list[int]:
        """Several of them, none below 1. Raises Wrong."""
        found = [self.number(name) for name in names]
        for name, value in zip(names, found, strict=True):
            if value < 1:
                raise Wrong(f"its parameter {name} is {value}")
        return found

    def words(self, name: str, count: int, width: int) -> Words:
        """The memory whose file a parameter names. Raises Wrong."""
        self._seen.add(name)
        path = self.placed.parameters.get(name)
        if not isinstance(path, str) or path not in self.files:
            raise Wrong(f"there is no memory file for {name}")
        self.used.append(path)
        text = re.sub(r"//[^\n]*", "", self.files[path])
        if not _WORDS.fullmatch(text):
            raise Wrong(f"`{path}` is not hexadecimal throughout")
        found = text.split()
        if len(found) != count:
            raise Wrong(f"`{path}` has {len(found)} words, not {count}")
        size = -(-width // 8)
        if any(len(word) > 2 * size and int(word[: -2 * size], 16) for word in found):
            raise Wrong(f"a word of `{path}` has more than {width} bits")
        joined = bytes.fromhex("".join(word[-2 * size :].zfill(2 * size) for word in found))
        packed = np.frombuffer(joined, np.uint8).reshape(count, size)[:, ::-1]
        bits = np.unpackbits(packed, axis=1, bitorder="little")
        if bits[:, width:].any():
            raise Wrong(f"a word of `{path}` has more than {width} bits")
        return Words(bits[:, :width])

    def finish(self) -> None:
        """Every parameter has been looked at. Raises Wrong."""
        rest = set(self.placed.parameters) - self._seen - {"ROM_STYLE"}
        if rest:
            raise Wrong(f"it has no parameter {min(rest)}")
        if self.number("ROM_STYLE", 0) not in (0, 1, 2):
            raise Wrong(f"ROM_STYLE is {self.number('ROM_STYLE')}")


__all__ = ["Reading", "Words"]
