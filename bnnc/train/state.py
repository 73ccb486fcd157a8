"""The state of a training run: its tensors, what they hold at the start, and modules that read and write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from bnnc.ir.bit import Step as BitStep
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.training import CLOCK, INIT
from bnnc.ir.types import Bit, DType, Int, TensorType, value_range
from bnnc.reference.draws import draws

COUNT = Int(0, 2**31 - 1)
"""Of everything that is counted, and of rates."""
HIGHEST_SEED = CLOCK.hi


@dataclass(frozen=True)
class Matrix:
    """One matrix of weights that is trained: hidden integers [rows, columns], and their signs.

    `fan_in`: how many inputs a neuron has in all (a recurrent neuron has two matrices). `index` tells its random
    numbers from those of the others.
    """

    name: str
    index: int
    rows: int
    columns: int
    fan_in: int


def storage(dtype: DType) -> str:
    """The smallest of int8, int16 and int32 that holds an integer dtype."""
    lo, hi = value_range(dtype)
    return next(name for name, end in (("int8", 2**7), ("int16", 2**15), ("int32", 2**31)) if -end <= lo and hi < end)


class States:
    """The types of the tensors of the state; a module that works on them begins with `States.begin`."""

    def __init__(self, types: Mapping[str, TensorType]) -> None:
        self.types = dict(types)

    def begin(self) -> Writer:
        """A new module's view of the state."""
        return Writer(self.types)


class Writer:
    """Collects what a module reads of the state and what it writes. Reads give what was there before the module ran."""

    def __init__(self, types: Mapping[str, TensorType]) -> None:
        self._types = types
        self._read: dict[str, Input] = {}
        self._written: dict[str, Op] = {}

    def read(self, name: str) -> Op:
        """The tensor at the start of the module."""
        if name not in self._read:
            kind = self._types[name]
            self._read[name] = Input(name, kind.dtype, kind.shape)
        return self._read[name]

    def write(self, name: str, value: Op) -> None:
        """The tensor at the end of the module; of the type that it has in the state."""
        assert value.type == self._types[name], f"`{name}` is {self._types[name]}, not {value.type}"
        assert name not in self._written, f"`{name}` is written twice"
        self._written[name] = value

    def module(self, name: str, *more: Input) -> Module:
        """The module: what was read and `more` are its inputs, what was written its outputs, in the state's order."""
        read = [self._read[key] for key in self._types if key in self._read]
        outputs = [Output(key, self._written[key], self.storage(key)) for key in self._types if key in self._written]
        return Module(name, (*read, *more), tuple(outputs))

    def storage(self, name: str) -> str:
        """How the tensor is stored outside the module."""
        return storage(self._types[name].dtype)


def sign(x: Op) -> Op:
    """+1 where x >= 0, else -1."""
    return BitStep(x, np.array([[0]], np.int32), np.array([[-1, 1]], np.int32), Bit())


def signs_of(hidden: np.ndarray) -> np.ndarray:
    """The weights that belong to hidden weights: int8, +1 for >= 0, else -1."""
    return np.where(hidden >= 0, 1, -1).astype(np.int8)


def kept(names: Iterable[str]) -> list[str]:
    """The tensors of a state that must be kept between batches: all but the signs, which the hidden weights have."""
    return [name for name in names if not name.startswith("weights_")]


def completed(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A state with the signs of its hidden weights beside them."""
    made = {f"weights_{name.removeprefix('hidden_')}": signs_of(state[name]) for name in state if "hidden_" in name}
    return {**state, **made}


def initial_hidden(matrix: Matrix, seed: int, bound: int) -> np.ndarray:
    """Odd hidden weights int16 [rows, columns]: 2 * (s >> shift) + 1, s = (sum of four random bytes - 510) >> 2.

    Their spread is about 74; `shift` halves it as often as is needed to stay within half of `bound`.
    """
    drawn = draws(seed, INIT, matrix.index, 0, np.arange(matrix.rows * matrix.columns))
    total = sum((drawn >> np.uint64(8 * byte)) & np.uint64(255) for byte in range(4))
    small = (np.asarray(total).astype(np.int64) - 510) >> 2
    return np.asarray(2 * (small >> initial_shift(bound)) + 1, np.int16).reshape(matrix.rows, matrix.columns)


def initial_shift(bound: int) -> int:
    """How often the spread of the first hidden weights is halved."""
    shift = 0
    while (256 >> shift) - 1 > max(1, bound // 2):
        shift += 1
    return shift
