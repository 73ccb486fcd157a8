"""`bnnc run`: feed a network and print what it says."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bnnc.cli import completion
from bnnc.cli import options as o
from bnnc.cli.console import Console
from bnnc.cli.exits import command

if TYPE_CHECKING:
    import numpy as np

    from bnnc.api import Network
    from bnnc.cli.work import Model
    from bnnc.config import Config

On = Annotated[
    str | None,
    typer.Option(
        "--on",
        help="Where to run it: llvm, reference …",
        metavar="NAME",
        autocompletion=completion.targets,
        show_default=False,
        rich_help_panel=o.RUN,
    ),
]
DumpLayers = Annotated[
    bool,
    typer.Option(
        "--dump-layers", help="Add every layer's value to -o FILE.", show_default=False, rich_help_panel=o.RUN
    ),
]
Limit = Annotated[
    str | None,
    typer.Option(
        "--limit",
        help="How many samples of --data; all, or as many as a minute allows where it is slow.",
        metavar="N",
        show_default=False,
        rich_help_panel=o.RUN,
    ),
]
MOST_LINES = 20
MOST_VALUES = 100_000


def run(
    model: o.Model = None,
    input: o.Input = None,
    data: o.Data = None,
    data_dir: o.DataDir = None,
    split: o.Split = None,
    limit: Limit = None,
    fail_under: o.FailUnder = None,
    on: On = None,
    output: o.Output = None,
    dump_layers: DumpLayers = False,
    extra: o.Extra = None,
    machine: o.Machine = None,
    threads: o.Threads = None,
    frontend: o.Frontend = None,
    shape: o.Shape = None,
    pixels: o.Pixels = None,
    stream: o.Stream = None,
    stem: o.Stem = None,
    semantics: o.Semantics = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    color: o.Color = "auto",
    message_format: o.MessageFormat = "human",
    config: o.ConfigFile = None,
) -> None:
    """Run a model on data.

    Prints the class and the scores, or the accuracy on a data set. With -o FILE.npz the outputs are written under the
    model's own names.
    """
    flags = dict(locals())
    with command("run", flags) as console:
        from bnnc import api
        from bnnc.cli import work
        from bnnc.config import usage

        chosen = work.settings({**flags, "target": on})
        if bool(input) == bool(chosen.data if not input else data):
            what = "both --input and --data were given" if input else "there is nothing to run the model on"
            raise usage(what, helps=("bnnc run MODEL --input FILE, or bnnc run MODEL --data mnist",))
        with work.loaded(chosen, console) as found:
            network = api.network(
                found.module, chosen.target, chosen.extra, threads=chosen.threads, machine=chosen.machine
            )
            place = work.say_place(network.compiled, console)
            if not input:
                _run_dataset(network, found, chosen, console, place)
            else:
                _run_file(str(input), network, found, chosen, console, dump_layers, place)


def _run_file(
    input: str,
    network: Network,
    found: Model,
    chosen: Config,
    console: Console,
    dump_layers: bool,
    place: dict[str, Any],
) -> None:
    from bnnc.checking import classes as classes_of
    from bnnc.cli import work
    from bnnc.cli.files import write_file
    from bnnc.data import npz

    inputs = work.file_inputs(input, found, console)
    outputs = network.run(inputs)
    classes = classes_of(found.module, outputs)
    if not console.json:
        for line in _lines(found, outputs, classes):
            console.put(line)
    if chosen.output:
        arrays = {**outputs, **(_layers(found, inputs) if dump_layers else {})}
        write_file(Path(chosen.output), npz.dump(arrays))
        console.say(f"wrote {chosen.output}")
    elif dump_layers:
        console.note("--dump-layers writes to the file of -o, and none was named")
    console.finish(
        model=found.title,
        on=chosen.target,
        inputs=max((len(array) for array in inputs.values()), default=1),
        classes=None if classes is None else classes.tolist(),
        outputs={name: _described(array) for name, array in outputs.items()},
        **place,
    )


def _described(array: np.ndarray) -> dict[str, Any]:
    """An array for JSON: its values only while they are few; a number that JSON lacks becomes null."""
    import numpy as np

    values = None
    if array.size <= MOST_VALUES:
        plain = array.astype(object) if array.dtype.kind != "f" else array.astype(np.float64).astype(object)
        if array.dtype.kind == "f":
            plain[~np.isfinite(array)] = None
        values = plain.tolist()
    return {"shape": list(array.shape), "dtype": str(array.dtype), "values": values}


def _lines(found: Model, outputs: dict[str, np.ndarray], classes: np.ndarray | None) -> list[str]:
    """What a person sees: a line a sample, and the scores behind the class."""
    import numpy as np

    first = found.module.outputs[0]
    rows = np.moveaxis(outputs[first.name], first.batch_axis, 0)
    lines = []
    for number, row in enumerate(rows[:MOST_LINES]):
        head = f"input {number}: " if len(rows) > 1 else ""
        flat = row.reshape(-1)
        if classes is not None and flat.size == 1:
            lines.append(f"{head}class {classes[number]}")
        elif classes is not None and flat.size <= 1000:
            best = np.argsort(-flat.astype(np.float64), kind="stable")[:3]
            scores = ", ".join(f"{i}: {flat[i]:.6g}" for i in best)
            lines.append(f"{head}class {classes[number]}   (scores {scores}{', …' if flat.size > 3 else ''})")
        else:
            lines.append(f"{head}{first.name} {list(row.shape)}: {', '.join(f'{v:.6g}' for v in flat[:8])} …")
    if len(rows) > MOST_LINES:
        lines.append(f"… and {len(rows) - MOST_LINES} more (-o FILE.npz writes all)")
    return lines


def _layers(found: Model, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The value of every named op of the «bit» module, by its name; the values are those of every target."""
    from bnnc import api
    from bnnc.reference.run import values as values_of

    values = values_of(api.optimise(found.module), inputs)
    layers: dict[str, np.ndarray] = {}
    for op, value in values.items():
        if op.operands and op.loc.name:
            name = f"layer/{op.loc.name}/{op.opcode}"
            while name in layers:
                name += "'"
            layers[name] = value
    return layers


