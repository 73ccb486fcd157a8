"""What an op is: an immutable, typed node whose operands are other ops. The vocabularies are nn.py, bit.py, move.py."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from bnnc.ir.location import UNKNOWN, Location
from bnnc.ir.types import TensorType


class TypeRuleError(ValueError):
    """An op cannot be made from these operands; the text says what was expected and what was found."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Op:
    """A node of the graph. Two ops are equal only if they are the same object.

    A field that holds an Op, or a tuple of Ops, is an operand; every other field is an attribute. The type is
    inferred when the op is made, so an ill-typed op cannot exist. Arrays are made read-only.
    """

    code: ClassVar[str] = ""
    _fields: ClassVar[tuple[str, ...]] = ()  # of each class, once they are asked for
    loc: Location = field(default=UNKNOWN, repr=False)
    type: TensorType = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, value in self.attributes().items():
            if isinstance(value, np.ndarray):
                # Not ascontiguousarray for all: it would make a scalar a list of one.
                frozen = value if value.flags.c_contiguous else np.ascontiguousarray(value)
                frozen.flags.writeable = False
                object.__setattr__(self, name, frozen)
        object.__setattr__(self, "type", self.infer())

    @property
    def opcode(self) -> str:
        """The name of the op in the text form, such as `nn.conv`."""
        return self.code

    def infer(self) -> TensorType:
        """The type of the result. Raises TypeRuleError."""
        raise NotImplementedError(type(self).__name__)

    @property
    def operands(self) -> tuple[Op, ...]:
        """All operands, in field order; absent optional ones are left out."""
        found: list[Op] = []
        for name in _own_fields(type(self)):
            value = getattr(self, name)
            if isinstance(value, Op):
                found.append(value)
            elif _is_op_tuple(value):
                found.extend(value)
        return tuple(found)

    def attributes(self) -> dict[str, Any]:
        """Everything that is neither operand nor location nor type, by field name."""
        values = {name: getattr(self, name) for name in _own_fields(type(self))}
        return {name: value for name, value in values.items() if not isinstance(value, Op) and not _is_op_tuple(value)}

    def with_operands(self, change: Callable[[Op], Op]) -> Op:
        """This op with every operand o replaced by change(o); the same object if nothing changes."""
        changed: dict[str, Any] = {}
        for name in _own_fields(type(self)):
            value = getattr(self, name)
            if isinstance(value, Op):
                new: Any = change(value)
                if new is not value:
                    changed[name] = new
            elif _is_op_tuple(value):
                new = tuple(change(op) for op in value)
                if any(a is not b for a, b in zip(new, value, strict=True)):
                    changed[name] = new
        return dataclasses.replace(self, **changed) if changed else self


def _own_fields(cls: type[Op]) -> tuple[str, ...]:
    if "_fields" not in cls.__dict__:
        cls._fields = tuple(f.name for f in dataclasses.fields(cls) if f.name not in ("loc", "type"))
    return cls._fields


def _is_op_tuple(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(item, Op) for item in value)


def expect(condition: bool, message: str) -> None:
    """Raise TypeRuleError(message) unless the condition holds."""
    if not condition:
        raise TypeRuleError(message)
