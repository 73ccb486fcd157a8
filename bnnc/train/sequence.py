"""Binary error propagation through time: one recurrent cell, unrolled over the steps of a sequence (arXiv 2512.04189).

The cell: s_t = sign(W_input x_t + W_state s_(t-1)), s_0 all +1; the dense layers behind it read the last s_t.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bnnc.ir import training
from bnnc.ir.bit import Add
from bnnc.ir.module import Module
from bnnc.ir.move import Concat, Expand, Slice
from bnnc.ir.op import Op
from bnnc.ir.types import Bit
from bnnc.train.bep import propagated
from bnnc.train.design import Design, code_op, count, forward, pick
from bnnc.train.state import sign

TIME_STREAMS = 64
"""Picks of the cell at step t draw from stream TIME_STREAMS + t; the layers, from those below."""
MOST_STEPS = 256 - TIME_STREAMS


def unroll(design: Design, samples: Op, read: Callable[[str], Op]) -> tuple[list[Op], list[Op], list[Op]]:
    """(x_t, s_(t-1), sums_t) for every step t: samples bit [B, T * K] hold the steps one after the other."""
    length = samples.type.shape[0]
    of_input, of_state = design.matrices[:2]
    start = training.Constant(np.ones((1, of_state.columns), np.int8), Bit())
    state: Op = Expand(start, (length, of_state.columns))
    xs: list[Op] = []
    states: list[Op] = []
    sums: list[Op] = []
    for t in range(design.steps):
        x = Slice(samples, (0, t * of_input.columns), (length, of_input.columns), (1, 1))
        z = Add(
            (
                training.Product(x, read(f"weights_{of_input.name}")),
                training.Product(state, read(f"weights_{of_state.name}")),
            ),
            (1, 1),
        )
        xs.append(x)
        states.append(state)
        sums.append(z)
        state = sign(z)
    return xs, states, sums


def accumulate(design: Design, length: int) -> Module:
    """Add the contributions of `length` sequences; those of all steps are summed."""
    writer = design.states.begin()
    samples, labels = design.samples(length), design.labels(length)
    xs, states, cell = unroll(design, samples, writer.read)
    dense = range(2, len(design.matrices))
    inputs: dict[int, Op] = {2: sign(cell[-1])}
    sums: dict[int, Op] = {}
    for layer in dense:
        sums[layer], inputs[layer + 1] = forward(inputs[layer], writer.read(_weights(design, layer)))
    code = code_op(design.codes[0])
    scores = training.Product(inputs[len(design.matrices)], code)
    active: Op = training.Trigger(scores, labels, design.margins[0])
    writer.write("active", training.Total(writer.read("active"), active))
    wanted: Op = training.Rows(code, labels)
    for layer in reversed(dense):
        hidden = f"hidden_{design.matrices[layer].name}"
        picks = pick(design, writer, layer, sums[layer], wanted, active)
        writer.write(hidden, training.Update(writer.read(hidden), picks, inputs[layer]))
        wanted, active = propagated(
            sums[layer], wanted, active, writer.read(_weights(design, layer)), design.gates[layer]
        )
    picked: list[Op] = [wanted] * design.steps
    for t in reversed(range(design.steps)):
        picked[t] = pick(design, writer, 1, cell[t], wanted, active, TIME_STREAMS + t)
        if t > 0:
            wanted, active = propagated(cell[t], wanted, active, writer.read(_weights(design, 1)), design.gates[1])
    # The contributions of all steps as one sum over T * B samples.
    every = Concat(tuple(picked), 0)
    for layer, seen in ((0, xs), (1, states)):
        hidden = f"hidden_{design.matrices[layer].name}"
        writer.write(hidden, training.Update(writer.read(hidden), every, Concat(tuple(seen), 0)))
    count(writer, scores, labels)
    return writer.module("accumulate", samples, labels)


def _weights(design: Design, layer: int) -> str:
    return f"weights_{design.matrices[layer].name}"