def _run_dataset(network: Network, found: Model, chosen: Config, console: Console, place: dict[str, Any]) -> None:
    from bnnc import checking
    from bnnc.cli import work
    from bnnc.cli.check import EMULATED_SECONDS, images
    from bnnc.cli.watching import watched
    from bnnc.diagnostics import Exit, error

    source = work.dataset(chosen, console)
    pieces = images(source, found, console)
    total, slow = min(source.count, chosen.limit or source.count), place["place"]["emulated"]
    if chosen.limit:
        pieces = checking.first(pieces, chosen.limit)
    if slow:
        seconds = float("inf") if chosen.limit else EMULATED_SECONDS
        pieces = watched(checking.patient(pieces, seconds), total, console)
    right = seen = 0
    started = time.perf_counter()
    for piece in pieces:
        classes = checking.classes(found.module, network.run(piece.inputs))
        if classes is None:
            raise error("B0509", f"`{found.title}` gives no class: its output is a single real number")
        right += int((classes == piece.labels).sum())
        seen += len(piece)
    seconds = time.perf_counter() - started
    accuracy = right / seen
    if seen < total:
        console.note(f"it is slow here: stopped after {seen} of {total} inputs; --limit N takes more")
    if not console.json:
        part = f", the first of {source.count}" if seen < source.count else ""
        console.put(f"accuracy {100 * accuracy:.2f} %   ({right} of {seen}{part}, {source.name} {source.split})")
        console.say(f"{seen / seconds:.0f} images a second")
    missed = chosen.fail_under is not None and accuracy < chosen.fail_under
    if missed:
        console.show(below(accuracy, chosen))
    console.finish(
        ok=not missed,
        model=found.title,
        on=chosen.target,
        inputs=seen,
        accuracy=accuracy,
        seconds=round(seconds, 3),
        **place,
    )
    if missed:
        raise typer.Exit(Exit.CHECK_FAILED)


def below(accuracy: float, chosen: Config) -> Any:
    """The diagnostic for an accuracy under `--fail-under`."""
    from bnnc.diagnostics import Diagnostic

    limit = chosen.fail_under or 0.0
    return Diagnostic("B0802", f"the accuracy is {100 * accuracy:.2f} %, under --fail-under {100 * limit:.2f} %")
