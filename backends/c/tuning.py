"""Chooses the kernel of every layer by what an emulated board executes, and keeps the choice in a small file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from bnnc.diagnostics import BnncError, Exit, error
from bnnc.loops.lower.kernels import CODE_NO_SUCH_CHOICE, LayerKernels
from bnnc.protocols import Candidate, Counts, Tuned

SCHEMA = "bnnc.tuned/1"
_TOO_LARGE = ("B0609", "B0614")


def tune(
    layers: tuple[LayerKernels, ...], machine: str, count: Callable[[Mapping[str, str]], Counts], saved_as: str
) -> Tuned:
    """Tries every kernel of every layer, one layer after the other, and keeps what makes the whole network cheapest.

    count: what the network executes with these kernels. Raises BnncError, such as B0614 without an emulator.
    """
    chosen = {layer.layer: layer.kernel for layer in layers}
    first = best = count(chosen)
    candidates: list[Candidate] = []
    for layer in layers:
        start, kept = best, layer.kernel
        found: dict[str, Counts | None] = {layer.kernel: best}
        for kernel in layer.fitting:
            if kernel == layer.kernel:
                continue
            try:
                found[kernel] = count({**chosen, layer.layer: kernel})
            except BnncError as reason:
                if reason.diagnostics[0].code not in _TOO_LARGE:
                    raise
                found[kernel] = None
            counts = found[kernel]
            if counts is not None and counts.total < best.total:
                best, kept = counts, kernel
        chosen[layer.layer] = kept
        for kernel in layer.fitting:
            counts = found[kernel]
            total = None if counts is None else counts.total / counts.samples
            difference = None if counts is None else (counts.total - start.total) / counts.samples
            candidates.append(Candidate(layer.layer, kernel, total, difference, kernel == layer.kernel, kernel == kept))
    document = {"schema": SCHEMA, "machine": machine, "kernels": chosen}
    return Tuned(
        tuple(candidates),
        best.board,
        best.unit,
        first.total / first.samples,
        best.total / best.samples,
        saved_as,
        json.dumps(document, indent=1) + "\n",
    )


def kernels_of(file: str, machine: str) -> dict[str, str]:
    """The kernels that a file of `tune` names for a machine; none without a file. Raises BnncError B0407, B0618."""
    if not file:
        return {}
    path = Path(file)
    if not path.is_file():
        raise error("B0407", f"`{file}` does not exist", helps=("bnnc bench -X tune writes such a file",))
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        kernels = {str(layer): str(kernel) for layer, kernel in document["kernels"].items()}
        schema, made_for = document["schema"], document["machine"]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        schema, made_for, kernels = "", "", {}
    if schema != SCHEMA:
        raise error(
            CODE_NO_SUCH_CHOICE,
            f"`{path.name}` holds no choice of kernels",
            notes=(f'such a file is JSON and begins with {{"schema": "{SCHEMA}"',),
            helps=("bnnc bench -X tune writes one",),
        )
    if made_for != machine:
        raise error(
            CODE_NO_SUCH_CHOICE,
            f"`{path.name}` was measured on `{made_for}`, not on `{machine}`",
            helps=(f"bnnc bench --machine {machine} -X tune", f"--machine {made_for}"),
            exit_code=Exit.USAGE,
        )
    return kernels


__all__ = ["kernels_of", "tune"]
