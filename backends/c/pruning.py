"""What statements read and write, and what is left of them without what nothing reads."""

from __future__ import annotations

from bnnc.loops.ir import (
    I32,
    Assign,
    Buffer,
    For,
    Function,
    If,
    Load,
    Statement,
    Store,
    Variable,
    While,
    expressions_of,
    nodes_of,
    statements_of,
)


def touched(entry: Function) -> dict[Buffer, str]:
    """The numbers in the arena that a function reads or writes itself."""
    found: dict[Buffer, str] = {}
    for statement in statements_of(entry.body):
        for root in expressions_of(statement):
            for node in nodes_of(root):
                if isinstance(node, Load) and node.buffer.space == "arena" and node.buffer.element == I32:
                    found.setdefault(node.buffer, "read")
        if isinstance(statement, Store) and statement.buffer.space == "arena" and statement.buffer.element == I32:
            found[statement.buffer] = "both"
    return found


def variables_read(function: Function) -> set[object]:
    """All variables in the expressions of a function."""
    found: set[object] = set()
    for statement in statements_of(function.body):
        for root in expressions_of(statement):
            found.update(node for node in nodes_of(root) if isinstance(node, Variable))
    return found


def pruned(body: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """Without assignments to variables that nothing reads: compilers warn of them."""
    while True:
        read: set[Variable] = set()
        for statement in statements_of(body):
            for root in expressions_of(statement):
                for node in nodes_of(root):
                    if isinstance(node, Variable) and not (
                        isinstance(statement, Assign) and statement.variable is node
                    ):
                        read.add(node)
        smaller = _without(body, read)
        if sum(1 for _ in statements_of(smaller)) == sum(1 for _ in statements_of(body)):
            return body
        body = smaller


def _without(body: tuple[Statement, ...], read: set[Variable]) -> tuple[Statement, ...]:
    kept: list[Statement] = []
    for statement in body:
        match statement:
            case Assign(variable, _):
                if variable in read:
                    kept.append(statement)
            case For(variable, start, stop, step, inner):
                if rest := _without(inner, read):
                    kept.append(For(variable, start, stop, step, rest))
            case While(condition, inner):
                kept.append(While(condition, _without(inner, read)))
            case If(condition, then, otherwise):
                one, two = _without(then, read), _without(otherwise, read)
                if one or two:
                    kept.append(If(condition, one, two))
            case _:
                kept.append(statement)
    return tuple(kept)


__all__ = ["pruned", "touched", "variables_read"]
