"""What most commands begin with: the settings, the model, its inputs."""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnc import config
from bnnc.cli.console import Console
from bnnc.cli.files import write_file
from bnnc.diagnostics import Diagnostic, Exit, error

if TYPE_CHECKING:
    import numpy as np

    from bnnc.data.dataset import Dataset
    from bnnc.ir.module import Module
    from bnnc.passes.options import PassOptions

LAST = Path("build") / "last.json"


@dataclass(frozen=True)
class Model:
    """A model that was read: `title` is what people call it (the file name), `net` names its output folder.

    `module` is what every target must compute: what was `imported`, unless options such as `--stream fixed` say that it
    is something else.
    """

    path: Path
    title: str
    net: str
    module: Module
    imported: Module


def settings(flags: Mapping[str, Any], command: str = "") -> config.Config:
    """The settings of a command, by the flags it was given: those over the environment over the settings file.

    `flags` are all parameters of the command; those that are no settings are left out. Raises BnncError.
    """
    file = flags.get("config")
    if file is not None and not Path(file).is_file():
        raise error("B0103", f"`{file}` does not exist", exit_code=Exit.USAGE)
    known = {setting.name for setting in config.settings().values()}
    given = {name: value for name, value in flags.items() if name in known and value is not None}
    if flags.get("no_check"):
        given["check"] = False
    return config.resolve(given, file=Path(file) if file else None, command=command)


def model_path(chosen: config.Config, console: Console) -> Path:
    """The model: the argument, else `model` of the settings, else the last one that was compiled here."""
    if chosen.model:
        if chosen.sources["model"] != "the command line":
            console.say(f"using {chosen.model} (from {chosen.sources['model']})")
        return Path(chosen.model)
    try:
        last = json.loads(LAST.read_text(encoding="utf-8"))["model"]
        when = time.strftime("%H:%M", time.localtime(LAST.stat().st_mtime))
    except (OSError, ValueError, KeyError, TypeError):
        raise error(
            "B0104",
            "no model was named",
            notes=("there is no `model` in a bnnc.toml here, and nothing was compiled here before",),
            helps=(f"bnnc {console.command} MODEL",),
            exit_code=Exit.USAGE,
        ) from None
    console.say(f"using {last} (last compiled {when})")
    return Path(last)


def remember(path: Path) -> None:
    """Note the model as the last one compiled here; a folder that cannot be written is no reason to fail."""
    try:
        write_file(LAST, (json.dumps({"model": str(path)}) + "\n").encode())
    except OSError:
        return


@contextmanager
def loaded(chosen: config.Config, console: Console, *, sketch: bool = False) -> Iterator[Model]:
    """The model, read; what the reader noted is shown as warnings. `sketch`: it is only looked at, and may lack
    weights. Raises BnncError."""
    path = model_path(chosen, console)
    if str(path) != "-":
        yield read(path, path.name, chosen, console, sketch=sketch)
        return
    content = sys.stdin.buffer.read()
    with tempfile.TemporaryDirectory(prefix="bnnc-") as folder:
        suffix = ".bnnm" if content[:2] == b"PK" else ".onnx"
        copy = Path(folder) / f"stdin{suffix}"
        copy.write_bytes(content)
        yield read(copy, "standard input", chosen, console, sketch=sketch)


def read(path: Path, title: str, chosen: config.Config, console: Console, *, sketch: bool = False) -> Model:
    from bnnc import api

    module = api.load(path, shapes=chosen.shape, pixels=chosen.pixels, frontend=chosen.frontend, sketch=sketch)
    net = re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem) or "net"
    show_notes(module, console)
    choices = pass_options(chosen)
    if choices.exact or sketch:
        return Model(path, title, net, module, module)
    meant = api.optimise(module, options=choices)
    show_notes(meant, console, frozenset(note.text for note in module.notes))
    _say_streams(meant, console)
    return Model(path, title, net, meant, module)


def pass_options(chosen: config.Config) -> PassOptions:
    """What the settings say about the meaning of a model."""
    from bnnc.passes.options import PassOptions

    return PassOptions(chosen.stream, chosen.stem, chosen.semantics, chosen.strict_range)


def _say_streams(module: Module, console: Console) -> None:
    """What became of real-valued streams, in a line; with --verbose a line for each."""
    from bnnc.passes.fixed_streams import stream_facts

    for note in module.notes:
        if note.kind == "choice":
            console.note(note.text)
    rows = stream_facts(module)
    if not rows:
        return
    fewest, clipped = min(row.fraction for row in rows), sum(row.saturates for row in rows)
    text = f"{len(rows)} tensors in fixed point, with {fewest} fractional bits or more"
    console.note(text + (f"; in the worst case {clipped} of them would saturate (--strict-range)" if clipped else ""))
    if console.verbose:
        for row in rows:
            seen = "nothing was seen" if row.seen is None else f"seen ±{row.seen:.6g}"
            console.note(f"{row.name or row.op}: fix<{row.whole},{row.fraction}>, worst case ±{row.bound:.6g}, {seen}")


def show_notes(module: Module, console: Console, known: frozenset[str] = frozenset()) -> None:
    """The warnings that stand in a module, except those whose text is known already."""
    for note in module.notes:
        if note.kind == "warning" and note.text not in known:
            console.show(Diagnostic(note.code or "B0400", note.text, "warning", (note.loc,)))
        elif note.kind == "info" and console.verbose and note.text not in known:
            console.note(note.text)


def say_once(console: Console) -> Callable[[str], None]:
    """Notes on what was chosen for the user, each once."""
    said: set[str] = set()

    def say(text: str) -> None:
        if text not in said:
            said.add(text)
            console.note(text)

    return say


def say_place(compiled: object, console: Console) -> dict[str, Any]:
    """Says where a network runs, when that is a choice, and what to install for a better place. Returns the part
    `place` of the JSON document."""
    from bnnc.protocols import Place, Placed

    place = compiled.place if isinstance(compiled, Placed) else Place("this computer")
    if place != Place("this computer"):
        console.note(f"runs on {place.text}")
        for line in place.installs:
            console.note(f"for an emulated board: {line}")
    return {"place": {"text": place.text, "emulated": place.emulated, "install": list(place.installs)}}


def file_inputs(path: str, model: Model, console: Console) -> dict[str, np.ndarray]:
    """The inputs in a file, checked against the model. Raises BnncError."""
    from bnnc.data import feed
    from bnnc.data.pixels import unmapped
    from bnnc.reference.arrays import check_inputs

    inputs = feed.from_file(Path(path), model.module, say_once(console))
    inputs = {name: unmapped(array, name, model.module) for name, array in inputs.items()}
    check_inputs(model.module, inputs)
    return inputs


def dataset(chosen: config.Config, console: Console) -> Dataset:
    """The part of the data set that `--data` and `--split` name, fetched if need be. Raises BnncError."""
    from bnnc.cli.fetching import fetching
    from bnnc.data.registry import find

    with fetching(console) as fetch:
        return find(chosen.data, chosen.split, chosen.data_dir or None, fetch=fetch)
