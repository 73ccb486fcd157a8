"""`bnnc check`: a target against the reference or another runtime, every pass against the one before, and accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bnnc.cli import options as o
from bnnc.cli.console import Console
from bnnc.cli.exits import command

if TYPE_CHECKING:
    import numpy as np

    from bnnc.checking import PassRow, Piece, Runs, Verdict
    from bnnc.cli.work import Model
    from bnnc.config import Config
    from bnnc.data.dataset import Dataset
    from bnnc.diagnostics import Diagnostic
    from bnnc.ir.module import Module

Versus = Annotated[
    str | None,
    typer.Option(
        "--vs",
        help="Compare with another runtime, or with recorded outputs.",
        metavar="onnxruntime|FILE.npz",
        show_default=False,
        rich_help_panel=o.RUN,
    ),
]
EachPass = Annotated[
    bool,
    typer.Option("--each-pass", help="Check every pass of the compiler.", show_default=False, rich_help_panel=o.RUN),
]
Prove = Annotated[
    bool,
    typer.Option(
        "--prove",
        help="Prove the code for all inputs, as far as the target can; writes it with its proof.json.",
        show_default=False,
        rich_help_panel=o.RUN,
    ),
]
COUNT = 100
PASS_COUNT = 16
# With `--check auto`, seeded inputs stop after this long: the reference is slow on large networks.
SECONDS = 10.0
# And so does everything on an emulated board or in a simulated circuit; building one takes its time too.
EMULATED_SECONDS = 60.0
BATCH = 256


def check(
    model: o.Model = None,
    target: o.Target = None,
    input: o.Input = None,
    data: o.Data = None,
    data_dir: o.DataDir = None,
    split: o.Split = None,
    versus: Versus = None,
    each_pass: EachPass = False,
    prove: Prove = False,
    fail_under: o.FailUnder = None,
    check: o.Check = None,
    seed: o.Seed = None,
    output: o.Output = None,
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
    """Check a target against the reference.

    They must give the same bits, on seeded or real inputs. With --vs the outputs are compared with another runtime's,
    within a tolerance; near-ties are exempt and counted.
    """
    flags = dict(locals())
    with command("check", flags) as console:
        from bnnc.cli import work
        from bnnc.config import usage

        chosen = work.settings(flags)
        if input and flags["data"]:
            raise usage("both --input and --data were given", helps=("leave one of them out",))
        with work.loaded(chosen, console) as found:
            _check(found, chosen, console, input, versus, each_pass, prove)


def _check(
    found: Model,
    chosen: Config,
    console: Console,
    input: str | None,
    versus: str | None,
    each_pass: bool,
    prove: bool,
) -> None:
    from bnnc import api, checking
    from bnnc.cli import work
    from bnnc.cli.run import below
    from bnnc.cli.watching import watched
    from bnnc.diagnostics import Exit

    inputs = work.file_inputs(input, found, console) if input else None
    expected, judge = _expected(versus, found, chosen, inputs)
    rows = _passes(found, chosen, inputs) if each_pass else []
    bits = found.module if chosen.target == "reference" else api.optimise(found.module)
    work.show_notes(bits, console, frozenset(note.text for note in found.module.notes))
    proof = _proof(found, chosen, bits, console) if prove else {}
    network = api.network(
        found.module, chosen.target, chosen.extra, threads=chosen.threads, machine=chosen.machine, bits=bits
    )
    place = work.say_place(network.compiled, console)
    limit = None
    source = work.dataset(chosen, console) if chosen.data and inputs is None else None
    if source is not None:
        pieces = images(source, found, console)
    elif inputs is not None:
        pieces = checking.pieces_of(inputs)
    else:
        pieces = checking.seeded_pieces(found.module, chosen.check or COUNT, chosen.seed)
    if chosen.check:
        pieces = checking.first(pieces, chosen.check)
    elif inputs is None and place["place"]["emulated"]:
        pieces = checking.patient(pieces, EMULATED_SECONDS)
    elif inputs is None and expected is None:
        limit = SECONDS
    whole = source.count if source is not None else 0 if inputs is not None else COUNT
    if place["place"]["emulated"] and whole:
        pieces = watched(pieces, min(whole, chosen.check or whole), console)
    verdict = checking.compare(found.module, network.run, pieces, expected, seconds=limit)
    seen = verdict.agreement.inputs
    if verdict.labelled > seen:
        console.note(f"the first {seen} were compared with {judge}; --check N compares more")
    if not chosen.check and place["place"]["emulated"] and seen < whole:
        console.note(f"it is slow here: stopped after {seen} of {whole} inputs; --check N takes more")
    document = {"check": verdict.as_json(), **({"passes": [row.as_json() for row in rows]} if rows else {}), **proof}
    problems = [row for row in rows if row.wrong]
    failures = [_wrong_pass(row) for row in problems[:1]]
    if verdict.agreement.different:
        failures.append(difference(verdict, found, chosen, judge))
    accuracy = verdict.accuracy
    if accuracy is not None and chosen.fail_under is not None and accuracy < chosen.fail_under:
        failures.append(below(accuracy, chosen))
    if not console.json:
        _show(rows, verdict, chosen, judge, console, source.count if source is not None else 0)
    for failure in failures:
        console.show(failure)
    console.finish(ok=not failures, model=found.title, target=chosen.target, **document, **place)
    if failures:
        raise typer.Exit(Exit.CHECK_FAILED)


def _proof(found: Model, chosen: Config, bits: Module, console: Console) -> dict[str, Any]:
    """Proves the target's code and writes it; what the JSON document says of it."""
    from bnnc import registry
    from bnnc.cli.files import check_folder, write_folder
    from bnnc.config import usage
    from bnnc.options import backend_options
    from bnnc.protocols import Provable

    backend = registry.backend(chosen.target)
    if not isinstance(backend, Provable):
        raise usage(f"target `{chosen.target}` proves nothing", helps=("--target verilog -X unroll=all --prove",))
    folder = Path(chosen.output) if chosen.output else Path("build") / found.net / f"{chosen.target}-proof"
    check_folder(folder, False)
    options = backend_options(backend, chosen.extra, machine=chosen.machine, source=str(found.path))
    artifact = backend.prove(bits, options)
    write_folder(folder, artifact.files, False)
    document = artifact.facts["proof"]
    if not console.json:
        console.put(f"{artifact.facts['proven']}; {folder / 'proof.json'}")
    for what in document["not_proven"]:
        console.note(f"not proven: {what}")
    return {"proof": {"file": str(folder / "proof.json"), **document}}


