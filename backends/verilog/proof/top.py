"""Reads the top of a circuit: which engines it has, with which parameters, and which stream leads from which to which.

What is not a stream between two engines, or an AXI-Stream at an end, is an error: nothing of the text is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bnnc.backends.verilog.proof.reader import Unreadable

_TOKEN = re.compile(
    r"\s+|//[^\n]*|/\*.*?\*/|`default_nettype\s+\w+"
    r"|(\"[^\"\n]*\"|\d+'[bdh][0-9a-fA-F]+|[A-Za-z_$][\w$]*|-?\d+|<=|==|&&|[()\[\]{},;:.=~#!&?+@])",
    re.DOTALL,
)
_SIZED = re.compile(r"(\d+)'([bdh])([0-9a-fA-F]+)")
_SLICE = re.compile(r"(\w+)_data\[(\d+):0\]")
_RANGE = re.compile(r"\[(\d+):0\]")
Word = int | str


@dataclass(frozen=True)
class Taken:
    """An input of an engine: the lowest `bits` bits of the data of a stream."""

    stream: str
    bits: int


@dataclass(frozen=True)
class Placed:
    """An instance of an engine. Parameters are numbers (a sized one as its bits) or names of files."""

    module: str
    name: str
    parameters: Mapping[str, Word]
    inputs: Mapping[str, Taken]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class End:
    """An AXI-Stream of the top. last: beats of a sample, by its tlast (0 for an input: it is not looked at)."""

    prefix: str
    width: int
    taken: Taken
    last: int = 0


@dataclass(frozen=True)
class Top:
    """The engines in the order of the text, the ends, and the wires of each stream's data."""

    name: str
    engines: tuple[Placed, ...]
    inputs: tuple[End, ...]
    outputs: tuple[End, ...]
    widths: Mapping[str, int]


@dataclass
class _Text:
    """The statements of a module. `driven`: what each wire is, as text without spaces."""

    name: str = ""
    ports: dict[str, tuple[str, int]] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)
    driven: dict[str, str] = field(default_factory=dict)
    clocked: dict[str, str] = field(default_factory=dict)
    instances: list[tuple[str, str, dict[str, Word], dict[str, str]]] = field(default_factory=list)

    def drive(self, name: str, value: str) -> None:
        if name in self.driven:
            raise Unreadable(f"`{name}` has two drivers")
        self.driven[name] = value


def read_top(text: str) -> Top:
    """The top of a circuit. Raises Unreadable."""
    return _linked(_read(text))


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Unreadable(f"unknown text: {text[at : at + 40]!r}")
        if match[1] is not None:
            yield match[1]
        at = match.end()


def _statements(text: str) -> Iterator[list[str]]:
    statement: list[str] = []
    for token in _tokens(text):
        if token == "endmodule" and not statement:
            continue
        if token == "else" and not statement:
            raise Unreadable("`else` without an `if`")
        if token == ";" and not (statement[:1] == ["always"] and "else" not in statement):
            yield statement
            statement = []
            continue
        statement.append(token)
    if statement:
        raise Unreadable(f"the text ends within: {' '.join(statement[:8])}")


def _read(text: str) -> _Text:
    found = _Text()
    for words in _statements(text):
        match words:
            case ["module", name, "(", *ports, ")"] if not found.name:
                found.name = name
                for port in _parts(ports):
                    direction, width, own = _port(port)
                    found.ports[own] = direction, width
                    found.widths[own] = width
            case ["wire" | "reg", *rest]:
                _wires(found, rest)
            case ["assign", name, "=", *rest]:
                found.drive(name, "".join(rest))
            case ["always", "@", "(", "posedge", "aclk", ")", "if", "(", "rst", ")", name, "<=", *rest]:
                if name in found.clocked:
                    raise Unreadable(f"`{name}` has two drivers")
                found.clocked[name] = "".join(rest)
            case [module, "#", "(", *rest]:
                end = _closing(rest)
                parameters = {name: _word("".join(value)) for name, value in _connections(rest[:end])}
                _instance(found, module, rest[end + 1 :], parameters)
            case [module, name, "(", *_]:
                _instance(found, module, [name, *words[2:]], {})
            case _:
                raise Unreadable(f"unknown statement: {' '.join(words[:8])}")
    return found


