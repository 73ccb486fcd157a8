"""What is to be trained, as data: an input, how it becomes bits, the widths of the layers, settings of the rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from bnnc.ir.location import UNKNOWN, Location
from bnnc.ir.module import Module
from bnnc.ir.types import DType


# --------------------------------------------------------------------------------------------------------- encoders
@dataclass(frozen=True)
class Threshold:
    """One bit an element: +1 if it is greater than `level`; None: than the median of the training set (one for all)."""

    level: int | None = None


@dataclass(frozen=True)
class Thermometer:
    """`levels` bits an element: +1 if it is greater than the j-th threshold, j = 0 … levels - 1.

    `even`: thresholds 256 * (j + 1) // (levels + 1). `quantile`: the first is 0, the others are the quantiles
    j / levels of the non-zero elements of the training set (one set of thresholds for all elements).
    """

    levels: int
    spacing: Literal["even", "quantile"] = "even"


@dataclass(frozen=True)
class Comparisons:
    """`count` bits: is element a greater than element b? a uniform, b within `distance` pixels of it each way."""

    count: int
    distance: int = 5


@dataclass(frozen=True)
class Features:
    """`count` bits: frozen random ±1 patches of size x size at random places of the thresholded image; +1 if the XNOR
    sum is greater than its median over the training set."""

    count: int
    size: int = 7
    level: int | None = None


@dataclass(frozen=True)
class Signs:
    """The input is bits (or trits, or centred integers) already: +1 for values >= 0."""


Encoder = Threshold | Thermometer | Comparisons | Features | Signs


# --------------------------------------------------------------------------------------------------------- settings
@dataclass(frozen=True)
class Settings:
    """The `train { … }` block. Fractions are exact, so that every machine derives the same integers.

    rule: `lbe`, `bep`, or `cpr` (the single-layer baseline CP+R). groups: neurons a group for each layer, or None for
    the table by width. margin r, reinforcement p_r, gate nu (BEP). schedule: patience in epochs of the group-size
    schedule, 0 for none. hidden: bits of a hidden weight (8 … 16). code: the frozen classifier. shifts: each epoch
    draws its samples from the images and their four 1-pixel shifts.
    """

    rule: Literal["lbe", "bep", "cpr"] = "lbe"
    batch: int = 100
    epochs: int = 50
    groups: tuple[int, ...] | None = None
    margin: Fraction = Fraction(1, 4)
    reinforcement: Fraction = Fraction(1, 2)
    gate: Fraction = Fraction(1, 50)
    schedule: int = 0
    hidden: int = 16
    tie: Literal["random", "lowest"] = "random"
    code: Literal["random", "balanced"] | None = None
    shifts: bool = False
    frozen: bool = False


@dataclass(frozen=True)
class Recurrence:
    """A binary recurrent cell: s_t = sign(W_x x_t + W_s s_(t-1)) over the steps of a sequence, s_0 all +1."""

    width: int
    steps: int


@dataclass(frozen=True, eq=False)
class TrainingPlan:
    """A network to be trained: encoders, dense layers with sign, and a frozen classifier behind the last.

    input_shape is of one sample ([C, H, W], [K], or [T, K] for a sequence). widths: neurons of each dense layer.
    `base`: frozen layers in front (a «bit» module with one input and one output of bits), where `train { frozen }` asks
    for training over them; it stands for the encoders then. names and locs: of the dense layers, for messages.
    input_dtype: what the input holds, or None: what the data set holds.
    """

    name: str
    input_name: str
    input_shape: tuple[int, ...]
    classes: int
    encoders: tuple[Encoder, ...]
    widths: tuple[int, ...]
    settings: Settings = field(default_factory=Settings)
    recurrence: Recurrence | None = None
    base: Module | None = None
    input_dtype: DType | None = None
    names: tuple[str, ...] = ()
    locs: tuple[Location, ...] = ()
    loc: Location = UNKNOWN


def name_of(plan: TrainingPlan, layer: int) -> str:
    """What a trained layer is called, counted from 0: the recurrent cell, if there is one, then the dense layers."""
    dense = layer - (plan.recurrence is not None)
    if dense < 0:
        return "recurrent"
    return plan.names[dense] if dense < len(plan.names) else f"dense{dense + 1}"