def _expected(
    versus: str | None, found: Model, chosen: Config, inputs: dict[str, np.ndarray] | None
) -> tuple[Runs | None, str]:
    """What the target is compared with (None: the reference), and what to call it."""
    from bnnc import checking
    from bnnc.config import suggestion, usage
    from bnnc.data import npz
    from bnnc.peers import PEERS, OnnxRuntime

    if versus is None:
        return None, "the reference"
    if versus in PEERS:
        return OnnxRuntime(found.path, found.module, chosen.threads), versus
    if not versus.endswith((".npz", ".npy")):
        raise usage(
            f"`--vs {versus}` is neither a runtime nor a file of outputs",
            notes=(f"runtimes: {', '.join(PEERS)}",),
            helps=suggestion(versus, PEERS) or ("--vs FILE.npz",),
        )
    if inputs is None:
        raise usage("recorded outputs belong to recorded inputs", helps=(f"--input {versus} --vs {versus}",))
    names = [output.name for output in found.module.outputs]
    content = npz.read(Path(versus))
    outputs = {name: content[key] for name in names for key in (name, f"out_{name}") if key in content}
    if "" in content and len(names) == 1:
        outputs = {names[0]: content[""]}
    if not outputs:
        listed = ", ".join(f"`{key}`" for key in content) or "nothing"
        raise npz.unreadable(Path(versus), f"holds no output `{names[0]}`: it holds {listed}")
    for output in found.module.outputs:
        wanted = list(output.value.type.shape)
        size = max((len(array) for array in inputs.values()), default=1)
        wanted.insert(output.batch_axis, size)
        if output.name in outputs and list(outputs[output.name].shape) != wanted:
            has = list(outputs[output.name].shape)
            raise npz.unreadable(Path(versus), f"has output `{output.name}` of shape {has}, not {wanted}")
    return checking.recorded(found.module, outputs), Path(versus).name


