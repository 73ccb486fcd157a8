"""How epochs are shown: a bar and a few lines on a terminal, a line an epoch elsewhere, JSON lines for scripts."""

from __future__ import annotations

import json
import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING

from bnnc.cli.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from bnnc.train.loop import EpochReport

HEADING = "  epoch    train     test    flips     time"


class EpochLines:
    """Shows epochs as they are completed; a context, which ends the bar."""

    def __init__(self, console: Console, done: int, until: int) -> None:
        self._console = console
        self._until = until
        people = console.people
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._quiet = console.quiet
        if people.is_terminal and not console.quiet and os.environ.get("CI", "") in ("", "false"):
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (BarColumn(None), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            self._bar = Progress(TextColumn(" "), *columns, console=people, transient=True)
            self._task = self._bar.add_task("", total=until, completed=done)

    def __enter__(self) -> EpochLines:
        self._console.say()
        self._console.say(HEADING, style="dim")
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, reason: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, report: EpochReport) -> None:
        """One more epoch is complete."""
        if self._console.json:
            sys.stdout.write(json.dumps(report.as_json()) + "\n")
            sys.stdout.flush()
        if self._bar is None or self._task is None:
            self._console.say(line(report))
            return
        if is_milestone(report.epoch) or report.epoch == self._until:
            self._bar.console.print(line(report))
        self._bar.update(self._task, completed=report.epoch, description=f"test {100 * report.test_accuracy:.2f} %")


def is_milestone(epoch: int) -> bool:
    """1, 2, 5, 10, 20, 50, 100 … and every tenth up to a hundred: enough lines to see how it goes."""
    size = 10 ** (len(str(epoch)) - 1)
    return epoch in (size, 2 * size, 5 * size) or (epoch <= 100 and epoch % 10 == 0)


def line(report: EpochReport) -> str:
    """An epoch in a line for people."""
    shares = (report.train_accuracy, report.test_accuracy, report.flips)
    columns = "".join(f"{100 * share:7.2f} %" for share in shares)
    return f"  {report.epoch:5d}{columns}{report.seconds:7.2f} s"
