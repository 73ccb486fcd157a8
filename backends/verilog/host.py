"""Runs circuits: a batch becomes files of beats, a simulator does the work, and the host the float ends."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bnnc.backends.verilog import interpreted, simulators
from bnnc.backends.verilog.cycles import Timing
from bnnc.backends.verilog.package import Package, bench_files, circuit_files, patience
from bnnc.backends.verilog.simulators import Tool
from bnnc.backends.verilog.testbench import file_of
from bnnc.backends.verilog.top import Axis, axes_in, axes_out
from bnnc.backends.verilog.vectors import array_of, text_of, words_from, words_of
from bnnc.protocols import Place
from bnnc.reference.bit import array_dtype

MOST_INTERPRETED = 30_000
"""Cycles up to which a simulator that starts at once is quicker than one that is built first."""


class Compiled:
    """Callable: arrays by input name, batch first, to arrays by output name. Its files go with it."""

    def __init__(self, package: Package, tools: list[Tool], cycles: int, timing: Timing | None = None) -> None:
        self._package, self._tools = package, tools
        self._cycles = timing.interval if timing else cycles
        self._latency = timing.latency if timing else patience(package.design)
        self._folder = tempfile.TemporaryDirectory(prefix="bnnc-verilog-")
        self._files = {**circuit_files(package), **bench_files(package)}
        for name, text in self._files.items():
            path = Path(self._folder.name) / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        self._built: dict[str, list[str]] = {}

    @property
    def place(self) -> Place:
        """The simulators; a little work goes to the one that starts at once."""
        return Place(f"a simulated circuit: {', '.join(tool.kind for tool in self._tools)}", True)

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run a batch of any length."""
        package = self._package
        folder, plan = Path(self._folder.name), package.plan
        axes = axes_in(package.design)
        batch = 0
        files = [(folder / f"{axis.prefix}.in").open("w", encoding="ascii") for axis in axes]
        try:
            for values in package.boundary.entering(inputs):
                batch += len(values[0])
                for file, value, array in zip(files, plan.entries, values, strict=True):
                    file.write(text_of(words_of(value, array)) if len(array) else "")
        finally:
            for file in files:
                file.close()
        if not batch:
            empty = [np.empty((0, *op.type.shape), array_dtype(op.type.dtype)) for op in package.boundary.cuts]
            return package.boundary.leaving(empty)
        words = self._simulated(batch, folder, axes)
        cuts = [array_of(value, found) for value, found in zip(plan.cuts, words, strict=False)]
        if plan.ranking is not None:
            at = package.boundary.cuts.index(plan.ranking.cut)
            if not np.array_equal(words[-1], plan.ranking.words(cuts[at], package.design.classes)):
                raise simulators.failed(self._tools[0], "the class is not that of the scores")
        return package.boundary.leaving(cuts)

    def _simulated(self, batch: int, folder: Path, axes: tuple[Axis, ...]) -> list[np.ndarray]:
        """What comes out, a row a beat."""
        outputs = axes_out(self._package.design)
        tool = self._tool(batch)
        if tool.kind == "yosys":
            self._interpreted(tool, batch, folder)
        else:
            self._run(tool, batch, folder, axes)
        found = []
        for axis in outputs:
            words = words_from((folder / f"{axis.prefix}.out").read_text(encoding="ascii"), axis.width)
            found.append(words[:, : -(-axis.stream.bits // 8)])
        return found

    def _run(self, tool: Tool, batch: int, folder: Path, axes: tuple[Axis, ...]) -> None:
        """Run the testbench on the files of the inputs; it writes those of the outputs."""
        outputs = axes_out(self._package.design)
        arguments = [f"+images={batch}", "+dump"]
        arguments += [f"+{file_of(axis, 'input')}={axis.prefix}.in" for axis in axes]
        arguments += [f"+{file_of(axis, 'output')}={axis.prefix}.out" for axis in outputs]
        if tool.kind not in self._built:
            self._built[tool.kind] = simulators.build(tool, self._package.design.name, self._files, folder)
        printed = simulators.run(tool, self._built[tool.kind], arguments, folder)
        if "DONE" not in printed:
            raise simulators.failed(tool, printed or "it has stopped early")

    def _interpreted(self, tool: Tool, batch: int, folder: Path) -> None:
        """The same with yosys, which runs no testbench."""
        design = self._package.design

        def script(text: str) -> None:
            simulators.run(tool, tool.command, [text], folder)

        if tool.kind not in self._built:
            sources = [name for name in self._files if name.startswith("rtl/") and name.endswith(".v")]
            script(interpreted.flattened(design, sources))
            self._built[tool.kind] = list(tool.command)
        try:
            interpreted.run_through(design, batch, self._cycles, self._latency, folder, script)
        except ValueError as reason:
            raise simulators.failed(tool, str(reason)) from reason

    def _tool(self, batch: int) -> Tool:
        """The fastest simulator, or for a little work, until that is built, one that starts at once."""
        by_kind = {tool.kind: tool for tool in self._tools}
        little = batch * self._cycles <= MOST_INTERPRETED
        if little and "iverilog" in by_kind and "verilator" not in self._built:
            return by_kind["iverilog"]
        return self._tools[0]


__all__ = ["Compiled"]
