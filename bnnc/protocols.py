"""What a frontend and a backend are. The core knows them by these protocols only; registry.py finds them by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from bnnc.ir.module import Module

API_VERSION = 1


@dataclass(frozen=True)
class ImportOptions:
    """What the user says about a model before it is read.

    shapes: input name -> full shape, batch first (`--shape x=1,3,32,32`). pixels: input name -> (scale, mean, std)
    (`--pixels x=1/255,0.5,0.5`); the name "" stands for the only input. sketch: the module is only looked at, so
    weights that are missing may be made up.
    """

    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    pixels: Mapping[str, tuple[float, tuple[float, ...], tuple[float, ...]]] = field(default_factory=dict)
    sketch: bool = False


@dataclass(frozen=True)
class Artifact:
    """What a backend made: files in memory (relative path -> content) and facts about them. Only the CLI writes."""

    files: Mapping[str, bytes]
    facts: Mapping[str, Any]


class Compiled(Protocol):
    """A network that can be called: arrays with the batch first, by input name, to arrays by output name.

    The outputs have the form that `bnnc.reference.run.run` gives them: the dtype `storage`, the batch on `batch_axis`.
    """

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True)
class LayerTime:
    """How long one layer takes in a run; `roofline_share` is its share of what the machine can do, where known."""

    name: str
    op: str
    seconds: float
    bit_macs: int
    roofline_share: float | None


@runtime_checkable
class Timed(Protocol):
    """What a compiled network may also be: able to time its native code with no Python inside."""

    def time(self, inputs: Mapping[str, np.ndarray], runs: int) -> Sequence[float]:
        """The CPU seconds of each of `runs` native runs on the whole batch, in one thread."""
        ...

    def layer_times(self, inputs: Mapping[str, np.ndarray]) -> Sequence[LayerTime]:
        """The median time of every layer on the whole batch, in order."""
        ...


@dataclass(frozen=True)
class Place:
    """Where a compiled network runs. `text` is for people; `emulated`: on no real machine, so it takes its time;
    `installs` are lines to type where a better place, such as an emulated board, is lacking."""

    text: str
    emulated: bool = False
    installs: tuple[str, ...] = ()


@runtime_checkable
class Placed(Protocol):
    """What a compiled network may also be: one that says where it runs."""

    @property
    def place(self) -> Place:
        """Where it runs."""
        ...


@dataclass(frozen=True)
class LayerCount:
    """What one function of the code executed, over all samples of a run: `layer` and `op` are the model's, and empty
    for functions that are no layer, such as copies of inputs."""

    function: str
    layer: str
    op: str
    calls: int
    count: int


@dataclass(frozen=True)
class Counts:
    """What a run on an emulated board executed. `unit` is `instructions`, or `cycles`; `flash` and `ram` are bytes of
    the whole program with its start-up code, its input and its output; `stack` is what was used of the stack."""

    board: str
    unit: str
    samples: int
    layers: tuple[LayerCount, ...]
    flash: int
    ram: int
    stack: int

    @property
    def total(self) -> int:
        """All layers, over all samples."""
        return sum(layer.count for layer in self.layers)


@runtime_checkable
class Counted(Protocol):
    """What a compiled network may also be: able to say exactly what its code executes."""

    def count(self, inputs: Mapping[str, np.ndarray]) -> Counts:
        """What a run on the whole batch executes."""
        ...


@runtime_checkable
class Loops(Protocol):
    """What a backend may also be: one that works on «loop» programs, and can show them."""

    def loops(self, module: Module, options: Any) -> str:
        """The «loop» program it makes of a «bit» module, as text."""
        ...


@runtime_checkable
class Provable(Protocol):
    """What a backend may also be: one that proves what it emits."""

    def prove(self, module: Module, options: Any) -> Artifact:
        """What `emit` gives, with a certificate `proof.json`; its content is the fact `proof`. Raises BnncError.

        `proven`, another fact, says how much that is in a line, and `proof["not_proven"]` is a list of what is not.
        """
        ...


@dataclass(frozen=True)
class Candidate:
    """A kernel that was tried for a layer. `total`: what the network then executes a sample, None where that is too
    large; `difference`: how much more it is than before. `default`: the machine's favourite; `chosen`: the best."""

    layer: str
    kernel: str
    total: float | None
    difference: float | None
    default: bool
    chosen: bool


@dataclass(frozen=True)
class Tuned:
    """What tuning found: `before` and `after` are counts a sample in `unit`; `text` is the content of a file, called
    `saved_as`, by which the target takes the choice again."""

    candidates: tuple[Candidate, ...]
    board: str
    unit: str
    before: float
    after: float
    saved_as: str
    text: str


@runtime_checkable
class Tunes(Protocol):
    """What a backend may also be: one that measures which kernel suits each layer best."""

    def tune(self, module: Module, options: Any, inputs: Mapping[str, np.ndarray]) -> Tuned:
        """Tries the kernels on these inputs, batch first. Raises BnncError where nothing can be measured here."""
        ...


class Frontend(Protocol):
    """Reads a model file into a module of the «nn» or «bit» level."""

    name: ClassVar[str]
    summary: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    api: ClassVar[int]

    def load(self, path: Path, options: ImportOptions) -> Module:
        """The module in the file. Raises BnncError for anything that is not a good model."""
        ...


@runtime_checkable
class Language(Protocol):
    """What a frontend may also be: one for source text that people write."""

    def formatted(self, data: bytes, file: str) -> str:
        """The text of a source file in the one layout of the language. Raises BnncError."""
        ...

    def written(self, module: Module, weights: str) -> tuple[str, Mapping[str, np.ndarray]]:
        """A module as source, and the arrays it looks for in the file `weights` (none, if that is ""). Raises
        BnncError for what the language cannot express."""
        ...


class Backend(Protocol):
    """Makes an artifact of a module. `level` is `bit` or `loop`; `Options` is a frozen dataclass: its fields are the
    `-X name=value` options, their metadata["help"] the documentation. `tools`: what it needs to run a module here; of
    `a|b` one is enough."""

    name: ClassVar[str]
    summary: ClassVar[str]
    api: ClassVar[int]
    level: ClassVar[str]
    machines: ClassVar[tuple[str, ...]]
    tools: ClassVar[tuple[str, ...]]
    Options: ClassVar[type[Any]]

    def emit(self, module: Module, options: Any) -> Artifact:
        """The source package. Raises BnncError for what this target cannot express."""
        ...

    def build(self, module: Module, options: Any) -> Artifact:
        """The compiled artifact; the source package where nothing more can be built here."""
        ...

    def load(self, module: Module, options: Any) -> Compiled:
        """The module, ready to be called in this process. Raises BnncError where it cannot run here."""
        ...


@runtime_checkable
class Equipped(Protocol):
    """What a backend may also be: one that knows better than PATH which of its tools work here."""

    def tools_here(self) -> Sequence[str]:
        """Those of its `tools` that are here."""
        ...
