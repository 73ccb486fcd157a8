"""From a net to what is to be trained: encoders, dense layers with sign, a classifier, and the `train` block."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from bnnc.frontends.dsl import syntax as s
from bnnc.frontends.dsl.chains import Placed
from bnnc.frontends.dsl.kinds import Exact, Flag, Kind, Refused, Whole, Wholes, Words
from bnnc.frontends.dsl.layers import ENCODERS
from bnnc.frontends.dsl.lowering import Elaborated
from bnnc.frontends.dsl.problems import Problems, near
from bnnc.ir.location import Location
from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, value_range
from bnnc.train.plan import (
    Comparisons,
    Encoder,
    Features,
    Recurrence,
    Settings,
    Signs,
    Thermometer,
    Threshold,
    TrainingPlan,
)

RULES = ("lbe", "bep", "cpr")
FIELDS: dict[str, tuple[Kind, str]] = {
    "rule": (Words(RULES), "what is done: `lbe`, `bep`, or `cpr` (one layer)"),
    "batch": (Whole(1, 65_536), "samples a batch"),
    "epochs": (Whole(1, 1_000_000), "epochs"),
    "groups": (Wholes(1), "neurons a group: one number, or one for each layer; left out, by width"),
    "margin": (Exact(), "r: scores must lead by this part of the width"),
    "reinforcement": (Exact(), "p_r: how often weights are pushed away from zero"),
    "gate": (Exact(), "nu: how near to zero a neuron must be to pass a target on (bep)"),
    "schedule": (Whole(0, 1_000_000), "epochs without progress before groups grow; 0: they never do"),
    "hidden": (Whole(8, 16), "bits of a hidden weight"),
    "tie": (Words(("random", "lowest")), "which of equally easy neurons is picked"),
    "code": (Words(("random", "balanced")), "how the weights of `classify` are drawn; left out, by rule"),
    "shifts": (Flag(), "train on images shifted by one pixel too"),
    "frozen": (Flag(), "layers that the rule does not cover stay as they are, with the weights that the net names"),
}
_REASONS = {
    "conv": "a convolution",
    "depthwise": "a convolution",
    "add": "a sum of branches",
    "concat": "a joint of branches",
    "norm": "a batch norm",
}


def training_plan(found: Elaborated, problems: Problems) -> TrainingPlan:
    """What the net asks to be trained. Raises BnncError: B0210 for the `train` block, B0211 for the layers."""
    settings = _settings(found.train, problems)
    return _Planner(found, settings, problems).plan()


# ---------------------------------------------------------------------------------------------------------- settings
def _settings(block: s.TrainBlock | None, problems: Problems) -> Settings:
    values: dict[str, Any] = {}
    places: dict[str, s.Span] = {}
    for field in block.fields if block else ():
        name = field.name.text
        if name not in FIELDS:
            helps = near(name, FIELDS) or (f"settings: {', '.join(FIELDS)}",)
            problems.add("B0210", f"`train` has no setting `{name}`", field.name.span, "not known", helps=helps)
        elif name in places:
            problems.add(
                "B0210", f"`{name}` is set twice", field.span, "the second", others=[(places[name], "the first")]
            )
        else:
            places[name] = field.span
            try:
                values[name] = FIELDS[name][0].read(_value(field))
            except Refused as refusal:
                kind = FIELDS[name][0]
                word = field.values[0].text if isinstance(field.values[0], s.Word) else ""
                helps = near(word, kind.words)
                problems.add("B0210", f"`{name}` {refusal}", _behind(field), "", helps=helps)
    problems.stop()
    return dataclasses.replace(Settings(), **values)


def _behind(field: s.Field) -> s.Span:
    return s.Span(field.values[0].span.start, field.values[-1].span.end)


def _value(field: s.Field) -> Any:
    plain = tuple(_plain(value) for value in field.values)
    return plain[0] if len(plain) == 1 else plain


def _plain(value: s.Expression) -> Any:
    """Numbers, fractions and words; a `train` block knows no `let`."""
    match value:
        case s.Number():
            return value.value
        case s.Word(text=text):
            return text
        case s.List():
            return tuple(_plain(item) for item in value.items)
        case s.Arithmetic():
            total = _plain(value.first)
            for sign, item in value.rest:
                number = _plain(item)
                if not isinstance(total, Fraction) or not isinstance(number, Fraction) or (sign == "/" and not number):
                    return None
                total = {"+": total + number, "-": total - number, "*": total * number}.get(sign) or (
                    total / number if sign == "/" else Fraction(0)
                )
            return total
    return None


# ------------------------------------------------------------------------------------------------------------ layers
class _Planner:
    def __init__(self, found: Elaborated, settings: Settings, problems: Problems) -> None:
        self.found, self.settings, self.problems = found, settings, problems
        self.users: Mapping[Op, list[Op]] = found.module.users()
        self.span = found.train.span if found.train else found.net.name.span

    def plan(self) -> TrainingPlan:
        value, classes = self._classifier()
        value, dense = self._dense(value)
        cell = self._layer(value)
        value, recurrence = self._recurrence(value)
        trained = [cell, *dense] if recurrence is not None and cell is not None else dense
        if not dense and recurrence is None:
            self._wrong("a net to be trained has a dense layer with `sign`", self._span_of(value), "none leads here")
        self.problems.stop()
        encoders, base = self._front(value, recurrence is not None)
        self.problems.stop()
        module = self.found.module
        source = module.inputs[0]
        settings = self._grouped(len(dense) + (recurrence is not None))
        return TrainingPlan(
            name=module.name,
            input_name=source.name,
            input_shape=source.shape,
            classes=classes,
            encoders=encoders,
            widths=tuple(int(layer.values["n"]) for layer in dense),
            settings=settings,
            recurrence=recurrence,
            base=base,
            input_dtype=source.dtype,
            names=tuple(layer.name for layer in trained),
            locs=tuple(self._loc(layer) for layer in trained),
            loc=self.found.source.location(self.found.net.name.span, module.name),
        )

    def _wrong(self, message: str, span: s.Span, label: str, *helps: str) -> None:
        self.problems.add("B0211", message, span, label, helps=helps)

    def _loc(self, layer: Placed) -> Location:
        return self.found.source.location(layer.span, layer.name)

    def _layer(self, value: Op) -> Placed | None:
        return self.found.placed.get(value)

    def _span_of(self, value: Op) -> s.Span:
        layer = self._layer(value)
        return layer.span if layer else self.span

    def _classifier(self) -> tuple[Op, int]:
        module = self.found.module
        if len(module.outputs) != 1 or len(module.inputs) != 1:
            count = f"{len(module.inputs)} inputs and {len(module.outputs)} outputs"
            self._wrong("a net to be trained has one input and one output", self.span, f"this one has {count}")
            self.problems.stop()
        value = module.outputs[0].value
        layer = self._layer(value)
        if layer is not None and layer.layer == "argmax":
            value = layer.xs[0]
            layer = self._layer(value)
        if layer is None or layer.layer != "classify":
            help = "end it with: -> sign -> classify(10)"
            if layer is not None and layer.layer == "dense":
                help = f"write classify({layer.values['n']}): the weights of the last layer stay as they were drawn"
            self._wrong("a net to be trained ends in `classify`", self._span_of(value), "the last layer", help)
            self.problems.stop()
        assert layer is not None
        return layer.xs[0], int(layer.values["classes"])

    def _dense(self, value: Op) -> tuple[Op, list[Placed]]:
        """The layers `dense -> sign` that `value` ends in, first to last, and what they stand on."""
        layers: list[Placed] = []
        while True:
            step = self._layer(value)
            dense = self._layer(step.xs[0]) if step is not None and step.layer == "sign" else None
            if step is None or dense is None or dense.layer != "dense" or not isinstance(dense.values["weights"], Bit):
                break
            if step.values["at"] != 0 or not self._alone(step.result) or not self._alone(dense.result):
                break
            layers.insert(0, dense)
            value = dense.xs[0]
        return value, layers

    def _alone(self, value: Op) -> bool:
        return len(self.users.get(value, [])) == 1

    def _recurrence(self, value: Op) -> tuple[Op, Recurrence | None]:
        layer = self._layer(value)
        if layer is None or layer.layer != "recurrent" or self.settings.frozen:
            return value, None
        if self.settings.rule != "bep":
            self._wrong(
                f"`{layer.name}` is a recurrent cell, and `{self.settings.rule}` does not train those",
                layer.span,
                f"not covered by {self.settings.rule}",
                "train { rule bep }",
            )
        steps = layer.xs[0].type.shape[0]
        return layer.xs[0], Recurrence(int(layer.values["n"]), steps)

    def _front(self, value: Op, sequence: bool) -> tuple[tuple[Encoder, ...], Module | None]:
        """What stands before the trained layers: encoders, or frozen layers."""
        if self.settings.frozen:
            return (), self._base(value)
        encoders = self._encoders(value, sequence)
        if encoders is not None:
            return encoders, None
        refused = False
        for op in self._before(value):
            layer = self._layer(op)
            if layer is None or layer.layer in ENCODERS or layer.layer in ("flatten", "reshape"):
                continue
            maker = self._layer(layer.xs[0]) if layer.xs else None
            if layer.layer == "sign" and maker is not None and maker.layer not in ENCODERS:
                continue  # what stands before it is told
            refused = True
            reason = _REASONS.get(layer.layer, f"`{layer.layer}`")
            if layer.layer in ("dense", "sign"):
                reason = "no part of a chain dense -> sign -> … -> classify that reaches from the encoders to the end"
            self._wrong(
                f"`{self.settings.rule}` does not train `{layer.name}`: it is {reason}",
                layer.span,
                "not covered: only dense layers with `sign` are",
                "train { frozen true } keeps such layers as they are, with the weights that the net names",
            )
        if not refused:
            self._wrong(
                "encoders stand first, and turn the input into bits",
                self._span_of(value),
                f"gives {value.type}",
                "input x: u8[1, 28, 28] -> flatten -> threshold(median) -> dense(525) -> …",
            )
        return (), None

    def _before(self, value: Op) -> list[Op]:
        from bnnc.ir.module import topological

        return [op for op in topological([value]) if op in self.found.placed]

    def _encoders(self, value: Op, sequence: bool) -> tuple[Encoder, ...] | None:
        """The encoders that make `value` out of the input; None if there is anything else. In a sequence they work on
        every step, so its first axis must stay."""
        layer = self._layer(value)
        if layer is None:
            if isinstance(value, Input) and isinstance(value.dtype, Bit):
                return (Signs(),)
            return None
        match layer.layer:
            case "flatten" if not sequence:
                return self._encoders(layer.xs[0], sequence)
            case "concat" if layer.values["axis"] == sequence:
                parts = [self._encoders(x, sequence) for x in layer.xs]
                return None if None in parts else tuple(e for part in parts if part is not None for e in part)
        if not (isinstance(layer.xs[0], Input) if sequence else self._is_input(layer.xs[0])):
            return None
        values = layer.values
        match layer.layer:
            case "sign" if values["at"] == 0 and value_range(layer.xs[0].type.dtype)[0] < 0:
                return (Signs(),)
            case "threshold":
                return (Threshold(_level(values["level"])),)
            case "thermometer" if values["axis"] == sequence:
                return (Thermometer(values["levels"], values["spacing"]),)
            case "comparisons" if not sequence:
                return (Comparisons(values["count"], values["distance"]),)
            case "features" if not sequence:
                return (Features(values["count"], values["size"], _level(values["level"])),)
        return None

    def _is_input(self, value: Op) -> bool:
        layer = self._layer(value)
        while layer is not None and layer.layer in ("flatten", "reshape"):
            value = layer.xs[0]
            layer = self._layer(value)
        return isinstance(value, Input)

    def _base(self, value: Op) -> Module | None:
        if not isinstance(value.type.dtype, Bit) or len(value.type.shape) != 1:
            self._wrong(
                f"the frozen layers must end in flat bits, but give {value.type}",
                self._span_of(value),
                f"gives {value.type}",
                "put `sign` and `flatten` behind them",
            )
        if not self.found.has_weights and any(op in self.found.placed for op in self._before(value)):
            self._wrong(
                "frozen layers need weights, and the net names none",
                self.span,
                "frozen",
                'add a line to the net: weights "frozen.npz"',
            )
        source = self.found.module
        return Module(source.name, source.inputs, (Output("bits", value, "int8"),), (), source.pixels)

    def _grouped(self, layers: int) -> Settings:
        groups = self.settings.groups
        if groups is None:
            return self.settings
        if len(groups) == 1:
            return dataclasses.replace(self.settings, groups=groups * layers)
        if len(groups) != layers:
            span = next((f.span for f in self.found.train.fields if f.name.text == "groups"), self.span)  # type: ignore[union-attr]
            self.problems.add(
                "B0210", f"`groups` has {len(groups)} numbers for {layers} layers", span, "one, or one a layer"
            )
            self.problems.stop()
        return self.settings


def _level(value: Any) -> int | None:
    return None if value == "median" else int(value)
