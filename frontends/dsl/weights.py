"""Where the numbers of layers come from: a .npz or .bnnm file, a seed, or, to look at a net only, nowhere."""

from __future__ import annotations

import difflib
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bnnc.ir import bit, nn, store
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, Code, DType, value_range

MAX_ELEMENTS = 1 << 26


class Unfit(Exception):
    """The numbers for a layer are not there, or are others than it needs."""

    def __init__(self, message: str, label: str, *helps: str) -> None:
        super().__init__(message)
        self.message, self.label, self.helps = message, label, helps


class TooMany(Exception):
    """A net wants more numbers than a net can hold."""


class Budget:
    """Counts the elements that were made, so that a few lines of text cannot take all memory."""

    def __init__(self) -> None:
        self.left = MAX_ELEMENTS

    def take(self, shape: tuple[int, ...]) -> None:
        count = 1
        for length in shape:
            count *= length
        self.left -= count
        if self.left < 0:
            raise TooMany(f"the net has more than {MAX_ELEMENTS} weights")


def _defaults(shape: tuple[int, ...] | None, rows: int = 1, columns: int = 1) -> tuple[int, ...]:
    return (rows, columns) if shape is None else shape


class Drawn:
    """Random numbers, the same for a seed, a layer and a field wherever they stand in the net."""

    def __init__(self, seed: int, budget: Budget) -> None:
        self.seed, self.budget = seed, budget

    def _generator(self, name: str, field: str, shape: tuple[int, ...]) -> np.random.Generator:
        self.budget.take(shape)
        return np.random.default_rng([self.seed, zlib.crc32(f"{name}.{field}".encode("utf-8", "surrogatepass"))])

    def has(self, name: str, field: str) -> bool:
        return True

    def integers(self, name: str, field: str, shape: tuple[int, ...] | None, dtype: DType) -> np.ndarray:
        shape = _defaults(shape)
        generator = self._generator(name, field, shape)
        lo, hi = value_range(dtype)
        if field == "thresholds":
            lo, hi = -8, 8
        if isinstance(dtype, Bit):
            return generator.integers(0, 2, shape, np.int8) * 2 - 1
        if isinstance(dtype, Code):
            return generator.integers(0, 2**dtype.bits, shape, np.int32) * dtype.multiplier + dtype.offset
        values = generator.integers(lo, hi + 1, shape, np.int8 if -128 <= lo <= hi < 127 else np.int64)
        return np.sort(values) if field in ("levels", "thresholds") else values

    def floats(self, name: str, field: str, shape: tuple[int, ...] | None) -> np.ndarray:
        shape = _defaults(shape)
        values = self._generator(name, field, shape).standard_normal(shape, np.float32)
        if field in ("variance", "scale"):
            return np.abs(values) + np.float32(0.5)
        return np.sort(values) if field == "thresholds" else values


