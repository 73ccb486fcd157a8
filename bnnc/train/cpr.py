"""CP+R, the single-layer baseline: perceptrons in committees, and a frozen classifier on what the committees decide.

The clipped perceptron with reinforcement of Baldassi (arXiv 1211.3024), in the form the authors of LBE compare with: a
committee of neighbours gives the sign of their sum, and its wrong member that is easiest to mend is corrected.
"""

from __future__ import annotations

from bnnc.ir import training
from bnnc.ir.bit import Pool
from bnnc.ir.module import Module
from bnnc.ir.move import Expand, Reshape
from bnnc.ir.op import Op
from bnnc.train.design import Design, code_op, count, forward, pick
from bnnc.train.state import sign


def decisions(bits: Op, size: int) -> Op:
    """The majority of every committee of `size` neighbours: bit [B, N] -> bit [B, N / size]; a tie gives +1."""
    return sign(Pool(bits, "sum", (size,), (size,), (0, 0), (1,)))


def accumulate(design: Design, length: int) -> Module:
    """Add the contributions of `length` samples: of a wrong one, every committee corrects one of its wrong members."""
    writer = design.states.begin()
    samples, labels = design.samples(length), design.labels(length)
    (matrix,), (size,) = design.matrices, design.sizes[0]
    code = code_op(design.codes[0])
    sums, bits = forward(samples, writer.read(f"weights_{matrix.name}"))
    scores = training.Product(decisions(bits, size), code)
    active = training.Trigger(scores, labels, design.margins[0])
    rows = Reshape(training.Rows(code, labels), (length, matrix.rows // size, 1))
    wanted = Reshape(Expand(rows, (length, matrix.rows // size, size)), (length, matrix.rows))
    picks = pick(design, writer, 0, sums, wanted, active)
    hidden = f"hidden_{matrix.name}"
    writer.write(hidden, training.Update(writer.read(hidden), picks, samples))
    writer.write(design.counters[0], training.Total(writer.read(design.counters[0]), active))
    count(writer, scores, labels)
    return writer.module("accumulate", samples, labels)
