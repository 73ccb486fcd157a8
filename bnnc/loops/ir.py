"""The «loop» level: functions of loops over words and short vectors, from which LLVM IR and C are printed.

A `Program` is what a network becomes for one machine. Its entry is a function
`run(inputs…, outputs…, n)` over n samples; buffers of the space `arena` live at fixed byte offsets of one block of
`arena_bytes` that the caller passes besides. Each layer is a function of its own, with the user's name for it.

**Types.** `I1 I8 I16 I32 I64 F32` and `Vector(element, lanes)`; `vector_of(element, 1)` is the element itself, so that
one kernel text serves machines with and without vectors. Integers have no sign: operators do (`min` is signed, `umin`
is not), and arithmetic wraps. Comparisons give I1 (or a vector of I1).

**Buffers** are flat arrays of one element type, in the space `parameter` (a pointer argument of one function),
`constant` (holds its data) or `arena` (only the entry names them, and passes them on). A function's parameters never
overlap, unless both are only read: printers may rely on it. An index counts elements, and no access may leave the
buffer: the interpreter checks it.

**Expressions** are immutable trees of typed nodes; an ill-typed node cannot be made (TypeError). A tree is evaluated
where it stands: to use a value twice, name it (`Builder.let`). Operators: `+ - * & | ^ << < <= > >=` (signed), and the
functions below. Numbers are taken as constants of the other operand's type, and index arithmetic on constants folds.

**Statements**: Assign, Store, For (counted), While, If, Call, Barrier (where threads of one run meet), Fetch (a row of
the image that a caller may give row by row). A Variable is
assigned before it is read; an immutable one exactly once. Floats are IEEE binary32, each operation rounded to nearest
even, nothing contracted or reordered.

Around it: `types.py`, `expressions.py` and `vectors.py` (re-exported here), `builder.py` to write functions, `text.py`
to show them, `verify.py`, `reference/loop.py` to interpret them; printers are backends. A new kind of expression needs
a class in one of the two, its meaning in the interpreter, and a line in text.py and in every printer.

A kernel is a Python function that writes one function of this level; sizes are Python integers, so loops over lanes and
tiles unroll as they are written. `Builder` and `at` are in builder.py. Dot products of rows of bits, a lane an output::

    def dot_rows(words: int, rows: int, lanes: int) -> Function:
        b = Builder("dot_rows", comment="mismatches of x with every row")
        x = b.parameter("x", I32, words)
        w = b.parameter("w", I32, rows * words, alignment=lanes * 4)      # [rows/lanes][words][lanes]
        y = b.parameter("y", I32, rows, access="write")
        vector = vector_of(I32, lanes)
        with b.loop(rows // lanes, "block") as block:
            total = b.variable("total", constant(0, vector))              # mutable; starts at 0
            with b.loop(words, "k") as k:
                row = load(w, (block * words + k) * lanes, vector, alignment=lanes * 4)
                same = splat(load(x, k), vector) ^ row
                b.assign(total, total + popcount(same))
            b.store(y, block * lanes, total)
        return b.function()

    layer = dot_rows(4, 32, 16)
    b = Builder("run")
    x, y = b.parameter("x", I32, 4), b.parameter("y", I32, 32, access="write")
    n = b.scalar("n", I64)
    weights = constant_buffer("weights", numpy_array)
    with b.loop(n, "sample") as i:
        b.call(layer, at(x, i * 4), weights, at(y, i * 32))
    program = Program("net", (layer,), b.function(), inputs=(x,), outputs=(y,), arena_bytes=0)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bnnc.ir.location import UNKNOWN, Location
from bnnc.loops.expressions import (
    Binary,
    Compare,
    Constant,
    Convert,
    Expression,
    Fma,
    Gather,
    Load,
    Operand,
    Promise,
    Select,
    Ticks,
    Unary,
    Variable,
    binary,
    compare,
    constant,
    load,
    popcount,
    select,
)
from bnnc.loops.types import (
    F32,
    I1,
    I8,
    I16,
    I32,
    I64,
    NUMPY,
    Access,
    Buffer,
    Scalar,
    Space,
    Type,
    Vector,
    constant_buffer,
    vector_of,
    with_element,
)
from bnnc.loops.vectors import (
    Extract,
    LaneIndex,
    Pack,
    PairProducts,
    Reduce,
    Splat,
    Unpack,
    pack,
    splat,
)

__all__ = [
    "F32",
    "I1",
    "I8",
    "I16",
    "I32",
    "I64",
    "NUMPY",
    "Access",
    "Assign",
    "Barrier",
    "Binary",
    "Buffer",
    "Call",
    "Compare",
    "Constant",
    "Convert",
    "Expression",
    "Extract",
    "Fetch",
    "Fma",
    "For",
    "Function",
    "Gather",
    "If",
    "LaneIndex",
    "Load",
    "Operand",
    "Pack",
    "PairProducts",
    "Pointer",
    "Program",
    "Promise",
    "Reduce",
    "Scalar",
    "Select",
    "Space",
    "Splat",
    "Statement",
    "Store",
    "Ticks",
    "Type",
    "Unary",
    "Unpack",
    "Variable",
    "Vector",
    "While",
    "binary",
    "buffers_of",
    "compare",
    "constant",
    "constant_buffer",
    "expressions_of",
    "load",
    "nodes_of",
    "pack",
    "popcount",
    "select",
    "splat",
    "statements_of",
    "vector_of",
    "with_element",
]


# ----------------------------------------------------------------------------------------------------- statements
@dataclass(frozen=True, eq=False)
class Assign:
    """variable = value."""

    variable: Variable
    value: Expression


@dataclass(frozen=True, eq=False)
class Store:
    """buffer[index + lane] = value. `alignment` in bytes; 0: the element's own."""

    buffer: Buffer
    index: Expression
    value: Expression
    alignment: int = 0


