"""How many instructions a run executes at most, whatever the input: of the loops of a program, and what nodes cost.

A loop takes as many rounds as its ends are apart at most, an `if` its dearer side. What depends on the input is bounded
by what kernels promise of it (`Promise`, and the length of a `Pointer`), which the interpreter checks: the list of
a row has at most half of its bits, so the rows of weights that are added are known as a sum. A function whose loops
have no known bound has no bound, nor has anything that calls it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce

from bnnc.backends.c.expression_costs import UNKNOWN, ExpressionCosts, Unbounded
from bnnc.backends.c.instruction_costs import Costs, costs_of
from bnnc.backends.c.ranges import Interval, Ranges
from bnnc.loops.ir import (
    I64,
    Assign,
    Barrier,
    Binary,
    Buffer,
    Call,
    Compare,
    Constant,
    Expression,
    Fetch,
    For,
    Function,
    If,
    Pointer,
    Statement,
    Store,
    Variable,
    While,
    statements_of,
)
from bnnc.loops.lower.program import Lowered
from bnnc.loops.machine import Machine


@dataclass(frozen=True)
class Bounds:
    """Instructions. `layers`: an estimate of each call fact of the program, for the input that takes the longest;
    `run`: no run executes more. None: not known."""

    layers: tuple[int | None, ...]
    run: int | None


def instruction_bounds(lowered: Lowered, machine: Machine) -> Bounds:
    """Of a lowered network."""
    costs = costs_of(machine)
    if costs is None:
        return Bounds((None,) * len(lowered.calls), None)
    analysis = _Analysis(costs)
    program = lowered.program
    functions = {function.name: function for function in program.functions}
    # A function gets other numbers and buffers wherever it is called: the dearest call counts.
    sites: dict[Function, list[float | None]] = {}

    def called(function: Function, cost: _Cost | None) -> None:
        sites.setdefault(function, []).append(None if cost is None else cost.whole)

    try:
        entry = analysis.entry(program.entry, called)
    except Unbounded:
        entry = None
    whole: float | None = entry
    layers: list[int | None] = []
    for fact in lowered.calls:
        found = sites.get(functions[fact.function], [None])
        each = None if None in found else max(cost for cost in found if cost is not None)
        layers.append(None if each is None else math.ceil(each * fact.times))
        whole = None if each is None or whole is None else whole + each * fact.times
    return Bounds(tuple(layers), None if whole is None else math.ceil(whole * costs.margin))


@dataclass(frozen=True)
class _Cost:
    """`fixed` + `terms` of the function's parameters + `once`, which a call has but once, whatever loops are around: by
    the variable that promises it."""

    fixed: float = 0.0
    terms: dict[Variable, float] = field(default_factory=dict)
    once: dict[Variable, float] = field(default_factory=dict)

    @property
    def whole(self) -> float:
        """Without parameters."""
        return self.fixed + sum(self.once.values())

    def __add__(self, other: _Cost) -> _Cost:
        names = dict.fromkeys([*self.terms, *other.terms])
        terms = {name: self.terms.get(name, 0) + other.terms.get(name, 0) for name in names}
        return _Cost(self.fixed + other.fixed, terms, self._joined(other))

    def times(self, rounds: float) -> _Cost:
        """In a loop."""
        return _Cost(self.fixed * rounds, {name: n * rounds for name, n in self.terms.items()}, self.once)

    def dearer(self, other: _Cost) -> _Cost:
        """One of both, whichever it is."""
        names = dict.fromkeys([*self.terms, *other.terms])
        terms = {name: max(self.terms.get(name, 0), other.terms.get(name, 0)) for name in names}
        return _Cost(max(self.fixed, other.fixed), terms, self._joined(other))

    def _joined(self, other: _Cost) -> dict[Variable, float]:
        """Loops whose rounds one variable counts share them: all are those of the dearest."""
        names = dict.fromkeys([*self.once, *other.once])
        return {name: max(self.once.get(name, 0), other.once.get(name, 0)) for name in names}


@dataclass(frozen=True)
class _Linear:
    """A constant and multiples of variables."""

    constant: int
    terms: dict[Variable, int]

    def plus(self, other: _Linear, sign: int) -> _Linear:
        terms = dict(self.terms)
        for variable, n in other.terms.items():
            terms[variable] = terms.get(variable, 0) + sign * n
        return _Linear(self.constant + sign * other.constant, {v: n for v, n in terms.items() if n})


class _Analysis:
    """Costs of functions, each call with what is known of its arguments."""

    def __init__(self, costs: Costs) -> None:
        self.costs = costs
        self._known: dict[tuple[object, ...], _Cost | None] = {}

    def entry(self, function: Function, called: Callable[[Function, _Cost | None], None]) -> float:
        """What the entry itself executes for one sample: calls are counted apart, as often as they are made."""
        (sample,) = (s for s in function.body if isinstance(s, For)) if function.body else (None,)
        if sample is None:
            return self.costs.call
        walk = _Walk(self, function, {sample.variable: (0, 0)}, {}, called)
        cost = walk.block(sample.body)
        return self.costs.call + cost.whole

    def function(
        self, function: Function, numbers: dict[Variable, Interval], lengths: dict[Buffer, int]
    ) -> _Cost | None:
        """What a call executes; None where nothing is known."""
        key = (function, *numbers.items(), *lengths.items())
        if key not in self._known:
            walk = _Walk(self, function, numbers, lengths, None)
            try:
                saved = _Cost(self.costs.call + self.costs.argument * len(function.parameters))
                self._known[key] = saved + walk.block(function.body)
            except Unbounded:
                self._known[key] = None
        return self._known[key]


class _Walk(ExpressionCosts):
    """The costs of one function's statements. `called`: told of every call, which then costs nothing here."""

    def __init__(
        self,
        analysis: _Analysis,
        function: Function,
        numbers: dict[Variable, Interval],
        lengths: dict[Buffer, int],
        called: Callable[[Function, _Cost | None], None] | None,
    ) -> None:
        super().__init__(analysis.costs, Ranges(function, numbers))
        self.analysis, self.called, self.lengths = analysis, called, lengths
        self.parameters = {p for p in function.parameters if isinstance(p, Variable)}
        self.values: dict[Variable, Expression] = {}
        self.starts: dict[Variable, list[Expression]] = {}  # what variables get but for counting upwards
        for variable, interval in numbers.items():
            self.ranges.fix(variable, interval)
        for statement in statements_of(function.body):
            if isinstance(statement, Assign):
                variable = statement.variable
                if not _counts(statement):
                    self.starts.setdefault(variable, []).append(statement.value)
                if not variable.mutable:
                    self.values[variable] = statement.value
                if variable.promise is not None:
                    self.ranges.fix(variable, (0, variable.promise.most))
        self.bits: dict[Variable, tuple[float, int]] = {}  # cost a unit of what a loop left over, and which bits

    # ----------------------------------------------------------------------------------------------------- statements
    def block(self, body: tuple[Statement, ...]) -> _Cost:
        """All statements, one after the other."""
        cost = reduce(lambda total, statement: total + self._statement(statement), body, _Cost())
        for statement in body:
            promise = statement.variable.promise if isinstance(statement, Assign) else None
            if isinstance(statement, Assign) and promise and promise.times is not None and not cost.terms:
                once = cost.once.get(statement.variable, 0) + cost.fixed * promise.times
                return _Cost(0, {}, {**cost.once, statement.variable: once})
        return cost

    def _statement(self, statement: Statement) -> _Cost:
        costs = self.costs
        match statement:
            case Assign(_, value):
                return _Cost(self.value(value) + (costs.constant if isinstance(value, Constant | Variable) else 0))
            case Store(buffer, index, value, _):
                wide = costs.wide if buffer.element == I64 else 1
                return _Cost(self.value(value) + self.place(buffer, index) + costs.store * wide)
            case For():
                return self._for(statement)
            case While():
                return self._while(statement)
            case If(condition, then, otherwise):
                return self._if(condition, then, otherwise)
            case Call():
                return self._call(statement)
            case Fetch(target, source, row, runs, count, _):
                ends = self.value(target.index) + self.value(source.index) + self.value(row)
                copied = count * target.buffer.element.bytes * (costs.load + costs.store + costs.operation)
                return _Cost(ends + runs * (copied + costs.call) + 2 * costs.branch)
            case Barrier():
                return _Cost()

    def _for(self, loop: For) -> _Cost:
        body = self.block(loop.body) + _Cost(self.costs.round)
        head = _Cost(self.value(loop.start) + self.value(loop.stop) + self.costs.branch)
        rest = self._rest(loop)
        if rest is not None:
            # Rounds of `step` of a number, and its lower bits one by one behind the loop.
            each = body.fixed / loop.step
            self.bits[rest] = each, loop.step - 1
            return head + _Cost(0, {rest: each}, body.once)
        first, ends = self._linear(loop.start), self._ends(loop.stop)
        apart = min((end.plus(first, -1) for end in ends), key=self._most)
        most = self._most(apart)
        if most >= UNKNOWN:
            raise Unbounded
        outside = [variable for variable in apart.terms if variable not in self.parameters]
        least = apart.constant + sum(min(n * e for e in self.ranges.of(v)) for v, n in apart.terms.items())
        if outside or not apart.terms or body.terms or loop.step > 1 or least < 0:
            return head + body.times(max(0, -(-most // loop.step)))
        terms = {variable: n * body.fixed for variable, n in apart.terms.items()}
        return head + _Cost(apart.constant * body.fixed, terms, body.once)

    def _rest(self, loop: For) -> Variable | None:
        """The parameter whose bits from the step on are the end of the loop, if it starts at 0."""
        stop = self.values.get(loop.stop, loop.stop) if isinstance(loop.stop, Variable) else loop.stop
        match loop.start, stop:
            case Constant(0, _), Binary("and", Variable() as number, Constant(mask, _)) if (
                number in self.parameters and mask == -loop.step and loop.step & (loop.step - 1) == 0
            ):
                return number
        return None

    def _while(self, loop: While) -> _Cost:
        each = self.block(loop.body) + _Cost(self.value(loop.condition) + self.costs.round)
        counted = [s.variable for s in loop.body if isinstance(s, Assign) and _counts(s)]
        for variable in counted:  # rounds are counted over the whole call
            if variable.promise is not None and len(self.starts[variable]) == 1 and not each.terms:
                once = {**each.once, variable: each.fixed * variable.promise.most}
                return _Cost(self.value(loop.condition) + self.costs.branch, {}, once)
        rooms = [
            self.lengths[s.buffer] - min(self.ranges.of(value)[0] for value in self.starts[s.index])
            for s in loop.body
            if isinstance(s, Store) and isinstance(s.index, Variable)
            if s.index in counted and s.buffer in self.lengths
        ]
        if not rooms or each.terms:
            raise Unbounded
        return _Cost(self.costs.branch) + each.times(max(0, min(rooms)))

    def _if(self, condition: Expression, then: tuple[Statement, ...], otherwise: tuple[Statement, ...]) -> _Cost:
        decided = _Cost(self.value(condition) + self.costs.branch)
        one, two = self.block(then), self.block(otherwise)
        match condition:
            case Compare("ne", Binary("and", Variable() as number, Constant(size, _)), Constant(0, _)):
                each, bits = self.bits.get(number, (0.0, 0))
                if not otherwise and int(size) & bits and int(size) & (int(size) - 1) == 0:
                    # This bit stands for so many units, which the number's terms have paid for.
                    self.bits[number] = each, bits & ~int(size)
                    return decided + _Cost(max(0.0, one.fixed - each * int(size)), one.terms, one.once)
        return decided + one.dearer(two)

    def _call(self, call: Call) -> _Cost:
        passed = 0.0
        numbers: dict[Variable, Interval] = {}
        lengths: dict[Buffer, int] = {}
        given: dict[Variable, Expression] = {}
        for parameter, argument in zip(call.function.parameters, call.arguments, strict=True):
            passed += self.costs.argument
            if isinstance(argument, Pointer):
                passed += self.value(argument.index)
                room = argument.length or self._room(argument)
                if isinstance(parameter, Buffer) and room:
                    lengths[parameter] = room
            else:
                assert isinstance(parameter, Variable)
                passed += self.value(argument)
                given[parameter] = argument
                if not argument.type.element.is_float:
                    numbers[parameter] = self.ranges.of(argument)
        cost = self.analysis.function(call.function, numbers, lengths)
        settled = None if cost is None else self._settled(cost, given)
        if self.called is not None:
            self.called(call.function, settled)
            return _Cost(passed)
        if settled is None:
            raise Unbounded
        return _Cost(passed) + settled

    def _settled(self, cost: _Cost, given: dict[Variable, Expression]) -> _Cost | None:
        """The cost of a call whose parameters are given."""
        found = _Cost(cost.whole)
        for parameter, each in cost.terms.items():
            argument = given[parameter]
            promise = argument.promise if isinstance(argument, Variable) else None
            if each > 0 and isinstance(argument, Variable) and promise is not None and promise.total is not None:
                found += _Cost(0, {}, {argument: each * promise.total})
                continue
            low, high = self.ranges.of(argument)
            if high >= UNKNOWN:
                return None
            found += _Cost(each * (high if each > 0 else max(0, low)))
        return found

    def _room(self, pointer: Pointer) -> int:
        """How many elements lie behind a place; 0 where that is not known."""
        length = self.lengths.get(pointer.buffer, pointer.buffer.length)
        return max(0, length - max(0, self.ranges.of(pointer.index)[0])) if length else 0

    # -------------------------------------------------------------------------------------------------------- numbers
    def _linear(self, node: Expression) -> _Linear:
        """A number as multiples of variables that cannot be taken apart."""
        match node:
            case Constant(value, _):
                return _Linear(int(value), {})
            case Variable() if node in self.values:
                return self._linear(self.values[node])
            case Binary("add" | "sub" as operator, left, right):
                return self._linear(left).plus(self._linear(right), 1 if operator == "add" else -1)
            case Binary("mul", left, Constant(factor, _)):
                found, n = self._linear(left), int(factor)
                return _Linear(found.constant * n, {v: m * n for v, m in found.terms.items()})
            case Variable():
                return _Linear(0, {node: 1})
        unknown = Variable("", node.type)
        self.ranges.fix(unknown, self.ranges.of(node))
        return _Linear(0, {unknown: 1})

    def _ends(self, node: Expression) -> list[_Linear]:
        """Numbers none of which the end of a loop is above."""
        match node:
            case Variable() if node in self.values:
                return self._ends(self.values[node])
            case Binary("min", left, right):
                return [*self._ends(left), *self._ends(right)]
        return [self._linear(node)]

    def _most(self, number: _Linear) -> int:
        return number.constant + sum(max(n * end for end in self.ranges.of(v)) for v, n in number.terms.items())


def _counts(statement: Assign) -> bool:
    """Whether it is v = v + 1."""
    match statement.value:
        case Binary("add", Variable() as variable, Constant(1, _)):
            return variable is statement.variable and variable.mutable
    return False


__all__ = ["Bounds", "instruction_bounds"]
