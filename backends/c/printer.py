"""Prints a «loop» program without vectors as the body of a C99 file: tables, one function a layer, the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bnnc.backends.c.functions import FunctionPrinter, Needs
from bnnc.backends.c.names import Locals, comment_text
from bnnc.backends.c.ranges import Interval, Ranges
from bnnc.backends.c.tables import table_text
from bnnc.loops.ir import Buffer, Call, For, Function, Pointer, Program, Variable, buffers_of, statements_of
from bnnc.loops.verify import verify_program


@dataclass
class Printed(Needs):
    """The text of a program, and what a file around it must bring along."""

    tables: str = ""
    functions: str = ""
    body: list[str] = field(default_factory=list)
    table_names: list[tuple[str, Buffer]] = field(default_factory=list)
    stack_bytes: int = 0


def print_program(
    program: Program,
    prefix: str,
    index_bits: int,
    rom: bool,
    origin: Callable[[Function], str],
    casts: Mapping[Buffer, str],
    by_rows: bool = False,
) -> Printed:
    """`body` holds the statements of one run, over the arrays that `casts` gives for inputs and outputs, and `arena`.

    index_bits: 16 or 32, the width of indices; `rom`: tables are read by macros. `origin` says which layer of the
    user's a function is.
    """
    return print_programs((program,), prefix, index_bits, rom, origin, casts, by_rows)[0]


def print_programs(
    programs: Sequence[Program],
    prefix: str,
    index_bits: int,
    rom: bool,
    origin: Callable[[Function], str],
    casts: Mapping[Buffer, str],
    by_rows: bool = False,
) -> tuple[Printed, list[list[str]]]:
    """Several programs with the same functions, on one arena: what they share, and the body of each."""
    for each in programs:
        verify_program(each)
    printed = Printed()
    program = programs[0]
    entries = [each.entry for each in programs]
    constants = list(dict.fromkeys(buffer for each in programs for buffer in each.constants()))
    symbols = _symbols(program.functions, constants, prefix)
    shared = {a.buffer for f in (*program.functions, *entries) for a in _pointers(f) if a.buffer.data is not None}
    tables = []
    owners = {buffer: origin(f) for f in reversed(program.functions) for buffer in buffers_of(f) if origin(f)}
    for buffer in constants:
        about = "; ".join(text for text in (owners.get(buffer, ""), comment_text(buffer.comment)) if text)
        tables.append(table_text(symbols[buffer], buffer, about, not rom or buffer not in shared, index_bits))
        printed.table_names.append((symbols[buffer], buffer))
    printed.tables = "\n".join(tables)
    given = _given(program.functions, entries)
    functions: list[str] = []
    frames: dict[Function, int] = {}
    for function in program.functions:
        printer = FunctionPrinter(printed, symbols, index_bits, rom, shared, given)
        functions.append(printer.function(function, origin(function)))
        frames[function] = printer.frame + max((frames[c.function] for c in _calls(function)), default=0)
    printed.functions = "\n".join(functions)
    bodies = []
    for entry in entries:
        printer = FunctionPrinter(printed, symbols, index_bits, rom, shared, given)
        bodies.append(printer.run(entry, casts, by_rows))
        printed.stack_bytes = max(printed.stack_bytes, printer.frame + max(frames.values(), default=0))
    printed.body = bodies[0]
    return printed, bodies


def _given(functions: Sequence[Function], entries: Sequence[Function]) -> dict[Variable, Interval]:
    """What callers pass: an interval for every parameter that is a number. Callers come after what they call."""
    given: dict[Variable, Interval] = {s.variable: (0, 0) for e in entries for s in e.body if isinstance(s, For)}
    for function in (*entries, *reversed(functions)):
        ranges = Ranges(function, given)
        if any(function is entry for entry in entries):
            for variable, interval in given.items():
                ranges.fix(variable, interval)
        for call in _calls(function):
            for parameter, argument in zip(call.function.parameters, call.arguments, strict=True):
                if isinstance(parameter, Variable) and not parameter.of.element.is_float:
                    assert not isinstance(argument, Pointer)
                    lo, hi = ranges.of(argument)
                    before = given.get(parameter, (lo, hi))
                    given[parameter] = min(lo, before[0]), max(hi, before[1])
    return given


def _symbols(functions: Sequence[Function], constants: Sequence[Buffer], prefix: str) -> dict[object, str]:
    """A name for every function and table that no other has, however short the user's names are."""
    names = Locals(
        f"{prefix}_{word}"
        for word in (
            "run",
            "rows",
            "argmax",
            "selftest",
            "selftest_rows",
            "checksum",
            "run_rows",
            "row_fn",
            "in",
            "out",
        )
    )
    found: dict[object, str] = {}
    items: tuple[Function | Buffer, ...] = (*functions, *constants)
    for item in items:
        found[item] = names.fresh(f"{prefix}_{item.name}"[:200])
    return found


def _pointers(function: Function) -> list[Pointer]:
    return [a for call in _calls(function) for a in call.arguments if isinstance(a, Pointer)]


def _calls(function: Function) -> list[Call]:
    return [s for s in statements_of(function.body) if isinstance(s, Call)]


__all__ = ["Printed", "print_program", "print_programs"]