class Absent:
    """No numbers: stand-ins of the right shape, so that types can be found. `asked` says whether any were wanted."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.asked: list[tuple[str, str]] = []

    def has(self, name: str, field: str) -> bool:
        return False

    def integers(self, name: str, field: str, shape: tuple[int, ...] | None, dtype: DType) -> np.ndarray:
        shape = _defaults(shape)
        self.budget.take(shape)
        self.asked.append((name, field))
        lo, hi = value_range(dtype)
        return np.full(shape, 1 if lo <= 1 <= hi else lo, np.int8 if -128 <= lo <= hi < 128 else np.int32)

    def floats(self, name: str, field: str, shape: tuple[int, ...] | None) -> np.ndarray:
        shape = _defaults(shape)
        self.budget.take(shape)
        self.asked.append((name, field))
        return np.ones(shape, np.float32)


class Stored:
    """Numbers from a file, under `LAYER.FIELD`."""

    def __init__(self, arrays: Mapping[str, np.ndarray], file: str, budget: Budget) -> None:
        self.arrays, self.file, self.budget = arrays, file, budget
        self.used: set[str] = set()

    def has(self, name: str, field: str) -> bool:
        return f"{name}.{field}" in self.arrays

    def _found(self, name: str, field: str, shape: tuple[int, ...] | None) -> np.ndarray:
        key = f"{name}.{field}"
        if key not in self.arrays:
            near = difflib.get_close_matches(key, list(self.arrays), 1, 0.6)
            helps = (f"did you mean `{near[0].rpartition('.')[0]}`? name the layer so",) if near else ()
            raise Unfit(f"`{self.file}` has no `{key}`", "no weights for this layer", *helps)
        self.used.add(key)
        array = self.arrays[key]
        wanted = list(shape) if shape is not None else "a table of rows"
        if (shape is not None and array.shape != shape) or (shape is None and array.ndim != 2):
            raise Unfit(
                f"`{key}` in `{self.file}` is {list(array.shape)}, but the layer needs {wanted}", f"needs {wanted}"
            )
        if array.dtype.kind not in "iufb":
            raise Unfit(f"`{key}` in `{self.file}` holds {array.dtype}, no numbers", "needs numbers")
        if array.size == 0:
            raise Unfit(f"`{key}` in `{self.file}` is empty", "needs numbers")
        self.budget.take(array.shape)
        return array

    def integers(self, name: str, field: str, shape: tuple[int, ...] | None, dtype: DType) -> np.ndarray:
        array = self._found(name, field, shape)
        if array.dtype.kind == "f" and not bool((array == np.rint(array)).all()):
            raise Unfit(
                f"`{name}.{field}` in `{self.file}` holds fractions, but the layer needs whole numbers",
                f"needs {dtype}",
                "store the sign of the weights, or write weights=f32",
            )
        lo, hi = value_range(dtype)
        low, high = array.min(), array.max()
        good = bool(low >= lo and high <= hi)
        if isinstance(dtype, Bit):
            good = good and not bool((array == 0).any())
        if isinstance(dtype, Code):
            good = good and bool(((array - dtype.offset) % dtype.multiplier == 0).all())
        if not good:
            takes = "-1 and 1" if isinstance(dtype, Bit) else f"{lo} to {hi} ({dtype})"
            helps = ("bits are stored as -1 and 1",) if isinstance(dtype, Bit) else ()
            raise Unfit(
                f"`{name}.{field}` in `{self.file}` holds {low} to {high}, but the layer takes {takes}",
                f"takes {takes}",
                *helps,
            )
        return array.astype(np.int64)

    def floats(self, name: str, field: str, shape: tuple[int, ...] | None) -> np.ndarray:
        with np.errstate(over="ignore"):
            return self._found(name, field, shape).astype(np.float32)


def from_file(path: Path, shown: str, budget: Budget) -> Stored:
    """The weights in a .npz or .bnnm file. Raises BnncError for a file that is neither, or damaged."""
    if path.suffix.lower() == ".bnnm":
        with path.open("rb") as file:
            data = file.read(store.MAX_BYTES + 1)
        return Stored(of_module(store.loads(data, path.name).ops()), shown, budget)
    from bnnc.data import npz

    return Stored(npz.read(path), shown, budget)


def of_module(ops: tuple[Op, ...]) -> dict[str, np.ndarray]:
    """The arrays of named layers, under `LAYER.FIELD`."""
    arrays: dict[str, np.ndarray] = {}
    for op in ops:
        name = op.loc.name
        if not name:
            continue
        match op:
            case bit.Conv() | bit.Dense():
                arrays.setdefault(f"{name}.weights", op.weights)
            case bit.Step():
                arrays.setdefault(f"{name}.thresholds", op.thresholds)
                arrays.setdefault(f"{name}.values", op.values)
            case nn.Conv(w=nn.Constant() as weights) | nn.Dense(w=nn.Constant() as weights):
                arrays.setdefault(f"{name}.weights", weights.values)
                if isinstance(op.bias, nn.Constant):
                    arrays.setdefault(f"{name}.bias", op.bias.values)
            case nn.BatchNorm():
                for field in ("scale", "bias", "mean", "variance"):
                    operand = getattr(op, field)
                    if isinstance(operand, nn.Constant):
                        arrays.setdefault(f"{name}.{field}", operand.values)
    return arrays