def images(source: Dataset, found: Model, console: Console) -> Iterator[Piece]:
    """The samples of a data set, as the model takes them, with their labels."""
    from bnnc.checking import Piece
    from bnnc.cli import work
    from bnnc.data.feed import from_images

    say = work.say_once(console)
    for images, labels in source.batches(BATCH):
        yield Piece(from_images(images, found.module, f"data set `{source.name}`", say), labels)


def _passes(found: Model, chosen: Config, inputs: dict[str, np.ndarray] | None) -> list[PassRow]:
    from bnnc import checking
    from bnnc.cli import work
    from bnnc.data.seeded import seeded

    count = min(chosen.check or PASS_COUNT, COUNT)
    given = next(iter(checking.pieces_of(inputs, count))).inputs if inputs is not None else None
    arrays = given or seeded(found.imported, count, chosen.seed)
    return checking.check_passes(found.imported, arrays, work.pass_options(chosen))


def _wrong_pass(row: PassRow) -> Diagnostic:
    from bnnc.diagnostics import Diagnostic

    agreement = row.agreement
    text = f"pass `{row.name}` changes the result on {agreement.different} of {agreement.inputs} inputs"
    notes = (f"first difference: {agreement.first}", "this is a bug in bnnc")
    return Diagnostic("B0803", text, "error", (), notes, ("report it with the model",))


def difference(verdict: Verdict, found: Model, chosen: Config, judge: str) -> Diagnostic:
    """The diagnostic for a target that differs; saves the module and the input, so that it can be seen again."""
    from bnnc.diagnostics import Diagnostic

    agreement = verdict.agreement
    text = f"target `{chosen.target}` differs from {judge} on {agreement.different} of {agreement.inputs} inputs"
    notes = [f"first difference: {agreement.first}"]
    helps: tuple[str, ...] = ()
    folder = Path("build") / found.net / "check"
    try:
        saved = _save(folder, verdict, found)
    except OSError as reason:
        notes.append(f"the input could not be saved: {reason.strerror}")
    else:
        notes.append(f"saved {saved[0]} and {saved[1].name}")
        helps = (f"bnnc check {saved[0]} --input {saved[1]} --target {chosen.target}",)
    return Diagnostic("B0801", text, "error", (), tuple(notes), helps)


def _save(folder: Path, verdict: Verdict, found: Model) -> list[Path]:
    from bnnc.cli.files import write_folder
    from bnnc.data import npz
    from bnnc.ir import store

    number = verdict.agreement.first.sample if verdict.agreement.first else 0
    files = {"repro.bnnm": store.dumps(found.module), f"input{number}.npz": npz.dump(verdict.sample)}
    return write_folder(folder, files, force=True)


def _show(rows: list[PassRow], verdict: Verdict, chosen: Config, judge: str, console: Console, whole: int) -> None:
    result = verdict.agreement
    if rows:
        lines = [
            [
                row.name,
                str(row.ops),
                str(row.agreement.inputs),
                str(row.agreement.equal) + ("" if row.exact else " (chosen)" if row.chosen else " (near)"),
                f"{1000 * row.seconds:.0f} ms",
            ]
            for row in rows
        ]
        console.table(["pass", ">ops", ">inputs", ">equal", ">time"], lines)
        console.put("")
    ties = f", {result.exempt_ties} exempt as near-ties" if result.exempt_ties else ""
    error = f", largest error {result.max_abs_error:.3g}" if judge != "the reference" else ""
    console.put(f"target {chosen.target}: {result.equal} of {result.inputs} inputs equal to {judge}{ties}{error}")
    if verdict.accuracy is not None:
        part = f", the first of {whole}" if verdict.labelled < whole else ""
        console.put(f"accuracy {100 * verdict.accuracy:.2f} %   ({verdict.right} of {verdict.labelled}{part})")
