"""Writes one function of the «loop» level statement by statement; `with` blocks are loops and branches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bnnc.ir.location import UNKNOWN, Location
from bnnc.loops.ir import (
    I1,
    I64,
    Access,
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
    Operand,
    Pointer,
    Promise,
    Scalar,
    Statement,
    Store,
    Type,
    Variable,
    While,
)


def at(buffer: Buffer, index: Operand = 0, length: int = 0) -> Pointer:
    """An argument of a call: the buffer from this element on; of a length, if that is promised."""
    return Pointer(buffer, index if isinstance(index, Expression) else Constant(index, I64), length)


class Builder:
    """Collects the statements of one function; every local gets a name of its own."""

    def __init__(
        self, name: str, comment: str = "", loc: Location = UNKNOWN, inline: bool = False, index: Scalar = I64
    ) -> None:
        """`index` is the type of loop counters: i64, or i32 for small machines."""
        self._name, self._comment, self._loc, self._inline, self.index = name, comment, loc, inline, index
        self._parameters: list[Buffer | Variable] = []
        self._bodies: list[list[Statement]] = [[]]
        self._taken: dict[str, int] = {}

    def _fresh(self, name: str) -> str:
        count = self._taken.get(name, 0)
        self._taken[name] = count + 1
        # A number is always set off by `_`, so that `x` + 11 and `x1` + 1 stay apart.
        return self._fresh(f"{name}_{count}") if count else name

    def parameter(
        self, name: str, element: Scalar, length: int, access: Access = "read", alignment: int = 0, comment: str = ""
    ) -> Buffer:
        """The next parameter: a pointer to `length` elements that overlaps no other unless both are only read."""
        buffer = Buffer(self._fresh(name), element, length, "parameter", access, alignment, comment=comment)
        self._parameters.append(buffer)
        return buffer

    def scalar(self, name: str, of: Type) -> Variable:
        """The next parameter: a number."""
        variable = Variable(self._fresh(name), of)
        self._parameters.append(variable)
        return variable

    def let(self, value: Expression, name: str = "v", promise: Promise | None = None) -> Expression:
        """Names a value, so that it is computed once; constants and names stay what they are."""
        if isinstance(value, Constant) or (isinstance(value, Variable) and not value.mutable):
            return value
        variable = Variable(self._fresh(name), value.type, promise=promise)
        self._emit(Assign(variable, value))
        return variable

    def variable(self, name: str, initial: Expression, promise: Promise | None = None) -> Variable:
        """A mutable local with its first value."""
        variable = Variable(self._fresh(name), initial.type, mutable=True, promise=promise)
        self._emit(Assign(variable, initial))
        return variable

    def assign(self, variable: Variable, value: Operand) -> None:
        """variable = value. Raises TypeError when the types differ or the variable cannot change."""
        node = value if isinstance(value, Expression) else Constant(value, variable.type)
        if not variable.mutable or node.type != variable.type:
            raise TypeError(f"{node.type} cannot be assigned to {variable.name}: {variable.type}")
        self._emit(Assign(variable, node))

    def store(self, buffer: Buffer, index: Operand, value: Operand, alignment: int = 0) -> None:
        """buffer[index] = value. Raises TypeError for another element type or a buffer that is only read."""
        place = index if isinstance(index, Expression) else Constant(index, self.index)
        node = value if isinstance(value, Expression) else Constant(value, buffer.element)
        if node.type.element != buffer.element or buffer.access == "read":
            raise TypeError(f"{node.type} cannot be stored to {buffer.name}: {buffer.element}, {buffer.access}")
        self._emit(Store(buffer, place, node, alignment))

    def call(self, function: Function, *arguments: Buffer | Pointer | Operand) -> None:
        """function(arguments). Raises TypeError when they do not fit its parameters."""
        if len(arguments) != len(function.parameters):
            raise TypeError(f"{function.name} takes {len(function.parameters)} arguments, not {len(arguments)}")
        passed: list[Pointer | Expression] = []
        for parameter, argument in zip(function.parameters, arguments, strict=True):
            given: Pointer | Expression
            if isinstance(parameter, Buffer):
                if isinstance(argument, Buffer):
                    argument = at(argument)
                if not isinstance(argument, Pointer) or argument.buffer.element != parameter.element:
                    raise TypeError(f"{function.name}: {parameter.name} takes a buffer of {parameter.element}")
                if argument.buffer.access == "read" and parameter.access != "read":
                    raise TypeError(f"{function.name} writes {parameter.name}, but {argument.buffer.name} is read-only")
                given = argument
            else:
                if isinstance(argument, Buffer | Pointer):
                    raise TypeError(f"{function.name}: {parameter.name} takes a number")
                given = argument if isinstance(argument, Expression) else Constant(argument, parameter.type)
                if given.type != parameter.type:
                    raise TypeError(f"{function.name}: {parameter.name} takes {parameter.type}, not {given.type}")
            passed.append(given)
        self._emit(Call(function, tuple(passed)))

    @contextmanager
    def loop(
        self, stop: Operand, name: str = "i", start: Operand = 0, step: int = 1, unroll_one: bool = True
    ) -> Iterator[Expression]:
        """Counts `name` from start below stop. A loop of exactly one round is written without a loop."""
        if step < 1:
            raise TypeError("a loop counts upwards")
        first = start if isinstance(start, Expression) else Constant(start, self.index)
        last = stop if isinstance(stop, Expression) else Constant(stop, self.index)
        if first.type != last.type:
            raise TypeError(f"a loop from {first.type} to {last.type}")
        ends = (first.value, last.value) if isinstance(first, Constant) and isinstance(last, Constant) else (0, 0)
        if unroll_one and ends[0] < ends[1] <= ends[0] + step:
            yield first
            return
        variable = Variable(self._fresh(name), first.type)
        body = self._open()
        yield variable
        self._close(body)
        self._emit(For(variable, first, last, step, tuple(body)))

    @contextmanager
    def loop_while(self, condition: Expression) -> Iterator[None]:
        """Repeats while the condition, evaluated before every round, holds."""
        self._i1(condition)
        body = self._open()
        yield
        self._close(body)
        self._emit(While(condition, tuple(body)))

    @contextmanager
    def when(self, condition: Expression) -> Iterator[None]:
        """Runs the block if the condition holds."""
        self._i1(condition)
        body = self._open()
        yield
        self._close(body)
        self._emit(If(condition, tuple(body)))

    @contextmanager
    def otherwise(self) -> Iterator[None]:
        """The other branch of the `when` just before it."""
        last = self._bodies[-1].pop()
        if not isinstance(last, If) or last.otherwise:
            raise TypeError("`otherwise` follows a `when`")
        body = self._open()
        yield
        self._close(body)
        self._emit(If(last.condition, last.then, tuple(body)))

    def barrier(self, meeting: Buffer, threads: Expression) -> None:
        """All threads of the run meet here."""
        if meeting.element != I64 or threads.type != I64:
            raise TypeError("a barrier takes an i64 in memory and the number of threads as an i64")
        self._emit(Barrier(meeting, threads))

    def fetch(self, target: Pointer, source: Pointer, row: Expression, runs: int, count: int, step: int) -> None:
        """Brings a row of an image of the caller's."""
        if target.buffer.element != source.buffer.element or target.buffer.access == "read" or row.type != I64:
            raise TypeError("a row goes to a buffer of the same elements that is written, and its number is an i64")
        self._emit(Fetch(target, source, row, runs, count, step))

    def function(self) -> Function:
        """What was written."""
        if len(self._bodies) != 1:
            raise TypeError(f"{self._name}: a block is still open")
        return Function(
            self._name, tuple(self._parameters), tuple(self._bodies[0]), self._comment, self._loc, self._inline
        )

    def _emit(self, statement: Statement) -> None:
        self._bodies[-1].append(statement)

    def _open(self) -> list[Statement]:
        self._bodies.append([])
        return self._bodies[-1]

    def _close(self, body: list[Statement]) -> None:
        if self._bodies.pop() is not body:
            raise TypeError(f"{self._name}: blocks are closed out of order")

    @staticmethod
    def _i1(condition: Expression) -> None:
        if condition.type != I1:
            raise TypeError(f"a condition is an i1, not {condition.type}")
