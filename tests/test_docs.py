"""The documentation is true: generated pages are current, links lead somewhere, console blocks and examples run."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli import EXAMPLE, ROOT, bnnc
from tests.write_docs import PAGES, links

DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_generated_page_is_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == PAGES[path](), "run `python -m tests.write_docs`"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in links(path):
        assert (path.parent / link).exists(), f"{path.name} links to {link}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_options_in_the_text_exist(path: Path) -> None:
    """Every `bnnc COMMAND --option` in the documentation is one that the help knows."""
    text = path.read_text(encoding="utf-8")
    for command, rest in re.findall(r"\bbnnc (compile|emit|run|check|show|bench|targets|explain)\b([^`\n]*)", text):
        known = bnnc(command, "--help", COLUMNS="200").out
        for option in re.findall(r"(?<!\S)--[a-z-]+", rest):
            assert option in known, f"{path.name}: bnnc {command} has no {option}"


def test_the_files_that_the_architecture_names_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    files = [path.as_posix() for top in ("bnnc", "backends", "tests") for path in (ROOT / top).rglob("*.py")]
    named = [name for name in re.findall(r"`([a-z_/]+\.py)`", text) if name.islower()]
    assert len(named) > 30
    assert [name for name in named if not any(path.endswith(f"/{name}") for path in files)] == []


def console_lines() -> list[str]:
    """The commands of the guide, in order."""
    text = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.S | re.M)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def test_the_console_blocks_of_the_guide_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    lines = console_lines()
    assert len(lines) >= 6
    for line in lines:
        program, *arguments = shlex.split(line)
        if program == "ls":
            assert any(Path(arguments[0]).iterdir())
        else:
            assert program == "bnnc"
            done = bnnc(*arguments)
            assert done.code == 0, f"{line}\n{done.err}"


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLE / "model.onnx", tmp_path / "model.onnx")
    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S | re.M)
    names: dict[str, Any] = {"images": np.zeros((3, 1, 28, 28), np.float32)}
    exec(code, names)
    assert np.shape(names["scores"]) == (3, 10)


def test_the_readme_shows_two_commands_first() -> None:
    """`.ci/run` takes the first two `sh` blocks and runs them: one makes a prediction, the other runs the tests."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first, second = re.findall(r"^```sh\n(.*?)^```", text, re.S | re.M)
    assert "bnnc run examples/mnist/" in first
    assert "pytest" in second
    assert text.index(second) < 2000
    for block in (first, second):
        assert len(block.splitlines()) == 1
