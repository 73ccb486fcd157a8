"""Binary error propagation: the wanted bits go back through the signs of the weights (arXiv 2512.04189)."""

from __future__ import annotations

import numpy as np

from bnnc.ir import training
from bnnc.ir.bit import Step as BitStep
from bnnc.ir.module import Module
from bnnc.ir.move import Transpose
from bnnc.ir.op import Op
from bnnc.ir.training import FLAG
from bnnc.train.design import Design, code_op, count, forward, pick
from bnnc.train.state import sign


def accumulate(design: Design, length: int) -> Module:
    """Add the contributions of `length` samples, all from the weights at the start of the batch.

    A sample is active if the classifier's margin is too small. The last layer should have given the row of its label;
    what the layers below should have given is `propagated` from there.
    """
    writer = design.states.begin()
    samples, labels = design.samples(length), design.labels(length)
    inputs: list[Op] = [samples]
    sums: list[Op] = []
    for matrix in design.matrices:
        z, bits = forward(inputs[-1], writer.read(f"weights_{matrix.name}"))
        sums.append(z)
        inputs.append(bits)
    code = code_op(design.codes[0])
    scores = training.Product(inputs[-1], code)
    active: Op = training.Trigger(scores, labels, design.margins[0])
    writer.write("active", training.Total(writer.read("active"), active))
    wanted: Op = training.Rows(code, labels)
    for layer in reversed(range(len(design.matrices))):
        name = design.matrices[layer].name
        picks = pick(design, writer, layer, sums[layer], wanted, active)
        writer.write(f"hidden_{name}", training.Update(writer.read(f"hidden_{name}"), picks, inputs[layer]))
        if layer > 0:
            weights = writer.read(f"weights_{name}")
            wanted, active = propagated(sums[layer], wanted, active, weights, design.gates[layer])
    count(writer, scores, labels)
    return writer.module("accumulate", samples, labels)


def propagated(sums: Op, wanted: Op, active: Op, weights: Op, gate: int) -> tuple[Op, Op]:
    """(wanted bits, active samples) of the layer below one with these sums and wanted bits.

    Only neurons with |sum| <= gate have a say. A sample with none is left out below: its votes, all 0, would mean +1.
    """
    flags = BitStep(sums, np.array([[-gate, gate + 1]], np.int32), np.array([[0, 1, 0]], np.int32), FLAG)
    votes = training.Product(training.Mask(wanted, flags), Transpose(weights, (1, 0)))
    return sign(votes), training.Both(active, training.Any(flags))
