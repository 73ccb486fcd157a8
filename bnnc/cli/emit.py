"""`bnnc emit`: the target's source package, and nothing that needs a tool."""

from __future__ import annotations

from pathlib import Path

from bnnc.cli import options as o
from bnnc.cli.exits import command


def emit(
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
    json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    color: o.Color = "auto",
    message_format: o.MessageFormat = "human",
    config: o.ConfigFile = None,
) -> None:
    """Write only the target's source package.

    For llvm that is the LLVM IR. Writes build/NET/TARGET-source/ unless -o names another folder.
    """
    flags = dict(locals())
    with command("emit", flags) as console:
        from bnnc import api, registry
        from bnnc.cli import work
        from bnnc.cli.compile import check_budgets, described, refuse_budgets
        from bnnc.cli.files import check_folder, write_folder
        from bnnc.options import backend_options

        chosen = work.settings(flags)
        with work.loaded(chosen, console) as found:
            folder = Path(chosen.output) if chosen.output else Path("build") / found.net / f"{chosen.target}-source"
            if not dry_run:
                check_folder(folder, force)
            backend = registry.backend(chosen.target)
            selected = backend_options(
                backend, chosen.extra, machine=chosen.machine, level=chosen.optimise, source=str(found.path)
            )
            bits = api.optimise(found.module)
            work.show_notes(bits, console, frozenset(note.text for note in found.module.notes))
            artifact = backend.emit(bits, selected)
            refuse_budgets(artifact, chosen)
            facts = described(found, bits, chosen, artifact)
            check_budgets(facts.memory, chosen, facts.more.get("ram_notes", ()))
            if dry_run:
                paths = [folder / name for name in artifact.files]
            else:
                paths = write_folder(folder, artifact.files, force)
                work.remember(found.path)
        if artifact.facts.get("note"):
            console.note(str(artifact.facts["note"]))
        if console.verbose and "table" in artifact.facts:
            table = artifact.facts["table"]
            console.table(table["headings"], table["rows"], for_people=True)
            console.say(f"\n{table['said']}")
        if not json:
            for path in paths:
                console.put(str(path))
        console.finish(model=found.title, target=chosen.target, artifacts=[str(path) for path in paths])
