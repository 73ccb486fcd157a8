"""Rewriting shares what did not change, keeps the interface, and needs no deep stack."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from bnnc.ir import nn
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.rewrite import rebuild, replace
from bnnc.ir.types import F32
from tests.strategies import modules

RELAXED = settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))


def unary(function: str, x: Op) -> nn.Map:
    return nn.Map(function=function, xs=(x,))


def inputs(*names: str) -> list[Input]:
    return [Input(name=name, dtype=F32(), shape=(4,)) for name in names]


def spelled(op: Op) -> str:
    """The expression that the op stands for."""
    if isinstance(op, Input):
        return op.name
    return f"{op.opcode[3:]}({', '.join(spelled(x) for x in op.operands)})"


@RELAXED
@given(modules())
def test_nothing_changes_without_a_change(module: Module) -> None:
    seen: list[Op] = []
    assert rebuild(module, lambda op: seen.append(op) or op) is module  # type: ignore[func-returns-value]
    assert seen == list(module.ops())
    assert replace(module, {}) is module


def test_rebuild_gives_each_op_over_its_new_operands() -> None:
    x, unused = inputs("x", "unused")
    shared = unary("neg", x)
    total = nn.Map(function="add", xs=(unary("abs", shared), unary("neg", shared)))
    kept = unary("exp", x)
    module = Module("net", (x, unused), (Output("y", total), Output("z", kept)))

    def change(op: Op) -> Op:
        return unary("relu", op.operands[0]) if op.opcode == "nn.neg" else op

    new = rebuild(module, change)
    assert spelled(new.outputs[0].value) == "add(abs(relu(x)), relu(relu(x)))"
    assert new.outputs[1] is module.outputs[1]
    assert new.inputs == (x, unused)
    first, second = new.outputs[0].value.operands
    assert first.operands[0] is second.operands[0]  # still shared
    assert spelled(total) == "add(abs(neg(x)), neg(neg(x)))"


def test_an_input_can_be_replaced() -> None:
    x, y = inputs("x", "y")
    module = Module("net", (x,), (Output("out", unary("neg", x)),))
    new = rebuild(module, lambda op: y if op is x else op)
    assert new.inputs == (y,)
    dropped = rebuild(module, lambda op: nn.Constant(values=np.zeros(4, np.float32)) if op is x else op)
    assert dropped.inputs == (x,)  # an input that is no longer read stays part of the interface


def test_replace_sends_every_user_to_the_new_op() -> None:
    (x,) = inputs("x")
    a = unary("abs", x)
    b = unary("neg", a)
    c = unary("exp", b)
    module = Module("net", (x,), (Output("y", c), Output("z", b)))
    new = replace(module, {b: unary("floor", a), a: unary("ceil", x)})
    assert spelled(new.outputs[0].value) == "exp(floor(ceil(x)))"
    assert new.outputs[1].value is new.outputs[0].value.operands[0]
    # an op of the old module, and a chain of replacements
    assert spelled(replace(module, {c: b, b: a}).outputs[0].value) == "abs(x)"


def test_a_replacement_may_not_read_what_it_replaces() -> None:
    (x,) = inputs("x")
    a = unary("abs", x)
    module = Module("net", (x,), (Output("y", a),))
    with pytest.raises(ValueError, match=r"`nn\.abs`.*reads what it replaces"):
        replace(module, {a: unary("neg", unary("neg", a))})


def test_deep_graphs_need_no_deep_stack() -> None:
    (x,) = inputs("x")
    y: Op = x
    for _ in range(5000):
        y = unary("neg", y)
    module = Module("deep", (x,), (Output("y", y),))
    assert len(rebuild(module, lambda op: unary("abs", op.operands[0]) if op.operands else op).ops()) == 5001
    assert len(replace(module, {x: unary("exp", inputs("z")[0])}).ops()) == 5003
