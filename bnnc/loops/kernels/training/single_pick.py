"""Finds the neurons to correct for one sample, without vectors: in each group the wrong one with the smallest sum."""

from __future__ import annotations

from bnnc.ir.training import TIE
from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I16,
    I32,
    I64,
    Binary,
    Buffer,
    Convert,
    Expression,
    Function,
    Unary,
    Variable,
    binary,
    compare,
    constant,
    load,
    select,
)
from bnnc.loops.kernels.training.draws import draw, stream
from bnnc.loops.kernels.training.single import bit_of, index, words_of

NEVER = 0xFFFF


def pick(name: str, width: int, most: int, layer: int, tie: str, zero_right: bool) -> Function:
    """A function (sums, wanted, active, group, clock, picks, count): `bit.pick` of one sample, as a list.

    picks int16 [most] gets 2 * neuron, + 1 if it is wanted positive, one a group that needs correction; count int32 [1]
    says how many. A number is drawn only where several neurons are equally easy: elsewhere it does not matter.
    """
    b = Builder(name, comment=f"which of {width} wrong neurons are easiest to mend")
    sums = b.parameter("sums", I16, width)
    wanted = b.parameter("wanted", I32, words_of(width))
    active = b.parameter("active", I32, 1)
    group = b.parameter("group", I32, 1)
    clock = b.parameter("clock", I32, 3)
    picks = b.parameter("picks", I16, most, "write")
    count = b.parameter("count", I32, 1, "write")
    found = b.variable("found", constant(0, I32))
    kernel = _Pick(b, sums, wanted, width, zero_right)
    with b.when(compare("ne", load(active, 0), 0)):
        size = b.let(binary("umin", load(group, 0), constant(width, I32)), "size")
        number = b.variable("number", constant(0, I32))
        begin = b.variable("begin", constant(0, I32))
        with b.loop_while(begin < width):
            length = b.let(binary("min", size, constant(width, I32) - begin), "length")
            best, place, several = kernel.best(begin, length)
            with b.when(compare("ne", best, NEVER)):
                if tie == "random":
                    with b.when(compare("ne", several, 0)):
                        seed, time, seen = (Convert("sext", load(clock, n), I64) for n in range(3))
                        key = stream(b, seed, TIE, layer, time)
                        low = draw(b, key, seen * 65536 + Convert("zext", number, I64)) & 0xFFFFFFFF
                        turn = Binary("lshr", low * Convert("zext", length, I64), constant(32, I64))
                        kernel.behind(begin, length, best, place, Convert("trunc", turn, I32))
                sign = Binary("lshr", kernel.value(place), constant(31, I32))
                b.store(picks, index(found, most), Convert("trunc", place + place + sign, I16))
                b.assign(found, found + 1)
            b.assign(number, number + 1)
            b.assign(begin, begin + length)
    b.store(count, 0, found)
    return b.function()


class _Pick:
    def __init__(self, b: Builder, sums: Buffer, wanted: Buffer, width: int, zero_right: bool) -> None:
        self.b, self.sums, self.wanted, self.width, self.zero_right = b, sums, wanted, width, zero_right

    def value(self, neuron: Expression) -> Expression:
        """The sum of a neuron."""
        return self.b.let(Convert("sext", load(self.sums, index(neuron, self.width)), I32), "value")

    def rank(self, neuron: Expression) -> Expression:
        """|sum| of a wrong neuron, NEVER for another."""
        value = self.value(neuron)
        # Wrong: negative and wanted positive, or the other way round.
        wrong = compare("eq", Binary("lshr", value, constant(31, I32)), bit_of(self.wanted, neuron, self.width))
        if self.zero_right:
            wrong = wrong & compare("ne", value, 0)
        return self.b.let(select(wrong, Unary("abs", value), constant(NEVER, I32)), "rank")

    def best(self, begin: Expression, length: Expression) -> tuple[Variable, Variable, Variable]:
        """(rank, neuron, whether others are as easy) of the first that is easiest in a group."""
        b = self.b
        best = b.variable("best", constant(NEVER, I32))
        place = b.variable("place", constant(0, I32))
        several = b.variable("several", constant(0, I32))
        with b.loop(b.let(begin + length, "end"), "neuron", start=begin, unroll_one=False) as neuron:
            rank = self.rank(neuron)
            with b.when(rank < best):
                b.assign(best, rank)
                b.assign(place, neuron)
                b.assign(several, 0)
            with b.otherwise():
                b.assign(several, select(compare("eq", rank, best), constant(1, I32), several))
        return best, place, several

    def behind(
        self, begin: Expression, length: Expression, best: Expression, place: Variable, turn: Expression
    ) -> None:
        """The first as easy as the best, from the turn on and then from the start of the group."""
        b = self.b
        at = b.variable("at", begin + turn)
        end = b.let(begin + length, "stop")
        waiting = b.variable("waiting", constant(1, I32))
        with b.loop_while(compare("ne", waiting, 0)):
            rank = self.rank(at)
            with b.when(compare("eq", rank, best)):
                b.assign(place, at)
                b.assign(waiting, 0)
            b.assign(at, at + 1)
            with b.when(compare("eq", at, end)):
                b.assign(at, begin)


__all__ = ["NEVER", "pick"]
