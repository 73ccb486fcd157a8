"""What is needed of an ELF file of 32 bits: what to load where, where a symbol is, how large a section is."""

from __future__ import annotations

import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """Bytes of the file that belong at an address."""

    address: int
    offset: int
    size: int


@dataclass(frozen=True)
class Section:
    """A named part of the program; `stored` ones take room in the file, so in flash."""

    name: str
    address: int
    offset: int
    size: int
    stored: bool
    allocated: bool
    writable: bool


class Elf:
    """An ELF file of 32 bits, little- or big-endian."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._order = "<" if data[5] == 1 else ">"

    def _unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        return struct.unpack_from(self._order + layout, self.data, offset)

    def segments(self) -> list[Segment]:
        """What is loaded, by physical address: where flash holds it."""
        (start,) = self._unpack("I", 28)
        size, count = self._unpack("HH", 42)
        found = []
        for number in range(count):
            kind, offset, _, physical, length = self._unpack("IIIII", start + number * size)
            if kind == 1 and length:
                found.append(Segment(physical, offset, length))
        return found

    def sections(self) -> list[Section]:
        """All sections, in order."""
        (start,) = self._unpack("I", 32)
        size, count, names = self._unpack("HHH", 46)
        rows = [self._unpack("IIIIII", start + number * size) for number in range(count)]
        base = rows[names][4] if count else 0
        found = []
        for name, kind, flags, address, offset, length in rows:
            text = self.data[base + name : self.data.index(b"\0", base + name)].decode("ascii", "replace")
            found.append(Section(text, address, offset, length, kind != 8, bool(flags & 2), bool(flags & 1)))
        return found

    def symbol(self, wanted: str) -> int:
        """The address of a symbol. Raises KeyError."""
        sections = {section.name: section for section in self.sections()}
        table, names = sections[".symtab"], sections[".strtab"]
        for place in range(table.offset, table.offset + table.size, 16):
            name, value = self._unpack("II", place)
            start = names.offset + name
            if self.data[start : self.data.index(b"\0", start)] == wanted.encode():
                return value
        raise KeyError(wanted)

    def sizes(self) -> tuple[int, int]:
        """(bytes of flash, bytes of RAM without the stack)."""
        kept = [s for s in self.sections() if s.allocated and s.size and s.name != ".room"]
        return sum(s.size for s in kept if s.stored), sum(s.size for s in kept if s.writable)


__all__ = ["Elf", "Section", "Segment"]
