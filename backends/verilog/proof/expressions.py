"""What a stream should carry, as Verilog: the forms of contents as expressions over the elements that came in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bnnc.backends.verilog.proof.contents import (
    NOTHING,
    Atoms,
    Best,
    Code,
    Contents,
    Curve,
    Form,
    Interpolated,
    Largest,
    Planes,
    Product,
    Settled,
    Sum,
)

Made = tuple[str, list[int]]
"""An expression, and the ids in it."""


@dataclass(frozen=True)
class Printer:
    """Expressions of signed numbers of `wide` bits, more than any of them needs. value: that of an id."""

    wide: int
    value: Callable[[int], str]

    def functions(self, width: int) -> list[str]:
        """What the expressions call: the lowest `width` bits of a number, and the product of two of 8 bits."""
        number = f"input signed [{self.wide - 1}:0] x"
        return [
            f"  function [{width - 1}:0] cut({number}); cut = x[{width - 1}:0]; endfunction",
            "  function signed [15:0] times(input signed [7:0] a, input signed [7:0] b); times = a * b; endfunction",
        ]

    def beat(self, found: Contents, beat: int) -> Made:
        """The bits of a beat."""
        made = [self.position(found.form, beat * found.lanes + lane) for lane in range(found.lanes)]
        parts = [f"cut({text})" for text, _ in made]
        if found.pads is not None:
            pads = found.pads[beat].astype(int).tolist()
            span = found.lanes // len(pads)
            taps = [[*parts[n * span : (n + 1) * span], f"1'b{pad}"] for n, pad in enumerate(pads)]
            parts = [part for tap in taps for part in tap]
        return f"{{{', '.join(reversed(parts))}}}", [one for _, ids in made for one in ids]

    def position(self, form: Form, n: int) -> Made:
        """Position n of a form."""
        match form:
            case Atoms():
                return self._atom(int(form.ids[n]), form.code)
            case Sum():
                return self._sum(form, n)
            case Settled():
                text, ids = self._sum(form.sum, n)
                return self._settled(text, form.shift), ids
            case Curve():
                return self._curve(form, n)
            case Interpolated():
                return self._interpolated(form, n)
            case Best():
                ids = [int(one) for one in form.index[n] if one != NOTHING]
                each = [self._atom(one, form.code)[0] for one in ids]
                return _best(each, bool(form.smallest[n])), ids
            case Product():
                a, b = int(form.a[n]), int(form.b[n])
                return self._settled(f"times({self.value(a)}, {self.value(b)})", form.shift), [a, b]
            case Largest():
                made = [self.position(form.of, m) for m in range(len(form.of.ids))]
                return self._first_largest([text for text, _ in made]), [one for _, ids in made for one in ids]
            case Planes(of):
                beat, lane = divmod(n, of.lanes)
                beat, plane = divmod(beat, of.width)
                text, ids = self.position(of.form, beat * of.lanes + lane)
                return f"({text} >>> {of.width - 1 - plane})", ids

    def number(self, value: int) -> str:
        """A constant."""
        return f"-{self.wide}'sd{-value}" if value < 0 else f"{self.wide}'sd{value}"

    def _line(self, slope: int, x: str, offset: int) -> str:
        text = x if slope == 1 else f"{self.number(slope)} * {x}"
        return f"({text} + {self.number(offset)})" if offset else f"({text})"

    def _atom(self, one: int, code: Code) -> Made:
        if one < 0:
            return self.number(-1 - one), []
        return self._divided(self._line(code.factor, self.value(one), code.offset), code.divisor), [one]

    def _divided(self, text: str, divisor: int) -> str:
        return text if divisor == 1 else f"({text} >>> {divisor.bit_length() - 1})"

    def _sum(self, form: Sum, n: int) -> Made:
        ids = form.index[form.row[n]].tolist()
        factors = form.coefficients[form.neuron[n]].tolist()
        terms = [self._line(factor, self.value(one), 0) for one, factor in zip(ids, factors, strict=True) if factor]
        text = f"({' + '.join([self.number(int(form.constant[n])), *terms])})"
        return self._divided(text, form.divisor), ids

    def _settled(self, text: str, shift: int) -> str:
        moved = f"(({text} + {self.number(1 << (shift - 1))}) >>> {shift})" if shift > 0 else f"({text} <<< {-shift})"
        most, least = self.number((1 << 31) - 1), self.number(-(1 << 31))
        return f"({moved} > {most} ? {most} : {moved} < {least} ? {least} : {moved})"

    def _curve(self, form: Curve, n: int) -> Made:
        x, ids = self._atom(int(form.ids[n]), form.code)
        row, pieces = int(form.row[n]), form.pieces
        slopes = pieces.slopes[row % len(pieces.slopes)].tolist()
        offsets = pieces.offsets[row % len(pieces.offsets)].tolist()
        lines = [self._line(slope, x, b) if slope else self.number(b) for slope, b in zip(slopes, offsets, strict=True)]
        text = lines[0]
        for threshold, line in zip(pieces.thresholds[row % len(pieces.thresholds)].tolist(), lines[1:], strict=True):
            text = f"({x} >= {self.number(threshold)} ? {line} : {text})"
        return (text if form.shift is None else self._settled(text, form.shift)), ids

    def _interpolated(self, form: Interpolated, n: int) -> Made:
        one, step, count = int(form.ids[n]), form.step, len(form.values)
        x, zero, end = (
            f"({self.value(one)} - {self.number(form.first)})",
            self.number(0),
            self.number((count << step) - 1),
        )
        place = f"({x} < {zero} ? {zero} : {x} > {end} ? {end} : {x})"
        text = zero
        for at in range(count):
            rise = self._line(int(form.rises[at]), f"({place} - {self.number(at << step)})", (1 << step) >> 1)
            y = f"({self.number(int(form.values[at]))} + ({rise} >>> {step}))"
            text = f"({place} >= {self.number(at << step)} ? {y} : {text})"
        return text, [one]

    def _first_largest(self, each: Sequence[str]) -> str:
        text = self.number(len(each) - 1)
        for n in reversed(range(len(each) - 1)):
            wins = " && ".join(f"{each[n]} >= {other}" for other in each[n + 1 :])
            text = f"({wins} ? {self.number(n)} : {text})"
        return text

    def element(self, data: str, at: int, width: int, signed: bool, code: Code) -> str:
        """The value of the number in `width` bits of a vector from `at` on (codes with a factor of 1)."""
        above = f"{data}[{at + width - 1}]" if signed else "1'b0"
        raw = f"$signed({{{{{self.wide - width}{{{above}}}}}, {data}[{at}+:{width}]}})"
        return raw if code == Code() else self._line(code.divisor, raw, -code.offset)


def _best(each: Sequence[str], smallest: bool) -> str:
    text = each[0]
    for other in each[1:]:
        text = f"({other} {'<' if smallest else '>'} {text} ? {other} : {text})"
    return text


__all__ = ["Printer"]
