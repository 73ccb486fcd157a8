"""Prints a «loop» program as LLVM IR in SSA form: structured loops need no stack slots, so no pass has to undo them."""

from __future__ import annotations

import numpy as np

from bnnc.backends.llvm.expressions import ExpressionPrinter, type_text
from bnnc.loops.ir import (
    Assign,
    Barrier,
    Buffer,
    Call,
    Constant,
    Expression,
    Fetch,
    For,
    Function,
    If,
    Pointer,
    Program,
    Statement,
    Store,
    Variable,
    While,
    buffers_of,
    statements_of,
)
from bnnc.loops.verify import verify_program

_ESCAPED = np.array([f"\\{byte:02X}".encode() for byte in range(256)], dtype="S3")


# Every thread takes a ticket; a round is over once as many tickets are out as end it. Spins for a few microseconds,
# then sleeps for some: the one waited for may need this very core, and one that slept is served before one that spun.
_BARRIER = """define internal void @NAME_barrier(ptr %meeting, i64 %threads) #0 {
entry:
  %alone = icmp sle i64 %threads, 1
  br i1 %alone, label %done, label %meet
meet:
  %ticket = atomicrmw add ptr %meeting, i64 1 acq_rel
  %round = udiv i64 %ticket, %threads
  %next = add i64 %round, 1
  %full = mul i64 %next, %threads
  br label %test
test:
  %spins = phi i64 [ 0, %meet ], [ %more, %again ], [ 0, %sleep ]
  %now = load atomic i64, ptr %meeting acquire, align 8
  %reached = icmp uge i64 %now, %full
  br i1 %reached, label %done, label %again
again:
  %more = add i64 %spins, 1
  %long = icmp ugt i64 %more, 4096
  br i1 %long, label %sleep, label %test
sleep:
  call void @bnnc_pause(i32 30)
  br label %test
done:
  ret void
}
declare void @bnnc_pause(i32)
"""


def symbol_of(program: Program, function: Function) -> str:
    """The symbol of a function: the program's name, `_`, the function's."""
    return f"{program.name}_{function.name}"


def constant_symbol(program: Program, buffer: Buffer) -> str:
    """The symbol of a constant."""
    return f"{program.name}_{buffer.name}"


def print_llvm(program: Program, embed_constants: bool = True, bench: bool = False) -> str:
    """The module as text.

    The entry becomes `i32 NAME_run(inputs…, outputs…, i64 n, ptr arena)` and returns 0. `embed_constants` writes the
    constants into the module; without it they are external symbols. `bench` adds `NAME_bench(…, i64 repeats)`, and for
    the k-th call of the entry `NAME_bench_k(…, i64 repeats)`, which runs that call alone, on sample 0.
    """
    verify_program(program)
    parts = [f"; {program.name}: arena {program.arena_bytes} bytes\n"]
    for buffer in program.constants():
        symbol = constant_symbol(program, buffer)
        if embed_constants:
            parts.append(f"; {buffer.comment}" if buffer.comment else f"; {buffer.element}[{buffer.length}]")
            content = f'[{buffer.bytes} x i8] c"{_bytes(buffer)}"'
            parts.append(f"@{symbol} = internal unnamed_addr constant {content}, align {max(buffer.alignment, 1)}")
        else:
            parts.append(f"@{symbol} = external constant i8, align {max(buffer.alignment, 1)}")
    declarations: dict[str, None] = {}
    for function in program.functions:
        printer = _FunctionPrinter(program)
        parts.append(printer.print_layer(function))
        declarations.update(printer.declarations)
    extra = [program.entry]
    if bench:
        extra += _single_calls(program.entry)
    for position, function in enumerate(extra):
        printer = _FunctionPrinter(program)
        parts.append(printer.print_entry(function, public=position == 0))
        declarations.update(printer.declarations)
        if bench:
            parts.append(_repeater(program, function, "bench" if position == 0 else f"bench_{position - 1}"))
    if any(isinstance(s, Barrier) for f in extra for s in statements_of(f.body)):
        parts.append(_BARRIER.replace("NAME", program.name))
    parts.append("\n".join(sorted(declarations)))
    parts.append("attributes #0 = { nounwind noinline }\nattributes #1 = { nounwind alwaysinline }\n")
    return "\n".join(parts)


def _bytes(buffer: Buffer) -> str:
    assert buffer.data is not None
    # Little-endian, as every target here is.
    raw = np.frombuffer(buffer.data.astype(buffer.data.dtype.newbyteorder("<"), copy=False).tobytes(), np.uint8)
    return _ESCAPED[raw].tobytes().decode("ascii")


def calls_of(entry: Function) -> list[Call]:
    """The calls of an entry, in order: one a layer."""
    return [statement for statement in statements_of(entry.body) if isinstance(statement, Call)]


def _single_calls(entry: Function) -> list[Function]:
    loops = [s for s in statements_of(entry.body) if isinstance(s, For)]
    starts: tuple[Statement, ...] = tuple(Assign(loop.variable, loop.start) for loop in loops)
    lets = tuple(s for s in statements_of(entry.body) if isinstance(s, Assign))
    return [
        Function(f"call_{position}", entry.parameters, (*starts, *lets, call))
        for position, call in enumerate(calls_of(entry))
    ]


