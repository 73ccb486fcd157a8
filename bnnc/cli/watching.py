"""Shows how far something slow has come: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from bnnc.cli.console import Console

if TYPE_CHECKING:
    from bnnc.checking import Piece


def watched(pieces: Iterable[Piece], total: int, console: Console) -> Iterator[Piece]:
    """The same pieces, of `total` samples in all, with a bar that grows when the next piece is asked for."""
    people = console.people
    if not people.is_terminal or console.quiet or os.environ.get("CI", "") not in ("", "false"):
        yield from pieces
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("  running   "), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=people, transient=True) as bars:
        row = bars.add_task("", total=total)
        for piece in pieces:
            yield piece
            bars.advance(row, len(piece))


__all__ = ["watched"]