def _instance(found: _Text, module: str, words: list[str], parameters: dict[str, Word]) -> None:
    if len(words) < 3 or words[1] != "(" or words[-1] != ")":
        raise Unreadable(f"unknown statement: {module} {' '.join(words[:8])}")
    ports = {name: "".join(value) for name, value in _connections(words[2:-1])}
    found.instances.append((module, words[0], parameters, ports))


def _parts(words: list[str]) -> Iterator[list[str]]:
    """Words between commas outside of brackets."""
    part: list[str] = []
    depth = 0
    for word in words:
        depth += (word in "([{") - (word in ")]}")
        if word == "," and not depth:
            yield part
            part = []
        else:
            part.append(word)
    yield part


def _closing(words: list[str]) -> int:
    """Where the bracket closes that was opened before the words."""
    depth = 1
    for at, word in enumerate(words):
        depth += (word == "(") - (word == ")")
        if not depth:
            return at
    raise Unreadable("a bracket is not closed")


def _connections(words: list[str]) -> Iterator[tuple[str, list[str]]]:
    names = set()
    for part in _parts(words):
        match part:
            case [".", name, "(", *value, ")"] if name not in names:
                names.add(name)
                yield name, value
            case _:
                raise Unreadable(f"`.NAME(VALUE)` expected, once for each name: {' '.join(part[:8])}")


def _port(words: list[str]) -> tuple[str, int, str]:
    match words:
        case ["input" | "output" as direction, "wire", "[", high, ":", "0", "]", name]:
            return direction, int(high) + 1, name
        case ["input" | "output" as direction, "wire", name]:
            return direction, 1, name
    raise Unreadable(f"unknown port: {' '.join(words)}")


def _wires(found: _Text, words: list[str]) -> None:
    width = 1
    if words[0] == "[":
        match = _RANGE.fullmatch("".join(words[:5]))
        if match is None:
            raise Unreadable(f"unknown range: {' '.join(words[:5])}")
        width, words = int(match[1]) + 1, words[5:]
    for part in _parts(words):
        name = part[0]
        if name in found.widths:
            raise Unreadable(f"`{name}` is declared twice")
        found.widths[name] = width
        if part[1:2] == ["="]:
            found.drive(name, "".join(part[2:]))
        elif len(part) > 1:
            raise Unreadable(f"unknown declaration: {' '.join(part)}")


def _word(text: str) -> Word:
    if text.startswith('"'):
        return text[1:-1]
    match = _SIZED.fullmatch(text)
    try:
        if match is None:
            return int(text)
        value = int(match[3], {"b": 2, "d": 10, "h": 16}[match[2]])
    except ValueError:
        raise Unreadable(f"`{text}` is no number") from None
    if value >> int(match[1]):
        raise Unreadable(f"`{text}` does not fit its width")
    return value


