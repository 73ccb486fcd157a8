"""What a layer is: its name, its arguments, and how it becomes ops. The layers themselves stand in layers_*.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bnnc.frontends.dsl.kinds import Kind
from bnnc.ir import bit
from bnnc.ir.location import Location
from bnnc.ir.op import Op
from bnnc.ir.types import DType, TensorType, is_integer

REQUIRED: Any = object()
ANY_NUMBER = -1
"""As the number of operands of a layer: one or more."""


@dataclass(frozen=True)
class Parameter:
    """An argument of a layer. Those without a default must be given."""

    name: str
    kind: Kind
    summary: str
    default: Any = REQUIRED


class Arrays(Protocol):
    """Where the numbers of a layer come from: a file, a seed, or nowhere yet."""

    def integers(self, name: str, field: str, shape: tuple[int, ...] | None, dtype: DType) -> np.ndarray:
        """Integers of a dtype (int64); shape None: whatever is there, of rank 2."""
        ...

    def floats(self, name: str, field: str, shape: tuple[int, ...] | None) -> np.ndarray:
        """float32."""
        ...

    def has(self, name: str, field: str) -> bool:
        """Whether the source names these numbers."""
        ...


@dataclass(frozen=True)
class Use:
    """One layer in a net, ready to be built: its operands, its arguments by name, its name and place."""

    layer: str
    xs: tuple[Op, ...]
    values: Mapping[str, Any]
    name: str
    loc: Location
    arrays: Arrays

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def x(self) -> Op:
        """The only operand."""
        return self.xs[0]

    @property
    def type(self) -> TensorType:
        """Its type."""
        return self.x.type

    @property
    def rank(self) -> int:
        """Its number of axes."""
        return len(self.type.shape)


class Mismatch(Exception):
    """The operand is of a type that the layer does not take. `label` says what it expects."""

    def __init__(self, message: str, label: str = "", *helps: str) -> None:
        super().__init__(message)
        self.message, self.label, self.helps = message, label, helps


class BadArgument(Exception):
    """An argument that does not fit the operand or the other arguments."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name, self.message = name, message


Build = Callable[[Use], Op]


@dataclass(frozen=True)
class Layer:
    """A layer of the language. `arrays` names what it reads from the weights, for the documentation."""

    name: str
    summary: str
    build: Build
    parameters: tuple[Parameter, ...] = ()
    operands: int = 1
    arrays: tuple[str, ...] = ()
    example: str = ""


def as_float(op: Op) -> Op:
    """The tensor as f32: integers are decoded."""
    return bit.Decode(x=op, loc=op.loc) if is_integer(op.type.dtype) else op


def per_axis(value: int | tuple[int, ...], rank: int, name: str) -> tuple[int, ...]:
    """One number for each of `rank` axes. Raises BadArgument."""
    if isinstance(value, int):
        return (value,) * rank
    if len(value) != rank:
        raise BadArgument(
            name, f"has {len(value)} sizes for an input with {rank} spatial ax{'i' if rank == 1 else 'e'}s"
        )
    return value


def need_integers(use: Use, help: str) -> None:
    """Raises Mismatch unless the operand holds integers."""
    if not is_integer(use.type.dtype):
        raise Mismatch(f"`{use.layer}` needs bits or integers, but gets {use.type}", "expects integers", help)


def need_windows(use: Use) -> int:
    """The number of spatial axes. Raises Mismatch for a flat operand."""
    if use.rank < 2:
        raise Mismatch(
            f"`{use.layer}` needs channels and an image, but gets {use.type}",
            "expects [channels, height, width]",
            "take `flatten` away, or give the input its shape, such as u8[1, 28, 28]",
        )
    return use.rank - 1
