"""The package is whole: the hand-written list is the tree, the links are there, the inner folders are guarded."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.resources import files

import pytest

import bnnc
from tests.shared import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PLACES = {"bnnc": "bnnc", "backends": "bnnc.backends", "frontends": "bnnc.frontends"}


def packages_of_the_tree() -> set[str]:
    """Every folder that holds Python files, by the name it is imported under."""
    found = set()
    for top, name in PLACES.items():
        for path in (ROOT / top).rglob("*.py"):
            parts = path.relative_to(ROOT / top).parts[:-1]
            if top != "bnnc" or parts[:1] not in (("backends",), ("frontends",)):
                found.add(".".join((name, *parts)))
    return found


def test_the_list_of_packages_is_the_tree() -> None:
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages_of_the_tree()


def test_every_package_has_an_init_that_says_why_it_exists() -> None:
    for top in PLACES:
        for path in (ROOT / top).rglob("*.py"):
            first = path.parent / "__init__.py"
            assert first.is_file(), f"{path.parent} has no __init__.py"
            assert first.read_text(encoding="utf-8").startswith('"""'), f"{first} does not say why it exists"


@pytest.mark.parametrize("name", ["backends", "frontends"])
def test_inner_folders_are_links_in_a_checkout(name: str) -> None:
    link = ROOT / "bnnc" / name
    assert link.is_symlink()
    assert link.resolve() == ROOT / name


@pytest.mark.parametrize("name", ["backends", "frontends"])
def test_inner_folders_refuse_to_be_imported_from_outside(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {name}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"import `bnnc.{name}`" in done.stderr


def test_the_version_has_one_source() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "bnnc.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", bnnc.__version__)
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{bnnc.__version__}]" in changes or "## [Unreleased]" in changes


def test_package_data_is_found_the_way_it_is_read() -> None:
    assert (files("bnnc") / "py.typed").is_file()
    assert (files("bnnc") / "explain" / "B0101.md").is_file()


def test_every_third_party_import_is_a_dependency() -> None:
    """What the package imports is installed with it; extras are imported where they are asked for."""
    import ast

    listed = {re.split(r"[<>=; ]", item)[0] for item in PROJECT["project"]["dependencies"]}
    names = {"PIL": "pillow", "google": "onnx"}
    optional = {"onnxruntime", "matplotlib", "requests"}  # requests comes with pooch, whose errors are told apart
    for top in PLACES:
        for path in (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    modules = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    modules = [node.module or ""]
                else:
                    continue
                for module in {m.split(".")[0] for m in modules} - {"bnnc", "__future__"} - optional:
                    known = module in sys.stdlib_module_names or names.get(module, module) in listed
                    assert known or module == "tomllib", f"{path} imports {module}, which is no dependency"
