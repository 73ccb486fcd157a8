"""Adds rows of bits to counters that lie bit-sliced: plane p holds bit p of 32 counts.

Thirty-two rows are one step: a tree of carry-save adders turns them, and the five lowest planes, into five planes and
one carry, which ripples on through the planes above. Two full adders of one plane are done together, in 8 operations
instead of 10, by passing on the two bits a, b that a level adds as (a, a ^ b): a circuit of Demenkov, Kojevnikov,
Kulikov and Yaroslavtsev, "New upper bounds on the Boolean circuit complexity of symmetric functions" (2010). These
functions are the same for layers of any size, so a program has them once.
"""

from __future__ import annotations

from functools import cache

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
    Variable,
    compare,
    constant,
    load,
)

LEVELS = 4
"""Planes that are held in registers while rows are added; counters have at least one more."""
STEP = 2 << LEVELS


@cache
def add_rows() -> Function:
    """add_rows(planes, words, list, count): counters += the word at every byte offset of list[:count], lane by lane.

    planes i32 [more than LEVELS], words i32, list i16 (offsets in bytes, unsigned), count i64.
    """
    b = Builder("add_rows", "adds the words at these byte offsets to 32 counters, plane p of which holds their bit p")
    return _Adder(b).write()


@cache
def add_number() -> Function:
    """add_number(planes, number, count): counters += numbers, both as `count` planes."""
    b = Builder("add_number", "adds 32 numbers to 32 counters, all of them in planes of bits")
    planes, number = b.parameter("planes", I32, 0, access="both"), b.parameter("number", I32, 0)
    count = b.scalar("count", I64)
    carry = b.variable("carry", constant(0, I32))
    with b.loop(count, "p") as p:
        one, other = b.let(load(planes, p), "a"), b.let(load(number, p), "b")
        unequal = b.let(one ^ other, "u")
        b.store(planes, p, unequal ^ carry)
        b.assign(carry, (one & other) | (unequal & carry))
    return b.function()


class _Adder:
    def __init__(self, b: Builder) -> None:
        self.b = b
        self.memory = b.parameter("planes", I32, 0, access="both")
        self.words: Buffer = b.parameter("words", I32, 0)
        self.list: Buffer = b.parameter("list", I16, 0)
        self.count = b.scalar("count", I64)
        self.planes = [b.variable(f"c{p}", load(self.memory, p)) for p in range(LEVELS)]

    def write(self) -> Function:
        b = self.b
        begin: Expression = constant(0, I64)
        end = b.let(self.count & -STEP, "whole")
        with b.loop(end, "k", start=begin, step=STEP, unroll_one=False) as k:
            self._add(k, STEP)
        place = b.variable("place", Convert("trunc", end, I32))
        size = STEP // 2
        while size:
            with b.when(compare("ne", self.count & size, 0)):
                self._add(place, size)
                if size > 1:
                    b.assign(place, place + size)
            size //= 2
        for p, plane in enumerate(self.planes):
            b.store(self.memory, p, plane)
        return b.function()

    def _row(self, k: Expression) -> Expression:
        offset = Convert("zext", load(self.list, k), I32)
        return self.b.let(load(self.words, Binary("lshr_exact", offset, constant(2, I32))), "row")

    def _add(self, place: Expression, count: int) -> None:
        """Adds 2^n rows."""
        if count == 1:
            self._ripple(0, self._row(place))
            return
        level = count.bit_length() - 2
        self._ripple(level + 1, self._full(level, *self._pair(place, count)))

    def _pair(self, place: Expression, count: int) -> tuple[Expression, Expression]:
        """Adds 2^n rows but for two words of weight 2^(n - 1): the first, and both together by xor."""
        b = self.b
        if count == 2:
            first, second = self._row(place), self._row(place + 1)
            return first, b.let(first ^ second, "p")
        plane = self.planes[count.bit_length() - 3]
        x, p = self._pair(place, count // 2)
        carried = b.let(p | (plane ^ x), "g")
        b.assign(plane, plane ^ p)
        carry = b.let(plane ^ carried, "a")
        x, p = self._pair(place + count // 2, count // 2)
        kept = b.let(~p & (x ^ plane), "h")
        b.assign(plane, plane ^ p)
        return carry, b.let(kept ^ carried, "d")

    def _full(self, level: int, x: Expression, p: Expression) -> Expression:
        """The plane of a level + x + (x ^ p): the sum stays in the plane, the carry is given."""
        b = self.b
        if level < LEVELS:
            plane = self.planes[level]
            u = b.let(plane ^ x, "u")
            b.assign(plane, plane ^ p)
        else:
            above = b.let(load(self.memory, level), "above")
            u = b.let(above ^ x, "u")
            b.store(self.memory, level, above ^ p)
        return b.let(x ^ (p & u), "carry")

    def _ripple(self, level: int, carry: Expression) -> None:
        """Adds a carry to the planes from `level` on."""
        b = self.b
        for plane in self.planes[level:]:
            following = b.let(plane & carry, "carry")
            b.assign(plane, plane ^ carry)
            carry = following
        left: Variable = b.variable("left", carry)
        high = b.variable("high", constant(max(level, LEVELS), I32))
        with b.loop_while(compare("ne", left, 0)):
            above = b.let(load(self.memory, high), "above")
            b.store(self.memory, high, above ^ left)
            b.assign(left, left & above)
            b.assign(high, high + 1)


__all__ = ["LEVELS", "add_number", "add_rows"]
