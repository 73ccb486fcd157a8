"""The parts of docs/language.md that are made from the program: layers with their arguments, settings of `train`."""

from __future__ import annotations

import dataclasses
import re
from fractions import Fraction
from typing import Any

from bnnc.frontends.dsl.catalogue import ANY_NUMBER, REQUIRED, Layer
from bnnc.frontends.dsl.layers import GROUPS
from bnnc.frontends.dsl.planning import FIELDS
from bnnc.train.plan import Settings
from tests.shared import ROOT

PAGE = ROOT / "docs" / "language.md"
MARKS = ("layers", "settings")


def language_page() -> str:
    """docs/language.md with the parts between the marks made anew."""
    text = PAGE.read_text(encoding="utf-8")
    for mark, made in zip(MARKS, (layers(), settings()), strict=True):
        pattern = rf"(<!-- {mark} -->\n).*?(<!-- end of {mark} -->)"
        safe = made.replace("\\", "\\\\")
        text, count = re.subn(pattern, rf"\1\n{safe}\n\2", text, flags=re.S)
        assert count == 1, mark
    return text


def layers() -> str:
    parts = []
    functions = []
    for title, group in GROUPS.items():
        parts.append(f"### {title}\n")
        for layer in group:
            if title == "Real numbers" and not layer.parameters and layer.name in _FUNCTIONS:
                functions.append(layer)
            else:
                parts.append(_layer(layer))
    parts.append("#### Functions, element by element\n")
    parts.append("| layer | gives | written |\n|---|---|---|")
    parts += [
        f"| `{f.name}` | {_cell(f.summary.partition(', element')[0])} | `{_cell(f.example)}` |" for f in functions
    ]
    return "\n".join(parts) + "\n"


_FUNCTIONS = {layer.name for layer in GROUPS["Real numbers"]} - {"decode", "matmul"}


def _layer(layer: Layer) -> str:
    takes = {0: "no value", 1: "", 2: "two values", ANY_NUMBER: "one or more values"}.get(layer.operands, "")
    lines = [f"#### {layer.name}\n", f"`-> {layer.example}`\n" if layer.operands else f"`{layer.example}`\n"]
    lines.append(layer.summary + (f" Takes {takes}." if takes else "") + "\n")
    if layer.parameters:
        lines.append("| argument | takes | default | |\n|---|---|---|---|")
        lines += [
            f"| `{p.name}` | {_cell(p.kind.takes)} | {_default(p.default)} | {_cell(p.summary)} |"
            for p in layer.parameters
        ]
        lines.append("")
    if layer.arrays:
        lines.append(f"From the weights: {', '.join(f'`{a}`' for a in layer.arrays)}.\n")
    return "\n".join(lines)


def settings() -> str:
    lines = ["| setting | takes | default | |", "|---|---|---|---|"]
    defaults = {f.name: f.default for f in dataclasses.fields(Settings)}
    for name, (kind, summary) in FIELDS.items():
        lines.append(f"| `{name}` | {_cell(kind.takes)} | {_default(defaults[name])} | {_cell(summary)} |")
    return "\n".join(lines) + "\n"


def _default(value: Any) -> str:
    if value is REQUIRED or value is None:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float) and value == int(value):
        value = int(value)
    return f"`{Fraction(value) if isinstance(value, Fraction) else value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
