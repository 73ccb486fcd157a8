"""`bnnc explain CODE`: a page on a diagnostic."""

from __future__ import annotations

from typing import Annotated

import typer

from bnnc.cli import completion
from bnnc.cli import options as o
from bnnc.cli.exits import command

Code = Annotated[
    str | None,
    typer.Argument(help="The code in the message, such as B0104.", autocompletion=completion.codes, show_default=False),
]


def explain(
    code: Code = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
    color: o.Color = "auto",
    message_format: o.MessageFormat = "human",
) -> None:
    """Explain a diagnostic.

    What it means, why it is raised, what to do. Without a code, lists all of them.
    """
    flags = dict(locals())
    with command("explain", flags) as console:
        from bnnc.config import suggestion
        from bnnc.diagnostics import Exit, error
        from bnnc.pages import codes, page

        if code is None:
            titles = {known: page(known).splitlines()[0].removeprefix(f"# {known}: ") for known in codes()}
            if not json:
                for known, title in titles.items():
                    console.put(f"{known}  {title}")
            console.finish(codes=titles)
            return
        wanted = code.upper()
        if wanted not in codes():
            raise error(
                "B0110",
                f"no diagnostic has the code `{code}`",
                helps=suggestion(wanted, codes()) or ("bnnc explain lists them all",),
                exit_code=Exit.USAGE,
            )
        if not json:
            console.put(page(wanted).removeprefix("# ").rstrip("\n"))
        console.finish(code=wanted, page=page(wanted))
