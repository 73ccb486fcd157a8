"""`bnnc train`: train the net of a `.bnn` file on a data set; writes the trained network."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bnnc.cli import options as o
from bnnc.cli.console import Console
from bnnc.cli.exits import command

if TYPE_CHECKING:
    from bnnc.cli.epochs import EpochLines
    from bnnc.config import Config
    from bnnc.train.loop import EpochReport, Training

MOST_THREADS = 16
CHECKPOINT_SECONDS = 5.0


def _flag(name: str, help: str, metavar: str | None = None) -> Any:
    return typer.Option(name, help=help, metavar=metavar, show_default=False, rich_help_panel=o.RUN)


Net = Annotated[
    str | None, typer.Argument(help="The net, a .bnn file with a `train` block.", show_default=False, metavar="NET")
]
Epochs = Annotated[
    str | None,
    _flag("--epochs", help="How many epochs, instead of the net's own number.", metavar="N"),
]
On = Annotated[
    str,
    _flag(
        "--on",
        help="Where to train: llvm, c (as devices do), or reference (slow). All give the same weights.",
        metavar="NAME",
    ),
]
Validation = Annotated[
    str | None,
    _flag(
        "--validation",
        help="Keep this part of the training set apart, and take the best epoch on it: 0.1.",
        metavar="FRACTION",
    ),
]
Resume = Annotated[bool, _flag("--resume", help="Go on from the checkpoint in the output folder.")]


def train(
    net: Net = None,
    data: o.Data = None,
    data_dir: o.DataDir = None,
    seed: o.Seed = None,
    epochs: Epochs = None,
    validation: Validation = None,
    resume: Resume = False,
    on: On = "llvm",
    threads: o.Threads = None,
    machine: o.Machine = None,
    fail_under: o.FailUnder = None,
    output: o.Output = None,
    dry_run: o.DryRun = False,
    force: o.Force = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    color: o.Color = "auto",
    message_format: o.MessageFormat = "human",
    config: o.ConfigFile = None,
) -> None:
    """Train a net with XNOR, popcount and increments.

    Writes NET.bnnm, an accuracy plot and a checkpoint to build/NET/ unless -o names another folder. Seed, net and data
    fix every bit of the result: it does not depend on --threads, --on, or whether a run was interrupted and resumed.
    With --json, a line an epoch and one at the end.
    """
    flags = {**locals(), "model": net}
    with command("train", flags) as console:
        from bnnc.cli import work

        chosen = work.settings(flags, "train")
        _train(chosen, console, on=on, resume=resume, dry_run=dry_run, force=force)


def _train(chosen: Config, console: Console, *, on: str, resume: bool, dry_run: bool, force: bool) -> None:
    from bnnc import api
    from bnnc.cli import work
    from bnnc.cli.epochs import EpochLines
    from bnnc.cli.fetching import fetching
    from bnnc.config import usage
    from bnnc.data.registry import both

    path = work.model_path(chosen, console)
    if not chosen.data:
        raise usage("there is no data to train on", helps=(f"bnnc train {path} --data mnist",))
    started = time.perf_counter()
    plan = api.load_plan(path)
    files = Files(plan.name, Path(chosen.output) if chosen.output else None, dry_run=dry_run)
    files.check(force)
    with fetching(console) as fetch:
        data = both(chosen.data, chosen.data_dir or None, fetch=fetch)
    threads = chosen.threads if chosen.given("threads") else _cores()
    run = api.training(
        plan, data, seed=chosen.seed, on=on, threads=threads, machine=chosen.machine, validation=chosen.validation
    )
    if resume:
        run.resume(files.read_checkpoint(), files.checkpoint.name)
        console.note(f"going on after epoch {run.epochs_done}")
    console.stage("data", f"{chosen.data}: {data.train.count} train, {data.test.count} test, {data.train.type}")
    weights = sum(matrix.rows * matrix.columns for matrix in run.design.matrices)
    console.stage(
        "net", f"{plan.name}: {len(run.design.matrices)} layers, {weights / 1000:.0f} k bits, {plan.settings.rule}"
    )
    until = chosen.epochs or plan.settings.epochs
    lines = EpochLines(console, run.epochs_done, until)
    try:
        _epochs(run, until, lines, files, console)
    except KeyboardInterrupt:
        _interrupted(run, files, console)
    _finish(run, chosen, files, console, time.perf_counter() - started)


def _cores() -> int:
    """How many threads, where nobody says: the result is the same for any number."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, MOST_THREADS)


def _epochs(run: Training, until: int, lines: EpochLines, files: Files, console: Console) -> None:
    saved = time.monotonic()
    warned = False
    with lines:
        for report in run.epochs(until):
            lines.show(report)
            stuck = None if warned else run.stuck()
            if stuck is not None:
                warned = True
                console.show(stuck)
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                files.write_checkpoint(run)
                saved = time.monotonic()


