"""The trained network as a module like any other: encoders, dense layers with signs, the scores of the classes."""

from __future__ import annotations

import numpy as np

from bnnc.ir.bit import Add, Dense
from bnnc.ir.bit import Step as BitStep
from bnnc.ir.location import UNKNOWN, Location
from bnnc.ir.module import Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import Bit
from bnnc.train.design import Design
from bnnc.train.encoding import Encoding
from bnnc.train.plan import TrainingPlan, name_of
from bnnc.train.state import storage

SCORES = "scores"


def network(plan: TrainingPlan, encoding: Encoding, design: Design, weights: dict[str, np.ndarray]) -> Module:
    """The network with these weights (by the name of the matrix, ±1). Its one output, integers [classes], are the
    scores of the classes; the largest wins, the first among equals.

    A constant input of the training samples goes into the thresholds: sum + w >= 0 as sum >= -w.
    """
    places = [_place(plan, n) for n in range(len(plan.widths) + (plan.recurrence is not None))]
    if plan.recurrence is None:
        name = design.matrices[0].name
        first, constant = _split(weights[name], encoding.bias)
        x = _fire(Dense(encoding.parts[0], first, loc=places[0]), -constant, places[0])
        dense = design.matrices[1:]
    else:
        x = _last_state(encoding, weights, places[0])
        dense = design.matrices[2:]
    for matrix, place in zip(dense, places[1:], strict=True):
        zero = np.zeros(matrix.rows, np.int32)
        x = _fire(Dense(x, weights[matrix.name].astype(np.int8), loc=place), zero, place)
    if design.rule == "cpr":
        x = _majorities(x, design.sizes[0][0], places[-1])
    scores = Dense(x, design.codes[-1], loc=Location(name="classifier"))
    return Module(plan.name, (encoding.source,), (Output(SCORES, scores, storage(scores.type.dtype)),))


def _place(plan: TrainingPlan, layer: int) -> Location:
    """What a layer is called: as in the user's text, else by its number."""
    dense = layer - (plan.recurrence is not None)
    if 0 <= dense < len(plan.locs) and plan.locs[dense] != UNKNOWN:
        return plan.locs[dense]
    return Location(name=name_of(plan, layer))


def _split(weights: np.ndarray, bias: bool) -> tuple[np.ndarray, np.ndarray]:
    """(weights of the real inputs, weight of the constant input, 0 without one)."""
    weights = weights.astype(np.int8)
    if bias:
        return weights[:, :-1], weights[:, -1].astype(np.int32)
    return weights, np.zeros(len(weights), np.int32)


def _fire(sums: Op, thresholds: np.ndarray, place: Location) -> Op:
    """+1 where a sum is at least its neuron's threshold, else -1."""
    rows = thresholds.astype(np.int32)[:, None]
    if (rows == rows[0]).all():
        rows = rows[:1]
    return BitStep(sums, rows, np.tile(np.array([[-1, 1]], np.int32), (len(rows), 1)), Bit(), loc=place)


def _last_state(encoding: Encoding, weights: dict[str, np.ndarray], place: Location) -> Op:
    """The state of the recurrent cell after the last step. The first state, all +1, goes into the thresholds."""
    of_input, constant = _split(weights["input"], encoding.bias)
    of_state = weights["state"].astype(np.int8)
    first = Dense(encoding.parts[0], of_input, loc=place)
    state = _fire(first, -constant - of_state.sum(1, dtype=np.int32), place)
    for part in encoding.parts[1:]:
        sums = Add((Dense(part, of_input, loc=place), Dense(state, of_state, loc=place)), (1, 1), loc=place)
        state = _fire(sums, -constant, place)
    return state


def _majorities(bits: Op, size: int, place: Location) -> Op:
    """The majority of every committee: a layer with weights 1 for the members and 0 for the others."""
    count = bits.type.size // size
    members = np.repeat(np.eye(count, dtype=np.int8), size, axis=1)
    return _fire(Dense(bits, members, loc=place), np.zeros(count, np.int32), place)
