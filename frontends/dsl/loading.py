"""Reading a .bnn file, for a compiler (a module with weights) and for the trainer (a plan)."""

from __future__ import annotations

from pathlib import Path

from bnnc.diagnostics import error
from bnnc.frontends.dsl.lowering import Elaborated, elaborate
from bnnc.frontends.dsl.parsing import parse
from bnnc.frontends.dsl.planning import training_plan
from bnnc.frontends.dsl.problems import Problems
from bnnc.frontends.dsl.reading import read_source
from bnnc.frontends.dsl.weights import Absent
from bnnc.ir.module import Module
from bnnc.protocols import ImportOptions
from bnnc.train.plan import TrainingPlan


def _elaborated(path: Path) -> tuple[Elaborated, Problems]:
    source = read_source(path)
    problems = Problems(source)
    return elaborate(parse(source), source, path.parent, problems), problems


def load(path: Path, options: ImportOptions) -> Module:
    """The module. A net that needs weights and names none is an error, unless it is only looked at."""
    _check_options(path, options)
    found, problems = _elaborated(path)
    if isinstance(found.arrays, Absent) and found.arrays.asked and not options.sketch:
        problems.add(
            "B0209",
            f"net `{found.module.name}` has no weights",
            found.net.name.span,
            "cannot run without",
            notes=(f"`{found.arrays.asked[0][0]}` is the first layer that needs some",),
            helps=(
                f"train it: bnnc train {path.name} --data NAME",
                'or name them in the net: weights "file.npz"  or, to try it out, weights random(1)',
            ),
        )
        problems.stop()
    return found.module


def plan(path: Path) -> TrainingPlan:
    """What the net asks to be trained. Raises BnncError."""
    found, problems = _elaborated(path)
    return training_plan(found, problems)


def _check_options(path: Path, options: ImportOptions) -> None:
    if options.shapes or options.pixels:
        flag = "--shape" if options.shapes else "--pixels"
        raise error(
            "B0214",
            f"`{flag}` cannot be given for `{path.name}`: its inputs stand in the net",
            helps=("write it there: input x: u8[1, 28, 28] as pixels(1/255, mean=0.5, std=0.5)",),
        )
