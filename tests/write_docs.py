"""Writes the pages that are made from the program: `python -m tests.write_docs`. A test holds that they are current."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer

from bnnc.cli.app import app
from bnnc.config import Config, settings
from tests.dsl_reference import language_page
from tests.network_page import networks_page
from tests.shared import ROOT

EXITS = (
    (0, "done"),
    (1, "the input is at fault: diagnostics were printed"),
    (2, "the command line or the settings are at fault"),
    (3, "a check failed: a difference, a missed budget, an accuracy under the limit"),
    (4, "something outside is missing or failed: a tool, a data set, the disk"),
    (70, "a bug in bnnc; a reproducer was saved"),
    (130, "interrupted; no half-written file is left"),
)


def commands_page() -> str:
    """docs/commands.md, from the command line itself."""
    group: Any = typer.main.get_command(app)
    lines = [
        "# Commands",
        "",
        "Made from the program by `python -m tests.write_docs`; a test holds that it is current.",
        "",
        "Standard output is data; standard error is for people. With `--json`, standard output is one JSON document,",
        "for errors too. A model that is not named is the one of `bnnc.toml`, else the last one compiled in this",
        "folder; `-` reads it from standard input.",
        "",
        "| exit code | meaning |",
        "|---:|---|",
        *(f"| {code} | {meaning} |" for code, meaning in EXITS),
    ]
    for name, command in group.commands.items():
        lines += ["", f"## bnnc {name}", "", _paragraphs(command.help), "", "| option | |", "|---|---|"]
        lines += [_row(parameter) for parameter in command.params if parameter.name != "help"]
    return "\n".join(lines) + "\n"


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _row(parameter: Any) -> str:
    names = parameter.opts if parameter.param_type_name == "option" else [parameter.metavar or parameter.name.upper()]
    written = ", ".join(f"`{name}`" for name in sorted(names, key=len, reverse=True))
    takes = "" if parameter.param_type_name == "argument" or getattr(parameter, "is_flag", False) else _takes(parameter)
    default = parameter.default
    said = f" (default {default})" if isinstance(default, str | int | float) and not isinstance(default, bool) else ""
    return f"| {written}{takes} | {_escaped(parameter.help or '')}{said} |"


def _takes(parameter: Any) -> str:
    return f" {_escaped(parameter.metavar)}" if parameter.metavar else ""


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def settings_page() -> str:
    """docs/settings.md, from the dataclass."""
    lines = [
        "# Settings",
        "",
        "Made from the program by `python -m tests.write_docs`; a test holds that it is current.",
        "",
        "A flag wins over the environment, that over the nearest `bnnc.toml` (or `[tool.bnnc]` in `pyproject.toml`) in",
        "this folder or one above it, and that over the default. `bnnc targets --show-config` says where each value",
        "comes from. An unknown key is an error. Paths in the file are relative to it.",
        "",
        "```toml",
        'model = "net.onnx"',
        'pixels = "1/255,0.1307,0.3081"',
        'max-ram = "64KiB"',
        "",
        "[target.llvm]",
        'kind = "so"',
        "```",
        "",
        "`[target.NAME]` holds the `-X` options of a target; `bnnc targets NAME` lists them. `[train]` holds settings",
        "that count for `bnnc train` alone, and there before those at the top.",
        "",
        "| key | environment | default | |",
        "|---|---|---|---|",
    ]
    defaults = Config()
    for name, field in settings().items():
        if name in ("X", "output"):
            continue
        variable = field.metadata["env"] or f"BNNC_{field.name.upper()}"
        default = getattr(defaults, field.name)
        shown = "" if default is None or default is False or default in ("", {}) else f"`{default}`"
        variable = "" if variable == "-" else f"`{variable}`"
        lines.append(f"| `{name}` | {variable} | {shown} | {field.metadata['help']} |")
    lines += [
        "",
        "Besides: `NO_COLOR`, `FORCE_COLOR` and `COLUMNS` as everywhere, and `BNNC_DEBUG=1`, which prints where in the",
        "program a bug happened.",
    ]
    return "\n".join(lines) + "\n"


PAGES = {
    ROOT / "docs" / "commands.md": commands_page,
    ROOT / "docs" / "settings.md": settings_page,
    ROOT / "docs" / "language.md": language_page,
    ROOT / "docs" / "networks.md": networks_page,
}


def main() -> None:
    """Write every page."""
    for path, page in PAGES.items():
        Path(path).write_text(page(), encoding="utf-8")


def links(path: Path) -> list[str]:
    """The relative links in a page."""
    found = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    return [link for link in found if "://" not in link]


if __name__ == "__main__":
    main()
