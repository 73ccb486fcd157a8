"""Rewriting a module: the graph is immutable, so a pass makes a new one that shares whatever did not change."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from bnnc.ir.module import Input, Module
from bnnc.ir.op import Op

AnyOp = TypeVar("AnyOp", bound=Op)


def rebuild(module: Module, change: Callable[[Op], Op]) -> Module:
    """The module with every op replaced by change(op), operands before users.

    `change` sees each reachable op once, with its operands already replaced, and returns it, or anything of the same
    shape. Inputs are seen too; they stay listed even if they are replaced or no longer read. The module itself is
    returned if nothing changed.
    """
    rewritten: dict[Op, Op] = {}
    for op in module.ops():
        rewritten[op] = change(op.with_operands(rewritten.__getitem__))
    return _assemble(module, rewritten)


def replace(module: Module, replacements: Mapping[AnyOp, Op]) -> Module:
    """The module in which every user of a key of `replacements` reads its value instead.

    A replacement may read old ops (they are rewritten too), but not, however far away, the op that it replaces: that
    is a ValueError.
    """
    wanted: dict[Op, Op] = {op: new for op, new in replacements.items()}  # noqa: C416 (widens the key type)
    rewritten: dict[Op, Op] = {}
    started: set[Op] = set()
    stack: list[Op] = [*reversed([*module.inputs, *(output.value for output in module.outputs)])]
    while stack:
        op = stack[-1]
        if op in rewritten:
            stack.pop()
            continue
        needs: Iterable[Op] = (wanted[op],) if op in wanted else op.operands
        waiting = [operand for operand in needs if operand not in rewritten]
        if waiting:
            if op in started:
                raise ValueError(f"the replacement of `{op.opcode}` ({op.loc.name}) reads what it replaces")
            started.add(op)
            stack.extend(reversed(waiting))
            continue
        stack.pop()
        rewritten[op] = rewritten[wanted[op]] if op in wanted else op.with_operands(rewritten.__getitem__)
    return _assemble(module, rewritten)


def _assemble(module: Module, rewritten: Mapping[Op, Op]) -> Module:
    inputs = tuple(found if isinstance(found := rewritten[op], Input) else op for op in module.inputs)
    outputs = tuple(
        output
        if rewritten[output.value] is output.value
        else dataclasses.replace(output, value=rewritten[output.value])
        for output in module.outputs
    )
    same = all(a is b for a, b in zip((*inputs, *outputs), (*module.inputs, *module.outputs), strict=True))
    return module if same else dataclasses.replace(module, inputs=inputs, outputs=outputs)
