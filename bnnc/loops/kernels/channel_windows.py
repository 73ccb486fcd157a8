"""Which channels each vector of a convolution's outputs reads, and their weights as packed words."""

from __future__ import annotations

import numpy as np

from bnnc.loops.kernels.forms import Form, choose_form
from bnnc.loops.kernels.tiling import Part, Plan
from bnnc.loops.layout import WORD


class ChannelWindows:
    """Which words of activations each vector of outputs reads: all, or with groups those of its own channels.

    `weights` [plan channels, KH, KW, window channels] holds zeros where a window reaches into other groups; `real`
    marks what meets a real output and a real channel.
    """

    def __init__(self, plan: Plan, weights: np.ndarray, groups: int, words: int) -> None:
        outputs, inputs = weights.shape[:2]
        per_group, lanes = outputs // groups, plan.lanes
        self.start = np.zeros(plan.vectors, np.int64)
        self.words = words
        spans = []
        for vector in range(plan.vectors):
            first, last = (min(o, outputs - 1) // per_group for o in (vector * lanes, vector * lanes + lanes - 1))
            spans.append((first * inputs // WORD, -(-(last + 1) * inputs // WORD)))
        if groups > 1:
            self.words = max(stop - start for start, stop in spans)
            self.start = np.array([min(start, words - self.words) for start, _ in spans])
        self.weights = np.zeros((plan.channels, *weights.shape[2:], self.words * WORD), np.int64)
        self.real = np.zeros((plan.channels, 1, 1, self.words * WORD), np.bool_)
        for output in range(outputs):
            begin = int(self.start[output // lanes]) * WORD
            own = output // per_group * inputs - begin
            self.weights[output, ..., own : own + inputs] = weights[output].transpose(1, 2, 0)
            self.real[output, ..., : max(0, groups * inputs - begin)] = True

    @property
    def shared(self) -> bool:
        """Whether all vectors read the same words."""
        return not self.start.any()

    def form(self, planes: tuple[int, ...], part: Part, block: int) -> Form:
        """The cheapest form for one block of a part."""
        size = part.vectors * (len(self.weights) // len(self.start))
        first = part.first * (len(self.weights) // len(self.start)) + block * size
        rows = slice(first, first + size)
        return choose_form(planes, self.weights[rows], self.real[rows], self.shared)

    def size(self, form: Form, part: Part) -> int:
        """How many words the weights of a part take."""
        outputs = part.vectors * part.blocks * (len(self.weights) // len(self.start))
        return int(np.prod(self.weights.shape[1:3])) * self.words * form.weight_planes * outputs

    def pack(self, form: Form, part: Part) -> np.ndarray:
        """uint32 [blocks, KH, KW, words, planes, channels of a block]."""
        lanes = len(self.weights) // len(self.start)
        size = part.vectors * lanes
        chosen = self.weights[part.first * lanes : part.first * lanes + part.blocks * size]
        bits = form.pack(chosen)
        words = np.packbits(np.ascontiguousarray(bits), axis=-1, bitorder="little").view("<u4")
        planes, _, rows, columns, count = words.shape
        blocked = words.reshape(planes, part.blocks, size, rows, columns, count)
        return np.ascontiguousarray(blocked.transpose(1, 3, 4, 5, 0, 2))


__all__ = ["ChannelWindows"]
