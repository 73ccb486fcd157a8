"""Local binary errors: every layer has a frozen classifier of its own and learns its rows (arXiv 2412.00119)."""

from __future__ import annotations

from bnnc.ir import training
from bnnc.ir.module import Module
from bnnc.ir.op import Op
from bnnc.train.design import Design, code_op, count, forward, pick


def accumulate(design: Design, length: int) -> Module:
    """Add the contributions of `length` samples. Every layer sees the signs that the one before had at the start.

    A sample is wrong at a layer if the layer's classifier gives another class, or wins by less than the margin. Each
    of its groups then corrects the wrong neuron that is easiest to mend, towards the classifier's row of the label.
    """
    writer = design.states.begin()
    samples, labels = design.samples(length), design.labels(length)
    x: Op = samples
    for layer, matrix in enumerate(design.matrices):
        code = code_op(design.codes[layer])
        sums, bits = forward(x, writer.read(f"weights_{matrix.name}"))
        scores = training.Product(bits, code)
        active = training.Trigger(scores, labels, design.margins[layer])
        picks = pick(design, writer, layer, sums, training.Rows(code, labels), active)
        writer.write(f"hidden_{matrix.name}", training.Update(writer.read(f"hidden_{matrix.name}"), picks, x))
        counter = design.counters[layer]
        writer.write(counter, training.Total(writer.read(counter), active))
        x = bits
    count(writer, scores, labels)
    return writer.module("accumulate", samples, labels)
