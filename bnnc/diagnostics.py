"""What bnnc tells its user when something is wrong: a code, the place in the user's model, and what to type next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from bnnc.ir.location import UNKNOWN, Location


class Exit(IntEnum):
    """Exit codes: a contract with scripts."""

    OK = 0
    BAD_INPUT = 1
    USAGE = 2
    CHECK_FAILED = 3
    ENVIRONMENT = 4
    INTERNAL = 70
    INTERRUPTED = 130


@dataclass(frozen=True)
class Excerpt:
    """A line of the user's text, in which `width` characters from `column` (counted from 0) are marked and labelled."""

    place: Location
    text: str
    column: int
    width: int
    label: str = ""


@dataclass(frozen=True)
class Diagnostic:
    """One message. `message` is lower case without a full stop; `notes` explain; `helps` can be typed (an error without
    one is sent to its page). `excerpts` show the places in a text, the one at fault first."""

    code: str
    message: str
    severity: str = "error"
    places: tuple[Location, ...] = ()
    notes: tuple[str, ...] = ()
    helps: tuple[str, ...] = ()
    excerpts: tuple[Excerpt, ...] = ()

    def __post_init__(self) -> None:
        if self.severity == "error" and not self.helps:
            object.__setattr__(self, "helps", (f"bnnc explain {self.code}",))

    def as_json(self) -> dict[str, object]:
        """The form in which `--json` prints it."""
        return {
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "places": [
                {"name": place.name, "file": place.file, "line": place.line, "column": place.column}
                for place in self.places
            ],
            "notes": list(self.notes),
            "help": list(self.helps),
        }


class BnncError(Exception):
    """Something the user can mend. Carries every diagnostic of the stage, and the exit code it stands for."""

    def __init__(self, *diagnostics: Diagnostic, exit_code: Exit = Exit.BAD_INPUT) -> None:
        super().__init__("; ".join(f"{d.code}: {d.message}" for d in diagnostics))
        self.diagnostics = diagnostics
        self.exit_code = exit_code


def error(
    code: str,
    message: str,
    *,
    places: tuple[Location, ...] = (),
    notes: tuple[str, ...] = (),
    helps: tuple[str, ...] = (),
    exit_code: Exit = Exit.BAD_INPUT,
) -> BnncError:
    """A BnncError with a single diagnostic, ready to be raised."""
    return BnncError(Diagnostic(code, message, "error", places, notes, helps), exit_code=exit_code)


__all__ = ["UNKNOWN", "BnncError", "Diagnostic", "Exit", "Location", "error"]