def _linked(text: _Text) -> Top:
    """The statements as engines and streams. Every wire is accounted for."""
    left = dict(text.driven)

    def take(name: str, *values: str) -> None:
        if left.pop(name, None) not in values:
            raise Unreadable(f"`{name}` is not driven by {values[0]}")

    take("rst", "!aresetn")
    left.pop("unused", None)  # a wire that nothing reads
    engines = []
    sources: dict[str, str] = {}
    readers: dict[str, str] = {}

    def sourced(stream: str, by: str) -> None:
        if sources.setdefault(stream, by) != by:
            raise Unreadable(f"the stream `{stream}` comes from `{sources[stream]}` and from `{by}`")

    def read(stream: str, by: str) -> None:
        if stream in readers:
            raise Unreadable(f"the stream `{stream}` goes to `{readers[stream]}` and to `{by}`")
        readers[stream] = by

    for module, name, parameters, ports in text.instances:
        ports = dict(ports)
        if (ports.pop("clk", ""), ports.pop("rst", "")) != ("aclk", "rst"):
            raise Unreadable(f"`{name}` has another clock or reset")
        inputs = {}
        for prefix in sorted({port.rsplit("_", 1)[0] for port in ports} - {"out"}):
            taken = _taken(ports.pop(f"{prefix}_data", ""), name)
            if (ports.pop(f"{prefix}_valid", ""), ports.pop(f"{prefix}_ready", "")) != (
                f"{taken.stream}_valid",
                f"{taken.stream}_ready",
            ):
                raise Unreadable(f"the handshake of `{prefix}` of `{name}` is not that of `{taken.stream}`")
            read(taken.stream, name)
            inputs[prefix] = taken
        outputs = _given(ports, name)
        for stream in outputs:
            sourced(stream, name)
        for stream in outputs[1:]:
            take(f"{stream}_data", f"{outputs[0]}_data")
        engines.append(Placed(module, name, parameters, inputs, outputs))
    entries, leaving = [], []
    for prefix in [port.removesuffix("_tdata") for port in text.ports if port.endswith("_tdata")]:
        direction, width = text.ports[f"{prefix}_tdata"]
        if direction == "input":
            stream = left.pop(f"{prefix}_tready", "").removesuffix("_ready")
            bits = text.widths.get(f"{stream}_data", 0)
            take(f"{stream}_data", f"{prefix}_tdata[{bits - 1}:0]")
            take(f"{stream}_valid", f"{prefix}_tvalid")
            sourced(stream, prefix)
            entries.append(End(prefix, width, Taken(stream, bits)))
        else:
            stream = left.pop(f"{prefix}_tvalid", "").removesuffix("_valid")
            bits = text.widths.get(f"{stream}_data", 0)
            whole = f"{stream}_data"
            take(f"{prefix}_tdata", whole if width == bits else f"{{{{{width - bits}{{1'b0}}}},{whole}}}")
            take(f"{stream}_ready", f"{prefix}_tready")
            read(stream, prefix)
            leaving.append(End(prefix, width, Taken(stream, bits), _last(text, left, prefix, stream)))
    rest = [*left, *text.clocked]
    if rest:
        raise Unreadable(f"`{rest[0]}` belongs to no stream")
    alone = sources.keys() ^ readers.keys()
    if alone:
        raise Unreadable(f"the stream `{min(alone)}` has no source, or no reader")
    return Top(text.name, tuple(engines), tuple(entries), tuple(leaving), text.widths)


def _taken(data: str, name: str) -> Taken:
    match = _SLICE.fullmatch(data)
    if match is None:
        raise Unreadable(f"an input of `{name}` is not the data of a stream: {data}")
    return Taken(match[1], int(match[2]) + 1)


def _given(ports: dict[str, str], name: str) -> tuple[str, ...]:
    """The streams that an engine makes: one, or the copies of a fork, in the order of its bits."""
    if set(ports) != {"out_data", "out_valid", "out_ready"}:
        raise Unreadable(f"`{name}` has other ports than those of streams: {', '.join(sorted(ports))}")
    found = []
    for kind in ("valid", "ready"):
        text = ports[f"out_{kind}"]
        names = text[1:-1].split(",")[::-1] if text.startswith("{") else [text]
        if not all(one.endswith(f"_{kind}") for one in names):
            raise Unreadable(f"`out_{kind}` of `{name}` is {text}")
        found.append(tuple(one.removesuffix(f"_{kind}") for one in names))
    if found[0] != found[1] or ports["out_data"] != f"{found[0][0]}_data":
        raise Unreadable(f"the ports of `{name}` belong to several streams")
    return found[0]


def _last(text: _Text, left: dict[str, str], prefix: str, stream: str) -> int:
    """The beats of a sample, by the counter that makes tlast."""
    last = left.pop(f"{prefix}_tlast", "")
    if last == "1'b1":
        return 1
    beat = f"{prefix}_beat"
    bits = text.widths.get(beat, 0)
    match = re.fullmatch(rf"{beat}=={bits}'d(\d+)", last)
    counter = (
        f"{bits}'d0;elseif({stream}_valid&&{prefix}_tready)"
        f"{beat}<={prefix}_tlast?{bits}'d0:{beat}+1'b1"
    )  # fmt: skip
    if match is None or text.clocked.pop(beat, "") != counter:
        raise Unreadable(f"`{prefix}_tlast` does not count beats")
    return int(match[1]) + 1


__all__ = ["End", "Placed", "Taken", "Top", "read_top"]