def _arguments(function: Function) -> list[str]:
    shown = []
    for parameter in function.parameters:
        # Locals carry numbers from 1 on, so `.0` cannot meet them.
        name = f" %{parameter.name}.0"
        if isinstance(parameter, Variable):
            shown.append(f"{type_text(parameter.of)}{name}")
        else:
            access = {"read": " readonly", "write": " writeonly", "both": ""}[parameter.access]
            shown.append(f"ptr noalias{access} align {max(parameter.alignment, parameter.element.bytes)}{name}")
    return shown


def _repeater(program: Program, function: Function, name: str) -> str:
    arguments = [*_arguments(function), "ptr noalias align 64 %arena"]
    passed = [*_arguments(function), "ptr %arena"]
    return (
        f"define void @{program.name}_{name}({', '.join([*arguments, 'i64 %repeats'])}) #0 {{\n"
        "entry:\n  br label %loop\n"
        "loop:\n  %i = phi i64 [ 0, %entry ], [ %next, %loop ]\n"
        f"  %status = call i32 @{symbol_of(program, function)}({', '.join(passed)})\n"
        "  %next = add i64 %i, 1\n  %more = icmp slt i64 %next, %repeats\n"
        "  br i1 %more, label %loop, label %done\n"
        "done:\n  ret void\n}\n"
    )


