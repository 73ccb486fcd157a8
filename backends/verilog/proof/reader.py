"""Reads the structural subset of Verilog in which unrolled circuits are written: wires, registers, instances.

What is not of this subset is an error, never skipped: a proof about a text must be about all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

TOKEN = re.compile(
    r"\s+|//[^\n]*|/\*.*?\*/|\(\*.*?\*\)|(\d*'[bhd][0-9a-fA-F_]+|[A-Za-z_$][\w$]*|\d+|<=|@|[()\[\]{},;:.=~#])",
    re.DOTALL,
)
NUMBER = re.compile(r"(\d*)'([bhd])([0-9a-fA-F_]+)|(\d+)")


class Unreadable(Exception):
    """The text is not of the subset."""


@dataclass(frozen=True)
class Constant:
    """A number of so many bits."""

    width: int
    value: int


@dataclass(frozen=True)
class Name:
    """A signal, or one bit of it."""

    name: str
    bit: int | None = None


@dataclass(frozen=True)
class Inverse:
    """All bits inverted."""

    of: Expression


@dataclass(frozen=True)
class Joined:
    """Expressions side by side, the first one highest."""

    parts: tuple[Expression, ...]


Expression = Constant | Name | Inverse | Joined


@dataclass(frozen=True)
class Instance:
    """An instance of a module or of a cell."""

    module: str
    name: str
    parameters: dict[str, Constant]
    ports: dict[str, Expression]


@dataclass
class ModuleText:
    """A module: widths of its signals, what drives them. registers[name] is assigned at each edge of `clk`."""

    name: str
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    widths: dict[str, int] = field(default_factory=dict)
    assigns: dict[str, Expression] = field(default_factory=dict)
    registers: dict[str, Expression] = field(default_factory=dict)
    instances: list[Instance] = field(default_factory=list)


def read(text: str) -> dict[str, ModuleText]:
    """The modules of a text by name. Raises Unreadable."""
    reader = _Reader(list(_tokens(text)))
    modules: dict[str, ModuleText] = {}
    while reader.peek() is not None:
        module = reader.module()
        if module.name in modules:
            raise Unreadable(f"two modules `{module.name}`")
        modules[module.name] = module
    return modules


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise Unreadable(f"unknown text: {text[at : at + 40]!r}")
        if match[1] is not None:
            yield match[1]
        at = match.end()


class _Reader:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0

    def peek(self) -> str | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def next(self) -> str:
        if self.at == len(self.tokens):
            raise Unreadable("the text ends too early")
        self.at += 1
        return self.tokens[self.at - 1]

    def expect(self, *words: str) -> None:
        for word in words:
            found = self.next()
            if found != word:
                near = " ".join(self.tokens[max(0, self.at - 8) : self.at])
                raise Unreadable(f"`{word}` expected at the end of: {near}")

    def accept(self, word: str) -> bool:
        if self.peek() == word:
            self.at += 1
            return True
        return False

    def identifier(self) -> str:
        word = self.next()
        if not (word[0].isalpha() or word[0] in "_$"):
            raise Unreadable(f"a name expected, not `{word}`")
        return word

    def integer(self) -> int:
        return self.constant().value

    def constant(self) -> Constant:
        word = self.next()
        match = NUMBER.fullmatch(word)
        if match is None:
            raise Unreadable(f"a number expected, not `{word}`")
        if match[4]:
            return Constant(32, int(match[4]))
        base = {"b": 2, "d": 10, "h": 16}[match[2]]
        try:
            value, width = int(match[3].replace("_", ""), base), int(match[1] or 32)
        except ValueError:
            raise Unreadable(f"`{word}` is no number") from None
        if value >> width:
            raise Unreadable(f"`{word}` does not fit its width")
        return Constant(width, value)

    def range(self) -> int:
        """The width of an optional `[N:0]`."""
        if not self.accept("["):
            return 1
        width = self.integer() + 1
        self.expect(":", "0", "]")
        return width

    def module(self) -> ModuleText:
        self.expect("module")
        module = ModuleText(self.identifier())
        self.expect("(")
        while True:
            direction = self.next()
            if direction not in ("input", "output"):
                raise Unreadable(f"a port of `{module.name}` is `{direction}`")
            width, name = self.range(), self.identifier()
            self.declare(module, name, width)
            (module.inputs if direction == "input" else module.outputs).append(name)
            if not self.accept(","):
                break
        self.expect(")", ";")
        while not self.accept("endmodule"):
            self.item(module)
        return module

    def declare(self, module: ModuleText, name: str, width: int) -> None:
        if name in module.widths:
            raise Unreadable(f"`{name}` is declared twice in `{module.name}`")
        module.widths[name] = width

    def drive(self, module: ModuleText, where: dict[str, Expression], name: str) -> None:
        if name not in module.widths or name in module.assigns or name in module.registers or name in module.inputs:
            raise Unreadable(f"`{name}` of `{module.name}` cannot be driven here")
        where[name] = self.expression()

    def item(self, module: ModuleText) -> None:
        word = self.identifier()
        if word in ("wire", "reg"):
            width, name = self.range(), self.identifier()
            self.declare(module, name, width)
            if word == "wire" and self.accept("="):
                self.drive(module, module.assigns, name)
            while self.accept(","):
                self.declare(module, self.identifier(), width)
        elif word == "assign":
            name = self.identifier()
            self.expect("=")
            self.drive(module, module.assigns, name)
        elif word == "always":
            self.expect("@", "(", "posedge", "clk", ")")
            name = self.identifier()
            self.expect("<=")
            self.drive(module, module.registers, name)
        else:
            parameters = self.parameters()
            name = self.identifier()
            module.instances.append(Instance(word, name, parameters, self.ports()))
        self.expect(";")

    def parameters(self) -> dict[str, Constant]:
        found: dict[str, Constant] = {}
        if self.accept("#"):
            self.expect("(")
            while True:
                self.expect(".")
                name = self.identifier()
                self.expect("(")
                found[name] = self.constant()
                self.expect(")")
                if not self.accept(","):
                    break
            self.expect(")")
        return found

    def ports(self) -> dict[str, Expression]:
        found: dict[str, Expression] = {}
        self.expect("(")
        while True:
            self.expect(".")
            name = self.identifier()
            self.expect("(")
            if name in found:
                raise Unreadable(f"port `{name}` is connected twice")
            found[name] = self.expression()
            self.expect(")")
            if not self.accept(","):
                break
        self.expect(")")
        return found

    def expression(self) -> Expression:
        if self.accept("~"):
            return Inverse(self.expression())
        if self.accept("{"):
            parts = [self.expression()]
            while self.accept(","):
                parts.append(self.expression())
            self.expect("}")
            return Joined(tuple(parts))
        word = self.peek()
        if word is not None and NUMBER.fullmatch(word):
            return self.constant()
        name = self.identifier()
        if self.accept("["):
            bit = self.integer()
            self.expect("]")
            return Name(name, bit)
        return Name(name)
