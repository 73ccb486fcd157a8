"""The command `bnnc`: its sub-commands in the order of the help, and how the process ends."""

from __future__ import annotations

from typing import Annotated

import typer

from bnnc.cli import bench, check, compile, emit, explain, fmt, new, run, show, targets, train
from bnnc.cli.options import Command, Group
from bnnc.diagnostics import Exit

app = typer.Typer(
    name="bnnc",
    cls=Group,
    help="Compile binary neural networks: a model in; the same bits out on every target.",
    epilog="A first try: bnnc run MODEL --input FILE. What a message means: bnnc explain CODE.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from bnnc import __version__

        print(f"bnnc {__version__}")
        raise typer.Exit(Exit.OK)


@app.callback()
def _start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(Exit.OK)


for command in (compile, emit, train, run, check, show, bench, targets, explain, fmt, new):
    name = command.__name__.rpartition(".")[2]
    app.command(name, cls=Command)(getattr(command, name))


def main() -> None:
    """Run the command line of this process; ends it with one of the codes of diagnostics.Exit."""
    app()