class _FunctionPrinter(ExpressionPrinter):
    def __init__(self, program: Program) -> None:
        super().__init__()
        self._program = program
        self._block = "entry"

    def print_layer(self, function: Function) -> str:
        """A function that the entry, or another function, calls."""
        symbol = symbol_of(self._program, function)
        self._print_body(function)
        head = f"define internal void @{symbol}({', '.join(_arguments(function))}) #{1 if function.inline else 0} {{"
        return "\n".join([*self._comments(function), head, "entry:", *self.lines, "  ret void", "}", ""])

    def print_entry(self, function: Function, public: bool) -> str:
        """The entry; arena buffers are places relative to its last parameter."""
        symbol = symbol_of(self._program, function)
        self._print_body(function)
        arguments = [*_arguments(function), "ptr noalias align 64 %arena"]
        head = f"define{'' if public else ' internal'} i32 @{symbol}({', '.join(arguments)}) #0 {{"
        return "\n".join([*self._comments(function), head, "entry:", *self.lines, "  ret i32 0", "}", ""])

    @staticmethod
    def _comments(function: Function) -> list[str]:
        texts = [function.comment, f"layer {function.loc.name}" if function.loc.name else ""]
        # A user's name may hold anything; a comment holds one line of ASCII.
        plain = [" ".join(text.split()).encode("unicode_escape").decode() for text in texts if text]
        return [f"; {text}" for text in plain]

    def _print_body(self, function: Function) -> None:
        for parameter in function.parameters:
            if isinstance(parameter, Variable):
                self.values[parameter] = f"%{parameter.name}.0"
            else:
                self.pointers[parameter] = f"%{parameter.name}.0"
        for buffer in buffers_of(function):
            if buffer.space == "constant":
                self.pointers[buffer] = f"@{constant_symbol(self._program, buffer)}"
            elif buffer.space == "arena":
                self.pointers[buffer] = self.emit(
                    f"getelementptr inbounds i8, ptr %arena, i64 {buffer.offset}", buffer.name
                )
        self._statements(function.body)

    # ------------------------------------------------------------------------------------------------ control flow
    def _label(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self._block = label

    def _statements(self, body: tuple[Statement, ...]) -> None:
        for statement in body:
            match statement:
                case Assign(variable, value):
                    self.values[variable] = self.value(value)
                case Store(buffer, index, value, alignment):
                    stored = self.value(value)
                    place = self.address(buffer, buffer.element, index)
                    align = alignment or buffer.element.bytes
                    self.lines.append(f"  store {type_text(value.type)} {stored}, ptr {place}, align {align}")
                case For():
                    self._for(statement)
                case While(condition, inner):
                    self._while(condition, inner)
                case If(condition, then, otherwise):
                    self._if(condition, then, otherwise)
                case Call(callee, arguments):
                    self._call(callee, arguments)
                case Barrier(meeting, threads):
                    place = f"ptr {self.pointers[meeting]}, i64 {self.value(threads)}"
                    self.lines.append(f"  call void @{self._program.name}_barrier({place})")
                case Fetch(target, source, _, runs, count, step):
                    size = count * source.buffer.element.bytes
                    self.declarations["declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)"] = None
                    for run in range(runs):
                        to = self.address(target.buffer, target.buffer.element, target.index + run * count)
                        of = self.address(source.buffer, source.buffer.element, source.index + run * step)
                        self.lines.append(f"  call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {of}, i64 {size}, i1 0)")

    def _call(self, callee: Function, arguments: tuple[Pointer | Expression, ...]) -> None:
        shown = []
        for argument in arguments:
            if isinstance(argument, Pointer):
                shown.append(f"ptr {self.address(argument.buffer, argument.buffer.element, argument.index)}")
            else:
                shown.append(f"{type_text(argument.type)} {self.value(argument)}")
        self.lines.append(f"  call void @{symbol_of(self._program, callee)}({', '.join(shown)})")

    def _changed(self, *bodies: tuple[Statement, ...]) -> list[Variable]:
        """Which variables that exist here are assigned in the bodies, in order of first assignment."""
        found: dict[Variable, None] = {}
        for body in bodies:
            for statement in statements_of(body):
                if isinstance(statement, Assign) and statement.variable in self.values:
                    found[statement.variable] = None
        return list(found)

    def _phis(self, variables: list[Variable]) -> list[tuple[Variable, str, int]]:
        """Reserves a line and a name for each variable's phi; the lines are filled in once all values are known."""
        places = []
        for variable in variables:
            places.append((variable, self.name(variable.name), len(self.lines)))
            self.lines.append("")
        return places

    def _for(self, loop: For) -> None:
        start, stop = self.value(loop.start), self.value(loop.stop)
        changed = self._changed(loop.body)
        before = {variable: self.values[variable] for variable in changed}
        counter = type_text(loop.variable.of)
        number = self.name(loop.variable.name)[1:]
        head, done = f"loop.{number}", f"done.{number}"
        fixed = isinstance(loop.start, Constant) and isinstance(loop.stop, Constant)
        if fixed and loop.start.value >= loop.stop.value:  # type: ignore[attr-defined]
            return
        origin = self._block
        if fixed:
            self.lines.append(f"  br label %{head}")
        else:
            some = self.emit(f"icmp slt {counter} {start}, {stop}")
            self.lines.append(f"  br i1 {some}, label %{head}, label %{done}")
        self._label(head)
        index = f"%{number}"
        index_line = len(self.lines)
        self.lines.append("")
        phis = self._phis(changed)
        self.values[loop.variable] = index
        for variable, name, _ in phis:
            self.values[variable] = name
        self._statements(loop.body)
        following = self.emit(f"add nsw {counter} {index}, {loop.step}")
        again = self.emit(f"icmp slt {counter} {following}, {stop}")
        last = self._block
        self.lines.append(f"  br i1 {again}, label %{head}, label %{done}")
        self.lines[index_line] = f"  {index} = phi {counter} [ {start}, %{origin} ], [ {following}, %{last} ]"
        after = {variable: self.values[variable] for variable in changed}
        for variable, name, line in phis:
            incoming = f"[ {before[variable]}, %{origin} ], [ {after[variable]}, %{last} ]"
            self.lines[line] = f"  {name} = phi {type_text(variable.of)} {incoming}"
        self._label(done)
        if not fixed:
            self._merge(changed, (before, origin), (after, last))

    def _merge(
        self,
        variables: list[Variable],
        one: tuple[dict[Variable, str], str],
        two: tuple[dict[Variable, str], str],
    ) -> None:
        for variable in variables:
            incoming = ", ".join(f"[ {values[variable]}, %{block} ]" for values, block in (one, two))
            self.values[variable] = self.emit(f"phi {type_text(variable.of)} {incoming}", variable.name)

    def _while(self, condition: Expression, body: tuple[Statement, ...]) -> None:
        changed = self._changed(body)
        before = {variable: self.values[variable] for variable in changed}
        origin = self._block
        number = self.name("while")[1:]
        self.lines.append(f"  br label %test.{number}")
        self._label(f"test.{number}")
        phis = self._phis(changed)
        for variable, name, _ in phis:
            self.values[variable] = name
        again = self.value(condition)
        self.lines.append(f"  br i1 {again}, label %body.{number}, label %done.{number}")
        self._label(f"body.{number}")
        self._statements(body)
        self.lines.append(f"  br label %test.{number}")
        for variable, name, line in phis:
            incoming = f"[ {before[variable]}, %{origin} ], [ {self.values[variable]}, %{self._block} ]"
            self.lines[line] = f"  {name} = phi {type_text(variable.of)} {incoming}"
            self.values[variable] = name
        self._label(f"done.{number}")

    def _if(self, condition: Expression, then: tuple[Statement, ...], otherwise: tuple[Statement, ...]) -> None:
        chosen = self.value(condition)
        changed = self._changed(then, otherwise)
        before = {variable: self.values[variable] for variable in changed}
        number = self.name("if")[1:]
        self.lines.append(f"  br i1 {chosen}, label %then.{number}, label %else.{number}")
        ends = []
        for label, body in (("then", then), ("else", otherwise)):
            self.values.update(before)
            self._label(f"{label}.{number}")
            self._statements(body)
            ends.append(({variable: self.values[variable] for variable in changed}, self._block))
            self.lines.append(f"  br label %end.{number}")
        self._label(f"end.{number}")
        self._merge(changed, ends[0], ends[1])


__all__ = ["calls_of", "constant_symbol", "print_llvm", "symbol_of"]
