"""What is kept of a training run: the state beside the network in a `.bnnm`, and how it is taken up again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from bnnc.diagnostics import BnncError, error
from bnnc.ir import store
from bnnc.ir.module import Module
from bnnc.ir.types import TensorType, value_range
from bnnc.train.plan import TrainingPlan
from bnnc.train.state import kept, storage

FORMAT = 1
FACTS = "training.json"
STATE, BEST = "state.", "best."


@dataclass(frozen=True)
class EpochCounts:
    """What happened in one epoch, in whole numbers; `validation` is -1 where nothing is kept apart for it."""

    wrong: int
    total: int
    flips: int
    test: int
    validation: int = -1


@dataclass(frozen=True)
class Snapshot:
    """A run after so many complete epochs. States lack the signs of the weights. `best_epoch` counts from 1; without
    validation it is 0, and `best` empty."""

    state: Mapping[str, np.ndarray]
    history: tuple[EpochCounts, ...] = ()
    best_epoch: int = 0
    best: Mapping[str, np.ndarray] = field(default_factory=dict)


def described(plan: TrainingPlan) -> dict[str, Any]:
    """Everything in a plan that decides what the training makes, as JSON; not how many epochs, nor where it stands."""
    settings = {name: _plain(value) for name, value in dataclasses.asdict(plan.settings).items() if name != "epochs"}
    base = hashlib.sha256(store.dumps(plan.base)).hexdigest() if plan.base else None
    return {
        "name": plan.name,
        "input": [plan.input_name, list(plan.input_shape)],
        "classes": plan.classes,
        "encoders": [{"encoder": type(e).__name__.lower(), **_fields(e)} for e in plan.encoders],
        "widths": list(plan.widths),
        "recurrence": _fields(plan.recurrence) if plan.recurrence else None,
        "base": base,
        "settings": settings,
    }


def _fields(value: Any) -> dict[str, Any]:
    return {name: _plain(v) for name, v in dataclasses.asdict(value).items()}


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Fraction) else list(value) if isinstance(value, tuple) else value


def dumps(
    module: Module,
    facts: Mapping[str, Any],
    state: Mapping[str, np.ndarray],
    codes: Mapping[str, np.ndarray],
    best: Mapping[str, np.ndarray] | None = None,
) -> bytes:
    """A `.bnnm` of the network with the state of its training beside it. Equal training gives equal bytes."""
    text = json.dumps({"format": FORMAT, **facts}, indent=1, ensure_ascii=False) + "\n"
    extra: dict[str, bytes | np.ndarray] = {FACTS: text.encode()}
    for prefix, arrays in ((STATE, state), (BEST, best or {}), ("code.", codes)):
        extra.update({prefix + name: arrays[name] for name in kept(arrays)})
    return store.dumps(module, extra)


def loads(data: bytes, file: str, wanted: Mapping[str, TensorType]) -> tuple[dict[str, Any], Snapshot]:
    """The facts and the run in a checkpoint, whose state must have the tensors of `wanted`.

    Raises BnncError: B0420 to B0423 for a damaged file, B0535 for one that is no checkpoint of such a training.
    """
    extra = store.load_container(data, file).extra
    try:
        content = extra[FACTS]
        facts = json.loads(content if isinstance(content, bytes) else b"")
        if facts["format"] != FORMAT:
            raise _unfit(file, f"it has format {facts['format']}, and this bnnc writes {FORMAT}")
        history = tuple(EpochCounts(*(int(n) for n in row)) for row in facts["history"])
        best_epoch = int(facts["best_epoch"])
    except (KeyError, TypeError, ValueError, UnicodeDecodeError):
        raise _unfit(file, "it holds no state of a training") from None
    state = _state(extra, STATE, wanted, file)
    best = _state(extra, BEST, wanted, file) if any(name.startswith(BEST) for name in extra) else {}
    if not 0 <= best_epoch <= len(history) or bool(best) != bool(best_epoch):
        raise _unfit(file, "its best epoch is none of its epochs")
    return facts, Snapshot(state, history, best_epoch, best)


def _state(
    extra: Mapping[str, bytes | np.ndarray], prefix: str, wanted: Mapping[str, TensorType], file: str
) -> dict[str, np.ndarray]:
    state: dict[str, np.ndarray] = {}
    for name in kept(wanted):
        array, like = extra.get(prefix + name), wanted[name]
        if not isinstance(array, np.ndarray) or array.shape != like.shape or array.dtype.name != storage(like.dtype):
            raise _unfit(file, f"its `{name}` is not {like}")
        lo, hi = value_range(like.dtype)
        if array.min() < lo or array.max() > hi:
            raise _unfit(file, f"its `{name}` holds values outside {like.dtype}")
        state[name] = array
    return state


def _unfit(file: str, why: str) -> BnncError:
    return error(
        "B0535",
        f"`{file}` cannot be resumed: {why}",
        helps=("train from the start without --resume",),
    )


def check_same(facts: Mapping[str, Any], mine: Mapping[str, Any], file: str) -> None:
    """Raises BnncError B0534, naming every difference, unless a checkpoint is of the same training as this one."""
    differences = list(_differences("", {key: facts.get(key) for key in mine}, mine))
    if differences:
        raise error(
            "B0534",
            f"`{file}` is of another training",
            notes=tuple(differences[:8]),
            helps=("give the same net, data, --seed and --validation, or train from the start without --resume",),
        )


def _differences(path: str, theirs: Any, mine: Any) -> list[str]:
    if isinstance(theirs, Mapping) and isinstance(mine, Mapping):
        keys = [*mine, *(key for key in theirs if key not in mine)]
        inner = [_differences(f"{path} {key}".strip(), theirs.get(key), mine.get(key)) for key in keys]
        return [line for lines in inner for line in lines]
    if theirs == mine:
        return []
    if path.endswith("digest"):
        return ["the training data are others"]
    return [f"{path}: it has {json.dumps(theirs)}, this run {json.dumps(mine)}"]
