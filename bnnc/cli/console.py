"""What is said to people (standard error) and to scripts (standard output), and how a diagnostic looks."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bnnc.diagnostics import Diagnostic, Excerpt, Location

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}


def places(locations: Iterable[Location]) -> list[str]:
    """One line for each place in a text, and one for all the nodes of a model."""
    lines: list[str] = []
    nodes: dict[str, list[str]] = {}
    for place in locations:
        if place.line:
            lines.append(f"{place.file}:{place.line}:{place.column}")
        elif place.name:
            nodes.setdefault(place.file, []).append(f"node `{place.name}`")
        elif place.file:
            lines.append(place.file)
    for file, names in nodes.items():
        listed = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        lines.append(f"{file}: {listed}" if file else listed)
    return lines


def rendered(diagnostic: Diagnostic) -> list[tuple[str, str]]:
    """The lines of a diagnostic, each as (style, text); lines that belong together end in a newline."""
    lines = [
        (STYLES.get(diagnostic.severity, ""), f"{diagnostic.severity}[{diagnostic.code}]"),
        ("bold", f": {diagnostic.message}\n"),
    ]
    gutter = max((len(str(excerpt.place.line)) for excerpt in diagnostic.excerpts), default=1) * " "
    if diagnostic.excerpts:
        lines += excerpts(diagnostic.excerpts, gutter)
    else:
        lines += [("", f" --> {place}\n") for place in places(diagnostic.places)]
    lines += [("", f"{gutter} = note: {note}\n") for note in diagnostic.notes]
    lines += [("cyan", f"{gutter} = help: {help}\n") for help in diagnostic.helps]
    return lines


def excerpts(found: Iterable[Excerpt], gutter: str) -> list[tuple[str, str]]:
    """Lines of the user's text with what is meant marked: the first with `^`, the others with `-`."""
    lines: list[tuple[str, str]] = []
    for number, excerpt in enumerate(found):
        place, first = excerpt.place, number == 0
        lines.append(("", f"{gutter}{'-->' if first else ':::'} {place.file}:{place.line}:{place.column}\n"))
        lines.append(("", f"{gutter} |\n{place.line:>{len(gutter)}} | {excerpt.text}\n{gutter} | "))
        before = excerpt.text[: excerpt.column]
        marked = excerpt.text[excerpt.column : excerpt.column + excerpt.width]
        mark = ("^" if first else "-") * max(_cells(marked), 1)
        lines.append(("bold red" if first else "bold cyan", f"{' ' * _cells(before)}{mark} {excerpt.label}".rstrip()))
        lines.append(("", "\n"))
    return lines


def _cells(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def for_github(diagnostic: Diagnostic) -> str:
    """The diagnostic as a workflow command, which a pull request shows at its place."""

    def escaped(text: str) -> str:
        return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    place = next((p for p in diagnostic.places if p.file), Location())
    values = {"file": place.file, "line": str(place.line or ""), "col": str(place.column or "")}
    values["title"] = diagnostic.code
    written = ",".join(f"{key}={escaped(v).replace(':', '%3A').replace(',', '%2C')}" for key, v in values.items() if v)
    nodes = [p.name for p in diagnostic.places if p.name]
    rest = [f"at {', '.join(nodes)}"] if nodes else []
    text = "\n".join([diagnostic.message, *rest, *diagnostic.notes, *(f"help: {h}" for h in diagnostic.helps)])
    kind = "error" if diagnostic.severity == "error" else "warning"
    return f"::{kind} {written}::{escaped(text)}"


class Console:
    """Where a command writes. `finish` prints the command's one JSON document when `--json` was given."""

    def __init__(
        self,
        command: str,
        *,
        json: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        color: str = "auto",
        message_format: str = "human",
    ) -> None:
        self.command = command
        self.json = json
        self.quiet = quiet
        self.verbose = verbose and not quiet
        self.color = color
        self.message_format = message_format
        self.diagnostics: list[Diagnostic] = []
        self.answered = False

    def _rich(self, stderr: bool) -> RichConsole:
        from rich.console import Console as RichConsole

        console = RichConsole(
            stderr=stderr,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=True,
            force_terminal={"always": True, "never": False}.get(self.color),
            no_color=True if self.color == "never" else None,
        )
        if not console.is_terminal and "COLUMNS" not in os.environ:
            console.width = 400  # in a file or a pipe nothing is cut or wrapped
        return console

    @property
    def people(self) -> RichConsole:
        """Standard error, for people."""
        return self._rich(stderr=True)

    @property
    def data(self) -> RichConsole:
        """Standard output, for tables that a person asked for."""
        return self._rich(stderr=False)

    def say(self, text: str = "", style: str = "") -> None:
        """A line for people; nothing with `-q`."""
        if not self.quiet:
            self.people.print(text, style=style or None)

    def stage(self, name: str, what: str, more: str = "") -> None:
        """A line of the summary: what was done, to what, and a figure."""
        if not self.quiet:
            self.people.print(f"  [dim]{name:<10}[/dim] ", markup=True, end="")
            self.people.print(f"{what:<21} {more}".rstrip())

    def put(self, text: str) -> None:
        """A line of data."""
        sys.stdout.write(text + "\n")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, for_people: bool = False) -> None:
        """A table on standard output, or for people; a column whose heading starts with `>` is right-aligned.

        The last may wrap.
        """
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
        for place, column in enumerate(columns):
            right, last = column.startswith(">"), place == len(columns) - 1
            table.add_column(
                column.lstrip(">"), justify="right" if right else "left", no_wrap=not last, overflow="fold"
            )
        for row in rows:
            table.add_row(*row)
        if not for_people:
            self.data.print(table)
        elif not self.quiet:
            self.people.print(table)

    def show(self, diagnostic: Diagnostic) -> None:
        """Remember a diagnostic for the JSON document, and write it for people (warnings not with `-q`)."""
        self.diagnostics.append(diagnostic)
        if self.message_format == "github":
            sys.stderr.write(for_github(diagnostic) + "\n")
        elif not (self.quiet and diagnostic.severity != "error"):
            people = self.people
            for style, text in rendered(diagnostic):
                people.print(text, style=style or None, end="")

    def note(self, text: str) -> None:
        """Something the user should know about what was chosen for them."""
        self.say(f"note: {text}")

    def finish(self, **document: Any) -> None:
        """The end of a command: its JSON document under `--json`, once; with ok=False when it did not go well."""
        if self.json and not self.answered:
            self.answered = True
            head = {"schema": f"bnnc.{self.command}/1", "ok": document.pop("ok", True)}
            last = {"diagnostics": [d.as_json() for d in self.diagnostics]}
            self.put(json.dumps({**head, **document, **last}, ensure_ascii=False, allow_nan=False))
