"""Names that the shell completes: targets, data sets, levels and passes, codes. Imported work stays inside."""

from __future__ import annotations


def targets(incomplete: str) -> list[str]:
    """Targets, those of installed packages too; nothing is loaded for it."""
    from bnnc.registry import plugins

    return _starting(incomplete, [*plugins("bnnc.backends"), "reference"])


def data_sets(incomplete: str) -> list[str]:
    """Names of data sets."""
    from bnnc.data.registry import SOURCES

    return _starting(incomplete, list(SOURCES))


def levels(incomplete: str) -> list[str]:
    """Levels of the IR and passes."""
    from bnnc.passes.pipelines import PASSES

    return _starting(incomplete, ["nn", "bit", "loop", *(each.name for each in PASSES)])


def codes(incomplete: str) -> list[str]:
    """Codes of diagnostics."""
    from bnnc.pages import codes as known

    return _starting(incomplete.upper(), known())


def _starting(incomplete: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
