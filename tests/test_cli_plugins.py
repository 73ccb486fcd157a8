"""Targets of other packages: found, used, refused when broken, and never in the way of the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from bnnc import registry
from bnnc.diagnostics import BnncError
from tests import toy
from tests.cli import EXAMPLE, MODEL, bnnc


def test_a_plug_in_is_listed_and_its_options_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.install(tmp_path, monkeypatch)
    rows = {row["name"]: row for row in bnnc("targets", "--json").json["targets"]}
    assert rows["toy"]["makes"] == "a listing of the layers (bnnc-toy 0.1)"
    assert list(rows) == ["llvm", "c", "verilog", "toy"]
    options = {row["name"]: row for row in bnnc("targets", "toy", "--json").json["options"]}
    assert options["title"] == {"name": "title", "default": "layers", "help": "first line of the listing"}
    assert "first line of the listing" in bnnc("targets", "toy").out


def test_a_plug_in_compiles_runs_and_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.install(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    done = bnnc("compile", MODEL, "--target", "toy", "-X", "title=mine", "-X", "numbered=yes", "--check=3", "--json")
    assert done.code == 0, done.err
    assert done.json["check"] == {"inputs": 3, "equal": 3}
    listing = (tmp_path / "build" / "model" / "toy" / "layers.txt").read_text()
    assert listing.startswith("mine\n0: input")
    assert bnnc("run", "--on", "toy", "--input", EXAMPLE / "seven.png").out.startswith("class 7 ")


def test_a_broken_plug_in_is_a_row_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.install(tmp_path, monkeypatch, module="import a_module_that_is_not_there\n")
    done = bnnc("targets", "--json")
    assert done.code == 0
    rows = {row["name"]: row for row in done.json["targets"]}
    assert not rows["toy"]["works"]
    assert "a_module_that_is_not_there" in rows["toy"]["found"]
    assert rows["llvm"]["works"]
    used = bnnc("compile", MODEL, "--target", "toy", "--json")
    assert used.code == 4
    assert used.codes == ["B0611"]


def test_a_plug_in_for_another_interface_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = toy.source().replace("api: ClassVar[int] = 1", "api: ClassVar[int] = 99")
    toy.install(tmp_path, monkeypatch, module=text)
    with pytest.raises(BnncError, match="version 99"):
        registry.backend("toy")


def test_a_built_in_target_wins_a_clash_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.install(tmp_path, monkeypatch, name="llvm", package="bnnc-impostor")
    done = bnnc("targets", "--json")
    assert done.codes == ["B0612"]
    assert "bnnc-impostor 0.1" in done.json["diagnostics"][0]["message"]
    assert registry.plugins("bnnc.backends")["llvm"].package == ""


def test_an_unknown_target_suggests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = bnnc("compile", MODEL, "--target", "lvm", "--json")
    assert done.code == 2
    assert done.codes == ["B0601"]
    assert done.json["diagnostics"][0]["help"] == ["did you mean `llvm`?"]


@pytest.mark.parametrize(
    ("option", "code", "text"),
    [("titel=x", "B0105", "title"), ("numbered=maybe", "B0101", "true or false"), ("title", "B0101", "key=value")],
)
def test_wrong_options_of_a_target(
    option: str, code: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.install(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    done = bnnc("compile", MODEL, "-t", "toy", "-X", option, "--json")
    assert done.code == 2
    assert done.codes == [code]
    assert text in done.err
    assert not (tmp_path / "build").exists()
