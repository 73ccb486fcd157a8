"""A plan in whole numbers: what the rules need to write their modules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnc.ir import training
from bnnc.ir.module import Input
from bnnc.ir.move import Concat
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, Int
from bnnc.train.ends import element, group_size, number
from bnnc.train.state import Matrix, States, Writer, sign


@dataclass(frozen=True, eq=False)
class Design:
    """Everything about a step that is fixed before training begins.

    codes: the frozen classifiers int8 [classes, width of the layer], one a layer for LBE, else one. sizes: the sizes of
    the groups that a layer's schedule steps through. margins: of each classifier. gates: largest |sum| of an open gate
    of each layer (BEP). counters: which tensor counts the active samples of each matrix. steps: of a sequence, or 0.
    """

    rule: str
    states: States
    matrices: tuple[Matrix, ...]
    codes: tuple[np.ndarray, ...]
    sizes: tuple[tuple[int, ...], ...]
    margins: tuple[int, ...]
    gates: tuple[int, ...]
    counters: tuple[str, ...]
    tie: str
    width: int
    classes: int
    steps: int = 0

    def samples(self, length: int) -> Input:
        """The input `samples` of a module for `length` samples."""
        return Input("samples", Bit(), (length, self.width))

    def labels(self, length: int) -> Input:
        """The input `labels` of a module for `length` samples."""
        return Input("labels", Int(0, self.classes - 1), (length,))


def code_op(code: np.ndarray) -> Op:
    """A frozen classifier as an op."""
    return training.Constant(code, Bit())


def forward(x: Op, weights: Op) -> tuple[Op, Op]:
    """(sums, bits) of a layer: x bit [B, K], weights bit [N, K]."""
    sums = training.Product(x, weights)
    return sums, sign(sums)


def pick(design: Design, writer: Writer, layer: int, sums: Op, wanted: Op, active: Op, stream: int | None = None) -> Op:
    """The neurons of a layer that are corrected. `stream` tells its random numbers from those of other picks."""
    sizes = design.sizes[layer]
    return training.Pick(
        sums,
        wanted,
        active,
        group_size(writer.read("progress") if len(sizes) > 1 else None, sizes),
        writer.read("clock"),
        design.matrices[layer].index if stream is None else stream,
        design.tie,
        zero_right=design.matrices[layer].fan_in % 2 == 0,
    )


def count(writer: Writer, scores: Op, labels: Input) -> None:
    """Count the samples, and those that the net's own classifier puts into the wrong class."""
    (length,) = labels.shape
    clock = writer.read("clock")
    writer.write("total", training.Total(writer.read("total"), number(length)))
    writer.write("wrong", training.Total(writer.read("wrong"), training.Trigger(scores, labels, 0)))
    seen = training.Total(element(clock, 2), number(length))
    writer.write("clock", Concat((element(clock, 0), element(clock, 1), seen), 0))
