"""Prints a «loop» program for people to read (`bnnc show --at loop`); the form is close to C and is not read back."""

from __future__ import annotations

from bnnc.loops.ir import (
    Assign,
    Barrier,
    Binary,
    Call,
    Compare,
    Constant,
    Convert,
    Expression,
    Extract,
    Fetch,
    Fma,
    For,
    Function,
    Gather,
    If,
    LaneIndex,
    Load,
    Pack,
    PairProducts,
    Pointer,
    Program,
    Reduce,
    Select,
    Splat,
    Statement,
    Store,
    Ticks,
    Type,
    Unary,
    Unpack,
    Variable,
    Vector,
    While,
)

_SIGNS = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "rem": "%",
    "and": "&",
    "or": "|",
    "xor": "^",
    "shl": "<<",
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
}


def print_program(program: Program) -> str:
    """The whole program; constants appear by name, type and size."""
    lines = [f"program {program.name}: arena {program.arena_bytes} bytes", ""]
    for buffer in program.constants():
        note = f"  // {buffer.comment}" if buffer.comment else ""
        lines.append(f"constant {buffer.name}: {buffer.element}[{buffer.length}]{note}")
    for function in (*program.functions, program.entry):
        lines += ["", *print_function(function)]
    return "\n".join(lines) + "\n"


def print_function(function: Function) -> list[str]:
    """One function, as lines."""
    lines = [f"// {function.comment}"] if function.comment else []
    if function.loc.name:
        name = " ".join(function.loc.name.split()).encode("utf-8", "backslashreplace").decode()
        lines.append(f"// layer {name}")
    parameters = ", ".join(
        f"{p.name}: {p.of}" if isinstance(p, Variable) else f"{p.name}: {p.access} {p.element}[{p.length}]"
        for p in function.parameters
    )
    lines.append(f"{'inline ' if function.inline else ''}function {function.name}({parameters})")
    return lines + _block(function.body, 1)


def _block(body: tuple[Statement, ...], depth: int) -> list[str]:
    lines: list[str] = []
    pad = "  " * depth
    for statement in body:
        match statement:
            case Assign(variable, value):
                lines.append(f"{pad}{'' if variable.mutable else 'let '}{variable.name} = {show(value)}")
            case Store(buffer, index, value, _):
                lines.append(f"{pad}{buffer.name}[{_span(index, value.type)}] = {show(value)}")
            case For(variable, start, stop, step, inner):
                by = f" by {step}" if step != 1 else ""
                lines.append(f"{pad}for {variable.name} in {show(start)} .. {show(stop)}{by}")
                lines += _block(inner, depth + 1)
            case While(condition, inner):
                lines.append(f"{pad}while {show(condition)}")
                lines += _block(inner, depth + 1)
            case If(condition, then, otherwise):
                lines.append(f"{pad}if {show(condition)}")
                lines += _block(then, depth + 1)
                if otherwise:
                    lines.append(f"{pad}else")
                    lines += _block(otherwise, depth + 1)
            case Call(callee, arguments):
                lines.append(f"{pad}{callee.name}({', '.join(map(_argument, arguments))})")
            case Barrier(_, threads):
                lines.append(f"{pad}barrier of {show(threads)} threads")
            case Fetch(target, source, row, runs, count, step):
                runs_ = f"{runs} x {count}, {step} apart, " if runs > 1 else f"{count} "
                lines.append(f"{pad}{_argument(target)} = row {show(row)}: {runs_}from {_argument(source)}")
    return lines


def _argument(argument: Pointer | Expression) -> str:
    if isinstance(argument, Expression):
        return show(argument)
    index, buffer = argument.index, argument.buffer
    place = f" @{buffer.offset}" if buffer.space == "arena" else ""
    offset = "" if isinstance(index, Constant) and index.value == 0 else f" + {show(index)}"
    return f"{buffer.name}{place}{offset}"


def _span(index: Expression, type_: Type) -> str:
    return f"{show(index)} :{type_.lanes}" if isinstance(type_, Vector) else show(index)


def show(expression: Expression) -> str:
    """One expression, with every operation in parentheses but the outermost."""
    text = _show(expression)
    return text[1:-1] if isinstance(expression, Binary | Compare) and expression.operator in _SIGNS else text


def _show(expression: Expression) -> str:
    match expression:
        case Constant(value, of):
            return f"{value}" if of.lanes == 1 else f"{value}x{of.lanes}"
        case Variable(name, _, _):
            return name
        case Load(buffer, index, of, _):
            return f"{buffer.name}[{_span(index, of)}]"
        case Gather(buffer, index, offsets):
            return f"{buffer.name}[{_show(index)} + {show(offsets)}]"
        case Unary(operator, value):
            return f"{operator}({show(value)})"
        case Binary(operator, left, right) | Compare(operator, left, right):
            if operator in _SIGNS:
                return f"({_show(left)} {_SIGNS[operator]} {_show(right)})"
            return f"{operator}({show(left)}, {show(right)})"
        case Select(condition, yes, no):
            return f"select({show(condition)}, {show(yes)}, {show(no)})"
        case Fma(left, right, addend):
            return f"fma({show(left)}, {show(right)}, {show(addend)})"
        case Convert(kind, value, of):
            return f"{kind}<{of}>({show(value)})"
        case Splat(value, of):
            return f"splat<{of}>({show(value)})"
        case LaneIndex(of):
            return f"lanes<{of}>"
        case Extract(value, lane):
            return f"{_show(value)}.{lane}"
        case Pack(values, of):
            return f"pack<{of}>({', '.join(map(show, values))})"
        case PairProducts(left, right):
            return f"pair_products({show(left)}, {show(right)})"
        case Unpack(value, lanes):
            return f"unpack<{lanes}>({show(value)})"
        case Reduce(operator, value):
            return f"reduce_{operator}({show(value)})"
        case Ticks():
            return "ticks()"
    raise TypeError(f"no text for {type(expression).__name__}")
