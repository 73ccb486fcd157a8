"""docs/data.md: every console line and every Python block in it runs, and its tables are those of the program."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bnnc.data.parameters import written
from bnnc.data.prototypes import Prototypes
from bnnc.data.registry import MADE_UP, SOURCES
from bnnc.data.sequences import TASKS, Sequences
from tests.cli import ROOT, bnnc
from tests.test_data_download import FILES
from tests.test_data_own import idx

PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
GENERATOR = np.random.default_rng(3)


def test_the_page_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("BNNC_MIRRORS", "off")
    monkeypatch.delenv("BNNC_DATA", raising=False)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for folder in ("data/mnist", "datasets/mnist"):
        (tmp_path / folder).mkdir(parents=True)
        for name, content in FILES.items():
            (tmp_path / folder / name).write_bytes(content)
    images = GENERATOR.integers(0, 256, (60, 28, 28), np.uint8)
    for number, image in enumerate(images):
        (tmp_path / "digits" / str(number % 10)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "digits" / str(number % 10) / f"{number}.png")
    idx(tmp_path / "images.idx", images)
    idx(tmp_path / "labels.idx", (np.arange(60) % 10).astype(np.uint8))
    ran, names = [], dict[str, Any]()
    for kind, block in re.findall(r"^```(console|python)\n(.*?)^```", PAGE, re.S | re.M):
        ran.append(kind)
        if kind == "python":
            exec(block, names)
            continue
        for line in block.splitlines():
            assert line.startswith("$ ")
            words = shlex.split(line[2:])
            given = dict(word.split("=", 1) for word in words if re.match("[A-Z_]+=", word))
            program, *arguments = words[len(given) :]
            assert program == "bnnc"
            with monkeypatch.context() as changed:
                for name, value in given.items():
                    changed.setenv(name, value)
                done = bnnc(*arguments)
            assert done.code == 0, f"{line}\n{done.err}"
            assert "accuracy" in done.out
    assert ran.count("console") >= 5
    assert ran.count("python") >= 3
    assert names["limit"] == pytest.approx(0.9755)
    assert re.fullmatch("[0-9a-f]{64}", names["name"])
    assert os.listdir(tmp_path / "digits")


def test_every_name_is_on_the_page() -> None:
    for name in (*SOURCES, *MADE_UP, *TASKS):
        assert f"`{name}`" in PAGE


@pytest.mark.parametrize("kind", [Prototypes, Sequences])
def test_every_parameter_and_default_is_on_the_page(kind: type) -> None:
    title = kind.__name__.lower()
    section = PAGE[PAGE.index(f"\n`{title}` ") :]
    for field in fields(kind):
        assert f"`{field.name}`" in section
        default = written(field.default)
        spaced = f"{int(default):,}".replace(",", " ") if default.isdigit() else default
        assert re.search(rf"[`(| ]{re.escape(spaced)}[`)| ,]", section), (field.name, spaced)
