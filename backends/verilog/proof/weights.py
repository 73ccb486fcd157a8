"""That sums are those of a layer: every input meets its weight, in whatever order the inputs and neurons come."""

from __future__ import annotations

import numpy as np

from bnnc.backends.verilog.circuit import Value
from bnnc.backends.verilog.proof.contents import Sum, Wrong
from bnnc.backends.verilog.proof.meaning import Layer, Meanings
from bnnc.ir import bit


def compare_layer(form: Sum, op: Layer, value: Value, meanings: Meanings, bias: np.ndarray) -> str:
    """Raises Wrong unless position n holds the sum of neuron order[n] (and its bias), in the code of the stream."""
    pixels = value.type.size // value.type.shape[0]
    channel, pixel = value.order // pixels, value.order % pixels
    windows = meanings.windows(op)
    outputs = len(op.weights) // len(windows)
    multiplier, offset = (
        (value.stream.multiplier, value.stream.offset) if isinstance(op, bit.Conv | bit.Dense) else (1, 0)
    )
    if bool((multiplier * form.constant + offset * form.divisor != form.divisor * bias[channel]).any()):
        raise Wrong("another number than its bias is added to a neuron")
    # One filter for each row of weights, one pixel and group for each vector of inputs.
    filters = _single(form.neuron, channel, len(form.coefficients), "weights serve several neurons")
    vectors = _single(form.row, pixel * len(windows) + channel // outputs, len(form.index), "a vector serves several")
    own = op.weights.reshape(len(op.weights), -1).astype(np.int64)
    for group, window in enumerate(windows):
        rows = np.flatnonzero((vectors >= 0) & (vectors % len(windows) == group))
        neurons = np.flatnonzero((filters >= 0) & (filters // outputs == group))
        if not len(rows) or not len(neurons):
            raise Wrong(f"nothing is computed for group {group}")
        found, wanted = form.index[rows], window[vectors[rows] // len(windows)]
        a, b = _met(found, wanted)
        merged = [np.zeros((len(neurons), 1 + max(a.max(), b.max())), np.int64) for _ in range(2)]
        np.add.at(merged[0].T, a, multiplier * form.coefficients[neurons].T)
        np.add.at(merged[1].T, b, form.divisor * own[filters[neurons]].T)
        wrong = np.argwhere(merged[0] != merged[1])
        if len(wrong):
            neuron, column = wrong[0]
            missing = column not in b or column not in a
            what = "other inputs meet its weights" if missing else "a weight is another one"
            raise Wrong(f"neuron {int(filters[neurons[neuron]])}: {what}")
    vector = "" if len(form.index) == 1 else f" for each of {len(form.index)} windows"
    return f"{len(op.weights)} neurons of {own.shape[1]} inputs{vector}"


def _single(keys: np.ndarray, values: np.ndarray, count: int, what: str) -> np.ndarray:
    """The one value that belongs to each key 0..count-1; -1 for keys that do not occur. Raises Wrong for several."""
    found = np.full(count, -1, np.int64)
    found[keys] = values
    if not np.array_equal(found[keys], values):
        raise Wrong(what)
    return found


def _met(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A number for each column of two matrices with as many rows; equal columns have the same."""
    known: dict[bytes, int] = {}
    places = [
        np.array([known.setdefault(column.tobytes(), len(known)) for column in np.ascontiguousarray(matrix.T)])
        for matrix in (a.astype(np.int64), b.astype(np.int64))
    ]
    return places[0], places[1]


__all__ = ["compare_layer"]
