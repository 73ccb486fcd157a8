"""How a command ends: every exception becomes diagnostics and an exit code, and never a traceback."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer

from bnnc.cli.console import Console
from bnnc.config import choice
from bnnc.diagnostics import BnncError, Diagnostic, Exit


@contextmanager
def command(name: str, flags: Mapping[str, Any]) -> Iterator[Console]:
    """The console of one command, made of its message options; leaving it turns exceptions into exit codes."""
    console = Console(
        name, json=flags.get("json", False), quiet=flags.get("quiet", False), verbose=flags.get("verbose", False)
    )
    color, message_format = flags.get("color", "auto"), flags.get("message_format", "human")
    try:
        console.color = choice("auto", "always", "never")(color)
        console.message_format = choice("human", "github")(message_format)
        yield console
    except (typer.Exit, SystemExit):
        raise
    except BrokenPipeError:
        # The reader (`| head`) has seen enough: no message, and none from the interpreter's own flush either.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (it lives as long as the process)
        raise typer.Exit(Exit.OK) from None
    except BaseException as reason:
        found, code = explained(reason, name)
        for diagnostic in found:
            console.show(diagnostic)
        console.finish(ok=False)
        if os.environ.get("BNNC_DEBUG") == "1" and code == Exit.INTERNAL:
            traceback.print_exception(reason)
        raise typer.Exit(code) from None


def explained(reason: BaseException, name: str) -> tuple[tuple[Diagnostic, ...], Exit]:
    """What to tell the user about an exception, and the exit code it stands for."""
    match reason:
        case BnncError():
            return reason.diagnostics, reason.exit_code
        case KeyboardInterrupt():
            return (Diagnostic("B0902", "interrupted; nothing half-written is left"),), Exit.INTERRUPTED
        case MemoryError():
            helps = ("run fewer inputs at a time, or a smaller model",)
            return (Diagnostic("B0607", "there is not enough memory for this", helps=helps),), Exit.ENVIRONMENT
        case OSError():
            return (_of_system(reason),), Exit.ENVIRONMENT
    return (_of_bug(reason, name),), Exit.INTERNAL


def _of_system(reason: OSError) -> Diagnostic:
    where = f"`{reason.filename}`: " if reason.filename else ""
    helps = {
        errno.ENOSPC: ("free some space, or write elsewhere with --output",),
        errno.EROFS: ("write elsewhere with --output",),
        errno.EACCES: ("change its permissions, or write elsewhere with --output",),
        errno.EPERM: ("change its permissions, or write elsewhere with --output",),
    }
    text = (reason.strerror or str(reason) or type(reason).__name__).lower()
    return Diagnostic("B0606", f"{where}{text}", helps=helps.get(reason.errno or 0, ()))


def _of_bug(reason: BaseException, name: str) -> Diagnostic:
    from bnnc import __version__

    text = "".join(traceback.format_exception(reason))
    notes = [f"{type(reason).__name__}: {reason}".splitlines()[0][:200]]
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="bnnc-error-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(f"bnnc {__version__}, Python {sys.version.split()[0]}, {sys.platform}\n")
            file.write(f"command: {' '.join(sys.argv)}\n\n{text}")
        notes.append(f"saved {file.name}")
    except OSError:
        notes.append("run again with BNNC_DEBUG=1 to see where it happened")
    helps = ("report it with that file and, if you can, the model",)
    return Diagnostic(
        "B0901",
        f"internal error in `bnnc {name}`: a bug in bnnc, a reproducer was saved",
        "error",
        (),
        tuple(notes),
        helps,
    )
