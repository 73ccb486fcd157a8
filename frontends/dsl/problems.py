"""What is wrong with a source file: messages that point into its text, collected so that all are told at once."""

from __future__ import annotations

import bisect
import difflib
import re
from collections.abc import Iterable

from bnnc.diagnostics import BnncError, Diagnostic, Excerpt
from bnnc.frontends.dsl.syntax import Span
from bnnc.ir.location import Location

MOST_SHOWN = 20
# A line of an excerpt is cut to this many characters around its mark.
WIDEST = 100


class Source:
    """The text of a file, and places in it."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self._starts = [0, *(i + 1 for i, character in enumerate(text) if character == "\n")]

    def location(self, span: Span, name: str = "") -> Location:
        """Line and column of the start of a span, both from 1."""
        line = bisect.bisect_right(self._starts, span.start)
        return Location(name, self.file, line, span.start - self._starts[line - 1] + 1)

    def line(self, number: int) -> str:
        """A line without its end; numbers from 1."""
        start = self._starts[number - 1]
        end = self._starts[number] - 1 if number < len(self._starts) else len(self.text)
        return self.text[start:end].rstrip("\r")

    def excerpt(self, span: Span, label: str = "") -> Excerpt:
        """The line of a span, with the span marked, cut to what can be read; of many lines it is the first."""
        place = self.location(span)
        text = self.line(place.line)
        column = place.column - 1
        width = max(1, min(span.end - span.start, len(text) - column))
        if len(text) > WIDEST:
            first = max(0, min(column - 20, len(text) - WIDEST))
            cut = text[first : first + WIDEST]
            text, column = ("…" if first else "") + cut, column - first + bool(first)
            width = max(1, min(width, len(text) - column))
        printable = "".join(c if c.isprintable() else " " for c in text)
        return Excerpt(place, printable, column, width, label)


class Problems:
    """The messages so far. `stop` raises them, if there are any."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.found: list[Diagnostic] = []

    def add(
        self,
        code: str,
        message: str,
        span: Span,
        label: str = "",
        *,
        others: Iterable[tuple[Span, str]] = (),
        notes: tuple[str, ...] = (),
        helps: tuple[str, ...] = (),
    ) -> None:
        """Remember an error at a span; `others` are places that belong to it."""
        spans = [(span, label), *others]
        excerpts = tuple(self.source.excerpt(where, shortened(text)) for where, text in spans)
        places = tuple(excerpt.place for excerpt in excerpts)
        notes, helps = (tuple(shortened(text) for text in texts) for texts in (notes, helps))
        self.found.append(Diagnostic(code, shortened(message), "error", places, notes, helps, excerpts))

    def stop(self) -> None:
        """Raises BnncError with everything found so far, in the order of the text; returns if that is nothing."""
        if not self.found:
            return
        ordered = sorted(self.found, key=lambda d: (d.places[0].line, d.places[0].column) if d.places else (0, 0))
        if len(ordered) > MOST_SHOWN:
            more = len(ordered) - MOST_SHOWN
            last = ordered[MOST_SHOWN - 1]
            note = f"{more} more error{'s' if more > 1 else ''} in `{self.source.file}` not shown"
            ordered = [
                *ordered[: MOST_SHOWN - 1],
                Diagnostic(
                    last.code, last.message, last.severity, last.places, (*last.notes, note), last.helps, last.excerpts
                ),
            ]
        raise BnncError(*ordered)


def shortened(text: str) -> str:
    """A message with names of the user's own in a length that can be read, and in characters that can be printed."""
    text = re.sub(r"`([^`]{80})[^`]+`", r"`\1…`", text[:2000])
    return "".join(c if c.isprintable() else "\ufffd" for c in text[:500])


def near(word: str, known: Iterable[str]) -> tuple[str, ...]:
    """A help line with the known name nearest to `word`; nothing when none is near."""
    found = difflib.get_close_matches(word[:100], list(known), 1, 0.6)
    return (f"did you mean `{found[0]}`?",) if found else ()
