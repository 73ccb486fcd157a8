"""Installs the target of docs/extending.md as a package on the path: a module and the metadata of its entry point."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.shared import ROOT


def source() -> str:
    """The module `bnnc_toy` as the documentation shows it."""
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", text, re.S | re.M)
    return str(block)


def install(folder: Path, patch: pytest.MonkeyPatch, *, name: str = "toy", module: str = "", package: str = "") -> None:
    """Make the package importable, with the entry point `name`; `module` replaces its source."""
    package = package or f"bnnc-{name}"
    imported = package.replace("-", "_")
    (folder / f"{imported}.py").write_text(module or source(), encoding="utf-8")
    metadata = folder / f"{imported}-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(f"[bnnc.backends]\n{name} = {imported}:Backend\n", encoding="utf-8")
    patch.syspath_prepend(str(folder))
    patch.delitem(sys.modules, imported, raising=False)
