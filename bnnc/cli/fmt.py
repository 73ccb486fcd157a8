"""`bnnc fmt`: one layout for source files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bnnc.cli import options as o
from bnnc.cli.exits import command

Files = Annotated[
    list[str], typer.Argument(help="Source files; `-` lays out standard input.", show_default=False, metavar="FILE…")
]
CheckOnly = Annotated[
    bool, typer.Option("--check", help="Write nothing; exit 1 if something would change.", show_default=False)
]


def fmt(
    files: Files,
    check: CheckOnly = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
    color: o.Color = "auto",
    message_format: o.MessageFormat = "human",
) -> None:
    """Lay out .bnn files.

    Comments and line breaks before `->` stay. What is laid out already is not touched.
    """
    flags = dict(locals())
    with command("fmt", flags) as console:
        import sys

        from bnnc import api
        from bnnc.cli.files import write_file
        from bnnc.diagnostics import BnncError, Diagnostic, Exit, error

        language = api.language()
        changed: list[str] = []
        wrong: list[Diagnostic] = []
        for name in files:
            path = Path(name)
            try:
                data = sys.stdin.buffer.read() if name == "-" else _content(path)
                text = language.formatted(data, "standard input" if name == "-" else path.name)
            except BnncError as fault:
                wrong += fault.diagnostics
                continue
            if name == "-" and not (check or json):
                sys.stdout.write(text)
            if text.encode() == data:
                continue
            changed.append(name)
            if name != "-" and not check:
                write_file(path, text.encode())
            if name != "-" or check:
                console.say(f"{'would change' if check else 'changed'} {name}")
        if wrong:
            raise BnncError(*wrong)
        if check and changed:
            listed = ", ".join(f"`{name}`" for name in changed[:5]) + (" …" if len(changed) > 5 else "")
            raise error(
                "B0215",
                f"{len(changed)} file{'s are' if len(changed) > 1 else ' is'} not laid out: {listed}",
                helps=(f"bnnc fmt {' '.join(changed[:5])}",),
                exit_code=Exit.BAD_INPUT,
            )
        if not changed and files != ["-"]:
            console.say(f"{len(files)} file{'s' if len(files) > 1 else ''} laid out already")
        console.finish(changed=changed)


def _content(path: Path) -> bytes:
    """The bytes of a file, as far as a source file can be long. Raises BnncError B0407."""
    from bnnc.diagnostics import error

    try:
        with path.open("rb") as file:
            return file.read((1 << 20) + 1)
    except OSError as fault:
        reason = (fault.strerror or str(fault)).lower()
        raise error("B0407", f"cannot read `{path}`: {reason}") from None
