"""The files of a circuit: `rtl/`, `mem/`, `tb/`, a Makefile and report.json."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np

from bnnc import __version__
from bnnc.backends.verilog.boundary import Boundary
from bnnc.backends.verilog.design import Design
from bnnc.backends.verilog.names import comment_text
from bnnc.backends.verilog.planner import Plan
from bnnc.backends.verilog.testbench import IMAGES, Probe, bench_text, clock_text, file_of, harness_text
from bnnc.backends.verilog.top import axes_in, axes_out, top_text
from bnnc.backends.verilog.vectors import checksum, made_up, text_of, words_of

_INSTANCE = re.compile(r"\bbnnc_\w+")


@dataclass(frozen=True)
class Package:
    """A planned network."""

    boundary: Boundary
    plan: Plan

    @property
    def design(self) -> Design:
        """The circuit."""
        return self.plan.design

    @property
    def made_by(self) -> str:
        """Who made a file, of what."""
        source = dict(self.boundary.module.facts).get("source", "")
        of = f" from {comment_text(source)}" if source else ""
        return f"{self.design.name}: made by bnnc {__version__}{of}; bnnc emit --target verilog"

    @property
    def title(self) -> str:
        """The first line of every Verilog file."""
        return f"/* {self.made_by} */"


def library(design: Design) -> dict[str, str]:
    """The modules that a circuit needs, and those that they need: file name -> text."""
    folder = resources.files("bnnc.backends.verilog") / "rtl"
    made = [engine.unrolled for engine in design.engines if engine.unrolled]
    found = {name: text for one in made for name, text in one.files.items()}
    wanted = [*design.modules, *(name for one in made for name in one.library)]
    while wanted:
        name = wanted.pop()
        places = [folder / f"{name}.v", folder / "tech" / f"{name}.v"]
        file = next((place for place in places if place.is_file()), None)
        if f"{name}.v" in found or file is None:
            continue
        text = file.read_text(encoding="utf-8")
        found[f"{name}.v"] = text
        code = re.sub(r"//.*", "", text)
        wanted += [other for other in _INSTANCE.findall(code) if other != name]
    return dict(sorted(found.items()))


def circuit_files(package: Package) -> dict[str, str]:
    """What a simulator or a synthesis tool reads: rtl/ and mem/."""
    design = package.design
    files = {f"rtl/{design.name}.v": top_text(design, package.title)}
    files |= {f"rtl/{name}": f"{package.title}\n{text}" for name, text in library(design).items()}
    files |= {f"mem/{memory.name}.mem": f"// {package.made_by}\n{memory.text()}" for memory in design.memories}
    return files


def patience(design: Design) -> int:
    """Cycles in which something must move: as many as a sample takes where no two engines work at once."""
    beats = sum(port.stream.beats * engine.pace.interval for engine in design.engines for port in engine.outputs)
    return 1000 + beats


def bench_files(package: Package, probes: Sequence[Probe] = ()) -> dict[str, str]:
    """The testbench, without data."""
    design = package.design
    return {
        f"tb/{design.name}_tb.v": bench_text(design, package.title, IMAGES, patience(design), probes),
        "tb/clock.v": clock_text(design, package.title),
        "tb/main.cpp": harness_text(design, package.title),
    }


def golden_files(package: Package) -> dict[str, str]:
    """The testbench with its data: beats at both ends, and a checksum of what crosses behind every layer."""
    values = made_up(package.boundary, IMAGES)
    entries = [values[op] for op in package.boundary.entries]
    cuts = [values[op] for op in package.boundary.cuts]
    probes = [
        Probe(value.stream, comment_text(op.loc.name) or op.opcode, checksum(words_of(value, values[op])))
        for op, value in package.plan.values
    ]
    return {
        **bench_files(package, probes),
        **{
            f"tb/{file_of(axis, 'input')}.mem": text_of(words_of(value, array))
            for axis, value, array in zip(axes_in(package.design), package.plan.entries, entries, strict=True)
        },
        **{
            f"tb/{file_of(axis, 'expected')}.mem": text_of(words)
            for axis, words in zip(axes_out(package.design), leaving_words(package, cuts), strict=True)
        },
    }


def leaving_words(package: Package, cuts: list[np.ndarray]) -> list[np.ndarray]:
    """The beats of every output for the values of the cuts."""
    plan = package.plan
    found = [words_of(value, array) for value, array in zip(plan.cuts, cuts, strict=True)]
    if plan.ranking is not None:
        at = package.boundary.cuts.index(plan.ranking.cut)
        found.append(plan.ranking.words(cuts[at], package.design.classes))
    return found


__all__ = ["Package", "bench_files", "circuit_files", "golden_files", "leaving_words", "library"]
