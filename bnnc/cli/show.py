"""`bnnc show`: the network as text, at any level or after any pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bnnc.cli import completion
from bnnc.cli import options as o
from bnnc.cli.console import Console
from bnnc.cli.exits import command

if TYPE_CHECKING:
    from bnnc.cli.work import Model
    from bnnc.config import Config
    from bnnc.ir.module import Module

At = Annotated[
    str,
    typer.Option(
        "--at",
        help="Which level, or after which pass.",
        metavar="nn|bit|loop|PASS",
        autocompletion=completion.levels,
        rich_help_panel=o.LOOK,
    ),
]
Passes = Annotated[bool, typer.Option("--passes", help="List the passes.", show_default=False, rich_help_panel=o.LOOK)]
As = Annotated[
    str | None,
    typer.Option(
        "--as",
        help="Print it as a net in the .bnn language; with -o FILE.bnn, its weights go beside it.",
        metavar="bnn",
        show_default=False,
        rich_help_panel=o.LOOK,
    ),
]
PrintAfter = Annotated[
    list[str] | None,
    typer.Option(
        "--print-after",
        help="Print the module after this pass too; `all` for every one.",
        metavar="PASS",
        show_default=False,
        rich_help_panel=o.LOOK,
    ),
]


def show(
    model: o.Model = None,
    at: At = "bit",
    as_: As = None,
    output: o.Output = None,
    force: o.Force = False,
    passes: Passes = False,
    print_after: PrintAfter = None,
    target: o.Target = None,
    extra: o.Extra = None,
    machine: o.Machine = None,
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
    """Print a model as the compiler sees it.

    As it was read (nn), optimised (bit), as loops (loop), or after any pass.
    """
    flags = dict(locals())
    with command("show", flags) as console:
        from bnnc.cli import work

        chosen = work.settings(flags)
        if passes:
            _list_passes(console)
            return
        wanted = [at, *(print_after or [])]
        _check_names(wanted)
        _check_form(as_, at, output)
        with work.loaded(chosen, console, sketch=True) as found:
            if as_ is None:
                _show(found, chosen, console, at, set(print_after or []))
            else:
                _write(found, console, at, output, force)


def _list_passes(console: Console) -> None:
    from bnnc.passes.pipelines import CHOICES, PASSES

    listed = (*PASSES, *CHOICES)
    if console.json:
        rows = [{"name": each.name, "summary": each.summary, "exact": each.exact} for each in listed]
        console.finish(passes=rows)
    else:
        console.table(["pass", "does"], [[each.name, each.summary] for each in listed])


def _check_names(names: list[str]) -> None:
    from bnnc.config import suggestion
    from bnnc.diagnostics import Exit, error
    from bnnc.passes.pipelines import CHOICES, PASSES

    known = ["nn", "bit", "loop", "all", *(each.name for each in (*PASSES, *CHOICES))]
    for name in names:
        if name not in known:
            raise error(
                "B0109",
                f"no level or pass named `{name}`",
                helps=suggestion(name, known) or ("bnnc show --passes lists them",),
                exit_code=Exit.USAGE,
            )


def _show(found: Model, chosen: Config, console: Console, at: str, after: set[str]) -> None:
    from bnnc import api
    from bnnc.cli import work
    from bnnc.ir.text import print_module
    from bnnc.passes.manager import Pass, PassReport

    seen: dict[str, Module] = {"nn": found.imported}
    parts: list[str] = []

    def observe(each: Pass, module: Module, report: PassReport) -> None:
        seen[each.name] = module
        if each.name in after or "all" in after:
            parts.append(f"# after {each.name}: {report.ops} ops\n{print_module(module)}")

    if at != "nn" or after:
        seen["bit"] = api.optimise(found.imported, observe, options=work.pass_options(chosen))
    if at == "loop":
        text = api.loops(seen["bit"], chosen.target, chosen.extra, threads=chosen.threads, machine=chosen.machine)
        level: dict[str, Any] = {"level": "loop"}
    else:
        module = seen[at]
        text = print_module(module)
        level = described(module)
    parts.append(text)
    if console.json:
        console.finish(model=found.title, at=at, **level, text="\n".join(parts))
    else:
        console.put("\n".join(parts).rstrip("\n"))


def _check_form(form: str | None, at: str, output: str | None) -> None:
    from bnnc.config import choice, usage

    if form is not None:
        choice("bnn")(form)
        if at == "loop":
            raise usage("a net has no loops", helps=("bnnc show --as bnn --at bit",))
    elif output is not None:
        raise usage("-o goes with --as bnn", helps=("bnnc show MODEL --as bnn -o net.bnn",))


def _write(found: Model, console: Console, at: str, output: str | None, force: bool) -> None:
    """The network as source: to standard output, or to a file with its weights beside it."""
    from pathlib import Path

    from bnnc import api
    from bnnc.cli.files import write_file
    from bnnc.config import usage
    from bnnc.data import npz
    from bnnc.diagnostics import Exit, error

    module = _at(found.module, at)
    path = Path(output) if output else Path(f"{found.net}.bnn")
    if output and path.suffix != ".bnn":
        raise usage(f"`{output}` is no name of a net", helps=(f"-o {path.with_suffix('.bnn')}",))
    beside = path.with_suffix(".npz")
    made_up = any(note.code == "B0209" for note in module.notes)
    language = api.language()
    text, arrays = language.written(module, "" if made_up else beside.name)
    text = language.formatted(text.encode("utf-8", "replace"), path.name)
    written: list[str] = []
    if output:
        for each in (path, beside):
            if each.exists() and not force:
                raise error("B0106", f"`{each}` exists already", helps=("--force replaces it",), exit_code=Exit.USAGE)
        if arrays and not made_up:
            write_file(beside, npz.dump(arrays))
            written.append(str(beside))
        write_file(path, text.encode())
        written.insert(0, str(path))
        console.say(f"wrote {' and '.join(written)}")
    elif arrays and not made_up:
        console.note(f"the weights are not written: -o {path} writes them to {beside.name} beside it")
    if console.json:
        console.finish(model=found.title, at=at, text=text, files=written)
    elif not output:
        console.put(text.rstrip("\n"))


def _at(module: Module, at: str) -> Module:
    from bnnc import api
    from bnnc.passes.manager import Pass, PassReport

    seen: dict[str, Module] = {"nn": module}

    def observe(each: Pass, result: Module, report: PassReport) -> None:
        seen[each.name] = result

    if at != "nn":
        seen["bit"] = api.optimise(module, observe)
    return seen.get(at, seen["bit"])


def described(module: Module) -> dict[str, Any]:
    """The module for scripts: its ops by number, with types, operands and small attributes; arrays as shapes."""
    import numpy as np

    numbers = {op: number for number, op in enumerate(module.ops())}

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return {"dtype": str(value.dtype), "shape": list(value.shape)}
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return value if isinstance(value, bool | int | float | str) or value is None else str(value)

    ops = [
        {
            "id": number,
            "op": op.opcode,
            "name": op.loc.name,
            "type": str(op.type),
            "operands": [numbers[operand] for operand in op.operands],
            "attributes": {name: plain(value) for name, value in op.attributes().items()},
        }
        for op, number in numbers.items()
    ]
    outputs = [{"name": output.name, "id": numbers[output.value]} for output in module.outputs]
    return {"level": module.level, "name": module.name, "ops": ops, "outputs": outputs}
