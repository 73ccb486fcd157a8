"""Where the circuit begins and ends: a «bit» module cut into a front that the host does, the circuit, and a tail.

The circuit holds whole numbers and fixed-point streams only. Before it the host takes float inputs to the results of
the steps (or encodings) that read them; behind it the host does the float arithmetic on the scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from bnnc.backends.verilog.refusal import island
from bnnc.ir import bit, fixed, move, nn
from bnnc.ir.module import Input, Module
from bnnc.ir.op import Op
from bnnc.ir.types import Fix, is_integer
from bnnc.reference.run import batch_size, check_inputs, evaluate, present

CHUNK = 64
_CIRCUIT: tuple[type[Op], ...] = (
    *(bit.Conv, bit.Dense, bit.Step, bit.Pool, bit.Add),
    *(fixed.Constant, fixed.Map, fixed.Table, fixed.Add, fixed.Mul, fixed.Conv, fixed.Dense, fixed.Pool),
    *move.MOVES,
)
_ENTRIES: tuple[type[Op], ...] = (bit.Step, fixed.Encode)
_FLOAT_LAYERS: tuple[type[Op], ...] = (nn.Conv, nn.Dense, nn.MatMul)


@dataclass(frozen=True)
class Boundary:
    """The cut. `entries` are the ops whose values come in, `cuts` those whose values go out, `ops` what lies between.

    `front` and `tail` are the ops of the host, in order.
    """

    module: Module
    front: tuple[Op, ...]
    entries: tuple[Op, ...]
    ops: tuple[Op, ...]
    cuts: tuple[Op, ...]
    tail: tuple[Op, ...]

    def entering(self, inputs: Mapping[str, np.ndarray]) -> Iterator[list[np.ndarray]]:
        """The values of the entries, batch first, for the user's arrays; a part of the batch at a time."""
        arrays = check_inputs(self.module, inputs)
        for start in range(0, max(1, batch_size(arrays)), CHUNK):
            values: dict[Op, np.ndarray] = {}
            for given in self.module.inputs:
                values[given] = arrays[given.name][start : start + CHUNK]
            for op in self.front:
                values[op] = evaluate(op, [values[x] for x in op.operands])
            yield [values[op] for op in self.entries]

    def leaving(self, cuts: list[np.ndarray]) -> dict[str, np.ndarray]:
        """The model's own outputs, for the values of the cuts, batch first."""
        parts: dict[str, list[np.ndarray]] = {output.name: [] for output in self.module.outputs}
        batch = max((len(array) for array in cuts), default=0)
        for start in range(0, batch, CHUNK):
            values = dict(zip(self.cuts, (array[start : start + CHUNK] for array in cuts), strict=True))
            length = min(CHUNK, batch - start)
            for op in self.tail:
                values[op] = evaluate(op, [values[x] for x in op.operands])
            for output in self.module.outputs:
                value = values[output.value]
                parts[output.name].append(np.broadcast_to(value, (length, *value.shape[1:])))
        return {output.name: present(output, parts[output.name]) for output in self.module.outputs}


def boundary_of(module: Module) -> Boundary:
    """The cut of a «bit» module. Raises BnncError B0620 for floats between the entries and the cuts."""
    ops = module.ops()
    front: dict[Op, None] = {}
    inside: dict[Op, None] = {}
    entries: dict[Op, None] = {}
    tail: dict[Op, None] = {}
    for op in ops:
        if isinstance(op, Input):
            (entries if is_integer(op.dtype) else front)[op] = None
        elif op.operands and all(x in front for x in op.operands) and isinstance(op, (*move.MOVES, *_ENTRIES)):
            (front if isinstance(op, move.MOVES) else entries)[op] = None
        elif isinstance(op, _CIRCUIT) and _whole(op) and all(x in inside or x in entries for x in op.operands):
            inside[op] = None
        else:
            tail[op] = None
    _refuse_islands(module, tail, front)
    read = {x for op in tail for x in op.operands} | {output.value for output in module.outputs}
    cuts = tuple(op for op in (*entries, *inside) if op in read)
    needed = _needed(cuts)
    host = [op for op in ops if (op in front or op in entries) and not isinstance(op, Input)]
    return Boundary(
        module,
        tuple(host),
        tuple(op for op in entries if op in needed),
        tuple(op for op in inside if op in needed),
        cuts,
        tuple(op for op in ops if op in tail),
    )


def _whole(op: Op) -> bool:
    return is_integer(op.type.dtype) or isinstance(op.type.dtype, Fix)


def _needed(cuts: tuple[Op, ...]) -> set[Op]:
    found: set[Op] = set()
    stack = list(cuts)
    while stack:
        op = stack.pop()
        if op not in found:
            found.add(op)
            stack.extend(op.operands)
    return found


def _refuse_islands(module: Module, tail: Mapping[Op, None], front: Mapping[Op, None]) -> None:
    """Floats are in the way where a layer or a step comes behind them, or where they read a float input."""
    for op in tail:
        if isinstance(op, _FLOAT_LAYERS):
            raise island(module, tail, op)
        behind = any(x in tail for x in op.operands)
        if behind and isinstance(op, (*_CIRCUIT, *_ENTRIES)) and not isinstance(op, move.MOVES):
            raise island(module, tail, op, op)
        if any(x in front for x in op.operands):
            raise island(module, tail, op)


__all__ = ["Boundary", "boundary_of"]
