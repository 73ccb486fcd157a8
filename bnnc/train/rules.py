"""From a plan to the modules of its training step: settings become whole numbers; what no rule covers is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np

from bnnc.diagnostics import BnncError, Diagnostic
from bnnc.ir import training
from bnnc.ir.module import Module, Output
from bnnc.ir.op import Op
from bnnc.ir.training import CLOCK
from bnnc.ir.types import Bit, Int, TensorType
from bnnc.train import bep, cpr, ends, groups, lbe, sequence
from bnnc.train.codes import CODES
from bnnc.train.design import Design, code_op, forward
from bnnc.train.engine import Step
from bnnc.train.plan import TrainingPlan, name_of
from bnnc.train.state import COUNT, HIGHEST_SEED, Matrix, States, initial_hidden, sign, signs_of, storage

WIDEST = 65535
"""Neurons of a layer: groups are numbered with 16 bits where ties are drawn."""
CODE_OF_RULE = {"lbe": "random", "bep": "balanced", "cpr": "random"}


def build(plan: TrainingPlan, width: int, seed: int) -> tuple[Step, Design]:
    """The training step for samples of `width` bits (a sequence: of all its steps together), and its design.

    Raises BnncError: B0530 for what the rule does not cover, B0531 where hidden weights are too narrow for the batch,
    B0532 for a setting out of range.
    """
    check(plan, seed)
    settings = plan.settings
    matrices = _matrices(plan, width)
    bound = largest_hidden(plan)
    blocks = tuple(ends.block_size(matrix.fan_in, settings.reinforcement) for matrix in matrices)
    factors = tuple(
        ends.squared_rate(matrix.fan_in, settings.reinforcement, block)
        for matrix, block in zip(matrices, blocks, strict=True)
    )
    design = _design(plan, width, seed, matrices)
    levels = max(len(sizes) for sizes in design.sizes)
    state = _initial(design, seed, bound, factors)
    step = Step(
        width=width,
        classes=plan.classes,
        batch=settings.batch,
        accumulate=_accumulator(design),
        end_batch=ends.end_batch(design.states, matrices, blocks, bound, design.counters),
        end_epoch=ends.end_epoch(design.states, matrices, factors, max(1, settings.schedule), levels),
        evaluate=lambda length: _evaluate(design, length),
        state=state,
    )
    return step, design


def _accumulator(design: Design) -> Callable[[int], Module]:
    rules: Mapping[str, Callable[[Design, int], Module]] = {
        "lbe": lbe.accumulate,
        "bep": sequence.accumulate if design.steps else bep.accumulate,
        "cpr": cpr.accumulate,
    }
    rule = rules[design.rule]
    return lambda length: rule(design, length)


def check(plan: TrainingPlan, seed: int) -> None:
    """Raises BnncError with everything that `build` would refuse in the plan and its settings."""
    settings = plan.settings
    found: list[Diagnostic] = []

    def refuse(code: str, message: str, layer: int | None = None, help_text: str = "") -> None:
        dense = -1 if layer is None else layer - (plan.recurrence is not None)
        places = (plan.locs[dense] if 0 <= dense < len(plan.locs) else plan.loc,)
        found.append(Diagnostic(code, message, "error", places, (), (help_text,) if help_text else ()))

    def fraction(name: str, value: Fraction) -> None:
        if not 0 <= value <= 1:
            refuse("B0532", f"`{name}` is a fraction from 0 to 1, not {value}")

    def whole(name: str, value: int, low: int, high: int) -> None:
        if not low <= value <= high:
            refuse("B0532", f"`{name}` is a whole number from {low} to {high}, not {value}")

    fraction("margin", settings.margin)
    fraction("reinforcement", settings.reinforcement)
    fraction("gate", settings.gate)
    whole("batch", settings.batch, 1, 65536)
    whole("epochs", settings.epochs, 1, 1_000_000)
    whole("schedule", settings.schedule, 0, 1_000_000)
    whole("hidden", settings.hidden, 8, 16)
    whole("seed", seed, 0, HIGHEST_SEED)
    whole("classes", plan.classes, 2, 65536)
    layers = _widths(plan)
    for layer, width in enumerate(layers):
        if not 1 <= width <= WIDEST:
            refuse("B0532", f"layer {_name(plan, layer)} has {width} neurons: 1 to {WIDEST} can be trained", layer)
    if not layers:
        refuse("B0530", f"`{plan.name}` has no layer that could be trained", None, "add a `dense` layer")
    if settings.groups is not None:
        if len(settings.groups) not in (1, len(layers)):
            refuse("B0532", f"`groups` has {len(settings.groups)} sizes, but {len(layers)} layers are trained")
        for size in settings.groups:
            whole("groups", size, 1, WIDEST)
    _check_rule(plan, refuse)
    if found:
        raise BnncError(*found)
    largest_hidden(plan)


def _check_rule(plan: TrainingPlan, refuse: Callable[..., None]) -> None:
    """What the one rule or the other cannot do."""
    settings = plan.settings
    layers = _widths(plan)
    if plan.recurrence is not None:
        if settings.rule != "bep":
            text = f"rule `{settings.rule}` cannot train the recurrent layer {_name(plan, 0)}: it knows no time"
            refuse("B0530", text, 0, "rule bep")
        if not 1 <= plan.recurrence.steps <= sequence.MOST_STEPS:
            text = f"a sequence has 1 to {sequence.MOST_STEPS} steps, not {plan.recurrence.steps}"
            refuse("B0532", text, 0)
    if settings.rule == "cpr" and len(layers) > 1:
        text = f"rule `cpr` trains one layer, and {_name(plan, 1)} would be the second"
        refuse("B0530", text, 1, "rule lbe")
    if settings.rule == "cpr" and settings.schedule:
        refuse("B0530", "rule `cpr` has no schedule: the size of its committees is part of the network")
    if settings.rule == "cpr" and len(layers) == 1 and all(size >= 1 for size in settings.groups or ()):
        size = settings.groups[0] if settings.groups else groups.default_size(layers[0], "cpr")
        if layers[0] % size:
            text = f"committees of {size} do not divide the {layers[0]} neurons of {_name(plan, 0)}"
            near = ", ".join(map(str, [n for n in groups.divisors(layers[0]) if n % 2][:6]))
            refuse("B0532", text, 0, f"sizes that do: {near}")


def _name(plan: TrainingPlan, layer: int) -> str:
    return f"`{name_of(plan, layer)}`"


def _widths(plan: TrainingPlan) -> tuple[int, ...]:
    """Neurons of every layer that has groups: the recurrent cell, if there is one, and the dense layers."""
    return (*((plan.recurrence.width,) if plan.recurrence else ()), *plan.widths)


def largest_hidden(plan: TrainingPlan) -> int:
    """How far a hidden weight may be from 0 between batches, so that no sum within a batch leaves the width."""
    bits = plan.settings.hidden
    limit = int(2 ** (bits - 1) - 1)
    steps = plan.recurrence.steps if plan.recurrence else 1
    bound = limit - 2 * plan.settings.batch * steps
    if bound >= 1:
        return bound
    most = (limit - 1) // (2 * steps)
    least = next((n for n in range(8, 17) if 2 ** (n - 1) - 1 > 2 * plan.settings.batch * steps), 0)
    helps = [f"hidden {least}"] if least else []
    helps += [f"batch {most}"] if most else []
    of_steps = f" of {steps} steps" if steps > 1 else ""
    raise BnncError(
        Diagnostic(
            "B0531",
            f"hidden weights of {bits} bits are too narrow for a batch of {plan.settings.batch}{of_steps}",
            "error",
            (plan.loc,),
            (f"a batch may move a weight by {2 * plan.settings.batch * steps}, and the largest value is {limit}",),
            (" or ".join(helps),) if helps else (),
        )
    )


def _matrices(plan: TrainingPlan, width: int) -> tuple[Matrix, ...]:
    found: list[Matrix] = []
    before = width
    if plan.recurrence:
        inputs, cell = width // plan.recurrence.steps, plan.recurrence.width
        found.append(Matrix("input", 0, cell, inputs, inputs + cell))
        found.append(Matrix("state", 1, cell, cell, inputs + cell))
        before = cell
    for number, neurons in enumerate(plan.widths, 1):
        found.append(Matrix(str(number), len(found), neurons, before, before))
        before = neurons
    return tuple(found)


def _design(plan: TrainingPlan, width: int, seed: int, matrices: tuple[Matrix, ...]) -> Design:
    settings = plan.settings
    layers = _widths(plan)
    given = settings.groups or tuple(groups.default_size(neurons, settings.rule) for neurons in layers)
    first = given if len(given) == len(layers) else given * len(layers)
    sizes = [
        groups.levels(neurons, min(size, neurons)) if settings.schedule else (min(size, neurons),)
        for neurons, size in zip(layers, first, strict=True)
    ]
    if plan.recurrence:
        sizes.insert(0, sizes[0])  # the cell's two matrices share its groups
    make = CODES[settings.code or CODE_OF_RULE[settings.rule]]
    # What each classifier reads: every layer's own signs for LBE, else only what comes last.
    if settings.rule == "lbe":
        read = [(matrix.index, matrix.rows) for matrix in matrices]
    else:
        last = matrices[-1]
        read = [(last.index, last.rows // (sizes[0][0] if settings.rule == "cpr" else 1))]
    names = [f"active_{m.name}" for m in matrices] if settings.rule == "lbe" else ["active"] * len(matrices)
    scheduled = max(len(each) for each in sizes) > 1
    return Design(
        rule=settings.rule,
        states=States(_types(matrices, tuple(dict.fromkeys(names)), settings.hidden, scheduled)),
        matrices=matrices,
        codes=tuple(make(plan.classes, neurons, seed, layer) for layer, neurons in read),
        sizes=tuple(sizes),
        margins=tuple(math.floor(settings.margin * neurons) for _, neurons in read),
        gates=tuple(math.floor(settings.gate * matrix.fan_in) for matrix in matrices),
        counters=tuple(names),
        tie=settings.tie,
        width=width,
        classes=plan.classes,
        steps=plan.recurrence.steps if plan.recurrence else 0,
    )


def _types(
    matrices: tuple[Matrix, ...], counters: tuple[str, ...], hidden: int, scheduled: bool
) -> dict[str, TensorType]:
    limit = 2 ** (hidden - 1) - 1
    types = {"clock": TensorType(CLOCK, (3,))}
    for matrix in matrices:
        shape = (matrix.rows, matrix.columns)
        types[f"hidden_{matrix.name}"] = TensorType(Int(-limit, limit), shape)
        types[f"weights_{matrix.name}"] = TensorType(Bit(), shape)
        types[f"rate_{matrix.name}"] = TensorType(COUNT, (1,))
    types |= {name: TensorType(COUNT, (1,)) for name in (*counters, "wrong", "total", "flips")}
    types["last"] = TensorType(COUNT, (3,))
    if scheduled:
        types["progress"] = TensorType(COUNT, (3,))
    return types


def _initial(design: Design, seed: int, bound: int, factors: tuple[int, ...]) -> dict[str, np.ndarray]:
    """All zero but the seed, the hidden weights and their signs, and the rates of the first epoch (accuracy 0)."""
    types = design.states.types
    state = {name: np.zeros(kind.shape, storage(kind.dtype)) for name, kind in types.items()}
    state["clock"][0] = seed
    for matrix, factor in zip(design.matrices, factors, strict=True):
        hidden = initial_hidden(matrix, seed, bound)
        state[f"hidden_{matrix.name}"][...] = hidden
        state[f"weights_{matrix.name}"][...] = signs_of(hidden)
        state[f"rate_{matrix.name}"][0] = min(COUNT.hi, math.isqrt(factor))
    return state


def _evaluate(design: Design, length: int) -> Module:
    writer = design.states.begin()
    samples, labels = design.samples(length), design.labels(length)

    def weights(layer: int) -> Op:
        return writer.read(f"weights_{design.matrices[layer].name}")

    x: Op = samples
    first = 0
    if design.steps:
        x, first = sign(sequence.unroll(design, samples, writer.read)[2][-1]), 2
    for layer in range(first, len(design.matrices)):
        x = forward(x, weights(layer))[1]
    if design.rule == "cpr":
        x = cpr.decisions(x, design.sizes[0][0])
    scores = training.Product(x, code_op(design.codes[-1]))
    wrong = training.Total(ends.number(0), training.Trigger(scores, labels, 0))
    inputs = writer.module("evaluate", samples, labels).inputs
    return Module("evaluate", inputs, (Output("wrong", wrong, "int32"),))
