"""The pages of `bnnc explain`, one for each diagnostic code; they are package data in bnnc/explain/."""

from __future__ import annotations

from importlib.resources import files


def codes() -> list[str]:
    """Every code that has a page, in order."""
    return sorted(
        entry.name.removesuffix(".md") for entry in (files("bnnc") / "explain").iterdir() if entry.name.endswith(".md")
    )


def page(code: str) -> str:
    """The page of a code, in Markdown; its first line is `# CODE: title`. Raises FileNotFoundError for no code."""
    return (files("bnnc") / "explain" / f"{code}.md").read_text(encoding="utf-8")
