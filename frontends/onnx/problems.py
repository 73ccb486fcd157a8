"""What can go wrong with one node, and how the problems of all nodes become diagnostics (all of them at once)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from bnnc.diagnostics import BnncError, Diagnostic
from bnnc.ir.location import Location

UNSUPPORTED = "B0401"
SHAPES = "B0301"
BATCH = "B0405"
NOT_FINITE = "B0406"
MALFORMED = "B0408"
TOO_LARGE = "B0413"
_LISTED = 20

WAYS_OUT = {
    "Softmax": "a Softmax at the output can be dropped: the order of the scores is the same",
    "Loop": "export with fixed sizes, so that the exporter unrolls the loop",
    "Scan": "export with fixed sizes, so that the exporter unrolls the loop",
    "If": "export with fixed sizes, so that the exporter knows which branch is taken",
    "LSTM": "LSTM has no binary form here",
    "GRU": "GRU has no binary form here",
    "RNN": "write the cell with MatMul, Add and Sign and unroll it over the time steps: that imports",
    "NonMaxSuppression": "cut the post-processing off before the export; run it on bnnc's outputs",
    "NonZero": "its result has a size that depends on the data",
}


class Problem(Exception):
    """Why a node cannot be imported. `text` goes on from the node's name."""

    def __init__(self, code: str, text: str, *, helps: tuple[str, ...] = (), place: Location | None = None) -> None:
        super().__init__(text)
        self.code, self.text, self.helps, self.place = code, text, helps, place


def unsupported(text: str) -> Problem:
    """The node is of a kind that bnnc does not import, or not in this form."""
    return Problem(UNSUPPORTED, text)


def batch_problem(text: str) -> Problem:
    """The node does something to the batch that a network for one sample cannot express."""
    return Problem(
        BATCH,
        text,
        helps=("export the model with a symbolic batch: torch.onnx.export(…, dynamic_shapes={'x': {0: 'batch'}})",),
    )


def malformed(text: str) -> Problem:
    """The node breaks a rule of ONNX."""
    return Problem(MALFORMED, text)


@dataclass(frozen=True)
class Failure:
    """A problem, and the node it happened at."""

    op_type: str
    place: Location
    problem: Problem


def as_error(failures: list[Failure]) -> BnncError:
    """One diagnostic for all nodes that cannot be imported, and one for every other failure."""
    diagnostics: list[Diagnostic] = []
    refused = [failure for failure in failures if failure.problem.code == UNSUPPORTED]
    if refused:
        diagnostics.append(_refusal(refused))
    rest = [failure for failure in failures if failure.problem.code != UNSUPPORTED]
    diagnostics.extend(
        Diagnostic(
            failure.problem.code,
            f"node `{failure.place.name}` ({failure.op_type}) {failure.problem.text}",
            places=(failure.problem.place or failure.place,),
            helps=failure.problem.helps or (f"bnnc explain {failure.problem.code}",),
        )
        for failure in rest[:_LISTED]
    )
    return BnncError(*diagnostics)


def _refusal(refused: list[Failure]) -> Diagnostic:
    reasons: dict[tuple[str, str], list[Failure]] = defaultdict(list)
    for failure in refused:
        reasons[failure.op_type, failure.problem.text].append(failure)
    notes = []
    for (op_type, text), group in reasons.items():
        names = ", ".join(f"`{failure.place.name}`" for failure in group[:5])
        more = f" and {len(group) - 5} more" if len(group) > 5 else ""
        notes.append(f"{op_type} {text}: {names}{more}")
    notes.extend(WAYS_OUT[op_type] for op_type in dict.fromkeys(f.op_type for f in refused) if op_type in WAYS_OUT)
    many = len(refused) != 1
    return Diagnostic(
        UNSUPPORTED,
        f"{len(refused)} node{'s use' if many else ' uses'} what bnnc cannot import",
        places=tuple(Location(f"{failure.place.name} ({failure.op_type})", failure.place.file) for failure in refused),
        notes=tuple(notes),
        helps=("export the network without them, or bnnc explain B0401",),
    )
