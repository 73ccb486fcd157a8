"""The Python API: load, compile, emit, build, run and check a network. The command line only calls what stands here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bnnc import checking, registry
from bnnc.checking import Inputs, Runs, Verdict
from bnnc.config import Pixels, suggestion, usage
from bnnc.data.registry import both
from bnnc.data.seeded import seeded
from bnnc.data.split import Pair
from bnnc.diagnostics import BnncError, Exit, error
from bnnc.ir.module import Module
from bnnc.options import backend_options
from bnnc.passes import pipelines
from bnnc.passes.manager import Observer
from bnnc.passes.options import PassOptions
from bnnc.protocols import Artifact, Backend, ImportOptions, Language, Loops, Tuned, Tunes
from bnnc.reference.arrays import check_inputs
from bnnc.train.engine import Plans

if TYPE_CHECKING:
    from bnnc.train.loop import Machinery, Training
    from bnnc.train.plan import TrainingPlan


def load(
    path: str | Path,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    pixels: Mapping[str, Pixels] | None = None,
    frontend: str = "",
    sketch: bool = False,
) -> Module:
    """The model in a file, as a module of the «nn» level.

    shapes: full shapes of inputs, batch first. pixels: inputs that hold uint8 pixels, (scale, mean, std); the name ""
    stands for the only input. frontend: a name of `bnnc targets`, when the suffix does not say. sketch: the module is
    only looked at, so a net without weights is no error.
    Raises BnncError for anything that is not a good model.
    """
    path = Path(path)
    if not path.exists():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise error("B0407", f"`{path}` does not exist", helps=suggestion(path.name, siblings))
    if path.is_dir():
        raise error("B0407", f"`{path}` is a folder, not a model", helps=("name the file in it",))
    reader = registry.frontend(frontend or _frontend_of(path))
    return reader.load(path, ImportOptions(shapes=shapes or {}, pixels=pixels or {}, sketch=sketch))


def _frontend_of(path: Path) -> str:
    """The frontend for a file: by its suffix, or by how a container starts."""
    suffix = path.suffix.lower()
    by_suffix: dict[str, str] = {}
    for name, plugin in registry.plugins("bnnc.frontends").items():
        try:
            suffixes = plugin.load().suffixes
        except BnncError:
            continue
        for known in suffixes:
            by_suffix.setdefault(known, name)
        if suffix in by_suffix:
            return by_suffix[suffix]
    with path.open("rb") as file:
        start = file.read(64)
    if suffix in (".pt", ".pth", ".ckpt", ".safetensors", ".h5", ".keras", ".tflite", ".pb") or start[:2] == b"PK":
        raise error(
            "B0403",
            f"`{path.name}` is not a model that bnnc reads; it reads {', '.join(sorted(by_suffix))}",
            helps=('torch.onnx.export(model, example, "net.onnx"), then bnnc compile net.onnx',),
        )
    return "onnx"


SAMPLES = 8  # what ranges of streams are observed on, where no inputs are given
LARGE = 1 << 17  # elements of an input above which fewer will do


def language(name: str = "dsl") -> Language:
    """The frontend for a source language, by name. Raises BnncError B0601 for an unknown one."""
    reader = registry.frontend(name)
    if not isinstance(reader, Language):
        raise usage(f"`{name}` is not a language that people write")
    return reader


def optimise(module: Module, observe: Observer | None = None, *, options: PassOptions = pipelines.EXACT) -> Module:
    """The «bit» module that computes the same, or what the options say. `observe` sees every pass, its result and time.

    Fixed-point streams take their formats from `options.inputs`, or from made-up samples. Raises BnncError B0402 for a
    network in which nothing is binary, B0702 for a stream that could saturate under `strict_range`.
    """
    if not options.exact and not options.inputs and module.level != "bit":
        count = SAMPLES if all(op.type.size <= LARGE for op in module.inputs) else 2
        options = dataclasses.replace(options, inputs=seeded(module, count, 0))
    if module.level == "bit" and not options.exact and not set(options.facts) <= set(module.facts):
        raise error(
            "B0107",
            f"`{module.name}` is optimised already: its streams and folds are what they are",
            helps=("give these options with the model that it was made from",),
        )
    return pipelines.optimise(module, observe, options=options)


class Network:
    """A compiled network. Call it with numpy arrays, batch first: positional, in the order of the inputs, or by name.

    It returns one array, or a dict by output name where the network has several. `module` is what it was compiled from.
    """

    def __init__(self, module: Module, compiled: Runs, target: str) -> None:
        self.module = module
        self.compiled = compiled
        self.target = target

    def __call__(self, *arrays: np.ndarray, **named: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
        names = [op.name for op in self.module.inputs]
        if len(arrays) > len(names):
            raise error("B0507", f"{len(arrays)} arrays were given, but the network has {len(names)} inputs")
        inputs = dict(zip(names, arrays, strict=False))
        for name, array in named.items():
            if name in inputs:
                raise error("B0507", f"input `{name}` was given twice")
            inputs[name] = array
        outputs = self.run(inputs)
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def run(self, inputs: Inputs) -> dict[str, np.ndarray]:
        """The outputs by name, for arrays by input name. Raises BnncError for arrays that do not fit."""
        check_inputs(self.module, inputs)
        return self.compiled(inputs)


def compile(
    model: Module | str | Path,
    target: str = "llvm",
    *,
    threads: int = 1,
    machine: str = "native",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    pixels: Mapping[str, Pixels] | None = None,
    passes: PassOptions = pipelines.EXACT,
    **options: Any,
) -> Network:
    """The network, compiled for this process and ready to be called. `options` are those of the target (`-X`).

    passes: such as `PassOptions(stream="fixed")`, which changes what every target computes, the reference too.
    Raises BnncError for a bad model, an unknown target, or one that cannot run here.
    """
    module = model if isinstance(model, Module) else load(model, shapes=shapes, pixels=pixels)
    if not passes.exact:
        module = optimise(module, options=passes)
    return network(module, target, options, threads=threads, machine=machine)


def network(
    module: Module,
    target: str,
    extra: Mapping[str, Any],
    *,
    threads: int = 1,
    machine: str = "native",
    bits: Module | None = None,
) -> Network:
    """What `compile` does, for a module at hand; `bits` is its «bit» module where that is at hand too."""
    if target == "reference":
        return Network(module, checking.judge(module), target)
    bits = bits or optimise(module)
    backend = registry.backend(target)
    return Network(
        module, backend.load(bits, backend_options(backend, extra, threads=threads, machine=machine)), target
    )


def emit(
    model: Module | str | Path,
    target: str = "llvm",
    *,
    machine: str = "native",
    passes: PassOptions = pipelines.EXACT,
    **options: Any,
) -> Artifact:
    """The target's source package, in memory. Raises BnncError for what the target cannot express."""
    backend, bits, chosen = _ready(model, target, machine, passes, options)
    return backend.emit(bits, chosen)


