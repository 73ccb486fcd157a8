"""The options that several commands share, each defined once, and the reading of the command line they need."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from bnnc.cli import completion
from bnnc.cli.console import Console
from bnnc.diagnostics import Diagnostic


class Command(TyperCommand):
    """A command whose `--check` may also stand without a number."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        takes_check = any("--check" in p.opts and not getattr(p, "is_flag", False) for p in self.params)
        for place, word in enumerate(args):
            following = args[place + 1] if place + 1 < len(args) else ""
            if takes_check and word == "--check" and following != "auto" and not following.isdigit():
                args[place] = "--check=auto"
        asked = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as reason:
            answer_usage_error(reason, self.name or "", asked)
            raise


class Group(TyperGroup):
    """The command `bnnc` itself."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except Exception as reason:
            answer_usage_error(reason, "cli", args)
            raise


def answer_usage_error(reason: Exception, name: str, arguments: list[str]) -> None:
    """Under `--json` a usage error, which typer words for people, is also one JSON document."""
    if "--json" in arguments and hasattr(reason, "format_message"):
        console = Console(name, json=True)
        console.diagnostics.append(Diagnostic("B0101", str(reason.format_message()).rstrip(".")))
        console.finish(ok=False)


def _flag(*spelled: str, help: str, **more: Any) -> Any:
    return typer.Option(*spelled, help=help, show_default=False, **more)


MODEL, RUN, TARGET, LOOK = "Model", "Run", "Target", "Messages"

Model = Annotated[
    str | None,
    typer.Argument(help="The model file; `-` reads it from standard input.", show_default=False, metavar="MODEL"),
]
Target = Annotated[
    str | None,
    _flag(
        "--target",
        "-t",
        help="What to make it for.",
        metavar="NAME",
        autocompletion=completion.targets,
        rich_help_panel=TARGET,
    ),
]
Output = Annotated[str | None, _flag("--output", "-o", help="Where to write.", metavar="PATH", rich_help_panel=TARGET)]
Optimise = Annotated[
    str | None, _flag("-O", help="How hard to optimise: -O0 … -O3.", metavar="LEVEL", rich_help_panel=TARGET)
]
Extra = Annotated[
    list[str] | None,
    _flag("-X", help="An option of the target, KEY=VALUE (bnnc targets NAME).", metavar="K=V", rich_help_panel=TARGET),
]
Machine = Annotated[
    str | None, _flag("--machine", help="The processor to make code for.", metavar="NAME", rich_help_panel=TARGET)
]
Threads = Annotated[str | None, _flag("--threads", help="How many threads.", metavar="N", rich_help_panel=TARGET)]
MaxRam = Annotated[
    str | None, _flag("--max-ram", help="Fail if more memory is needed: 64KiB.", metavar="SIZE", rich_help_panel=TARGET)
]
MaxFlash = Annotated[
    str | None,
    _flag("--max-flash", help="Fail if the weights need more: 256KiB.", metavar="SIZE", rich_help_panel=TARGET),
]
Frontend = Annotated[
    str | None,
    _flag("--from", help="How to read the model, if its suffix does not say.", metavar="NAME", rich_help_panel=MODEL),
]
Shape = Annotated[
    list[str] | None,
    _flag("--shape", help="Full shape of an input: x=1,3,32,32.", metavar="X=SHAPE", rich_help_panel=MODEL),
]
Pixels = Annotated[
    list[str] | None,
    _flag(
        "--pixels",
        help="The input is uint8 pixels u that mean (u*SCALE-MEAN)/STD: 1/255,0.5,0.5.",
        metavar="[X=]SCALE[,MEAN,STD]",
        rich_help_panel=MODEL,
    ),
]
Stream = Annotated[
    str | None, _flag("--stream", help="Real-valued streams.", metavar="f32|fixed", rich_help_panel=MODEL)
]
Stem = Annotated[str | None, _flag("--stem", help="Float first layer.", metavar="float|int", rich_help_panel=MODEL)]
Semantics = Annotated[
    str | None, _flag("--semantics", help="Rounding of the folds.", metavar="onnx|real", rich_help_panel=MODEL)
]
StrictRange = Annotated[
    bool | None,
    _flag("--strict-range", help="Make a possible saturation an error.", rich_help_panel=MODEL),
]
Seed = Annotated[str | None, _flag("--seed", help="Seed of made-up inputs.", metavar="N", rich_help_panel=RUN)]
Check = Annotated[
    str | None,
    _flag("--check", help="How many inputs to check: auto, or a number.", metavar="auto|N", rich_help_panel=RUN),
]
NoCheck = Annotated[bool, _flag("--no-check", help="Do not check.", rich_help_panel=RUN)]
Input = Annotated[
    str | None, _flag("--input", "-i", help="Data: .npz, .npy, .png or .jpg.", metavar="FILE", rich_help_panel=RUN)
]
Data = Annotated[
    str | None,
    _flag(
        "--data",
        help="A data set: mnist, prototypes, folder:PATH, … (docs/data.md).",
        metavar="NAME",
        autocompletion=completion.data_sets,
        rich_help_panel=RUN,
    ),
]
DataDir = Annotated[
    str | None, _flag("--data-dir", help="The folder that data sets lie in.", metavar="FOLDER", rich_help_panel=RUN)
]
Split = Annotated[
    str | None, _flag("--split", help="Which part of the data set.", metavar="test|train", rich_help_panel=RUN)
]
FailUnder = Annotated[
    str | None,
    _flag("--fail-under", help="Fail if the accuracy is lower: 0.97.", metavar="FRACTION", rich_help_panel=RUN),
]
DryRun = Annotated[bool, _flag("--dry-run", help="Do everything but write.", rich_help_panel=TARGET)]
Force = Annotated[bool, _flag("--force", help="Write into a folder that is not bnnc's.", rich_help_panel=TARGET)]
Json = Annotated[bool, _flag("--json", help="Print one JSON document.", rich_help_panel=LOOK)]
Quiet = Annotated[bool, _flag("--quiet", "-q", help="Say nothing but errors.", rich_help_panel=LOOK)]
Verbose = Annotated[bool, _flag("--verbose", "-v", help="Say more.", rich_help_panel=LOOK)]
Color = Annotated[str, _flag("--color", help="Coloured messages.", metavar="auto|always|never", rich_help_panel=LOOK)]
MessageFormat = Annotated[
    str, _flag("--message-format", help="How errors are written.", metavar="human|github", rich_help_panel=LOOK)
]
ConfigFile = Annotated[str | None, _flag("--config", help="The settings file.", metavar="FILE", rich_help_panel=LOOK)]
