"""Rewriting: how a pass makes a new graph from an immutable one. Nothing recurses, so graphs may be deep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace as with_fields

from bnnc.ir.module import Input, Module
from bnnc.ir.op import Op


def rebuild(module: Module, change: Callable[[Op], Op]) -> Module:
    """The module with every op replaced by change(op), operands first.

    `change` sees each op with its operands already replaced and returns it, or anything of the same shape. It is
    called once for each op that is reachable; inputs are seen too but must stay. The same module object comes back if
    nothing changed.
    """
    new: dict[Op, Op] = {}
    for op in module.ops():
        new[op] = change(op.with_operands(new.__getitem__))
    return _with_results(module, new)


def replace(module: Module, new: Mapping[Op, Op]) -> Module:
    """The module with each key of `new` replaced by its value, whose operands are ops of the old module (keys or not).

    A value may read its own key's operands but not the key itself.
    """
    done: dict[Op, Op] = {}
    for op in _in_dependency_order(module, new):
        done[op] = new.get(op, op).with_operands(done.__getitem__)
    return _with_results(module, done)


def _roots(module: Module) -> list[Op]:
    return [*module.inputs, *(output.value for output in module.outputs)]


def _in_dependency_order(module: Module, new: Mapping[Op, Op]) -> list[Op]:
    """Old ops, and ops that only the replacements read, each behind what its replacement reads."""
    order: dict[Op, None] = {}
    stack: list[tuple[Op, bool]] = [(root, False) for root in reversed(_roots(module))]
    while stack:
        op, ready = stack.pop()
        if op in order:
            continue
        if ready:
            order[op] = None
        else:
            stack.append((op, True))
            stack.extend((x, False) for x in reversed(new.get(op, op).operands) if x not in order)
    return list(order)


def _with_results(module: Module, new: Mapping[Op, Op]) -> Module:
    inputs = tuple(new[op] for op in module.inputs)
    outputs = tuple(with_fields(o, value=new[o.value]) for o in module.outputs)
    same = all(a is b for a, b in zip(inputs, module.inputs, strict=True))
    if same and all(a.value is b.value for a, b in zip(outputs, module.outputs, strict=True)):
        return module
    kept = tuple(op for op in inputs if isinstance(op, Input))
    return with_fields(module, inputs=kept, outputs=outputs)
