"""Imports go one way: ir <- passes <- loops <- backends, with the command line on top, and nothing names a plug-in."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shared import ROOT

BASE = {"ir", "diagnostics"}
LIBRARY = BASE | {"reference", "passes", "config", "data", "protocols", "compare", "checking", "registry", "options"}
# What each part may import. A part that is not listed here has no place yet: give it one.
ALLOWED = {
    "ir": {"diagnostics"},
    "diagnostics": {"ir"},
    "protocols": BASE,
    "reference": BASE | {"loops"},
    "passes": BASE | {"reference"},
    "loops": BASE | {"passes"},
    "config": BASE,
    "data": BASE | {"config"},
    "compare": BASE | {"reference"},
    "checking": BASE | {"reference", "passes", "compare", "data"},
    "registry": BASE | {"config", "protocols"},
    "options": BASE | {"config", "protocols"},
    "train": BASE | {"reference", "passes", "config", "data"},
    "peers": BASE | {"data"},
    "timing": {"protocols"},
    "pages": set(),
    "report": BASE,
    "api": LIBRARY | {"timing", "train"},
    "cli": LIBRARY | {"api", "timing", "peers", "pages", "report", "train"},
    "backends": BASE | {"protocols", "passes", "loops", "reference", "train"},
    "frontends": BASE | {"protocols", "data", "train"},
}


def sources() -> Iterator[tuple[str, Path]]:
    """Every module of the package with the part it belongs to."""
    for top in ("backends", "frontends"):
        yield from ((top, path) for path in (ROOT / top).rglob("*.py"))
    for path in (ROOT / "bnnc").rglob("*.py"):
        parts = path.relative_to(ROOT / "bnnc").with_suffix("").parts
        if parts[0] not in ("backends", "frontends", "__init__", "__main__"):
            yield parts[0], path


def imported(path: Path) -> Iterator[str]:
    """The names below `bnnc` that a module imports, at its top or inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.removeprefix("bnnc.") for name in names if name.startswith("bnnc."))


def test_imports_go_one_way() -> None:
    wrong = []
    for part, path in sources():
        assert part in ALLOWED, f"{path}: `{part}` has no place in the layering"
        for name in imported(path):
            other = name.split(".")[0]
            if other not in {part, "__version__"} | ALLOWED[part]:
                wrong.append(f"{path.relative_to(ROOT)} imports bnnc.{name}")
    assert not wrong


def test_the_reference_knows_nothing_of_loops_but_their_ir() -> None:
    """It judges the lowering, so it shares no code with it: ops, types and arrays of the «loop» level only."""
    seen = {name for part, path in sources() if part == "reference" for name in imported(path)}
    loops = {name.split(".")[1] for name in seen if name.startswith("loops.")}
    assert loops <= {"ir", "types", "expressions"}


def test_plugins_are_known_by_name_only() -> None:
    for part, path in sources():
        if part not in ("backends", "frontends"):
            names = [name for name in imported(path) if name.split(".")[0] in ("backends", "frontends")]
            assert not names, f"{path} imports {names}"


def test_plugins_do_not_know_each_other() -> None:
    for part, path in sources():
        if part in ("backends", "frontends"):
            own = path.relative_to(ROOT / part).parts[0]
            others = [n for n in imported(path) if n.startswith(f"{part}.") and n.split(".")[1] != own]
            assert not others, f"{path} imports {others}"


@pytest.mark.parametrize("part", ["ir", "passes", "reference", "loops"])
def test_the_core_never_prints(part: str) -> None:
    for where, path in sources():
        if where == part:
            calls = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
            assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"], path
