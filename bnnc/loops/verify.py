"""Checks a «loop» program before it is printed: names, calls, places in the arena, variables read before they exist."""

from __future__ import annotations

import re

from bnnc.loops.ir import (
    I64,
    Assign,
    Call,
    Expression,
    For,
    Function,
    If,
    Program,
    Statement,
    Store,
    Variable,
    While,
    buffers_of,
    expressions_of,
    nodes_of,
    statements_of,
)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class LoopProgramError(ValueError):
    """The program breaks a rule of the level: a mistake of the compiler, not of the user."""


def verify_program(program: Program) -> None:
    """Raises LoopProgramError at the first broken rule."""
    names = [program.entry.name, *(f.name for f in program.functions), *(b.name for b in program.constants())]
    for name in [program.name, *names]:
        _need(_NAME.fullmatch(name) is not None, f"`{name}` is no identifier")
    _need(len(set(names)) == len(names), f"names are used twice: {sorted(n for n in names if names.count(n) > 1)}")
    parameters = program.entry.parameters
    counts = tuple(p for p in parameters if isinstance(p, Variable))
    _need(
        parameters == (*program.inputs, *program.outputs, *counts) and len(counts) >= 1,
        "the entry takes the inputs, the outputs and the number of samples",
    )
    _need(all(count.of == I64 for count in counts), "the numbers that the entry takes are i64")
    known: set[Function] = set()
    for function in (*program.functions, program.entry):
        _verify_function(program, function, known)
        known.add(function)


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise LoopProgramError(message)


def _verify_function(program: Program, function: Function, known: set[Function]) -> None:
    where = f"function {function.name}: "
    for buffer in buffers_of(function):
        if buffer.space == "parameter":
            _need(buffer in function.parameters, f"{where}{buffer.name} is a parameter of another function")
        elif buffer.space == "arena":
            _need(function is program.entry, f"{where}only the entry may name the arena buffer {buffer.name}")
            end = buffer.offset + buffer.bytes
            _need(buffer.offset >= 0 and end <= program.arena_bytes, f"{where}{buffer.name} leaves the arena")
            _need(buffer.offset % max(buffer.alignment, buffer.element.bytes) == 0, f"{where}{buffer.name} is skewed")
        else:
            _need(buffer.data is not None and buffer.data.size == buffer.length, f"{where}{buffer.name} has no data")
    for statement in statements_of(function.body):
        if isinstance(statement, Call):
            _need(statement.function in known, f"{where}{statement.function.name} is called before it is listed")
        if isinstance(statement, Store):
            _need(statement.buffer.access != "read", f"{where}{statement.buffer.name} is only read")
    _scopes(where, function.body, {p for p in function.parameters if isinstance(p, Variable)})


def _scopes(where: str, body: tuple[Statement, ...], known: set[Variable]) -> None:
    """Every variable is assigned before it is read; what a block makes ends with the block."""
    known = set(known)
    for statement in body:
        for root in expressions_of(statement):
            _reads(where, root, known)
        match statement:
            case Assign(variable, value):
                _need(variable.of == value.type, f"{where}{variable.name} is {variable.of}, not {value.type}")
                _need(variable.mutable or variable not in known, f"{where}{variable.name} is assigned twice")
                known.add(variable)
            case For(variable, _, _, _, inner):
                _scopes(where, inner, known | {variable})
            case While(_, inner):
                _scopes(where, inner, known)
            case If(_, then, otherwise):
                _scopes(where, then, known)
                _scopes(where, otherwise, known)


def _reads(where: str, root: Expression, known: set[Variable]) -> None:
    for node in nodes_of(root):
        if isinstance(node, Variable):
            _need(node in known, f"{where}{node.name} is read before it is assigned")


__all__ = ["LoopProgramError", "verify_program"]