def build(
    model: Module | str | Path,
    target: str = "llvm",
    *,
    machine: str = "native",
    passes: PassOptions = pipelines.EXACT,
    **options: Any,
) -> Artifact:
    """The target's compiled artifact, in memory. Raises BnncError for what the target cannot express."""
    backend, bits, chosen = _ready(model, target, machine, passes, options)
    return backend.build(bits, chosen)


def _ready(
    model: Module | str | Path, target: str, machine: str, passes: PassOptions, options: Mapping[str, Any]
) -> tuple[Backend, Module, Any]:
    """A backend, and what it makes something of: the «bit» module, and the options."""
    module = model if isinstance(model, Module) else load(model)
    backend = registry.backend(target)
    source = None if isinstance(model, Module) else str(model)
    chosen = backend_options(backend, options, machine=machine, source=source)
    return backend, optimise(module, options=passes), chosen


def loops(bits: Module, target: str, extra: Mapping[str, Any], *, threads: int = 1, machine: str = "native") -> str:
    """The «loop» program that the target makes of a «bit» module, as text. Raises BnncError."""
    backend = registry.backend(target)
    if not isinstance(backend, Loops):
        raise usage(f"target `{target}` does not work on loops", helps=("bnnc show --at bit",))
    return backend.loops(bits, backend_options(backend, extra, threads=threads, machine=machine))


def tune(
    model: Module | str | Path,
    target: str,
    extra: Mapping[str, Any],
    inputs: Inputs,
    *,
    machine: str = "native",
) -> Tuned:
    """Which kernel makes each layer cheapest on the target's machine, measured on these inputs. Raises BnncError."""
    module = model if isinstance(model, Module) else load(model)
    backend = registry.backend(target)
    if not isinstance(backend, Tunes):
        raise usage(f"target `{target}` has no kernels to choose from", helps=("--target c --machine cortex-m4",))
    check_inputs(module, inputs)
    return backend.tune(optimise(module), backend_options(backend, extra, machine=machine), inputs)


