"""`bnnc bench`: how fast the network runs here, as a whole and layer by layer, and against another runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bnnc.cli import options as o
from bnnc.cli.console import Console
from bnnc.cli.exits import command

if TYPE_CHECKING:
    from bnnc.cli.work import Model
    from bnnc.config import Config

Batch = Annotated[
    int, typer.Option("--batch", "-b", min=1, max=65536, help="Samples in a call.", rich_help_panel=o.RUN)
]
Seconds = Annotated[
    float, typer.Option("--seconds", min=0.01, max=3600.0, help="How long to measure.", rich_help_panel=o.RUN)
]
Versus = Annotated[
    str | None,
    typer.Option(
        "--vs",
        help="Time another runtime too, in turn with ours.",
        metavar="onnxruntime",
        show_default=False,
        rich_help_panel=o.RUN,
    ),
]


def bench(
    model: o.Model = None,
    target: o.Target = None,
    batch: Batch = 1,
    threads: o.Threads = None,
    seconds: Seconds = 1.0,
    versus: Versus = None,
    input: o.Input = None,
    seed: o.Seed = None,
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
    """Time a model.

    With one thread the times are CPU times of the native loop; what a call from Python adds is stated apart.
    """
    flags = dict(locals())
    with command("bench", flags) as console:
        from bnnc.cli import work
        from bnnc.config import suggestion, usage
        from bnnc.peers import PEERS

        chosen = work.settings(flags)
        if versus is not None and versus not in PEERS:
            raise usage(
                f"no runtime named `{versus}`",
                notes=(f"runtimes: {', '.join(PEERS)}",),
                helps=suggestion(versus, PEERS),
            )
        with work.loaded(chosen, console) as found:
            _bench(found, chosen, console, batch, seconds, versus, input)


def _bench(
    found: Model, chosen: Config, console: Console, batch: int, seconds: float, versus: str | None, input: str | None
) -> None:
    import numpy as np

    from bnnc import api, timing
    from bnnc.cli import tuning, work
    from bnnc.cli.counting import count
    from bnnc.data.seeded import seeded
    from bnnc.peers import OnnxRuntime
    from bnnc.protocols import Counted

    if tuning.wanted(chosen):
        samples = work.file_inputs(input, found, console) if input else seeded(found.module, batch, chosen.seed)
        tuning.tune(found, chosen, samples, console)
        return
    network = api.network(found.module, chosen.target, chosen.extra, threads=chosen.threads, machine=chosen.machine)
    given = work.file_inputs(input, found, console) if input else seeded(found.module, batch, chosen.seed)
    inputs = {name: np.resize(array, (batch, *array.shape[1:])) for name, array in given.items()}
    place = work.say_place(network.compiled, console)
    if isinstance(network.compiled, Counted):
        count(network.compiled, found, chosen, batch, versus, inputs, console, place)
        return
    peer = OnnxRuntime(found.path, found.module, chosen.threads) if versus else None
    if peer is not None and peer.chunk is not None and batch % peer.chunk:
        console.note(
            f"the model file has its batch of {peer.chunk} baked in: {versus} runs it in such chunks, filled up"
        )
    measured = timing.measure(network.compiled, inputs, seconds, peer, native=chosen.threads == 1)
    layers = timing.layers(network.compiled, inputs)
    document: dict[str, Any] = {
        "bench": {
            "median_us": round(measured.median, 3),
            "min_us": round(measured.least, 3),
            "per_sample_us": round(measured.median / batch, 3),
            "call_overhead_us": round(measured.call_overhead, 3),
            "runs": measured.runs,
        },
        "layers": layers,
    }
    if measured.peer is not None:
        document["peer"] = {
            "name": versus,
            "median_us": round(measured.peer.median, 3),
            "min_us": round(measured.peer.least, 3),
            "runs": measured.peer.runs,
            "ratio": round(measured.peer.median / measured.median, 3),
        }
    if not console.json:
        _print(found, chosen, batch, measured, layers, versus, console)
    console.finish(model=found.title, target=chosen.target, batch=batch, threads=chosen.threads, **document, **place)


def _print(
    found: Model,
    chosen: Config,
    batch: int,
    measured: Any,
    layers: list[dict[str, Any]],
    versus: str | None,
    console: Console,
) -> None:
    from bnnc.report.facts import amount

    rows = [[chosen.target, *_times(measured), f"{measured.median / batch:.2f} µs", str(measured.runs)]]
    if measured.peer is not None:
        peer = measured.peer
        rows.append([str(versus), *_times(peer), f"{peer.median / batch:.2f} µs", str(peer.runs)])
    console.put(f"{found.title}, batch {batch}, {chosen.threads} thread{'s' if chosen.threads > 1 else ''}")
    console.table(["", ">least", ">median", ">most", ">a sample", ">runs"], rows)
    console.put(f"a call from Python adds {measured.call_overhead:.1f} µs")
    if measured.peer is not None:
        console.put(f"{measured.peer.median / measured.median:.1f} times as fast as {versus}")
    if layers:
        console.put("")
        total = sum(row["median_us"] for row in layers) or 1.0
        console.table(
            ["layer", "op", ">bit-ops", ">median", ">share", ">roofline"],
            [
                [
                    row["name"],
                    row["op"],
                    amount(row["bit_macs"]),
                    f"{row['median_us']:.2f} µs",
                    f"{100 * row['median_us'] / total:.0f} %",
                    "" if row["roofline_share"] is None else f"{100 * row['roofline_share']:.0f} %",
                ]
                for row in layers
            ],
        )


def _times(measured: Any) -> list[str]:
    return [f"{measured.least:.2f} µs", f"{measured.median:.2f} µs", f"{measured.most:.2f} µs"]