@dataclass(frozen=True, eq=False)
class For:
    """for variable = start; variable < stop; variable += step (signed; step is a positive constant)."""

    variable: Variable
    start: Expression
    stop: Expression
    step: int
    body: tuple[Statement, ...]


@dataclass(frozen=True, eq=False)
class While:
    """The condition (I1) is evaluated before every round."""

    condition: Expression
    body: tuple[Statement, ...]


@dataclass(frozen=True, eq=False)
class If:
    """One of the two bodies; the condition is an I1."""

    condition: Expression
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...] = ()


@dataclass(frozen=True, eq=False)
class Pointer:
    """An argument: the part of a buffer that starts at an index. The function touches at most `length` elements of it,
    if that is not 0."""

    buffer: Buffer
    index: Expression
    length: int = 0


@dataclass(frozen=True, eq=False)
class Call:
    """function(arguments): a Pointer for every Buffer among its parameters, an Expression for every Variable."""

    function: Function
    arguments: tuple[Pointer | Expression, ...]


@dataclass(frozen=True, eq=False)
class Barrier:
    """No thread goes on before all `threads` (I64) that run the entry came here; each sees what all wrote before.

    `meeting` is an I64 of the arena that only barriers touch, 0 before the first. One thread just goes on."""

    meeting: Buffer
    threads: Expression


@dataclass(frozen=True, eq=False)
class Fetch:
    """Brings row `row` of an image that the caller has, or gives row by row: to `target` go `runs` runs of `count`
    elements of `source`, whose beginnings are `step` apart. Callers that give rows give just these elements."""

    target: Pointer
    source: Pointer
    row: Expression
    runs: int
    count: int
    step: int


Statement = Assign | Store | For | While | If | Call | Barrier | Fetch


@dataclass(frozen=True, eq=False)
class Function:
    """A function without result. `comment` and `loc` tell the reader of generated code which layer it is.

    `inline` asks the printer to let it melt into its callers (tile kernels); layers stay functions of their own."""

    name: str
    parameters: tuple[Buffer | Variable, ...]
    body: tuple[Statement, ...]
    comment: str = ""
    loc: Location = UNKNOWN
    inline: bool = False


@dataclass(frozen=True, eq=False)
class Program:
    """Everything that one artifact holds. `functions` come before their callers; the entry's parameters are the
    inputs, the outputs and the number of samples n (I64), in this order; more I64 may follow."""

    name: str
    functions: tuple[Function, ...]
    entry: Function
    inputs: tuple[Buffer, ...]
    outputs: tuple[Buffer, ...]
    arena_bytes: int = 0

    def constants(self) -> tuple[Buffer, ...]:
        """Every constant that is named anywhere, in order of first use."""
        found: dict[Buffer, None] = {}
        for function in (*self.functions, self.entry):
            for buffer in buffers_of(function):
                if buffer.space == "constant":
                    found[buffer] = None
        return tuple(found)


# ------------------------------------------------------------------------------------------------------- walking
def statements_of(body: tuple[Statement, ...]) -> Iterator[Statement]:
    """Every statement, outer before inner, in order."""
    for statement in body:
        yield statement
        if isinstance(statement, For | While):
            yield from statements_of(statement.body)
        elif isinstance(statement, If):
            yield from statements_of(statement.then)
            yield from statements_of(statement.otherwise)


def expressions_of(statement: Statement) -> tuple[Expression, ...]:
    """The roots of the expressions that a statement itself evaluates (not those of statements inside it)."""
    match statement:
        case Assign(_, value):
            return (value,)
        case Store(_, index, value, _):
            return (index, value)
        case For(_, start, stop, _, _):
            return (start, stop)
        case While(condition, _) | If(condition, _, _):
            return (condition,)
        case Call(_, arguments):
            return tuple(a.index if isinstance(a, Pointer) else a for a in arguments)
        case Barrier(_, threads):
            return (threads,)
        case Fetch(target, source, row, _, _, _):
            return (target.index, source.index, row)


def nodes_of(expression: Expression) -> Iterator[Expression]:
    """The expression and everything below it."""
    yield expression
    for child in expression.children:
        yield from nodes_of(child)


def buffers_of(function: Function) -> tuple[Buffer, ...]:
    """Every buffer that the function's own statements name, in order of first use."""
    found: dict[Buffer, None] = {}
    for statement in statements_of(function.body):
        if isinstance(statement, Store):
            found[statement.buffer] = None
        elif isinstance(statement, Call):
            found.update((a.buffer, None) for a in statement.arguments if isinstance(a, Pointer))
        elif isinstance(statement, Barrier):
            found[statement.meeting] = None
        elif isinstance(statement, Fetch):
            found.update(((statement.target.buffer, None), (statement.source.buffer, None)))
        for root in expressions_of(statement):
            found.update((node.buffer, None) for node in nodes_of(root) if isinstance(node, Load | Gather))
    return tuple(found)
