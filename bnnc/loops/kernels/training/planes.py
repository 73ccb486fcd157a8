"""Hidden weights as planes of bits: 32 of them count up or down at once, in a few operations a plane.

Hidden weights are odd, h = 2 c + 1, so c is what is kept: c + 2^(planes - 1), of which word `p` of a group holds bit p
for 32 inputs of one neuron. The last plane is set where h > 0: it is the weight. A correction changes every weight of
the one neuron that was picked by ±1, so all 32 lanes of every word do useful work, and neurons that were not picked
cost nothing. Since |h| is kept so far from the end of its range between batches that a batch cannot leave it, counting
needs no test for an overflow: a carry where lanes count up and a borrow where they count down ripple in one word.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnc.ir.training import REINFORCE
from bnnc.loops.builder import Builder, at
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
    compare,
    constant,
    load,
    popcount,
)
from bnnc.loops.kernels.training.draws import GOLDEN, mix, stream
from bnnc.loops.kernels.training.layouts import packed_rows
from bnnc.loops.layout import WORD

CARRIES = 7
"""After so many planes a carry of 32 lanes is seldom left: from there on it is looked at before going on."""


@dataclass(frozen=True)
class Planes:
    """Hidden weights [rows, width], odd numbers within ±limit (2^n - 1): int32 [rows][words][planes].

    Lanes behind the last weight of a row hold anything.
    """

    rows: int
    width: int
    limit: int

    @property
    def planes(self) -> int:
        """Bits of a counter."""
        return self.limit.bit_length()

    @property
    def words(self) -> int:
        """Groups of 32 weights of one row."""
        return -(-self.width // WORD)

    @property
    def row(self) -> int:
        """Words of memory of one row."""
        return self.words * self.planes

    @property
    def length(self) -> int:
        """Words of memory in all."""
        return self.rows * self.row

    def pack(self, hidden: np.ndarray) -> np.ndarray:
        """int32, flat, of odd integers [rows, width] within ±limit."""
        counters = ((hidden.astype(np.int64) - 1) >> 1) + (1 << (self.planes - 1))
        groups = [packed_rows((counters >> p) & 1) for p in range(self.planes)]
        return np.ascontiguousarray(np.stack(groups, axis=-1)).view(np.int32).reshape(-1)

    def unpack(self, memory: np.ndarray) -> np.ndarray:
        """The integers int16 [rows, width] of what `pack` gives."""
        words = np.ascontiguousarray(memory).view(np.uint32).reshape(self.rows, self.words, self.planes)
        counters = np.zeros((self.rows, self.words * WORD), np.int64)
        for p in range(self.planes):
            octets = np.ascontiguousarray(words[:, :, p]).view(np.uint8)
            counters |= np.unpackbits(octets, axis=1, bitorder="little").astype(np.int64) << p
        hidden = 2 * (counters - (1 << (self.planes - 1))) + 1
        return hidden[:, : self.width].astype(np.int16)


def update(name: str, hidden: Planes, picks: int) -> Function:
    """A function (hidden, x, picks, count): adds ±2 x to the rows that were picked.

    x int32 [words]: bits of the sample. picks int16 [picks]: 2 * row + 1 for +x, 2 * row for -x; count int32 [1].
    """
    b = Builder(name, comment=f"corrections of {hidden.rows} neurons with {hidden.width} inputs")
    memory = b.parameter("hidden", I32, hidden.length, "both")
    x = b.parameter("x", I32, hidden.words)
    chosen = b.parameter("picks", I16, picks)
    count = b.parameter("count", I32, 1)
    with b.loop(Convert("zext", load(count, 0) & 0xFFFF, I64), "pick", unroll_one=False) as number:
        pick = b.let(Convert("zext", load(chosen, number), I64), "picked")
        # Where x is not what is wanted, lanes count down.
        wanted = b.let(constant(0, I32) - Convert("trunc", pick & 1, I32), "wanted")
        row = b.let(Binary("lshr", pick, constant(1, I64)) * hidden.row, "row")
        with b.loop(hidden.words, "word", unroll_one=False) as word:
            place = b.let(row + word * hidden.planes, "place")
            _count(b, memory, place, hidden.planes, b.let(load(x, word) ^ wanted, "down"))
    return b.function()


def _count(b: Builder, memory: Buffer, place: Expression, planes: int, down: Expression) -> None:
    """Counts all lanes of a group by one: down where `down` is set, else up."""
    before = b.let(load(memory, place), "before")
    b.store(memory, place, Unary("not", before))
    carry = b.variable("carry", before ^ down)

    def some(first: int, last: int) -> None:
        for p in range(first, last):
            before = b.let(load(memory, place + p), "before")
            b.store(memory, place + p, before ^ carry)
            if p + 1 < planes:
                b.assign(carry, carry & (before ^ down))

    some(1, min(CARRIES, planes))
    if planes > CARRIES:
        with b.when(compare("ne", carry, 0)):
            some(CARRIES, planes)


def limit(name: str, planes: int, bound: int) -> Function:
    """A function (group): clamps a group of 32 hidden weights to ±bound, an odd number.

    (|h| - 1) / 2 is the counter, or its complement where h < 0, without its last plane. Only lanes in which the highest
    bits of the bound are set can be beyond it, so most groups are left after a look at a few planes.
    """
    b = Builder(name, comment=f"keeps 32 hidden weights within {bound}")
    memory = b.parameter("group", I32, planes, "both")
    most = (bound - 1) // 2
    bits = [most >> p & 1 for p in range(planes - 1)]
    below = b.let(Unary("not", load(memory, planes - 1)), "below")
    leading = 0
    while leading < min(3, len(bits)) and bits[-1 - leading]:
        leading += 1
    if not leading:
        _limit_lanes(b, memory, bits, below)
        return b.function()
    near = load(memory, planes - 2) ^ below
    for p in range(1, leading):
        near = near & (load(memory, planes - 2 - p) ^ below)
    with b.when(compare("ne", near, 0)):
        _limit_lanes(b, memory, bits, below)
    return b.function()


def _limit_lanes(b: Builder, memory: Buffer, bits: list[int], below: Expression) -> None:
    beyond = b.variable("beyond", constant(0, I32))
    for p, bit in enumerate(bits):
        mine = load(memory, p) ^ below
        b.assign(beyond, beyond & mine if bit else beyond | mine)
    with b.when(compare("ne", beyond, 0)):
        above = b.let(Unary("not", below), "above")
        for p, bit in enumerate(bits):
            before = b.let(load(memory, p), "before")
            b.store(memory, p, before ^ ((before ^ (above if bit else below)) & beyond))


def reinforce(name: str, hidden: Planes, layer: int, block: int, keep: Function) -> Function:
    """A function (rate, active, clock, hidden): `bit.reinforce` on all rows; `keep` is the `limit` of its bound."""
    b = Builder(name, comment=f"keeps {hidden.rows} rows of {hidden.width} in bounds, and reinforces some of them")
    rate = b.parameter("rate", I32, 1)
    active = b.parameter("active", I32, 1)
    clock = b.parameter("clock", I32, 3)
    memory = b.parameter("hidden", I32, hidden.length, "both")
    with b.loop(hidden.rows * hidden.words, "group", unroll_one=False) as group:
        b.call(keep, at(memory, group * hidden.planes))
    threshold = b.let(Convert("zext", load(rate, 0), I64), "threshold")
    with b.when(compare("ne", load(active, 0), 0) & compare("ne", load(rate, 0), 0)):
        key = stream(b, Convert("sext", load(clock, 0), I64), REINFORCE, layer, Convert("sext", load(clock, 1), I64))
        counter = b.variable("counter", key)
        with b.loop(hidden.rows, "row", unroll_one=False) as row:
            start = b.let(row * hidden.row, "start")
            with b.loop(-(-hidden.width // block), "block", unroll_one=False) as number:
                b.assign(counter, counter + constant(GOLDEN, I64))
                drawn = mix(b, counter + 0)
                with b.when(Binary("lshr", drawn, constant(33, I64)) < threshold):
                    within = b.let(Convert("zext", Convert("trunc", drawn, I16) & (block - 1), I64), "within")
                    weight = b.let(number * block + within, "weight")
                    if hidden.width % block:
                        with b.when(weight < hidden.width):
                            _push(b, memory, start, weight, hidden.planes, keep)
                    else:
                        _push(b, memory, start, weight, hidden.planes, keep)
    return b.function()


def _push(b: Builder, memory: Buffer, start: Expression, weight: Expression, planes: int, keep: Function) -> None:
    """One weight away from zero, but not beyond the bound."""
    place = b.let(Binary("lshr", weight, constant(5, I64)) * planes + start, "place")
    carry = b.variable("carry", Binary("shl", constant(1, I32), Convert("trunc", weight & 31, I32)))
    down = b.let(Unary("not", load(memory, place + (planes - 1))), "down")
    plane = b.variable("plane", constant(0, I32))
    with b.loop_while(compare("ne", carry, 0) & compare("ne", plane, planes)):
        at_plane = b.let(place + Convert("zext", plane & 15, I64), "at")
        before = b.let(load(memory, at_plane), "before")
        b.store(memory, at_plane, before ^ carry)
        b.assign(carry, carry & (before ^ down))
        b.assign(plane, plane + 1)
    b.call(keep, at(memory, place))


def take_signs(name: str, hidden: Planes) -> Function:
    """A function (hidden, weights, flips): the signs become the weights int32 [rows][words]; flips int32 [1] says how
    many are new. Bits behind the last of a row are 0."""
    b = Builder(name, comment=f"the signs of {hidden.rows} rows of {hidden.width} hidden weights")
    memory = b.parameter("hidden", I32, hidden.length)
    weights = b.parameter("weights", I32, hidden.rows * hidden.words, "both")
    flips = b.parameter("flips", I32, 1, "write")
    total = b.variable("total", constant(0, I32))

    def one(group: Expression, mask: int) -> None:
        sign = load(memory, group * hidden.planes + (hidden.planes - 1))
        sign = b.let(sign & mask if mask != 0xFFFFFFFF else sign, "sign")
        different = b.let(sign ^ load(weights, group), "different")
        with b.when(compare("ne", different, 0)):
            b.store(weights, group, sign)
            b.assign(total, total + popcount(different))

    tail = hidden.width % WORD
    last = (1 << tail) - 1 if tail else 0xFFFFFFFF
    if tail:
        with b.loop(hidden.rows, "row", unroll_one=False) as row:
            with b.loop(hidden.words - 1, "word", unroll_one=False) as word:
                one(b.let(row * hidden.words + word, "group"), 0xFFFFFFFF)
            one(b.let(row * hidden.words + (hidden.words - 1), "group"), last)
    else:
        with b.loop(hidden.rows * hidden.words, "group", unroll_one=False) as group:
            one(group, last)
    b.store(flips, 0, total)
    return b.function()


__all__ = ["Planes", "limit", "reinforce", "take_signs", "update"]
