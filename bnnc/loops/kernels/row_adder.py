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
def add_rows(width: int = 1, twin: bool = False) -> Function:
    """add_rows(planes, …, words, list, count): counters += the word at every byte offset of list[:count], lane by lane.

    planes i32 [more than LEVELS], words i32, list i16 (offsets in bytes, unsigned), count i64. `width`: so many words
    that follow each other are taken at each offset, and added to counters of their own, each in planes of their own.
    `twin`: two words that follow each other are taken at each offset, and added to the same counters.
    """
    b = Builder(
        "add_twins" if twin else f"add_rows_{width}",
        "adds words at byte offsets to 32 counters, plane p of which holds their bit p",
    )
    return _Adder(b, width, twin).write()


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
    """Writes the function. What lies in a list is the same for each of the `width` words of a row."""

    def __init__(self, b: Builder, width: int, twin: bool) -> None:
        self.b, self.width, self.each = b, width, 2 if twin else 1
        self.memory = [b.parameter("planes", I32, 0, access="both") for _ in range(width)]
        self.words: Buffer = b.parameter("words", I32, 0)
        self.list: Buffer = b.parameter("list", I16, 0)
        self.count = b.scalar("count", I64)
        self.planes = [[b.variable(f"c{p}", load(own, p)) for own in self.memory] for p in range(LEVELS)]

    def write(self) -> Function:
        b = self.b
        step = STEP // self.each  # numbers of a list
        end = b.let(self.count & -step, "whole")
        with b.loop(end, "k", step=step, unroll_one=False) as k:
            self._add(k, STEP)
        place = b.variable("place", Convert("trunc", end, I32))
        size = step // 2
        while size:
            with b.when(compare("ne", self.count & size, 0)):
                self._add(place, size * self.each)
                if size > 1:
                    b.assign(place, place + size)
            size //= 2
        for p, planes in enumerate(self.planes):
            for memory, plane in zip(self.memory, planes, strict=True):
                b.store(memory, p, plane)
        return b.function()

    def _rows(self, k: Expression, count: int) -> list[Expression]:
        """So many neighbours of one number of the list."""
        offset: Expression = Convert("zext", load(self.list, k), I32)
        if count > 1:
            offset = self.b.let(offset, "offset")
        indices = (Binary("lshr_exact", offset + 4 * n if n else offset, constant(2, I32)) for n in range(count))
        return [self.b.let(load(self.words, index), "row") for index in indices]

    def _add(self, place: Expression, count: int) -> None:
        """Adds 2^n rows."""
        if count == 1:
            carries, level = self._rows(place, self.width), 0
        else:
            level = count.bit_length() - 2
            first, both = self._pair(place, count)
            carries = [self._full(level, n, x, p) for n, (x, p) in enumerate(zip(first, both, strict=True))]
            level += 1
        for n, carry in enumerate(carries):
            self._ripple(level, n, carry)

    def _pair(self, place: Expression, count: int) -> tuple[list[Expression], list[Expression]]:
        """Adds 2^n rows but for two words of weight 2^(n - 1): the first, and both together by xor."""
        b = self.b
        if count == 2:
            if self.each == 2:
                one, other = self._rows(place, 2)
                first, second = [one], [other]
            else:
                first, second = self._rows(place, self.width), self._rows(place + 1, self.width)
            return first, [b.let(x ^ y, "p") for x, y in zip(first, second, strict=True)]
        planes = self.planes[count.bit_length() - 3]
        carries, carried = [], []
        for plane, x, p in zip(planes, *self._pair(place, count // 2), strict=True):
            carried.append(b.let(p | (plane ^ x), "g"))
            b.assign(plane, plane ^ p)
            carries.append(b.let(plane ^ carried[-1], "a"))
        both = []
        for plane, g, x, p in zip(
            planes, carried, *self._pair(place + count // 2 // self.each, count // 2), strict=True
        ):
            kept = b.let(~p & (x ^ plane), "h")
            b.assign(plane, plane ^ p)
            both.append(b.let(kept ^ g, "d"))
        return carries, both

    def _full(self, level: int, n: int, x: Expression, p: Expression) -> Expression:
        """The plane of a level + x + (x ^ p): the sum stays in the plane, the carry is given."""
        b = self.b
        if level < LEVELS:
            plane = self.planes[level][n]
            u = b.let(plane ^ x, "u")
            b.assign(plane, plane ^ p)
        else:
            above = b.let(load(self.memory[n], level), "above")
            u = b.let(above ^ x, "u")
            b.store(self.memory[n], level, above ^ p)
        return b.let(x ^ (p & u), "carry")

    def _ripple(self, level: int, n: int, carry: Expression) -> None:
        """Adds a carry to the planes from `level` on."""
        b = self.b
        for planes in self.planes[level:]:
            following = b.let(planes[n] & carry, "carry")
            b.assign(planes[n], planes[n] ^ carry)
            carry = following
        left: Variable = b.variable("left", carry)
        high = b.variable("high", constant(max(level, LEVELS), I32))
        with b.loop_while(compare("ne", left, 0)):
            above = b.let(load(self.memory[n], high), "above")
            b.store(self.memory[n], high, above ^ left)
            b.assign(left, left & above)
            b.assign(high, high + 1)


__all__ = ["LEVELS", "add_number", "add_rows"]