def _interrupted(run: Training, files: Files, console: Console) -> None:
    """What is complete is kept; ends the process with 130."""
    from bnnc.diagnostics import Diagnostic, Exit

    notes: tuple[str, ...] = ("no epoch was complete: nothing was written",)
    helps: tuple[str, ...] = ()
    written: list[Path] = []
    if run.epochs_done:
        written = files.write(run, None)
        notes = (f"wrote {written[0]}, the network after epoch {run.result_epoch}",)
        helps = ("the same command with --resume goes on",)
    console.show(Diagnostic("B0902", f"interrupted after epoch {run.epochs_done}", "error", (), notes, helps))
    console.finish(ok=False, epochs=run.epochs_done, artifacts=[str(path) for path in written])
    raise typer.Exit(Exit.INTERRUPTED)


def _finish(run: Training, chosen: Config, files: Files, console: Console, seconds: float) -> None:
    from bnnc.cli import work
    from bnnc.cli.run import below
    from bnnc.diagnostics import Exit

    written = files.write(run, _plot(run, chosen.data, console))
    if not files.dry_run:
        work.remember(files.network)
    report = run.history[run.result_epoch - 1]
    accuracy = report.test_accuracy
    which = f", epoch {run.result_epoch}" if run.result_epoch != run.epochs_done else ""
    if written:
        console.say(
            f"\nwrote {files.network} ({100 * accuracy:.2f} % test{which}) in {seconds:.1f} s · "
            f"next: bnnc compile {files.network}"
        )
    missed = chosen.fail_under is not None and accuracy < chosen.fail_under
    if missed:
        console.show(below(accuracy, chosen))
    console.finish(
        ok=not missed,
        net=run.plan.name,
        data=chosen.data,
        seed=run.seed,
        epochs=run.epochs_done,
        epoch=run.result_epoch,
        train_accuracy=report.train_accuracy,
        validation_accuracy=report.validation_accuracy,
        test_accuracy=accuracy,
        artifacts=[str(path) for path in written],
        seconds=round(seconds, 3),
    )
    if missed:
        raise typer.Exit(Exit.CHECK_FAILED)


def _plot(run: Training, data: str, console: Console) -> bytes | None:
    """The accuracies over the epochs as SVG; a note where matplotlib is missing."""
    from bnnc.report import plots

    if not plots.available():
        console.note(f"no accuracy plot: {plots.INSTALL} brings what draws it")
        return None
    history: list[EpochReport] = run.history
    curves = {"training (online)": [r.train_accuracy for r in history]}
    held = [r.validation_accuracy for r in history if r.validation_accuracy is not None]
    if held:
        curves["validation"] = held
    curves["test"] = [r.test_accuracy for r in history]
    title = f"{run.plan.name} on {data.partition(':')[0]}, {run.plan.settings.rule}, seed {run.seed}"
    return plots.accuracies(title, curves, run.result_epoch)


class Files:
    """What a training run leaves in its folder: the network, its checkpoint, the plot."""

    def __init__(self, name: str, folder: Path | None, *, dry_run: bool) -> None:
        safe = re.sub(r"[^A-Za-z0-9_.-]", "_", name) or "net"
        self.folder = folder or Path("build") / safe
        self.network = self.folder / f"{safe}.bnnm"
        self.checkpoint = self.folder / f"{safe}.checkpoint.bnnm"
        self.plot = self.folder / f"{safe}.svg"
        self.dry_run = dry_run

    def check(self, force: bool) -> None:
        """Raises BnncError B0106 for a folder with files that bnnc did not make. What `bnnc compile` put beside, in
        folders of its own, is not in the way."""
        from bnnc.cli.files import MARKER, check_folder

        entries = list(self.folder.iterdir()) if self.folder.is_dir() else []
        if not self.dry_run and not (entries and all((entry / MARKER).is_file() for entry in entries)):
            check_folder(self.folder, force)

    def read_checkpoint(self) -> bytes:
        """The checkpoint to go on from. Raises BnncError B0535."""
        from bnnc.diagnostics import error

        try:
            return self.checkpoint.read_bytes()
        except OSError:
            raise error(
                "B0535",
                f"there is no checkpoint to resume from: `{self.checkpoint}` cannot be read",
                helps=("train from the start without --resume", "-o names the folder of the run"),
            ) from None

    def write_checkpoint(self, run: Training) -> None:
        """The checkpoint, whole or not at all."""
        from bnnc.cli.files import MARKER, write_file

        if not self.dry_run:
            marker = self.folder / MARKER
            if not marker.is_file():
                # The list in it is of files that the next `bnnc compile` into the folder may remove: none of these.
                write_file(marker, b"[]\n")
            write_file(self.checkpoint, run.checkpoint())

    def write(self, run: Training, plot: bytes | None) -> list[Path]:
        """Everything; returns the paths. A plot of an earlier run does not stay beside another network."""
        from bnnc.cli.files import write_file

        if self.dry_run:
            return []
        self.write_checkpoint(run)
        write_file(self.network, run.result())
        if plot is None:
            self.plot.unlink(missing_ok=True)
            return [self.network, self.checkpoint]
        write_file(self.plot, plot)
        return [self.network, self.plot, self.checkpoint]
