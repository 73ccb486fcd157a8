"""`bnnc targets`: the backends here, what they need and have found, and their options."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bnnc.cli import completion
from bnnc.cli import options as o
from bnnc.cli.console import Console
from bnnc.cli.exits import command

if TYPE_CHECKING:
    from bnnc.protocols import Backend
    from bnnc.registry import Plugin

Name = Annotated[
    str | None,
    typer.Argument(help="A target, to see its options.", autocompletion=completion.targets, show_default=False),
]
ShowConfig = Annotated[
    bool,
    typer.Option(
        "--show-config", help="Say where every setting comes from.", show_default=False, rich_help_panel=o.LOOK
    ),
]


def targets(
    name: Name = None,
    show_config: ShowConfig = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    color: o.Color = "auto",
    message_format: o.MessageFormat = "human",
    config: o.ConfigFile = None,
) -> None:
    """List the targets, or the options of one."""
    flags = dict(locals())
    with command("targets", flags) as console:
        from bnnc import registry
        from bnnc.cli import work

        for warning in registry.clashes("bnnc.backends") + registry.clashes("bnnc.frontends"):
            console.show(warning)
        settings = _settings(work.settings({"config": config, "target": name})) if show_config else None
        if name is not None:
            _one(name, registry.backend(name), settings, console)
            return
        backends = [_row(plugin) for plugin in registry.plugins("bnnc.backends").values()]
        frontends = [_reader(plugin) for plugin in registry.plugins("bnnc.frontends").values()]
        if console.json:
            console.finish(targets=backends, frontends=frontends, **({"settings": settings} if settings else {}))
            return
        console.table(
            ["name", "needs", "found", "makes"],
            [[row["name"], ", ".join(row["needs"]) or "—", row["found"], row["makes"]] for row in backends],
        )
        console.put("")
        console.table(
            ["reads", "what", "suffixes"],
            [[row["name"], row["reads"], ", ".join(row["suffixes"])] for row in frontends],
        )
        if settings is not None:
            _print_settings(settings, console)


def _row(plugin: Plugin) -> dict[str, Any]:
    from bnnc.diagnostics import BnncError

    try:
        backend: Backend = plugin.load()
    except BnncError as reason:
        message = reason.diagnostics[0].message
        return {
            "name": plugin.name,
            "makes": f"({plugin.package})" if plugin.package else "",
            "needs": [],
            "found": f"broken: {message}",
            "works": False,
        }
    return {
        "name": plugin.name,
        "makes": backend.summary + (f" ({plugin.package})" if plugin.package else ""),
        "needs": list(backend.tools),
        "found": _found(backend),
        "works": True,
    }


def _found(backend: Backend) -> str:
    """Which of a backend's tools are here, and which are not; of `a|b` one is enough."""
    from bnnc.protocols import Equipped

    alternatives = [tool.split("|") for tool in backend.tools]
    if isinstance(backend, Equipped):
        here = list(backend.tools_here())
    else:
        here = [name for names in alternatives for name in names if _is_here(name)]
    missing = ["|".join(names) for names in alternatives if not set(names) & set(here)]
    if missing and not here:
        return "not found"
    return ", ".join([*here, *(f"no {names}" for names in missing)]) or "all"


def _is_here(tool: str) -> bool:
    """Whether a tool is there, as a program on the path or as a Python package."""
    import importlib.util
    import shutil

    return bool(shutil.which(tool) or importlib.util.find_spec(tool.replace("-", "_")))


def _reader(plugin: Plugin) -> dict[str, Any]:
    from bnnc.diagnostics import BnncError

    try:
        frontend = plugin.load()
    except BnncError as reason:
        return {
            "name": plugin.name,
            "reads": f"broken: {reason.diagnostics[0].message}",
            "suffixes": [],
            "works": False,
        }
    return {
        "name": plugin.name,
        "reads": frontend.summary + (f" ({plugin.package})" if plugin.package else ""),
        "suffixes": list(frontend.suffixes),
        "works": True,
    }


def _one(name: str, backend: Backend, settings: list[dict[str, str]] | None, console: Console) -> None:
    rows = [
        {
            "name": field.name.replace("_", "-"),
            "default": None if field.default in (dataclasses.MISSING, None) else str(field.default),
            "help": str(field.metadata.get("help", "")),
        }
        for field in dataclasses.fields(backend.Options)
    ]
    if console.json:
        more = {"settings": settings} if settings else {}
        console.finish(
            name=name,
            makes=backend.summary,
            options=rows,
            machines=list(backend.machines),
            tools=list(backend.tools),
            found=_found(backend),
            **more,
        )
        return
    console.put(f"{name}: {backend.summary}")
    console.put("")
    console.table(["-X", "default", "does"], [[str(r["name"]), str(r["default"] or ""), str(r["help"])] for r in rows])
    console.put("")
    if backend.machines:
        console.put(f"--machine: {', '.join(backend.machines)}")
    if backend.tools:
        console.put(f"to run here it needs {', '.join(backend.tools)}; found: {_found(backend)}")
    if settings is not None:
        _print_settings(settings, console)


def _settings(chosen: Any) -> list[dict[str, str]]:
    from bnnc.config import settings

    return [
        {
            "name": name,
            "value": str(getattr(chosen, field.name)),
            "from": chosen.sources.get(field.name, "default"),
        }
        for name, field in settings().items()
    ]


def _print_settings(settings: list[dict[str, str]], console: Console) -> None:
    console.put("")
    console.table(["setting", "value", "from"], [[row["name"], row["value"], row["from"]] for row in settings])
