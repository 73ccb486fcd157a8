"""`bnnc compile`: import, optimise, plan, build and check; writes the artifact."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnc.cli import options as o
from bnnc.cli.console import Console
from bnnc.cli.exits import command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bnnc.cli.work import Model
    from bnnc.config import Config
    from bnnc.ir.module import Module
    from bnnc.protocols import Artifact
    from bnnc.report.facts import Facts

CHECK_SECONDS = 0.3
MOST_INPUTS = 1000


def compile(
    model: o.Model = None,
    target: o.Target = None,
    output: o.Output = None,
    optimise: o.Optimise = None,
    extra: o.Extra = None,
    machine: o.Machine = None,
    max_ram: o.MaxRam = None,
    max_flash: o.MaxFlash = None,
    dry_run: o.DryRun = False,
    force: o.Force = False,
    frontend: o.Frontend = None,
    shape: o.Shape = None,
    pixels: o.Pixels = None,
    stream: o.Stream = None,
    stem: o.Stem = None,
    semantics: o.Semantics = None,
    strict_range: o.StrictRange = None,
    check: o.Check = None,
    no_check: o.NoCheck = False,
    seed: o.Seed = None,
    threads: o.Threads = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    color: o.Color = "auto",
    message_format: o.MessageFormat = "human",
    config: o.ConfigFile = None,
) -> None:
    """Compile a model: read, optimise, plan, build, check.

    Writes build/NET/TARGET/ unless -o names another folder. The next command runs what was compiled.
    """
    flags = dict(locals())
    with command("compile", flags) as console:
        from bnnc.cli import work

        chosen = work.settings(flags)
        started = time.perf_counter()
        with work.loaded(chosen, console) as found:
            _compile(found, chosen, console, started, dry_run=dry_run, force=force)


def _compile(found: Model, chosen: Config, console: Console, started: float, *, dry_run: bool, force: bool) -> None:
    from bnnc import api, registry
    from bnnc.cli import work
    from bnnc.cli.files import check_folder, write_folder
    from bnnc.options import backend_options
    from bnnc.report.facts import size

    folder = Path(chosen.output) if chosen.output else Path("build") / found.net / chosen.target
    if not dry_run:
        check_folder(folder, force)
    backend = registry.backend(chosen.target)
    selected = backend_options(
        backend,
        chosen.extra,
        threads=chosen.threads,
        machine=chosen.machine,
        level=chosen.optimise,
        source=str(found.path),
    )
    console.stage("read", found.title, f"{len(found.module.ops())} ops")
    bits = api.optimise(found.module)
    work.show_notes(bits, console, frozenset(note.text for note in found.module.notes))
    artifact = backend.build(bits, selected)
    refuse_budgets(artifact, chosen)
    facts = described(found, bits, chosen, artifact)
    left = [layer for layer in facts.layers if not layer.packed]
    whole = [layer for layer in left if layer.op.startswith("fix.")]
    counted = f"{len(facts.layers) - len(left)} layers packed, {len(left) - len(whole)} left float"
    if whole:
        counted += f", {len(whole)} in fixed point"
    console.stage("optimised", f"{len(bits.ops())} ops", counted)
    console.stage(
        "planned",
        f"{size(facts.memory['arena_bytes'])} of memory",
        f"{size(facts.memory['weight_bytes'])} of weights",
    )
    check_budgets(facts.memory, chosen, facts.more.get("ram_notes", ()))
    if artifact.facts.get("note"):
        console.note(str(artifact.facts["note"]))
    checked = _check(found, bits, chosen, console)
    files = {**artifact.files, "facts.json": facts.as_bytes()}
    if dry_run:
        paths = [folder / name for name in files]
        console.stage("built", f"{len(paths)} files", "not written: --dry-run")
    else:
        paths = write_folder(folder, files, force)
        work.remember(found.path)
        names = ", ".join([str(paths[0]), *(path.name for path in paths[1:] if path.suffix != ".json")])
        console.stage("built", names, f"for {artifact.facts.get('machine', chosen.machine)}")
    _show_checked(checked, console)
    if console.verbose:
        _table(facts, console)
        if "table" in artifact.facts:
            table = artifact.facts["table"]
            console.table(table["headings"], table["rows"], for_people=True)
            console.say(f"\n{table['said']}")
    seconds = time.perf_counter() - started
    console.say(f"\ndone in {seconds:.1f} s · next: bnnc run {found.path} --input FILE")
    console.finish(
        model=found.title,
        target=chosen.target,
        artifacts=[str(path) for path in paths],
        memory=facts.memory,
        layers=[layer.as_json() for layer in facts.layers],
        check=checked,
        seconds=round(seconds, 3),
    )


def described(found: Model, bits: Module, chosen: Config, artifact: Artifact) -> Facts:
    """The facts of an artifact: those of the network and those the backend states."""
    from bnnc.passes.fixed_streams import stream_facts
    from bnnc.passes.report import layers
    from bnnc.report import facts

    rows = facts.layers(layers(bits))
    streams = [asdict(row) for row in stream_facts(bits)]
    weights = sum(layer.weight_bytes for layer in rows)
    return facts.Facts(
        model=found.title,
        digest=facts.digest(found.path),
        target=chosen.target,
        options={
            "optimise": chosen.optimise,
            "machine": chosen.machine,
            "stream": chosen.stream,
            "stem": chosen.stem,
            "semantics": chosen.semantics,
            **dict(sorted(chosen.extra.items())),
        },
        memory={
            "arena_bytes": int(artifact.facts.get("arena_bytes", 0)),
            "weight_bytes": int(artifact.facts.get("weight_bytes", weights)),
            **{key: int(artifact.facts[key]) for key in ("ram_bytes", "flash_bytes") if key in artifact.facts},
        },
        layers=rows,
        more={**artifact.facts, **({"streams": streams} if streams else {})},
    )


def refuse_budgets(artifact: Artifact, chosen: Config) -> None:
    """Raises BnncError B0101, exit code 2, for `--max-ram` and `--max-flash` where the target plans no memory."""
    from bnnc.config import usage

    limits = {"max_ram": chosen.max_ram, "max_flash": chosen.max_flash}
    given = [name for name, limit in limits.items() if limit is not None]
    if given and "arena_bytes" not in artifact.facts:
        where = chosen.sources.get(given[0], "the command line")
        raise usage(
            f"target `{chosen.target}` has no processor whose memory `--{given[0].replace('_', '-')}` could bound",
            notes=(f"it stands in {where}",) if where != "the command line" else (),
            helps=(f"leave it out; bnnc targets {chosen.target} lists the bounds that this target knows",),
        )


def check_budgets(memory: dict[str, int] | Any, chosen: Config, why: Sequence[str] = ()) -> None:
    """Raises BnncError B0701, exit code 3, when the plan is over `--max-ram` or `--max-flash`.

    Targets that count all memory, and not just the plan's and the weights', say so in `ram_bytes` and `flash_bytes`;
    `why` is what they say of the peak.
    """
    from bnnc.diagnostics import BnncError, Diagnostic, Exit
    from bnnc.report.facts import size

    over = []
    for need, what, limit, flag, notes in (
        (memory.get("ram_bytes", memory["arena_bytes"]), "of memory", chosen.max_ram, "--max-ram", why),
        (
            memory.get("flash_bytes", memory["weight_bytes"]),
            "for code and tables" if "flash_bytes" in memory else "for the weights",
            chosen.max_flash,
            "--max-flash",
            (),
        ),
    ):
        if limit is not None and need > limit:
            text = f"the plan needs {size(need)} {what}, over {flag} {size(limit)}"
            note = f"that is {need - limit} bytes too many"
            help = "a narrower network, or one with smaller images, needs less"
            over.append(Diagnostic("B0701", text, "error", (), (note, *notes), (help,)))
    if over:
        raise BnncError(*over, exit_code=Exit.CHECK_FAILED)


def _check(found: Model, bits: Module, chosen: Config, console: Console) -> dict[str, int] | None:
    """Seeded inputs on the target and the reference; None when the target does not run here, or no check is wanted."""
    from bnnc import api, checking
    from bnnc.cli import work
    from bnnc.cli.check import difference
    from bnnc.diagnostics import BnncError, Exit

    if chosen.check == 0:
        return None
    try:
        network = api.network(
            found.module, chosen.target, chosen.extra, threads=chosen.threads, machine=chosen.machine, bits=bits
        )
    except BnncError as reason:
        if reason.exit_code == Exit.ENVIRONMENT:
            console.note(f"not checked: {reason.diagnostics[0].message}")
            return None
        raise
    work.say_place(network.compiled, console)
    pieces = checking.seeded_pieces(found.module, chosen.check or MOST_INPUTS, chosen.seed)
    limit = CHECK_SECONDS if chosen.check is None else None
    verdict = checking.compare(found.module, network.run, pieces, seconds=limit)
    if verdict.agreement.different:
        raise BnncError(difference(verdict, found, chosen, "the reference"), exit_code=Exit.CHECK_FAILED)
    return {"inputs": verdict.agreement.inputs, "equal": verdict.agreement.equal}


def _show_checked(checked: dict[str, int] | None, console: Console) -> None:
    if checked is None:
        console.stage("checked", "nothing")
    else:
        console.stage("checked", f"{checked['inputs']} inputs", "equal to the reference")


def _table(facts: Facts, console: Console) -> None:
    from rich import box
    from rich.table import Table

    from bnnc.report.facts import amount, size

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in ("layer", "op", "output"):
        table.add_column(heading)
    for heading in ("bit-ops", "weights", "bits/weight"):
        table.add_column(heading, justify="right")
    table.add_column("left float because")
    for layer in facts.layers:
        why = "" if layer.packed else layer.why or "float"
        cells = (amount(layer.bit_macs), size(layer.weight_bytes), f"{layer.bits_a_weight:.3g}")
        table.add_row(layer.name, layer.op, layer.output, *cells, why)
    total = sum(layer.bit_macs for layer in facts.layers if layer.packed)
    table.add_section()
    table.add_row("total", "", "", amount(total), size(facts.memory["weight_bytes"]), "", "")
    console.say()
    console.people.print(table)
