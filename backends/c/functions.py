"""Prints a function of the «loop» level, without vectors, as a function of C99; and the run as its statements."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bnnc.backends.c.expressions import ExpressionPrinter
from bnnc.backends.c.names import Locals, comment_text
from bnnc.backends.c.pruning import pruned, touched, variables_read
from bnnc.backends.c.ranges import Interval, Ranges
from bnnc.backends.c.runs import runs_of
from bnnc.backends.c.sums import TOGETHER, sums_at
from bnnc.backends.c.tables import COLUMNS
from bnnc.backends.c.vectors import function_name
from bnnc.diagnostics import error
from bnnc.loops.ir import (
    F32,
    I8,
    I16,
    I32,
    I64,
    Assign,
    Barrier,
    Buffer,
    Call,
    Expression,
    Fetch,
    For,
    Function,
    Gather,
    If,
    Load,
    Pointer,
    Scalar,
    Statement,
    Store,
    Variable,
    While,
    buffers_of,
    nodes_of,
    statements_of,
)

# Elements other than words may lie in the caller's array of words, where a compiler must not assume their own type.
ELEMENTS: dict[Scalar, str] = {I8: "uint8_t", I16: "bnnc_u16", I32: "uint32_t", I64: "bnnc_u64", F32: "bnnc_f32"}
MANY_LOADS = 8
"""From so many loads in a row of statements on, compilers are told not to move them up."""


@dataclass
class Needs:
    """What a file must bring along for the functions in it."""

    primitives: set[str] = field(default_factory=set)
    headers: set[str] = field(default_factory=set)
    elements: set[Scalar] = field(default_factory=set)
    ordered: bool = False


class FunctionPrinter(ExpressionPrinter):
    """The text of one function; `frame`: bytes of the stack that it takes at most."""

    def __init__(
        self,
        needs: Needs,
        symbols: dict[object, str],
        index_bits: int,
        rom: bool,
        shared: set[Buffer],
        given: Mapping[Variable, Interval],
    ) -> None:
        self._given = given
        self._needs, self._symbols = needs, symbols
        self._buffers: dict[Buffer, str] = {}
        self._aliases: dict[Buffer, str] = {}  # rows of the input, wherever they are
        self._lines: list[str] = []
        self._locals = Locals(symbols.values())
        self._depth = 1
        self._by_rows = False
        self.frame = 0
        self._settings = (index_bits, "int" if index_bits == 16 else f"int{index_bits}_t", rom, shared)

    # ------------------------------------------------------------------------------------------------------ functions
    def function(self, function: Function, origin: str) -> str:
        """One layer, or what layers share."""
        self._start(function)
        parameters = []
        for parameter in function.parameters:
            name = self._locals.fresh(parameter.name)
            if isinstance(parameter, Variable):
                self.names[parameter] = name
                parameters.append(f"{self.type_of(parameter)} {name}")
            else:
                self._buffers[parameter] = name
                self._needs.elements.add(parameter.element)
                constant = "const " if parameter.access == "read" else ""
                parameters.append(f"{constant}{ELEMENTS[parameter.element]} *restrict {name}")
        body = pruned(function.body)
        printed = replace(function, body=body)
        read = set(buffers_of(printed)) | variables_read(printed)
        unread = [p for p in function.parameters if p not in read]
        for parameter in unread:
            own = self.names[parameter] if isinstance(parameter, Variable) else self._buffers[parameter]
            self._line(f"(void){own};")
        self._statements(body)
        self._finish()
        about = "; ".join(t for t in (origin, comment_text(function.comment)) if t)
        head = f"static BNNC_ALONE void {self._symbols[function]}({', '.join(parameters) or 'void'}) {{"
        return "\n".join([*([f"/* {about} */"] if about else []), *_wrapped(head, 0), *self._lines, "}", ""])

    def run(self, entry: Function, casts: Mapping[Buffer, str], by_rows: bool) -> list[str]:
        """The statements of the entry for one sample."""
        self._by_rows = by_rows
        self._start(entry)
        self._buffers.update(casts)
        known = touched(entry)
        for buffer in buffers_of(entry):
            if buffer.space == "arena":
                self._needs.elements.add(buffer.element)
            if buffer in known:  # what the entry itself reads and writes
                name = self._buffers[buffer] = self._locals.fresh(buffer.name)
                constant = "const " if known[buffer] == "read" else ""
                self._line(f"{constant}uint32_t *const {name} = arena + {buffer.offset // 4};")
        for fetch in (s for s in statements_of(entry.body) if isinstance(s, Fetch)):
            target = fetch.target.buffer
            if fetch.runs == 1 and target.length == fetch.count and target not in self._aliases:
                # A row in one piece, which no other joins, is read where it is.
                name = self._aliases[target] = self._locals.fresh("rows")
                self._line(f"const {ELEMENTS[target.element]} *{name} = 0;")
        loops = [s for s in entry.body if isinstance(s, For)]
        for sample in loops:  # none where nothing is to be done
            self.ranges.fix(sample.variable, (0, 0))
            self.names[sample.variable] = "0"
            self._statements(pruned(sample.body))
        self._finish()
        return self._lines

    def _start(self, function: Function) -> None:
        index_bits, index_type, rom, shared = self._settings
        super().__init__(Ranges(function, self._given), index_bits, index_type, rom, shared, self._name_of)
        # Every local once, saved registers, and a call's: more than compilers take at -O1 and above.
        numbers = {s.variable for s in statements_of(function.body) if isinstance(s, Assign | For)}
        self.frame = 64 + 4 * len(function.parameters) + sum(max(4, v.of.element.bytes * v.of.lanes) for v in numbers)

    def _finish(self) -> None:
        self._needs.primitives |= self.used
        self._needs.headers |= self.headers

    def _name_of(self, buffer: Buffer) -> str:
        if buffer in self._buffers:
            return self._buffers[buffer]
        return self._symbols[buffer]

    # ----------------------------------------------------------------------------------------------------- statements
    def _line(self, text: str) -> None:
        self._lines.extend(_wrapped("    " * self._depth + text, self._depth))

    def _block(self, head: str, body: tuple[Statement, ...]) -> None:
        self._line(f"{head} {{")
        self._depth += 1
        self._statements(body)
        self._depth -= 1
        self._line("}")

    def _statements(self, body: tuple[Statement, ...]) -> None:
        loads = [isinstance(s, Assign) and any(isinstance(n, Load | Gather) for n in nodes_of(s.value)) for s in body]
        ordered = sum(loads) >= MANY_LOADS
        runs = runs_of(body) if self.index_bits == 16 else {}
        done = 0
        for number, statement in enumerate(body):
            if number < done:
                continue
            sums = sums_at(body, number) if self.index_bits == 32 else None
            if sums is not None:
                self._add_words(*sums)
                done = number + len(sums[2])
                continue
            if ordered and loads[number] and number and not loads[number - 1]:
                self._line("BNNC_IN_ORDER;")
                self._needs.ordered = True
            match statement:
                case Assign(variable, value):
                    self._assign(variable, value)
                    for buffer in runs.get(variable, []):
                        self._run(buffer, variable)
                case Store(buffer, index, value, _):
                    stored = self.value(value)
                    if value.type.lanes != 1:
                        name = function_name("store", value.type)
                        self.used.add(name)
                        self._line(f"{name}({self.place(buffer, index)}, {stored});")
                        continue
                    if buffer.element == I64:
                        stored = self.wide(value)
                    self._line(f"{self._name_of(buffer)}[{self.index(index)}] = {stored};")
                case For():
                    self._for(statement)
                case While(condition, inner):
                    self._block(f"while ({self.value(condition)})", inner)
                case If(condition, then, otherwise):
                    self._block(f"if ({self.value(condition)})", then)
                    if otherwise:
                        self._lines[-1] += " else {"
                        self._depth += 1
                        self._statements(otherwise)
                        self._depth -= 1
                        self._line("}")
                case Call(callee, arguments):
                    shown = ", ".join(
                        self._pointer(a, p) if isinstance(a, Pointer) and isinstance(p, Buffer) else self.value(a)  # type: ignore[arg-type]
                        for a, p in zip(arguments, callee.parameters, strict=True)
                    )
                    self._line(f"{self._symbols[callee]}({shown});")
                case Barrier():
                    pass  # one sample runs on one thread
                case Fetch():
                    self._fetch(statement)

    def _fetch(self, fetch: Fetch) -> None:
        """A row of the input: from the caller's function `get_row` if there is one, or where the caller's image is."""
        target = fetch.target.buffer
        own = self._aliases.pop(target, "")
        place = self._pointer(fetch.target, target)
        row, image = self.value(fetch.row), self._pointer(fetch.source, fetch.source.buffer)
        given = [f"if (get_row(context, (uint32_t)({row}), (void *)({place})) != 0) {{", "    return 1;", "}"]
        if own:
            self._aliases[target] = own
            given.append(f"{own} = {place};")
            found = [f"{own} = {image};"]
        else:
            self._needs.headers.add("string.h")
            size = fetch.count * target.element.bytes
            runs = [(run * fetch.count, run * fetch.step) for run in range(fetch.runs)]
            found = [f"memcpy({place} + {to}, {image} + {of}, {size}u);" for to, of in runs]
        if self._by_rows:
            found = ["if (get_row != 0) {", *(f"    {x}" for x in given), "} else {", *(f"    {x}" for x in found), "}"]
        for line in found:
            self._line(line)

    def _add_words(self, buffer: Buffer, place: Variable, sums: list[Variable]) -> None:
        """Neighbouring words are added to these sums."""
        name = self._locals.fresh("next")
        self._line(f"const uint32_t *{name} = {self.place(buffer, place)};")
        for first in range(0, len(sums), TOGETHER):
            shown = ", ".join(self.names[total] for total in sums[first : first + TOGETHER])
            self._line(f"BNNC_ADD_WORDS({name}, {shown});")
        self.used.add("BNNC_ADD_WORDS")

    def _assign(self, variable: Variable, value: Expression) -> None:
        text = self.wide(value) if variable.of == I64 and not self.is_index(variable) else self.value(value)
        if variable in self.names:
            self._line(f"{self.names[variable]} = {text};")
            return
        name = self.names[variable] = self._locals.fresh(variable.name)
        kind = self.type_of(variable)
        self._line(f"{kind if variable.mutable else f'const {kind}'} {name} = {text};")

    def _run(self, buffer: Buffer, variable: Variable) -> None:
        """A pointer by which neighbours are read."""
        name = self.runs[buffer, variable] = self._locals.fresh(f"{self._name_of(buffer)}_at")
        # The variable is named even where it is 0: all its other readers may go by the pointer.
        where = f"{self._name_of(buffer)} + {self.names[variable]}"
        self._line(f"const {ELEMENTS[buffer.element]} *{name} = {where};")
        self._line(f"BNNC_NEAR({name});")
        self.used.add("BNNC_NEAR")

    def _for(self, loop: For) -> None:
        name = self.names[loop.variable] = self._locals.fresh(loop.variable.name)
        kind = self.type_of(loop.variable)
        step = f"++{name}" if loop.step == 1 else f"{name} += {loop.step}"
        if self.is_index(loop.variable):
            start, stop = self.value(loop.start), self.value(loop.stop)
            test = f"{name} < {stop}"
        else:
            bits = loop.variable.of.element.bits
            start, stop = self.wide(loop.start), self.wide(loop.stop)
            test = f"(int{bits}_t){name} < (int{bits}_t){stop}"
        self._block(f"for ({kind} {name} = {start}; {test}; {step})", loop.body)

    def _pointer(self, argument: Pointer, parameter: Buffer) -> str:
        buffer, index = argument.buffer, argument.index
        wanted = ELEMENTS[parameter.element]
        below = self.ranges.of(index)[0] < 0 and buffer.space != "arena"
        if not parameter.length and parameter.element == I32 and below:
            return self._call("bnnc_place", self._name_of(buffer), self.value(index))[0]
        # A variable that can only be 0 is named all the same: compilers warn of those that nothing reads.
        named = any(isinstance(node, Variable) and self.names.get(node) != "0" for node in nodes_of(index))
        offset = f" + {self.atom(index, 4)}" if named or self.ranges.of(index) != (0, 0) else ""
        if buffer in self._aliases:
            return f"{self._aliases[buffer]}{offset}"
        if buffer.space == "arena":
            where = f"arena + {buffer.offset // 4}"
            if buffer.offset % 4:
                raise error("B0901", "a buffer of the arena is not on a word")
            if parameter.element == I32:
                return where + offset
            return f"({wanted} *)(void *)({where}){offset}"
        return f"{self._name_of(buffer)}{offset}"


def _wrapped(line: str, depth: int) -> list[str]:
    if len(line) <= COLUMNS:
        return [line]
    indent = "    " * depth
    return textwrap.wrap(
        line.strip(),
        COLUMNS,
        initial_indent=indent,
        subsequent_indent=f"{indent}    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


__all__ = ["ELEMENTS", "FunctionPrinter", "Needs"]
