"""A module: a network for one sample, as a graph of ops from inputs to named outputs, and what was noted on the way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bnnc.ir.location import UNKNOWN, Location
from bnnc.ir.op import Op, TypeRuleError, expect
from bnnc.ir.types import DType, TensorType


@dataclass(frozen=True, eq=False)
class Input(Op):
    """A named input of the module. Its array has the batch as axis 0, then `shape`."""

    code = "input"
    name: str
    dtype: DType
    shape: tuple[int, ...]

    def infer(self) -> TensorType:
        expect(all(n > 0 for n in self.shape), f"input `{self.name}` has an empty shape {list(self.shape)}")
        return TensorType(self.dtype, self.shape)


@dataclass(frozen=True)
class Output:
    """A named output. `storage` is the numpy dtype the user's model declared; `batch_axis` where its batch stands."""

    name: str
    value: Op
    storage: str = "float32"
    batch_axis: int = 0


@dataclass(frozen=True)
class PixelMap:
    """Input `name` is uint8 pixels u that mean (u*scale - mean)/std, each step rounded to fp32 (`--pixels`).

    mean and std have one entry, or one a channel. `storage` is the numpy dtype of the model's own input.
    """

    name: str
    scale: float
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class Note:
    """A fact about a layer for the user: `kind` is `warning`, `float` (why a layer stayed float), `choice` (what
    an option did) or `info`."""

    kind: str
    text: str
    loc: Location = UNKNOWN
    code: str = ""


@dataclass(frozen=True)
class Module:
    """The network. Dead code cannot exist: an op that no output reaches is not part of the module."""

    name: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    notes: tuple[Note, ...] = ()
    pixels: tuple[PixelMap, ...] = ()
    facts: tuple[tuple[str, str], ...] = field(default=())

    def ops(self) -> tuple[Op, ...]:
        """Every reachable op, operands before users; inputs come first. The order depends on the graph alone."""
        return topological([*self.inputs, *(output.value for output in self.outputs)])

    def users(self) -> dict[Op, list[Op]]:
        """For every op, the ops that read it, in order (an op that reads it twice is listed twice)."""
        users: dict[Op, list[Op]] = {op: [] for op in self.ops()}
        for op in users:
            for operand in op.operands:
                users[operand].append(op)
        return users

    @property
    def level(self) -> str:
        """`bit` once any op of the «bit» or «fix» vocabulary is in it, else `nn`."""
        return "bit" if any(op.opcode.startswith(("bit.", "fix.")) for op in self.ops()) else "nn"


def topological(roots: Iterable[Op]) -> tuple[Op, ...]:
    """The ops that the roots need, operands before users (depth first, without recursion: graphs may be deep)."""
    order: dict[Op, None] = {}
    stack: list[tuple[Op, bool]] = [(root, False) for root in reversed(list(roots))]
    while stack:
        op, operands_done = stack.pop()
        if op in order:
            continue
        if operands_done:
            order[op] = None
        else:
            stack.append((op, True))
            stack.extend((operand, False) for operand in reversed(op.operands) if operand not in order)
    return tuple(order)


__all__ = ["Input", "Module", "Note", "Output", "PixelMap", "TypeRuleError", "topological"]
