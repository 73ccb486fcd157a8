"""Frontends and backends by name, the built-in ones and those of installed packages; imported only when asked for.

A package adds one through the entry-point group `bnnc.backends` or `bnnc.frontends`. A plug-in that cannot be loaded
is reported when it is asked for, and never stands in the way of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from bnnc.config import suggestion
from bnnc.diagnostics import BnncError, Diagnostic, Exit, error
from bnnc.protocols import API_VERSION, Backend, Frontend

BUILT_IN: dict[str, dict[str, str]] = {
    "bnnc.backends": {
        "llvm": "bnnc.backends.llvm:Backend",
        "c": "bnnc.backends.c:Backend",
        "verilog": "bnnc.backends.verilog:Backend",
    },
    "bnnc.frontends": {
        "onnx": "bnnc.frontends.onnx:Frontend",
        "bnnm": "bnnc.frontends.bnnm:Frontend",
        "dsl": "bnnc.frontends.dsl:Frontend",
    },
}


@dataclass(frozen=True)
class Plugin:
    """A frontend or backend that can be loaded. `package` is empty for a built-in one, else `bnnc-toy 0.1`."""

    name: str
    path: str
    package: str = ""

    def load(self) -> Any:
        """An instance of it. Raises BnncError B0611 when it cannot be imported, or was made for another bnnc."""
        module, _, attribute = self.path.partition(":")
        whose = f"`{self.name}` of the package {self.package}" if self.package else f"`{self.name}`"
        try:
            made = getattr(import_module(module), attribute)()
            api = made.api
        except BnncError:
            raise
        except Exception as reason:
            raise error(
                "B0611",
                f"{whose} cannot be loaded: {type(reason).__name__}: {reason}",
                notes=(f"it stands in {self.path}",),
                helps=("bnnc targets says what does work",),
                exit_code=Exit.ENVIRONMENT,
            ) from reason
        if api != API_VERSION:
            raise error(
                "B0611",
                f"{whose} was made for version {api} of the plug-in interface; this is version {API_VERSION}",
                helps=("install versions of the package and of bnnc that fit",),
                exit_code=Exit.ENVIRONMENT,
            )
        return made


def plugins(group: str) -> dict[str, Plugin]:
    """Everything in a group (`bnnc.backends`, `bnnc.frontends`) by name, built-in ones first; those win a clash."""
    found = {name: Plugin(name, path) for name, path in BUILT_IN[group].items()}
    for name, plugin in sorted(_installed(group)):
        found.setdefault(name, plugin)
    return found


def clashes(group: str) -> list[Diagnostic]:
    """A warning for every installed plug-in whose name a built-in one, or an earlier one, already has."""
    winners = plugins(group)
    return [
        Diagnostic(
            "B0612",
            f"`{name}` of the package {plugin.package} is not used: "
            + (f"the package {winners[name].package}" if winners[name].package else "bnnc itself")
            + " has one of that name",
            "warning",
        )
        for name, plugin in sorted(_installed(group))
        if winners[name] != plugin
    ]


def _installed(group: str) -> list[tuple[str, Plugin]]:
    rows = []
    for entry in entry_points(group=group):
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
        rows.append((entry.name, Plugin(entry.name, entry.value, package)))
    return sorted(rows, key=lambda row: (row[0], row[1].package, row[1].path))


def backend(name: str) -> Backend:
    """The backend of that name, loaded. Raises BnncError: B0601 for an unknown name, B0611 for a broken plug-in."""
    return cast(Backend, _named("bnnc.backends", name, "B0601", "target"))


def frontend(name: str) -> Frontend:
    """The frontend of that name, loaded. Raises BnncError: B0601 for an unknown name, B0611 for a broken plug-in."""
    return cast(Frontend, _named("bnnc.frontends", name, "B0601", "frontend"))


def _named(group: str, name: str, code: str, kind: str) -> Any:
    known = plugins(group)
    if name not in known:
        raise error(
            code,
            f"no {kind} named `{name}`",
            notes=(f"{kind}s here: {', '.join(known)}",),
            helps=suggestion(name, known),
            exit_code=Exit.USAGE,
        )
    return known[name].load()
