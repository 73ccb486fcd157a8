"""Rewriting a module: the graph is immutable, so a pass makes a new one that shares whatever did not change."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

from bnnc.ir.module import Input, Module
from bnnc.ir.op import Op

Get = Callable[[Op], Op]


def rebuild(module: Module, change: Callable[[Op, Get], Op]) -> Module:
    """The module with every op replaced by change(op, new), operands before users.

    `new(o)` is what an earlier op o of the old module has become; `op.with_operands(new)` keeps an op as it is over its
    new operands (the same object if none of them changed). What `change` returns may be any graph over new ops. Inputs
    go through `change` too, but stay listed even if they are replaced or no longer read. The module itself is returned
    if nothing changed.
    """
    rewritten: dict[Op, Op] = {}

    def new(op: Op) -> Op:
        if op not in rewritten:
            raise ValueError(f"`{op.opcode}` ({op.loc.name}) does not come before the op that asks for it")
        return rewritten[op]

    for op in module.ops():
        rewritten[op] = change(op, new)
    return _assemble(module, new)


def replace(module: Module, replacements: Mapping[Op, Op]) -> Module:
    """The module in which every user of a key of `replacements` reads its value instead.

    A replacement may read old ops (they are rewritten too), but not, however far away, the op that it replaces: that
    is a ValueError.
    """
    rewritten: dict[Op, Op] = {}
    started: set[Op] = set()
    stack: list[Op] = [*reversed([*module.inputs, *(output.value for output in module.outputs)])]
    while stack:
        op = stack[-1]
        if op in rewritten:
            stack.pop()
            continue
        needs: Iterable[Op] = (replacements[op],) if op in replacements else op.operands
        waiting = [operand for operand in needs if operand not in rewritten]
        if waiting:
            if op in started:
                raise ValueError(f"the replacement of `{op.opcode}` ({op.loc.name}) reads what it replaces")
            started.add(op)
            stack.extend(reversed(waiting))
            continue
        stack.pop()
        rewritten[op] = rewritten[replacements[op]] if op in replacements else op.with_operands(rewritten.__getitem__)
    return _assemble(module, rewritten.__getitem__)


def _assemble(module: Module, new: Get) -> Module:
    inputs = tuple(found if isinstance(found := new(op), Input) else op for op in module.inputs)
    outputs = tuple(
        output if new(output.value) is output.value else dataclasses.replace(output, value=new(output.value))
        for output in module.outputs
    )
    same = all(a is b for a, b in zip((*inputs, *outputs), (*module.inputs, *module.outputs), strict=True))
    return module if same else dataclasses.replace(module, inputs=inputs, outputs=outputs)
