"""Shows that a data set is being fetched: a bar for each file on a terminal, a line elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bnnc.cli.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from bnnc.data.download import Fetch


@contextmanager
def fetching(console: Console) -> Iterator[Fetch]:
    """How to fetch, with what comes in shown on `console`; nothing appears when nothing is fetched, or with `-q`."""
    from bnnc.data.download import Fetch

    people = console.people
    bars: Progress | None = None
    rows: dict[str, TaskID] = {}
    announced: set[str] = set()

    def line(file: str, _done: int, size: int) -> None:
        if file not in announced:
            announced.add(file)
            console.say(f"fetching {file} ({size / 1e6:.1f} MB)")

    def bar(file: str, done: int, size: int) -> None:
        nonlocal bars
        if bars is None:
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

            bars = Progress(
                TextColumn("  fetching   {task.description}"),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                console=people,
            )
            bars.start()
        if file not in rows:
            rows[file] = bars.add_task(file, total=size)
        bars.update(rows[file], completed=done)

    as_bars = people.is_terminal and not console.quiet and os.environ.get("CI", "") in ("", "false")
    try:
        yield Fetch(watch=bar if as_bars else line)
    finally:
        if bars is not None:
            bars.stop()
