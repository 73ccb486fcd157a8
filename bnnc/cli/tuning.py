"""The part of `bnnc bench` that tries kernels: the table of candidates, and the file that keeps the choice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bnnc.cli.console import Console

if TYPE_CHECKING:
    import numpy as np

    from bnnc.cli.work import Model
    from bnnc.config import Config


def wanted(chosen: Config) -> bool:
    """Whether `-X tune` was given."""
    return "tune" in chosen.extra


def tune(found: Model, chosen: Config, inputs: dict[str, np.ndarray], console: Console) -> None:
    """Measure every kernel of every layer, print the table, write the file."""
    from bnnc import api

    tuned = api.tune(found.module, chosen.target, chosen.extra, inputs, machine=chosen.machine)
    Path(tuned.saved_as).write_text(tuned.text, encoding="utf-8")
    if not console.json:
        console.put(f"{found.title} on {tuned.board}: {tuned.unit} a sample")
        rows = []
        for one in tuned.candidates:
            marks = " ".join(mark for mark, is_so in (("chosen", one.chosen), ("default", one.default)) if is_so)
            total = "too large" if one.total is None else f"{one.total:,.0f}".replace(",", " ")
            change = "" if not one.difference else f"{one.difference:+,.0f}".replace(",", " ")
            rows.append([one.layer, one.kernel, total, change, marks])
        console.table(["layer", "kernel", f">{tuned.unit}", ">difference", ""], rows)
        before, after = (f"{number:,.0f}".replace(",", " ") for number in (tuned.before, tuned.after))
        console.put(f"{before} with the kernels of the machine, {after} with those chosen")
        console.say(f"wrote {tuned.saved_as}; `-X tuned={tuned.saved_as}` makes emit, run and check use it")
    console.finish(
        model=found.title,
        target=chosen.target,
        board=tuned.board,
        unit=tuned.unit,
        before=tuned.before,
        after=tuned.after,
        tuned=tuned.saved_as,
        candidates=[
            {
                "layer": one.layer,
                "kernel": one.kernel,
                tuned.unit: one.total,
                "chosen": one.chosen,
                "default": one.default,
            }
            for one in tuned.candidates
        ],
    )


__all__ = ["tune", "wanted"]