def run(model: Module | str | Path, inputs: Inputs, *, on: str = "llvm", **options: Any) -> dict[str, np.ndarray]:
    """The network's outputs by name, on the target `on` or on the reference. Raises BnncError."""
    return compile(model, on, **options).run(inputs)


def check(
    model: Module | str | Path,
    target: str = "llvm",
    *,
    inputs: Inputs | None = None,
    labels: np.ndarray | None = None,
    count: int = 100,
    seed: int = 0,
    expected: Inputs | Runs | None = None,
    **options: Any,
) -> Verdict:
    """Compare a target with the reference, bit by bit; or, with `expected`, with outputs from elsewhere.

    inputs: arrays by name, batch first; without them, `count` seeded samples. labels: their classes, for the accuracy.
    expected: recorded outputs for `inputs`, or something to call for them (another runtime); these are compared within
    a tolerance, near-ties exempt (bnnc/compare.py). Raises BnncError.
    """
    network = compile(model, target, **options)
    module = network.module
    given = None if inputs is None else iter([checking.Piece(inputs, labels)])
    pieces = given or checking.seeded_pieces(module, count, seed)
    runs = expected if expected is None or callable(expected) else checking.recorded(module, expected)
    return checking.compare(module, network.run, pieces, runs)


def load_plan(path: str | Path) -> TrainingPlan:
    """What the net in a `.bnn` file asks to be trained. Raises BnncError: B0407, B0530 for other files, B02xx."""
    path = Path(path)
    if not path.is_file():
        siblings = [p.name for p in path.parent.glob("*.bnn")] if path.parent.is_dir() else []
        raise error("B0407", f"`{path}` does not exist", helps=suggestion(path.name, siblings))
    reader = registry.frontend(_frontend_of(path))
    if not isinstance(reader, Plans):
        raise error(
            "B0530",
            f"`{path.name}` cannot be trained: that is said in a `.bnn` file, with a `train` block",
            helps=("bnnc new NAME writes one to start from",),
        )
    return reader.plan(path)


def machinery(on: str = "llvm", *, threads: int = 1, machine: str = "native") -> Machinery:
    """Who executes a training run. Raises BnncError B0601 for an unknown target, B0537 for one that cannot train."""
    from bnnc.train.engine import Trains
    from bnnc.train.interpreted import ReferenceEngine
    from bnnc.train.loop import Machinery

    if on == "reference":
        return Machinery(ReferenceEngine, checking.judge)
    backend = registry.backend(on)
    if not isinstance(backend, Trains):
        raise error(
            "B0537",
            f"target `{on}` cannot train in this process",
            helps=("--on llvm, --on c, or --on reference",),
            exit_code=Exit.USAGE,
        )
    options = backend_options(backend, {}, threads=threads, machine=machine)

    def run(module: Module) -> Runs:
        # An encoder that only moves elements is no work for a compiler.
        return network(module, on, {}, threads=threads).run if module.level == "bit" else checking.judge(module)

    return Machinery(lambda step: backend.engine(step, options), run)


def training(
    net: TrainingPlan | str | Path,
    data: Pair | str,
    *,
    seed: int = 0,
    on: str = "llvm",
    threads: int = 1,
    machine: str = "native",
    validation: float | Fraction | None = None,
    data_dir: str | Path | None = None,
) -> Training:
    """A training run, ready to go: the net in a `.bnn` file (or its plan) on a data set (or its two parts).

    validation: the part of the training set that is kept apart to choose the best epoch. What is made depends on net,
    data, seed, epochs and validation alone, not on `on`, `threads` and `machine`.
    Raises BnncError for a net that no rule can train, data that do not fit, a target that cannot train.
    """
    from bnnc.train.loop import Training

    plan = load_plan(net) if isinstance(net, str | Path) else net
    pair = both(data, data_dir) if isinstance(data, str) else data
    share = None if validation is None else Fraction(str(validation))
    return Training(plan, pair, machinery(on, threads=threads, machine=machine), seed=seed, validation=share)


def train(net: TrainingPlan | str | Path, data: Pair | str, *, epochs: int | None = None, **options: Any) -> Training:
    """Train a net to the end: the run, with the trained network as its `module()`, the `.bnnm` file as `result()`, and
    the accuracies of every epoch as `history`. epochs: instead of the net's own number. options: as for `training`."""
    run = training(net, data, **options)
    for _ in run.epochs(epochs or run.plan.settings.epochs):
        pass
    return run
