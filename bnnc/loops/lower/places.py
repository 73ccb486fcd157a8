"""Places: where a tensor lies while a program runs. Several places may share storage (a reshape moves nothing)."""

from __future__ import annotations

from dataclasses import dataclass, field

from bnnc.loops.ir import Buffer
from bnnc.loops.layout import Layout


@dataclass(eq=False)
class Storage:
    """Memory for one tensor: a user's array (`buffer` is set), or a stretch of the arena, alive from call to call.

    `lasting`: what is written for the first sample stays for all others.
    """

    name: str
    bytes: int
    buffer: Buffer | None = None
    first: int | None = None
    last: int | None = None
    lasting: bool = False

    def touch(self, call: int) -> None:
        """It is written or read by this call."""
        self.first = call if self.first is None else min(self.first, call)
        self.last = call if self.last is None else max(self.last, call)


@dataclass(frozen=True, eq=False)
class Place:
    """A tensor in memory, as one layout of its storage."""

    layout: Layout
    storage: Storage = field(repr=False)
