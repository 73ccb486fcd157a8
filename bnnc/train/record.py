"""A training run as it lies in a `.bnnm`, without its data: the step, its state, and the part of the network that
turns an input into the bits of a sample. From it training goes on elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

import numpy as np

from bnnc.diagnostics import BnncError, error
from bnnc.ir import store
from bnnc.ir.bit import Add, Dense
from bnnc.ir.bit import Step as BitStep
from bnnc.ir.module import Module
from bnnc.ir.op import Op
from bnnc.train import checkpoint, rules
from bnnc.train.design import Design
from bnnc.train.encoding import Encoding
from bnnc.train.engine import Step
from bnnc.train.plan import Recurrence, Settings, TrainingPlan
from bnnc.train.state import completed

CODE = "code."


@dataclass(frozen=True, eq=False)
class Record:
    """What a `.bnnm` of a training holds: `state` is of the last complete epoch (or the best), signs included."""

    plan: TrainingPlan
    step: Step
    design: Design
    state: Mapping[str, np.ndarray]
    encoding: Encoding
    seed: int


def loads(data: bytes, file: str) -> Record:
    """The training in a container.

    Raises BnncError: B0420 to B0423 for a damaged file, B0538 for one without a training, B0539 where what it holds
    does not fit together.
    """
    container = store.load_container(data, file)
    content = container.extra.get(checkpoint.FACTS)
    if not isinstance(content, bytes):
        raise error(
            "B0538",
            f"`{file}` holds no training to go on with",
            helps=("give the .bnnm that `bnnc train` wrote",),
        )
    try:
        facts = json.loads(content)
        plan, seed = _plan(facts["plan"]), int(facts["seed"])
        arrays = {name: array for name, array in container.extra.items() if isinstance(array, np.ndarray)}
        width = _width(plan, arrays)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, AttributeError, UnicodeDecodeError):
        raise _unfit(file, "its description of the training is not one that bnnc writes") from None
    step, design = rules.build(plan, width, seed)
    _, snapshot = checkpoint.loads(data, file, design.states.types)
    for number, code in enumerate(design.codes, 1):
        known = arrays.get(f"{CODE}{number}")
        if known is None or not np.array_equal(known, code):
            raise _unfit(file, f"its classifier {number} is not the one of seed {seed}")
    bound = rules.largest_hidden(plan)
    for name, array in snapshot.state.items():
        even, beyond = (array & 1) == 0, np.abs(array.astype(np.int32)) > bound
        if name.startswith("hidden_") and bool((even | beyond).any()):
            raise _unfit(file, f"its `{name}` holds numbers that no training makes")
    return Record(plan, step, design, completed(snapshot.state), _encoding(container.module, plan, design, file), seed)


def _plan(told: Mapping[str, Any]) -> TrainingPlan:
    """The plan without its encoders, which the network has."""
    kinds = {field.name: field.default for field in fields(Settings)}
    values: dict[str, Any] = {}
    for name, value in told["settings"].items():
        if name not in kinds:
            raise KeyError(name)
        if isinstance(kinds[name], Fraction):
            value = Fraction(value)
        values[name] = tuple(value) if isinstance(value, list) else value
    recurrence = told["recurrence"]
    return TrainingPlan(
        str(told["name"]),
        str(told["input"][0]),
        tuple(int(n) for n in told["input"][1]),
        int(told["classes"]),
        (),
        tuple(int(n) for n in told["widths"]),
        Settings(**values),
        Recurrence(int(recurrence["width"]), int(recurrence["steps"])) if recurrence else None,
    )


def _width(plan: TrainingPlan, arrays: Mapping[str, np.ndarray]) -> int:
    if plan.recurrence is None:
        return int(arrays[f"{checkpoint.STATE}hidden_1"].shape[1])
    return plan.recurrence.steps * int(arrays[f"{checkpoint.STATE}hidden_input"].shape[1])


def _encoding(module: Module, plan: TrainingPlan, design: Design, file: str) -> Encoding:
    """What `bnnc.train.export.network` put in front of the first layer."""
    try:
        (source,), (output,) = module.inputs, module.outputs
        x = _read_by(output.value)
        if design.rule == "cpr":
            x = _read_by(_fired(x))
        layers = design.matrices if plan.recurrence is None else design.matrices[2:]
        for _ in layers:
            x = _read_by(_fired(x))
        parts = (x,) if plan.recurrence is None else _steps(x, plan.recurrence.steps)
    except (ValueError, TypeError):
        raise _unfit(file, "the network in it is not the one that was trained") from None
    columns = design.matrices[0].columns
    sizes = {part.type.size for part in parts}
    if len(sizes) != 1 or columns - max(sizes) not in (0, 1):
        raise _unfit(file, "the network in it is not the one that was trained")
    return Encoding(source, parts, columns - max(sizes) == 1)


def _fired(op: Op) -> Op:
    if not isinstance(op, BitStep):
        raise TypeError
    return op.x


def _read_by(op: Op) -> Op:
    if not isinstance(op, Dense):
        raise TypeError
    return op.x


def _steps(state: Op, steps: int) -> tuple[Op, ...]:
    """The parts of a sequence that a recurrent cell reads, the first step's first."""
    parts: list[Op] = []
    for _ in range(steps - 1):
        sums = _fired(state)
        if not isinstance(sums, Add) or len(sums.xs) != 2:
            raise TypeError
        parts.insert(0, _read_by(sums.xs[0]))
        state = _read_by(sums.xs[1])
    return (_read_by(_fired(state)), *parts)


def _unfit(file: str, why: str) -> BnncError:
    return error(
        "B0539", f"training cannot go on from `{file}`: {why}", helps=("train again, or fetch the file again",)
    )


__all__ = ["Record", "loads"]
