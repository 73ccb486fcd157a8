"""Every diagnostic code has a page, every page a code, and `bnnc explain` shows them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bnnc.pages import codes, page
from tests.cli import ROOT, bnnc

RAISED = re.compile(r"\bB0\d{3}\b")


def codes_of_the_source() -> dict[str, set[str]]:
    """Every code that stands in a string of the source, with the files it stands in."""
    found: dict[str, set[str]] = {}
    for top in ("bnnc", "backends", "frontends"):
        for path in (ROOT / top).rglob("*.py"):
            for code in RAISED.findall(re.sub(r'""".*?"""', "", path.read_text(encoding="utf-8"), flags=re.S)):
                found.setdefault(code, set()).add(str(path.relative_to(ROOT)))
    return found


def test_every_code_has_a_page() -> None:
    missing = {code: files for code, files in codes_of_the_source().items() if code not in codes()}
    assert not missing


def test_every_page_has_a_code() -> None:
    assert set(codes()) <= set(codes_of_the_source())


def test_docstrings_name_no_code_that_is_not_raised() -> None:
    raised = set(codes_of_the_source())
    for top in ("bnnc", "backends", "frontends"):
        for path in (ROOT / top).rglob("*.py"):
            assert set(RAISED.findall(path.read_text(encoding="utf-8"))) <= raised, path


@pytest.mark.parametrize("code", codes())
def test_a_page_says_what_and_what_to_do(code: str) -> None:
    lines = page(code).splitlines()
    assert re.fullmatch(rf"# {code}: [a-zA-Z0-9.`].*[^.]", lines[0])
    assert lines[1] == ""
    assert len(" ".join(lines[2:])) > 50
    assert all(len(line) <= 120 for line in lines)


def test_explain_prints_the_page() -> None:
    done = bnnc("explain", "b0104")
    assert done.code == 0
    assert done.out.startswith("B0104: no model was named\n")


def test_explain_without_a_code_lists_all() -> None:
    done = bnnc("explain")
    assert [line.split()[0] for line in done.out.splitlines()] == codes()


def test_explain_an_unknown_code() -> None:
    done = bnnc("explain", "B9999", "--json")
    assert done.code == 2
    assert done.codes == ["B0110"]


def test_explain_as_json() -> None:
    document = bnnc("explain", "B0104", "--json").json
    assert document["code"] == "B0104"
    assert document["page"] == page("B0104")


def test_every_code_in_the_documentation_exists() -> None:
    for path in [*Path(ROOT / "docs").glob("*.md"), ROOT / "README.md"]:
        assert set(RAISED.findall(path.read_text(encoding="utf-8"))) <= set(codes()), path
