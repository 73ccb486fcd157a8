"""«bit» ops of training steps: exact integers only, weights as operands, the batch as an explicit leading axis.

A training step is a module like any other (train/). Its tensors carry the batch themselves ([B, K]), and its state goes
in as inputs and out as outputs. Every op here is a function of its operands: random numbers are drawn from a counter
(`draw`), so that threads, targets and splits of a batch cannot change them. Sources: LBE (arXiv 2412.00119), BEP
(arXiv 2512.04189).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnc.ir.op import Op, expect
from bnnc.ir.types import Bit, Code, DType, Int, TensorType, Trit, is_integer, value_range

FLAG = Code(1)
"""0 or 1."""

CLOCK = Int(0, 2**31 - 1)
"""Elements of a clock, Int[3]: the seed, the number of the batch, and how many samples of it were already seen."""


def _flags(op: Op) -> bool:
    return value_range(op.type.dtype) == (0, 1)


@dataclass(frozen=True, eq=False)
class Constant(Op):
    """Fixed integers of any integer dtype (int8, int16 or int32 values), such as a frozen classifier."""

    code = "bit.constant"
    values: np.ndarray
    dtype: DType

    def infer(self) -> TensorType:
        expect(is_integer(self.dtype), f"a bit.constant holds integers, not {self.dtype}")
        expect(self.values.dtype in (np.int8, np.int16, np.int32), f"values are int8 to int32, not {self.values.dtype}")
        lo, hi = value_range(self.dtype)
        inside = self.values.size == 0 or (int(self.values.min()) >= lo and int(self.values.max()) <= hi)
        expect(inside and (self.dtype != Bit() or bool((self.values != 0).all())), f"a value is none of {self.dtype}")
        return TensorType(self.dtype, self.values.shape)


@dataclass(frozen=True, eq=False)
class Product(Op):
    """y[b, n] = Σ_k x[b, k] * w[n, k]: XNOR and popcount. x bit or trit [B, K], w bit [N, K]."""

    code = "bit.product"
    x: Op
    w: Op

    def infer(self) -> TensorType:
        x, w = self.x.type, self.w.type
        expect(
            isinstance(x.dtype, Bit | Trit) and w.dtype == Bit(),
            f"not a product of bits: {x}, {w}",
        )
        expect(len(x.shape) == len(w.shape) == 2 and x.shape[1] == w.shape[1], f"{x} and {w} do not meet")
        return TensorType(Int(-x.shape[1], x.shape[1]), (x.shape[0], w.shape[0]))


@dataclass(frozen=True, eq=False)
class Rows(Op):
    """y[b, …] = table[index[b], …]; index is Int[B] within the table."""

    code = "bit.rows"
    table: Op
    index: Op

    def infer(self) -> TensorType:
        table, index = self.table.type, self.index.type
        expect(len(table.shape) >= 1 and len(index.shape) == 1 and is_integer(index.dtype), f"rows {index} of {table}")
        lo, hi = value_range(index.dtype)
        expect(lo >= 0 and hi < table.shape[0], f"row {hi} of a table with {table.shape[0]} rows")
        return TensorType(table.dtype, (index.shape[0], *table.shape[1:]))


@dataclass(frozen=True, eq=False)
class Trigger(Op):
    """1 for each sample that must still be learnt: its best class (the lowest on a tie) is not its label, or
    scores[label] - max(scores of the others) < margin. scores Int [B, C], labels Int [B]; result flags [B]."""

    code = "bit.trigger"
    scores: Op
    labels: Op
    margin: int

    def infer(self) -> TensorType:
        scores, labels = self.scores.type, self.labels.type
        expect(len(scores.shape) == 2 and scores.shape[1] >= 2, f"scores are [B, classes], not {scores}")
        expect(labels.shape == scores.shape[:1] and is_integer(labels.dtype), f"labels {labels} do not fit {scores}")
        return TensorType(FLAG, labels.shape)


@dataclass(frozen=True, eq=False)
class Pick(Op):
    """In every group of neurons of an active sample, the wrong neuron that is easiest to mend: +1 or -1 there, else 0.

    Neurons j of group g are those with j // group[0] = g (the last may be short). Neuron j is wrong if sign(sums[b, j])
    (+1 for 0) is not wanted[b, j]; with `zero_right`, for sums of an even number of bits, a sum of 0 is never wrong.
    Of the wrong ones the smallest |sums| is picked, and its value is wanted[b, j]. Among equals the first in cyclic
    order from `start` wins: 0 with tie `lowest`; with tie `random` start = (u * size of the group) >> 32, u the low
    32 bits of draw(clock[0], TIE, layer, clock[1], (clock[2] + b) * 65536 + g).
    sums Int [B, N], wanted bit [B, N], active flags [B], group Int[1] >= 1, clock Int[3]; result trit [B, N].
    """

    code = "bit.pick"
    sums: Op
    wanted: Op
    active: Op
    group: Op
    clock: Op
    layer: int
    tie: str = "random"
    zero_right: bool = False

    def infer(self) -> TensorType:
        sums = self.sums.type
        expect(len(sums.shape) == 2 and is_integer(sums.dtype), f"sums are [B, N], not {sums}")
        expect(self.wanted.type == TensorType(Bit(), sums.shape), f"wanted is bit{list(sums.shape)}")
        expect(self.active.type.shape == sums.shape[:1] and _flags(self.active), "active holds a flag for each sample")
        expect(self.group.type.shape == (1,) and value_range(self.group.type.dtype)[0] >= 1, "group is one size >= 1")
        expect(self.clock.type.shape == (3,), "a clock has three elements")
        expect(self.tie in ("random", "lowest"), f"no tie rule `{self.tie}`")
        return TensorType(Trit(), sums.shape)


@dataclass(frozen=True, eq=False)
class Update(Op):
    """hidden[n, k] + 2 * Σ_b picks[b, n] * x[b, k], clamped to the range of hidden's dtype once, after the sum.

    hidden Int(-limit, limit) [N, K], picks trit [B, N], x bit [B, K].
    """

    code = "bit.update"
    hidden: Op
    picks: Op
    x: Op

    def infer(self) -> TensorType:
        hidden, picks, x = self.hidden.type, self.picks.type, self.x.type
        expect(
            isinstance(hidden.dtype, Int) and hidden.dtype.lo == -hidden.dtype.hi,
            f"hidden weights are Int(-l, l), not {hidden}",
        )
        expect(picks.dtype == Trit() and x.dtype == Bit(), f"picks are trits and x bits, not {picks}, {x}")
        fits = len(hidden.shape) == len(picks.shape) == len(x.shape) == 2 and picks.shape[0] == x.shape[0]
        expect(fits and hidden.shape == (picks.shape[1], x.shape[1]), f"{hidden}, {picks} and {x} do not meet")
        return hidden


@dataclass(frozen=True, eq=False)
class Reinforce(Op):
    """hidden with some weights pushed away from zero, h + 2 * sign(h), then all clamped to ±bound.

    Each row is cut into blocks of `block` neighbours (a power of two; the last may be short). Block j of row n draws
    u = draw(clock[0], REINFORCE, layer, clock[1], n * blocks of a row + j). If u >> 33 < rate[0], the weight at
    position u % block of the block (if there is one) is pushed. Nothing is pushed where active[0] is 0.
    hidden Int(-l, l) [N, K], rate Int(0, 2^31 - 1) [1], active Int [1] >= 0, clock Int[3]. sign(0) = +1.
    """

    code = "bit.reinforce"
    hidden: Op
    rate: Op
    active: Op
    clock: Op
    layer: int
    block: int
    bound: int

    def infer(self) -> TensorType:
        hidden = self.hidden.type
        expect(isinstance(hidden.dtype, Int) and len(hidden.shape) == 2, f"hidden weights are Int [N, K], not {hidden}")
        expect(self.block >= 1 and self.block & (self.block - 1) == 0, f"a block of {self.block} is no power of two")
        expect(0 < self.bound <= value_range(hidden.dtype)[1], f"bound {self.bound} is outside {hidden.dtype}")
        expect(self.rate.type.shape == self.active.type.shape == (1,), "rate and active are single numbers")
        expect(self.clock.type.shape == (3,), "a clock has three elements")
        return hidden


@dataclass(frozen=True, eq=False)
class Rate(Op):
    """min(2^31 - 1, isqrt((factor // max(total, 1)) * wrong)): the reinforcement threshold of the next epoch.

    wrong, total Int [1] >= 0; factor < 2^62, and factor // total * wrong stays below 2^63 as wrong <= total.
    """

    code = "bit.rate"
    wrong: Op
    total: Op
    factor: int

    def infer(self) -> TensorType:
        expect(0 <= self.factor < 2**62, f"factor {self.factor} is outside 0 .. 2^62 - 1")
        expect(self.wrong.type.shape == self.total.type.shape == (1,), "wrong and total are single numbers")
        return TensorType(Int(0, 2**31 - 1), (1,))


@dataclass(frozen=True, eq=False)
class Schedule(Op):
    """progress = (best, wait, level) after an epoch with `correct` right answers of `total`.

    If correct * 2000 > best * 2000 + total: (correct, 0, level). Else wait grows by one, and at `patience` it becomes 0
    and level grows by one, up to levels - 1. progress Int [3].
    """

    code = "bit.schedule"
    correct: Op
    total: Op
    progress: Op
    patience: int
    levels: int

    def infer(self) -> TensorType:
        expect(self.progress.type.shape == (3,), "progress has three elements")
        expect(self.patience >= 1 and self.levels >= 1, "patience and levels are at least 1")
        return self.progress.type


@dataclass(frozen=True, eq=False)
class Mask(Op):
    """x where the flag is 1, else 0. x bit or trit, flags of the same shape; result trit."""

    code = "bit.mask"
    x: Op
    flags: Op

    def infer(self) -> TensorType:
        expect(isinstance(self.x.type.dtype, Bit | Trit) and _flags(self.flags), "bit.mask takes bits and flags")
        expect(self.x.type.shape == self.flags.type.shape, f"{self.x.type} and {self.flags.type} differ in shape")
        return TensorType(Trit(), self.x.type.shape)


@dataclass(frozen=True, eq=False)
class Any(Op):
    """1 for each row with a flag that is 1: flags [B, N] -> flags [B]."""

    code = "bit.any"
    flags: Op

    def infer(self) -> TensorType:
        expect(
            _flags(self.flags) and len(self.flags.type.shape) == 2, f"bit.any takes flags [B, N], not {self.flags.type}"
        )
        return TensorType(FLAG, self.flags.type.shape[:1])


@dataclass(frozen=True, eq=False)
class Both(Op):
    """1 where both flags are 1."""

    code = "bit.both"
    a: Op
    b: Op

    def infer(self) -> TensorType:
        expect(
            _flags(self.a) and _flags(self.b) and self.a.type.shape == self.b.type.shape, "bit.both takes equal flags"
        )
        return TensorType(FLAG, self.a.type.shape)


@dataclass(frozen=True, eq=False)
class Differ(Op):
    """1 where two integer tensors of one shape are different (weights that were flipped, for example)."""

    code = "bit.differ"
    a: Op
    b: Op

    def infer(self) -> TensorType:
        expect(is_integer(self.a.type.dtype) and is_integer(self.b.type.dtype), "bit.differ compares integers")
        expect(self.a.type.shape == self.b.type.shape, f"{self.a.type} and {self.b.type} differ in shape")
        return TensorType(FLAG, self.a.type.shape)


@dataclass(frozen=True, eq=False)
class Total(Op):
    """base[0] + the sum of all elements of x, clamped to the range of base's type: Int [1]."""

    code = "bit.total"
    base: Op
    x: Op

    def infer(self) -> TensorType:
        expect(self.base.type.shape == (1,) and is_integer(self.x.type.dtype), "bit.total adds integers to one number")
        return self.base.type


TRAINING_OPS: tuple[type[Op], ...] = (
    Constant,
    Product,
    Rows,
    Trigger,
    Pick,
    Update,
    Reinforce,
    Rate,
    Schedule,
    Mask,
    Any,
    Both,
    Differ,
    Total,
)

# Purposes of random numbers: the second argument of draw. Those from 16 on are of made-up data (data/draws.py).
INIT, CLASSIFIER, PERMUTATION, TIE, REINFORCE, ENCODER = range(6)

_GOLDEN = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1


def mix(z: int) -> int:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): 64 bits to 64 well-mixed bits."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _WORD
    return z ^ (z >> 31)


def stream(seed: int, purpose: int, layer: int, time: int) -> int:
    """The key of one stream of draws."""
    return mix((mix((seed + _GOLDEN * (256 * purpose + layer + 1)) & _WORD) + _GOLDEN * (time + 1)) & _WORD)


def draw(seed: int, purpose: int, layer: int, time: int, index: int) -> int:
    """Random number `index` of a stream, 64 bits: mix(stream + golden * (index + 1)), all modulo 2^64."""
    return mix((stream(seed, purpose, layer, time) + _GOLDEN * (index + 1)) & _WORD)
