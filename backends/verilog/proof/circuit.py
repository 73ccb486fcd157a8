"""Modules as one flat graph of bits: constants, inputs and tables, and the cycle in which each bit is valid.

Registers disappear: what is left of them is the cycle. A cell whose inputs are of different cycles joins different
samples, which is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bnnc.backends.verilog.proof.cells import CELLS, outputs_of
from bnnc.backends.verilog.proof.reader import (
    Constant,
    Expression,
    Instance,
    Inverse,
    Joined,
    ModuleText,
    Name,
    Unreadable,
)

# A bit of a signal: 2 * node + inverted, and its cycle (None: a constant, which is valid at any time).
Bit = tuple[int, int | None]
CONSTANTS: tuple[Bit, Bit] = ((0, None), (1, None))


class Misaligned(Exception):
    """A cell, or an output, joins bits of different samples."""


@dataclass
class Circuit:
    """Nodes in topological order. tables[i]: the table of node i and its input nodes, each of which matters; None for
    the constant false (node 0) and for inputs. Equal functions of equal nodes, or inverses, are one node."""

    tables: list[tuple[int, tuple[int, ...]] | None] = field(default_factory=lambda: [None])
    _known: dict[tuple[int, tuple[int, ...]], int] = field(default_factory=dict)

    def input(self) -> int:
        """A new input node."""
        self.tables.append(None)
        return len(self.tables) - 1

    def table(self, table: int, bits: list[Bit], name: str) -> Bit:
        """The bit of a table over bits. Raises Misaligned."""
        cycles = {cycle for _, cycle in bits if cycle is not None}
        if len(cycles) > 1:
            raise Misaligned(f"`{name}` joins bits of cycles {sorted(cycles)}")
        nodes = sorted({bit >> 1 for bit, _ in bits} - {0})
        place = {node: i for i, node in enumerate(nodes)}
        result = 0
        for row in range(1 << len(nodes)):
            index = 0
            for i, (bit, _) in enumerate(bits):
                index |= (((row >> place[bit >> 1]) & 1 if bit >> 1 else 0) ^ (bit & 1)) << i
            result |= (table >> index & 1) << row
        for i in reversed(range(len(nodes))):
            low = [row for row in range(1 << len(nodes)) if not row >> i & 1]
            if all((result >> row ^ result >> (row | 1 << i)) & 1 == 0 for row in low):
                result = sum((result >> row & 1) << at for at, row in enumerate(low))
                del nodes[i]
        if not nodes:
            return CONSTANTS[result]
        cycle = next(iter(cycles))
        if len(nodes) == 1:
            return 2 * nodes[0] + (result & 1), cycle
        inverted = result & 1
        if inverted:
            result ^= (1 << (1 << len(nodes))) - 1
        key = result, tuple(nodes)
        if key not in self._known:
            self._known[key] = len(self.tables)
            self.tables.append(key)
        return 2 * self._known[key] + inverted, cycle


def elaborated(
    modules: Mapping[str, ModuleText],
    top: str,
    circuit: Circuit,
    inputs: Mapping[str, list[Bit]],
    cuts: dict[str, list[Bit]] | None = None,
) -> dict[str, list[Bit]]:
    """The bits of every signal of a module, lowest first. Raises Unreadable, Misaligned.

    inputs: the bits of its input ports but `clk`. cuts: signals that are cut: what reads them reads new input nodes,
    which are put into `cuts`.
    """
    module = modules[top]
    if set(inputs) | {"clk"} != set(module.inputs) | {"clk"}:
        raise Unreadable(f"`{top}` has other inputs than {', '.join(inputs)}")
    for name, bits in inputs.items():
        if len(bits) != module.widths[name]:
            raise Unreadable(f"`{name}` of `{top}` has {module.widths[name]} bits, not {len(bits)}")
    signals, cuts = dict(inputs), {} if cuts is None else cuts
    seen = dict(signals)
    drivers = _drivers(modules, module)
    for name in _ordered(module, drivers, set(inputs)):
        if name in signals:
            continue
        driver = drivers[name]
        if isinstance(driver, Instance):
            made = _instance(modules, module, driver, circuit, seen)
        else:
            bits = _bits(module, driver, seen)
            if name in module.registers:
                bits = [(bit, None if cycle is None else cycle + 1) for bit, cycle in bits]
            _check(module, name, len(bits))
            made = {name: bits}
        signals.update(made)
        seen.update(made)
        for cut in made.keys() & cuts.keys():
            cuts[cut] = seen[cut] = [
                (bit if cycle is None else 2 * circuit.input(), cycle) for bit, cycle in signals[cut]
            ]
    return signals


def _drivers(modules: Mapping[str, ModuleText], module: ModuleText) -> dict[str, Expression | Instance]:
    """What drives each signal of a module but its inputs."""
    drivers: dict[str, Expression | Instance] = {**module.assigns, **module.registers}
    for instance in module.instances:
        for port in _outputs(modules, instance):
            target = instance.ports.get(port)
            if not isinstance(target, Name) or target.bit is not None:
                raise Unreadable(f"output `{port}` of `{instance.name}` does not drive a whole signal")
            if target.name in drivers or target.name in module.inputs:
                raise Unreadable(f"`{target.name}` of `{module.name}` has two drivers")
            drivers[target.name] = instance
    for name in module.widths:
        if name not in drivers and name not in module.inputs:
            raise Unreadable(f"nothing drives `{name}` of `{module.name}`")
    return drivers


def _outputs(modules: Mapping[str, ModuleText], instance: Instance) -> tuple[str, ...]:
    if instance.module in CELLS:
        return tuple(CELLS[instance.module].outputs)
    if instance.module in modules:
        return tuple(modules[instance.module].outputs)
    raise Unreadable(f"no module `{instance.module}`")


def _names(expression: Expression) -> Iterator[str]:
    match expression:
        case Name(name):
            yield name
        case Inverse(of):
            yield from _names(of)
        case Joined(parts):
            for part in parts:
                yield from _names(part)


def _ordered(module: ModuleText, drivers: Mapping[str, Expression | Instance], ready: set[str]) -> Iterator[str]:
    """The signals, each behind those that it is made of."""
    done, open_ = set(ready), set()
    for first in drivers:
        stack = [(first, False)]
        while stack:
            name, finished = stack.pop()
            if finished:
                done.add(name)
                yield name
                continue
            if name in done:
                continue
            if name in open_:
                raise Unreadable(f"`{name}` of `{module.name}` depends on itself")
            if name not in drivers:
                raise Unreadable(f"nothing drives `{name}` of `{module.name}`")
            open_.add(name)
            stack.append((name, True))
            driver = drivers[name]
            if isinstance(driver, Instance):
                outputs = {target.name for target in driver.ports.values() if isinstance(target, Name)}
                made = {other for other in outputs if drivers.get(other) is driver}
                read = {other for value in driver.ports.values() for other in _names(value)} - made - {"clk"}
            else:
                read = set(_names(driver))
            stack += [(other, False) for other in sorted(read) if other not in done]


def _bits(module: ModuleText, expression: Expression, signals: Mapping[str, list[Bit]]) -> list[Bit]:
    match expression:
        case Constant(width, value):
            return [CONSTANTS[value >> i & 1] for i in range(width)]
        case Name(name, bit):
            if name not in signals:
                raise Unreadable(f"`{name}` of `{module.name}` is read, but is no signal")
            bits = signals[name]
            if bit is None:
                return bits
            if bit >= len(bits):
                raise Unreadable(f"`{name}` of `{module.name}` has no bit {bit}")
            return [bits[bit]]
        case Inverse(of):
            return [(bit ^ 1, cycle) for bit, cycle in _bits(module, of, signals)]
        case Joined(parts):
            return [bit for part in reversed(parts) for bit in _bits(module, part, signals)]


def _check(module: ModuleText, name: str, width: int) -> None:
    if module.widths[name] != width:
        raise Unreadable(f"`{name}` of `{module.name}` has {module.widths[name]} bits, and is given {width}")


def _instance(
    modules: Mapping[str, ModuleText],
    module: ModuleText,
    instance: Instance,
    circuit: Circuit,
    signals: Mapping[str, list[Bit]],
) -> dict[str, list[Bit]]:
    """The signals that an instance drives."""
    outputs = _outputs(modules, instance)
    given = {
        port: _bits(module, value, signals)
        for port, value in instance.ports.items()
        if port not in outputs and port != "clk"
    }
    if instance.module in CELLS:
        if any(len(bits) != 1 for bits in given.values()):
            raise Unreadable(f"a port of `{instance.name}` has more than one bit")
        made = {
            port: [circuit.table(table, [given[one][0] for one in ports], instance.name)]
            for port, (table, ports) in outputs_of(instance).items()
        }
    else:
        if instance.ports.get("clk") != Name("clk") or instance.parameters:
            raise Unreadable(f"`{instance.name}` has another clock, or parameters")
        inner = elaborated(modules, instance.module, circuit, given)
        made = {port: inner[port] for port in outputs}
    found = {}
    for port, bits in made.items():
        target = instance.ports[port]
        assert isinstance(target, Name)
        _check(module, target.name, len(bits))
        found[target.name] = bits
    return found
