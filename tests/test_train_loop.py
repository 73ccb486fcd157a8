"""Training runs: what they learn, that they repeat, resume and split the data as they should, and what they write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from bnnc import api, checking
from bnnc.data.sequences import Sequences
from bnnc.data.sequences import dataset as sequences
from bnnc.data.split import Pair
from bnnc.diagnostics import BnncError
from bnnc.ir import store
from bnnc.ir.training import PERMUTATION, draw
from bnnc.train import loop
from bnnc.train.engine import Engine, Step
from bnnc.train.interpreted import ReferenceEngine
from bnnc.train.loop import Machinery, Training, permutation
from bnnc.train.plan import Recurrence, Settings, Signs, Threshold, TrainingPlan
from bnnc.train.shifts import shifted
from tests.training import images, plan, prototypes

REFERENCE = Machinery(ReferenceEngine, checking.judge)


def run(
    of: TrainingPlan | None = None, data: Pair | None = None, epochs: int = 3, seed: int = 1, **more: Any
) -> Training:
    """A run on the reference, after so many epochs."""
    training = start(of, data, seed, **more)
    for _ in training.epochs(epochs):
        pass
    return training


def start(of: TrainingPlan | None = None, data: Pair | None = None, seed: int = 1, **more: Any) -> Training:
    return Training(of or easy(), data or prototypes(), REFERENCE, seed=seed, **more)


def easy(**settings: Any) -> TrainingPlan:
    return plan(widths=(35, 21), inputs=63, **{"batch": 20, **settings})


def accuracy(training: Training, data: Pair) -> float:
    """Of the written network on the test set, by the reference."""
    samples, labels = data.test.load()
    module = store.loads(training.result())
    scores = checking.judge(module)({module.inputs[0].name: samples})["scores"]
    return float((scores.argmax(1) == labels).mean())


@pytest.mark.parametrize(
    ("of", "least"),
    [
        (easy(rule="lbe"), 0.8),
        (easy(rule="bep", gate=Fraction(1, 7), schedule=2), 0.93),
        (replace(easy(rule="cpr", groups=(5,)), widths=(35,)), 0.93),
        (replace(easy(rule="lbe"), widths=(34, 20)), 0.8),  # sums of even numbers of bits
        (easy(rule="lbe", hidden=9), 0.8),
    ],
    ids=["lbe", "bep", "cpr", "even", "narrow"],
)
def test_it_learns_and_the_written_network_knows_it(of: TrainingPlan, least: float) -> None:
    data = prototypes()
    training = run(of, data, epochs=5)
    assert training.history[-1].test_accuracy >= least
    assert accuracy(training, data) == training.history[-1].test_accuracy


@pytest.mark.parametrize("cell", [64, 35])
def test_a_recurrent_cell_learns_a_majority(cell: int) -> None:
    of = Sequences(task="majority", steps=5, bits=16, p=Fraction(1, 20), train=400, test=200)
    data = Pair(sequences(of, "train"), sequences(of, "test"))
    settings = Settings(rule="bep", batch=20, gate=Fraction(1, 5))
    net = TrainingPlan("net", "x", (5, 16), 2, (Signs(),), (21,), settings, recurrence=Recurrence(cell, 5))
    training = run(net, data, epochs=6)
    assert max(report.test_accuracy for report in training.history) >= 0.8
    assert accuracy(training, data) == training.history[-1].test_accuracy


def test_images_shifts_and_encoders() -> None:
    data = images(300)
    of = TrainingPlan(
        "net", "x", (1, 6, 6), 3, (Threshold(119),), (35,), Settings(batch=20, shifts=True, margin=Fraction(0))
    )
    training = run(of, data, epochs=6)
    assert training.history[-1].train_accuracy > 0.5
    assert accuracy(training, data) == training.history[-1].test_accuracy
    assert training.result() != run(replace(of, settings=replace(of.settings, shifts=False)), data, 6).result()


def test_shifts_move_by_one_pixel_and_bring_in_black() -> None:
    image = np.arange(1, 10, dtype=np.uint8).reshape(1, 1, 3, 3)
    rows = [moved[0].tolist() for moved in shifted(image)]
    assert rows[0] == image[0, 0].tolist()
    assert rows[1] == [[4, 5, 6], [7, 8, 9], [0, 0, 0]]
    assert rows[2] == [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    assert rows[3] == [[2, 3, 0], [5, 6, 0], [8, 9, 0]]
    assert rows[4] == [[0, 1, 2], [0, 4, 5], [0, 7, 8]]


def test_equal_training_gives_equal_bytes_and_the_seed_matters() -> None:
    assert run().result() == run().result()
    assert run().checkpoint() == run().checkpoint()
    assert run().result() != run(seed=2).result()


def test_an_interrupted_run_resumes_bit_for_bit() -> None:
    of = easy(rule="bep", schedule=1)
    whole = run(of, epochs=5)
    first = run(of, epochs=2)
    second = start(of)
    second.resume(first.checkpoint(), "c")
    assert second.epochs_done == 2
    assert [report.epoch for report in second.epochs(5)] == [3, 4, 5]
    assert second.result() == whole.result()
    assert second.checkpoint() == whole.checkpoint()
    assert second.history == whole.history


class Breaking(ReferenceEngine):
    """Is interrupted in the middle of the third epoch."""

    done = 0

    def _run(self, module: Any, more: Any = None) -> None:
        self.done += module.name == "end_batch"
        if self.done > 75:  # 30 batches an epoch
            raise KeyboardInterrupt
        super()._run(module, more)


def test_an_interrupt_leaves_the_last_complete_epoch() -> None:
    broken = Training(easy(), prototypes(), Machinery(Breaking, checking.judge), seed=1)
    with pytest.raises(KeyboardInterrupt):
        list(broken.epochs(5))
    assert broken.epochs_done == 2
    assert broken.checkpoint() == run(epochs=2).checkpoint()


def test_validation_takes_the_best_epoch_of_a_split_of_the_training_set() -> None:
    share = Fraction(1, 4)
    training = run(epochs=7, validation=share)
    values = [report.validation_accuracy for report in training.history]
    best = 1 + values.index(max(value for value in values if value is not None))  # the first of the best
    assert training.result_epoch == best
    data = prototypes()
    assert accuracy(training, data) == training.history[best - 1].test_accuracy
    shorter = run(epochs=best, validation=share)
    state, longer = (store.load_container(r.result()).extra for r in (shorter, training))
    assert all(np.array_equal(state[name], longer[name]) for name in state if name.startswith("state."))
    resumed = start(validation=share)
    resumed.resume(run(epochs=4, validation=share).checkpoint(), "c")
    list(resumed.epochs(7))
    assert resumed.checkpoint() == training.checkpoint()
    assert resumed.result() == training.result()


class Numbered:
    """An engine whose evaluations go as they are told; it trains nothing."""

    answers: Iterator[int]

    def __init__(self, step: Step) -> None:
        self.kept = {name: array.copy() for name, array in step.state.items()}

    def load_state(self, state: Any) -> None:
        self.kept = dict(state)

    def state(self, names: Any = None) -> dict[str, np.ndarray]:
        return {name: self.kept[name] for name in names or self.kept}

    def epoch(self, samples: Any, order: Any) -> None:
        self.kept["last"] = np.array([30, 100, 5], np.int32)

    def evaluate(self, samples: Any) -> int:
        return next(self.answers)


def test_validation_ends_a_run_that_gets_no_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "PATIENCE", 3)
    monkeypatch.setattr(Numbered, "answers", iter([0, 50, 0, 70, 0, 60, 0, 70, 0, 69, 0, 99]), raising=False)
    training = Training(easy(), prototypes(), Machinery(Numbered, checking.judge), validation=Fraction(1, 6))
    assert len(list(training.epochs(50))) == 5
    assert training.result_epoch == 2


def test_a_run_at_chance_is_called_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    def after(wrong: int, epochs: int) -> Any:
        def epoch(self: Any, samples: Any, order: Any) -> None:
            self.kept["last"] = np.array([wrong, 100, 5], np.int32)

        monkeypatch.setattr(Numbered, "epoch", epoch)
        monkeypatch.setattr(Numbered, "answers", iter([0] * 99), raising=False)
        training = Training(easy(), prototypes(), Machinery(Numbered, checking.judge))
        list(training.epochs(epochs))
        return training.stuck()

    warning = after(74, 5)
    assert (warning.code, warning.severity) == ("B0505", "warning")
    assert "0 % of its hidden weights" in warning.notes[0]
    assert after(74, 4) is None
    assert after(60, 5) is None


def test_the_order_is_by_ascending_draws() -> None:
    order = permutation(7, 3, 100, 100)
    keys = [draw(7, PERMUTATION, 0, 3, i) for i in range(100)]
    assert order.tolist() == sorted(range(100), key=lambda i: keys[i])
    assert order.dtype == np.int64
    assert permutation(7, 3, 100, 20).tolist() == order[:20].tolist()
    assert permutation(7, 4, 100, 100).tolist() != order.tolist()


def test_the_file_holds_what_a_device_needs_and_no_path_or_time() -> None:
    training = run(data=Pair(replace(prototypes().train, name="folder:/home/me"), prototypes().test))
    content = store.load_container(training.result())
    assert set(content.extra) == {
        "training.json",
        *(f"state.{name}" for name in training.step.state if not name.startswith("weights_")),
        *("code.1", "code.2"),
    }
    hidden = content.extra["state.hidden_1"]
    assert isinstance(hidden, np.ndarray)
    assert hidden.dtype == np.int16
    facts = content.extra["training.json"]
    assert isinstance(facts, bytes)
    assert b"home" not in training.result()
    assert json.loads(facts)["plan"]["settings"]["margin"] == "1/4"
    assert len(json.loads(facts)["history"]) == 3
    dense = [op for op in content.module.ops() if op.opcode == "bit.dense"]
    assert (dense[1].weights == np.where(content.extra["state.hidden_2"] >= 0, 1, -1)).all()  # type: ignore[attr-defined, operator]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 2}, "seed: it has 1, this run 2"),
        ({"of": easy(margin=Fraction(1, 3))}, 'margin: it has "1/4", this run "1/3"'),
        ({"data": prototypes(seed=9)}, "the training data are others"),
        ({"validation": Fraction(1, 5)}, "validation"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(change: dict[str, Any], said: str) -> None:
    checkpoint = run(epochs=1).checkpoint()
    with pytest.raises(BnncError, match="B0534") as caught:
        start(**change).resume(checkpoint, "c")
    assert any(said in note for note in caught.value.diagnostics[0].notes)


def test_more_epochs_are_no_other_training() -> None:
    longer = start(easy(epochs=99))
    longer.resume(run(easy(epochs=2), epochs=2).checkpoint(), "c")
    assert longer.epochs_done == 2


def changed(**extra: Any) -> bytes:
    """A checkpoint, some of whose parts are others (None: absent)."""
    content = store.load_container(run(epochs=1).checkpoint())
    parts = {**content.extra, **{name.replace("__", "."): value for name, value in extra.items()}}
    return store.dumps(content.module, {name: value for name, value in parts.items() if value is not None})


@pytest.mark.parametrize(
    "extra",
    [
        {"training__json": None},
        {"training__json": b"[]"},
        {"training__json": b"\xff"},
        {"training__json": b'{"format": 2, "history": [], "best_epoch": 0}'},
        {"training__json": b'{"format": 1, "history": [[1]], "best_epoch": 0}'},
        {"training__json": b'{"format": 1, "history": [], "best_epoch": 1}'},
        {"state__hidden_1": None},
        {"state__hidden_1": np.zeros((3, 3), np.int16)},
        {"state__hidden_1": np.zeros((35, 63), np.int32)},
        {"state__hidden_1": np.full((35, 63), -32768, np.int16)},
        {"state__clock": np.array([0, -1, 0], np.int32)},
        {"state__clock": b"abc"},
    ],
)
def test_a_checkpoint_that_is_none_is_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(BnncError, match="B0535"):
        start().resume(changed(**extra), "c")


def test_a_damaged_checkpoint_is_refused() -> None:
    checkpoint = bytearray(run(epochs=1).checkpoint())
    checkpoint[len(checkpoint) // 2] ^= 1
    with pytest.raises(BnncError, match="B042"):
        start().resume(bytes(checkpoint), "c")


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (plan(inputs=62), "62"),
        (easy(), "classes"),
        (replace(easy(), classes=10, input_shape=(1, 63)), "63"),
    ],
)
def test_data_that_do_not_fit_the_net_are_refused(of: TrainingPlan, said: str) -> None:
    with pytest.raises(BnncError, match="B0502") as caught:
        start(of, prototypes(classes=10))
    assert said in str(caught.value)


def test_shifts_need_images() -> None:
    with pytest.raises(BnncError, match="B0536"):
        start(easy(shifts=True))


def test_the_python_function_trains(tmp_path: Any) -> None:
    training = api.train(easy(), prototypes(), epochs=2, seed=1, on="reference")
    assert training.result() == run(epochs=2).result()
    assert len(training.history) == 2


def test_llvm_writes_the_bytes_of_the_reference() -> None:
    one, two = (api.train(easy(), prototypes(), epochs=3, seed=1, on="llvm", threads=n) for n in (1, 2))
    assert one.result() == two.result() == run().result()


def test_engines_keep_the_protocol() -> None:
    engine: Engine = ReferenceEngine(start().step)
    state = engine.state()
    state["hidden_1"][:] = 1
    assert (engine.state(["hidden_1"])["hidden_1"] != 1).any()  # a copy was given
    engine.load_state(state)
    state["hidden_1"][:] = 3
    assert (engine.state(["hidden_1"])["hidden_1"] == 1).all()
