"""The training rules: their modules against a plain transcription of the papers' steps, bit for bit."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from bnnc.diagnostics import BnncError
from bnnc.ir import text
from bnnc.ir.module import Input, Module
from bnnc.ir.training import CLASSIFIER, INIT, REINFORCE, TIE, draw
from bnnc.ir.types import F32, Fix
from bnnc.ir.verify import verify
from bnnc.train import ends, groups
from bnnc.train.codes import balanced_code, random_code
from bnnc.train.engine import Samples, Step
from bnnc.train.interpreted import ReferenceEngine
from bnnc.train.plan import Recurrence, TrainingPlan
from bnnc.train.rules import build
from bnnc.train.samples import pack_rows, packed, unpack_rows
from tests.training import plan, random_samples

SEED = 3


def sign(x: Any) -> Any:
    return np.where(np.asarray(x) >= 0, 1, -1)


class Plain:
    """LBE, BEP and CP+R as the papers word them: one sample, one neuron, one weight at a time."""

    def __init__(self, of: TrainingPlan, width: int, step: Step, codes: tuple[np.ndarray, ...]) -> None:
        self.of, self.settings = of, of.settings
        fans = [width, *of.widths]
        shift = {16: 0, 9: 2}[of.settings.hidden]  # values up to 255 become at most half of 255 - 2 * 8
        self.hidden = [
            np.array([self._start(layer, index, shift) for index in range(fans[layer + 1] * fans[layer])]).reshape(
                fans[layer + 1], fans[layer]
            )
            for layer in range(len(of.widths))
        ]
        self.codes = [code.astype(int) for code in codes]
        self.number = 0
        self.limit = 2 ** (of.settings.hidden - 1) - 1
        self.error = 1.0
        self.sizes = [list(of.settings.groups or ())[layer] for layer in range(len(of.widths))]
        self.blocks = [ends.block_size(fan, of.settings.reinforcement) for fan in fans[:-1]]
        self.wrong = self.total = self.flips = 0

    @staticmethod
    def _start(layer: int, index: int, shift: int) -> int:
        u = draw(SEED, INIT, layer, 0, index)
        s = sum((u >> (8 * byte)) & 255 for byte in range(4)) - 510
        return 2 * (s >> 2 >> shift) + 1

    def epoch(self, xs: np.ndarray, labels: np.ndarray) -> None:
        self.wrong = self.total = self.flips = 0
        for start in range(0, len(xs), self.settings.batch):
            self.batch(xs[start : start + self.settings.batch], labels[start : start + self.settings.batch])
        self.error = self.wrong / self.total

    def batch(self, xs: np.ndarray, labels: np.ndarray) -> None:
        weights = [sign(h) for h in self.hidden]
        changes = [np.zeros_like(h) for h in self.hidden]
        active = [0] * len(weights)
        for b, (x, y) in enumerate(zip(xs, labels, strict=True)):
            a, zs = [x], []
            for w in weights:
                zs.append(w @ a[-1])
                a.append(sign(zs[-1]))
            decisions = a[-1]
            if self.settings.rule == "cpr":
                decisions = sign(a[-1].reshape(-1, self.sizes[0]).sum(1))
            self.wrong += int(np.argmax(self.codes[-1] @ decisions) != y)
            self.total += 1
            wanted = self._wanted(weights, zs, a, decisions, int(y))
            for layer, d in wanted.items():
                active[layer] += 1
                for j in self._picked(layer, b, zs[layer], a[layer + 1], d, weights[layer].shape[1]):
                    changes[layer][j] += 2 * d[j] * a[layer]
        if self.settings.rule == "bep":
            active = [active[-1]] * len(active)
        for layer, h in enumerate(self.hidden):
            h += changes[layer]
            self._reinforce(layer, h, active[layer])
            self.flips += int((sign(h) != weights[layer]).sum())
        self.number += 1

    def _unsure(self, code: np.ndarray, a: np.ndarray, y: int) -> bool:
        scores = code @ a
        ranked = sorted(scores, reverse=True)
        return bool(np.argmax(scores) != y or ranked[0] - ranked[1] < math.floor(self.settings.margin * len(a)))

    def _wanted(self, weights: Any, zs: Any, a: Any, decisions: Any, y: int) -> dict[int, np.ndarray]:
        if self.settings.rule == "lbe":
            return {layer: code[y] for layer, code in enumerate(self.codes) if self._unsure(code, a[layer + 1], y)}
        (code,) = self.codes
        scores = code @ decisions
        others = max(s for c, s in enumerate(scores) if c != y)
        if np.argmax(scores) == y and scores[y] - others >= math.floor(self.settings.margin * len(decisions)):
            return {}
        if self.settings.rule == "cpr":
            return {0: np.repeat(code[y], self.sizes[0])}
        wanted = {len(weights) - 1: code[y]}
        for layer in range(len(weights) - 1, 0, -1):
            gate = np.abs(zs[layer]) <= math.floor(self.settings.gate * weights[layer].shape[1])
            if not gate.any():
                break
            wanted[layer - 1] = sign(weights[layer].T @ (gate * wanted[layer]))
        return wanted

    def _picked(self, layer: int, b: int, z: np.ndarray, a: np.ndarray, d: np.ndarray, fan: int) -> list[int]:
        size, picked = self.sizes[layer], []
        for g in range(-(-len(z) // size)):
            members = list(range(g * size, min(len(z), (g + 1) * size)))
            u = draw(SEED, TIE, layer, self.number, b * 65536 + g) & 0xFFFFFFFF
            start = (u * len(members)) >> 32 if self.settings.tie == "random" else 0
            turned = members[start:] + members[:start]
            wrong = [j for j in turned if a[j] != d[j] and not (fan % 2 == 0 and z[j] == 0)]
            if wrong:
                picked.append(min(wrong, key=lambda j: abs(z[j])))
        return picked

    def _reinforce(self, layer: int, h: np.ndarray, active: int) -> None:
        rows, fan = h.shape
        block = self.blocks[layer]
        p = float(self.settings.reinforcement) * math.sqrt(self.error) * math.sqrt(2 / (math.pi * fan))
        if active:
            per_row = -(-fan // block)
            for n in range(rows):
                for j in range(per_row):
                    u = draw(SEED, REINFORCE, layer, self.number, n * per_row + j)
                    k = j * block + u % block
                    if (u >> 33) < math.floor(block * p * 2**31) and k < fan:
                        h[n, k] += 2 * sign(h[n, k])
        bound = self.limit - 2 * self.settings.batch
        h.clip(-bound, bound, out=h)


CASES: list[dict[str, Any]] = [
    {"rule": "lbe", "groups": (5, 3)},
    {"rule": "lbe", "groups": (4, 9), "tie": "lowest", "margin": Fraction(1, 2)},  # the last group is short
    {"rule": "lbe", "groups": (6, 4), "widths": (16, 8), "inputs": 22},  # sums can be 0
    {"rule": "bep", "groups": (5, 3), "gate": Fraction(1, 4)},
    {"rule": "bep", "groups": (5, 3), "widths": (15, 3), "gate": Fraction(1, 12)},  # gates are often closed altogether
    {"rule": "bep", "groups": (5, 3, 4), "widths": (15, 9, 11), "gate": Fraction(1, 3), "hidden": 9},
    {"rule": "cpr", "groups": (5,), "widths": (15,)},
    {"rule": "cpr", "groups": (3,), "widths": (15,), "reinforcement": Fraction(0)},
]


def engine_for(case: dict[str, Any], split: int | None = None) -> tuple[ReferenceEngine, Plain, Samples]:
    of = plan(**case)
    width = of.input_shape[0]
    step, design = build(of, width, SEED)
    samples = random_samples(60, width, of.classes)
    return ReferenceEngine(step, split), Plain(of, width, step, design.codes), samples


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['rule']}-{CASES.index(case)}")
def test_a_rule_is_what_the_paper_says(case: dict[str, Any]) -> None:
    engine, plain, samples = engine_for(case)
    xs = unpack_rows(samples.bits, samples.width).astype(int)
    before = engine.state()
    for _ in range(3):
        engine.epoch(samples, np.arange(60))
        plain.epoch(xs, samples.labels)
        state = engine.state()
        for layer, hidden in enumerate(plain.hidden, 1):
            assert (state[f"hidden_{layer}"] == hidden).all()
            assert (state[f"weights_{layer}"] == sign(hidden)).all()
        assert state["last"].tolist() == [plain.wrong, plain.total, plain.flips]
    assert any((state[name] != before[name]).any() for name in state if name.startswith("weights_"))


def test_the_cases_see_closed_gates_and_sums_of_zero() -> None:
    """Otherwise the test above would not show what happens then."""
    engine, _, samples = engine_for(CASES[2])
    x = unpack_rows(samples.bits, samples.width).astype(int)
    assert (x @ engine.state()["weights_1"].T == 0).any()
    engine, _, samples = engine_for(CASES[4])
    x, state = unpack_rows(samples.bits, samples.width).astype(int), engine.state()
    sums = sign(x @ state["weights_1"].T) @ state["weights_2"].T
    closed = (np.abs(sums) > math.floor(Fraction(1, 12) * 15)).all(1)
    assert closed.any()
    assert not closed.all()


SEQUENCE: dict[str, Any] = {"rule": "bep", "groups": (3,), "batch": 8, "gate": Fraction(1, 3), "schedule": 2}


def sequence_plan() -> TrainingPlan:
    of = plan(widths=(9,), inputs=44, **SEQUENCE)
    return TrainingPlan(
        of.name, "x", (4, 10), of.classes, of.encoders, of.widths, of.settings, recurrence=Recurrence(12, 4)
    )


@pytest.mark.parametrize("split", [1, 3])
@pytest.mark.parametrize("case", [*CASES, None], ids=str)
def test_a_batch_may_be_split(case: dict[str, Any] | None, split: int) -> None:
    of = sequence_plan() if case is None else plan(**case)
    width = 44 if case is None else of.input_shape[0]
    samples = random_samples(20, width, of.classes)
    states = []
    for pieces in (None, split):
        engine = ReferenceEngine(build(of, width, SEED)[0], pieces)
        for _ in range(2):
            engine.epoch(samples, np.arange(20)[::-1])
        states.append(engine.state())
    assert states[0].keys() == states[1].keys()
    assert all((states[0][name] == states[1][name]).all() for name in states[0])


def modules(of: TrainingPlan, width: int) -> list[Module]:
    step, _ = build(of, width, SEED)
    return [step.accumulate(of.settings.batch), step.accumulate(1), step.end_batch, step.end_epoch, step.evaluate(7)]


ALL_PLANS = [*((plan(**case), plan(**case).input_shape[0]) for case in CASES), (sequence_plan(), 44)]


@pytest.mark.parametrize(("of", "width"), ALL_PLANS)
def test_there_is_no_float_in_a_step(of: TrainingPlan, width: int) -> None:
    for module in modules(of, width):
        verify(module)
        for op in module.ops():
            assert not isinstance(op.type.dtype, F32 | Fix), op
            assert isinstance(op, Input) or not op.opcode.startswith("nn."), op
            assert all(array.dtype.kind == "i" for array in op.attributes().values() if isinstance(array, np.ndarray))
        assert "f32" not in text.print_module(module)


@pytest.mark.parametrize(("of", "width"), ALL_PLANS)
def test_state_goes_in_and_comes_out_under_one_name_and_type(of: TrainingPlan, width: int) -> None:
    step, design = build(of, width, SEED)
    for module in modules(of, width)[:4]:
        types = {op.name: op.type for op in module.inputs}
        assert set(types) <= {*step.state, "samples", "labels"}
        for output in module.outputs:
            assert output.value.type == design.states.types[output.name]
            assert types.get(output.name, output.value.type) == output.value.type
            assert output.storage == step.state[output.name].dtype.name
    assert step.state.keys() == design.states.types.keys()


def test_hidden_weights_stay_odd_and_leave_room_for_a_batch() -> None:
    of = plan(hidden=8, batch=8, rule="lbe", reinforcement=Fraction(1))
    engine = ReferenceEngine(build(of, 21, SEED)[0])
    samples = random_samples(64, 21, 4)
    for _ in range(60):
        engine.epoch(samples, np.arange(64))
    hidden = np.concatenate([engine.state()[f"hidden_{layer}"].reshape(-1) for layer in (1, 2)])
    assert (hidden % 2 == 1).all()
    assert np.abs(hidden).max() == 127 - 16


def test_the_start_is_odd_and_within_half_of_the_room() -> None:
    for hidden, most in ((16, 255), (8, 31)):
        state = build(plan(hidden=hidden, widths=(135, 9)), 21, SEED)[0].state["hidden_1"]
        assert state.dtype == (np.int16 if hidden == 16 else np.int8)
        assert (state % 2 == 1).all()
        assert most / 2 < np.abs(state.astype(int)).max() <= most
    assert 60 < build(plan(widths=(135, 9)), 21, SEED)[0].state["hidden_1"].std() < 90


def test_the_random_code_is_drawn_bit_by_bit() -> None:
    code = random_code(4, 9, SEED, 2)
    assert code.tolist() == [
        [2 * (draw(SEED, CLASSIFIER, 2, 0, 9 * c + j) & 1) - 1 for j in range(9)] for c in range(4)
    ]


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_the_balanced_code_splits_the_classes_in_halves(classes: int) -> None:
    code = balanced_code(classes, 1000, SEED, 0).astype(int)
    ones = (code == 1).sum(0)
    assert (ones[::2] == classes // 2).all()
    assert (ones[1::2] == (classes + 1) // 2).all()
    assert len(np.unique(code, axis=1).T) >= min(2 ** (classes - 1), 10)  # and not always the same halves


def test_group_sizes_are_those_of_the_table() -> None:
    table = {35: 35, 75: 75, 135: 45, 255: 85, 525: 105, 1035: 115, 2025: 135}
    assert {width: groups.default_size(width, "lbe") for width in table} == table
    assert groups.default_size(525, "bep") == 35
    assert groups.default_size(1035, "bep") == 45
    for width in range(1, 1200):
        assert 1 <= groups.default_size(width, "lbe") <= width
        assert 1 <= groups.default_size(width, "bep") <= width
    assert groups.levels(525, 35) == (35, 75, 105, 175, 525)
    assert groups.levels(101, 20) == (20, 101)


def test_groups_grow_when_progress_stalls() -> None:
    of = plan(rule="bep", groups=(5, 3), schedule=1, reinforcement=Fraction(0), batch=1)
    engine = ReferenceEngine(build(of, 21, SEED)[0])
    samples = random_samples(4, 21, 4)
    levels = []
    for _ in range(8):
        engine.epoch(samples, np.arange(4))
        levels.append(int(engine.state(["progress"])["progress"][2]))
    assert levels == sorted(levels)
    assert levels[-1] == 1  # 5 -> 15 and 3 -> 9
    assert levels[0] == 0 or levels[1] == 1


def test_blocks_of_the_reinforcement() -> None:
    """The largest power of two up to 256 whose probability is at most one."""
    for fan in (1, 3, 21, 525, 785, 5185, 100_001):
        for strength in (Fraction(0), Fraction(1, 2), Fraction(1)):
            block = ends.block_size(fan, strength)
            p = float(strength) * math.sqrt(2 / (math.pi * fan))
            assert block * p <= 1
            assert block == 256 or 2 * block * p > 1
            assert ends.squared_rate(fan, strength, block) < 2**62
    assert ends.block_size(785, Fraction(1, 2)) == 64
    assert math.isclose(
        math.isqrt(ends.squared_rate(785, Fraction(1, 2), 64)),
        64 * 0.5 * math.sqrt(2 / math.pi / 785) * 2**31,
        rel_tol=1e-9,
    )


def test_samples_are_packed_lowest_bit_first() -> None:
    rows = np.where(np.arange(70) % 3 == 0, 1, -1)[None]
    words = pack_rows(rows)
    assert words.shape == (1, 3)
    assert words.dtype == np.uint32
    assert all((int(words[0, k // 32]) >> k % 32 & 1) == (k % 3 == 0) for k in range(70))
    assert int(words[0, 2]) < 2**6
    assert (unpack_rows(words, 70) == rows).all()
    assert packed(rows, np.array([3])).labels.dtype == np.int32


def test_evaluation_counts_right_answers() -> None:
    engine, plain, samples = engine_for(CASES[0])
    x = unpack_rows(samples.bits, samples.width).astype(int)
    for hidden in plain.hidden:
        x = sign(x @ sign(hidden).T)
    assert engine.evaluate(samples) == int((np.argmax(x @ plain.codes[-1].T, 1) == samples.labels).sum())


@pytest.mark.parametrize(
    ("of", "code", "said"),
    [
        (plan(hidden=8, batch=100), "B0531", "hidden 9 or batch 63"),
        (plan(margin=Fraction(3, 2)), "B0532", "margin"),
        (plan(batch=0), "B0532", "batch"),
        (plan(groups=(3, 3, 3)), "B0532", "groups"),
        (plan(widths=(70000,)), "B0532", "70000 neurons"),
        (plan(widths=()), "B0530", "no layer"),
        (plan(rule="cpr"), "B0530", "one layer"),
        (plan(rule="cpr", widths=(15,), groups=(4,)), "B0532", "do not divide"),
        (plan(rule="cpr", widths=(15,), schedule=3), "B0530", "no schedule"),
        (plan(classes=1), "B0532", "classes"),
    ],
)
def test_what_no_rule_covers_is_refused(of: TrainingPlan, code: str, said: str) -> None:
    with pytest.raises(BnncError) as caught:
        build(of, 21, SEED)
    diagnostic = caught.value.diagnostics[0]
    assert diagnostic.code == code
    assert said in " ".join([diagnostic.message, *diagnostic.notes, *diagnostic.helps])


def test_only_bep_trains_a_recurrent_layer() -> None:
    of = sequence_plan()
    lbe = TrainingPlan(
        of.name, "x", (4, 10), 4, of.encoders, of.widths, plan(rule="lbe").settings, recurrence=of.recurrence
    )
    with pytest.raises(BnncError, match="B0530"):
        build(lbe, 44, SEED)


def test_every_fault_of_the_settings_is_said_at_once() -> None:
    with pytest.raises(BnncError) as caught:
        build(plan(margin=Fraction(2), gate=Fraction(-1), batch=0), 21, 2**31)
    assert len(caught.value.diagnostics) == 4


class PlainSequence:
    """BEP through time on sequence_plan(), one sequence and one step at a time; no reinforcement."""

    def __init__(self, of: TrainingPlan, state: dict[str, np.ndarray], code: np.ndarray) -> None:
        self.of, self.code = of, code.astype(int)
        self.hidden = {name: state[f"hidden_{name}"].astype(int) for name in ("input", "state", "1")}
        self.number = self.level = 0

    def batch(self, xs: np.ndarray, labels: np.ndarray) -> None:
        w = {name: sign(h) for name, h in self.hidden.items()}
        change = {name: np.zeros_like(h) for name, h in self.hidden.items()}
        for b, (x, y) in enumerate(zip(xs, labels, strict=True)):
            s, z = [np.ones(12, int)], []
            for t in range(4):
                z.append(w["input"] @ x[t] + w["state"] @ s[t])
                s.append(sign(z[t]))
            top = w["1"] @ s[4]
            scores = self.code @ sign(top)
            others = max(score for c, score in enumerate(scores) if c != y)
            if np.argmax(scores) == y and scores[y] - others >= math.floor(self.of.settings.margin * 9):
                continue
            wanted = self.code[y]
            for j in self._picked(2, b, top, wanted, 12):
                change["1"][j] += 2 * wanted[j] * s[4]
            wanted = self._back(w["1"], top, wanted, 12)
            for t in (3, 2, 1, 0):
                if wanted is None:
                    break
                for j in self._picked(64 + t, b, z[t], wanted, 23):
                    change["input"][j] += 2 * wanted[j] * x[t]
                    change["state"][j] += 2 * wanted[j] * s[t]
                wanted = self._back(w["state"], z[t], wanted, 23)
        for name, h in self.hidden.items():
            h += change[name]
        self.number += 1

    def _back(self, w: np.ndarray, z: np.ndarray, wanted: np.ndarray, fan: int) -> Any:
        gate = np.abs(z) <= math.floor(self.of.settings.gate * fan)
        return sign(w.T @ (gate * wanted)) if gate.any() else None

    def _picked(self, stream: int, b: int, z: np.ndarray, wanted: np.ndarray, fan: int) -> list[int]:
        picked = []
        for g in range(len(z) // 3):
            members = [3 * g, 3 * g + 1, 3 * g + 2]
            start = ((draw(SEED, TIE, stream, self.number, b * 65536 + g) & 0xFFFFFFFF) * 3) >> 32
            turned = members[start:] + members[:start]
            wrong = [j for j in turned if sign(z[j]) != wanted[j] and not (fan % 2 == 0 and z[j] == 0)]
            if wrong:
                picked.append(min(wrong, key=lambda j: abs(z[j])))
        return picked


def test_propagation_through_time_is_what_the_paper_says() -> None:
    of = sequence_plan()
    settings = replace(of.settings, reinforcement=Fraction(0), schedule=0)
    of = replace(of, settings=settings)
    step, design = build(of, 44, SEED)
    samples = random_samples(40, 44, 4)
    engine = ReferenceEngine(step)
    plain = PlainSequence(of, engine.state(), design.codes[0])
    xs = unpack_rows(samples.bits, 44).astype(int).reshape(40, 4, 11)
    for _ in range(3):
        engine.epoch(samples, np.arange(40))
        for start in range(0, 40, 8):
            plain.batch(xs[start : start + 8], samples.labels[start : start + 8])
        for name, hidden in plain.hidden.items():
            assert (engine.state()[f"hidden_{name}"] == hidden).all()
    assert (engine.state()["hidden_input"] != step.state["hidden_input"]).any()
    assert (engine.state()["hidden_state"] != step.state["hidden_state"]).any()
