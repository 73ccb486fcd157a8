"""Training on one sample at a time, without vectors: sums of a layer, its bits, the flags that steer corrections.

Bits lie as in samples: bit k % 32 of word k // 32, those behind the last are 0. Sums are int16, one a neuron. Flags and
numbers are int32.
"""

from __future__ import annotations

from collections.abc import Callable

from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I1,
    I16,
    I32,
    I64,
    Binary,
    Buffer,
    Convert,
    Expression,
    Function,
    Select,
    Variable,
    binary,
    compare,
    constant,
    load,
    popcount,
    select,
)
from bnnc.loops.kernels.training.layouts import up
from bnnc.loops.layout import WORD
from bnnc.loops.machine import Machine

UNROLLED = 28
"""Rows of at most so many words are summed without a loop."""
TOP = 1 << 31


def words_of(width: int) -> int:
    """Words that hold so many bits."""
    return -(-width // WORD)


def index(value: Expression, below: int) -> Expression:
    """A number that is known to be smaller than `below`, as an index (printers see that it is small)."""
    mask = (1 << max(1, (below - 1).bit_length())) - 1
    return Convert("zext", value & mask, I64)


# ---------------------------------------------------------------------------------------------------------------- sums
def product(name: str, width: int, rows: int, signs: bool, machine: Machine) -> Function:
    """A function (x, w, sums, [bits]): sums of ±1 products of x with every row of w int32 [rows][words]."""
    words = words_of(width)
    b = Builder(name, comment=f"sums of {width} products for {rows} neurons")
    x = b.parameter("x", I32, words)
    w = b.parameter("w", I32, rows * words)
    sums = b.parameter("sums", I16, rows, "write")
    bits = b.parameter("bits", I32, words_of(rows), "write") if signs else None

    def one(row: Expression) -> Expression:
        place = b.let(row * words, "place")
        count = _ones(b, words, lambda k: load(x, k) ^ load(w, place + k), machine)
        total = b.let(width - (count + count), "total")
        b.store(sums, row, Convert("trunc", total, I16))
        return Binary("lshr", Binary("xor", total, constant(-1, I32)), constant(31, I32))

    if bits is None:
        with b.loop(rows, "row", unroll_one=False) as row:
            one(row)
    else:
        collect_bits(b, bits, rows, one)
    return b.function()


def collect_bits(b: Builder, bits: Buffer, count: int, one: Callable[[Expression], Expression]) -> None:
    """Stores what `one` gives (int32, 0 or 1) for 0 … count - 1 as bits."""
    found = b.variable("found", constant(0, I32))
    with b.loop(count, "number", unroll_one=False) as number:
        b.assign(found, Binary("lshr", found, constant(1, I32)) | Binary("shl", one(number), constant(31, I32)))
        if count >= WORD:
            with b.when(compare("eq", number & 31, 31)):
                b.store(bits, Binary("lshr", number, constant(5, I64)), found)
    if count % WORD:
        b.store(bits, count // WORD, Binary("lshr", found, constant(WORD - count % WORD, I32)))


def _ones(b: Builder, words: int, word: Callable[[Expression | int], Expression], machine: Machine) -> Expression:
    """How many bits are set in so many words."""
    if machine.scalar_popcount:
        total = b.variable("ones", constant(0, I32))
        with b.loop(words, "k", unroll_one=False) as place:
            b.assign(total, total + popcount(word(place)))
        return total
    if words <= UNROLLED:
        adders = _Adders(b)
        for k in range(words):
            adders.add(0, b.let(word(k), "x"))
        return adders.count()
    # Words by eights: what comes out of the adders of four levels is counted, the rest is carried on.
    eights = words // 8
    low = [b.variable(text, constant(0, I32)) for text in ("ones", "twos", "fours")]
    counted = b.variable("counted", constant(0, I32))
    with b.loop(eights, "eight", unroll_one=False) as eight:
        at = b.let(eight * 8, "at")
        inner = _Adders(b, [*low])
        for k in range(8):
            inner.add(0, b.let(word(at + k), "x"))
        for variable, (carried,) in zip(low, inner.levels, strict=False):
            b.assign(variable, carried)
        b.assign(counted, counted + popcount(inner.levels[3][0]))
    rest = _Adders(b, [*low])
    for k in range(words % 8):
        rest.add(0, b.let(word(eights * 8 + k), "x"))
    return b.let(Binary("shl", counted, constant(3, I32)) + rest.count(), "all_ones")


class _Adders:
    """Adds words lane by lane as they come, so that few of them are held at once: carry-save adders, a level a weight.

    levels: words of weight 1, 2, 4, …, one or two of each until `count`.
    """

    def __init__(self, b: Builder, low: list[Expression] | None = None) -> None:
        self.b = b
        self.levels: list[list[Expression]] = [[word] for word in low or []]

    def add(self, level: int, word: Expression) -> None:
        """One more word of a weight."""
        if level == len(self.levels):
            self.levels.append([])
        mine = self.levels[level]
        mine.append(word)
        if len(mine) == 3:
            total, carry = full_adder(self.b, *mine)
            self.levels[level] = [total]
            self.add(level + 1, carry)

    def count(self) -> Expression:
        """How many bits were set in all words."""
        b, level = self.b, 0
        while level < len(self.levels):
            if len(self.levels[level]) == 2:
                first, second = self.levels[level]
                self.levels[level] = [b.let(first ^ second, "sum")]
                self.add(level + 1, b.let(first & second, "carry"))
            level += 1
        total: Expression = constant(0, I32)
        for words in reversed(self.levels):
            more = popcount(words[0]) if words else constant(0, I32)
            total = b.let(total + total + more, "count")
        return total


def full_adder(b: Builder, a: Expression, c: Expression, d: Expression) -> tuple[Expression, Expression]:
    """(sum, carry) of three bits in every lane."""
    differ = b.let(a ^ c, "differ")
    total = b.let(differ ^ d, "sum")
    return total, b.let((a & c) | (differ & d), "carry")


def added(name: str, width: int, coefficients: tuple[int, ...]) -> Function:
    """A function (sums, …, result): a linear combination of sums."""
    b = Builder(name, comment=f"{width} sums of sums")
    operands = [b.parameter(f"sums_{n}", I16, width) for n in range(len(coefficients))]
    result = b.parameter("result", I16, width, "write")
    with b.loop(width, "n", unroll_one=False) as n:
        total: Expression = constant(0, I32)
        for operand, factor in zip(operands, coefficients, strict=True):
            total = total + Convert("sext", load(operand, n), I32) * factor
        b.store(result, n, Convert("trunc", total, I16))
    return b.function()


def window_sums(name: str, width: int, size: int, count: int) -> Function:
    """A function (bits, sums): sums of ±1 over `count` neighbourhoods of `size` bits."""
    b = Builder(name, comment=f"sums of {count} committees of {size}")
    bits = b.parameter("bits", I32, words_of(width))
    sums = b.parameter("sums", I16, count, "write")
    at = b.variable("at", constant(0, I32))
    with b.loop(count, "n", unroll_one=False) as n:
        ones = b.variable("ones", constant(0, I32))
        with b.loop(size, "member", unroll_one=False):
            b.assign(ones, ones + bit_of(bits, at, width))
            b.assign(at, at + 1)
        b.store(sums, n, Convert("trunc", ones + ones - size, I16))
    return b.function()


def bit_of(bits: Buffer, number: Expression, width: int) -> Expression:
    """Bit `number` (int32) of a list of bits, as int32."""
    word = index(Binary("lshr", number, constant(5, I32)), max(2, words_of(width)))
    return Binary("lshr", load(bits, word), number & 31) & 1


def step(name: str, width: int, turns: tuple[int, ...], begins: bool) -> Function:
    """A function (sums, bits): bits that are `begins` below all thresholds and turn over at each."""
    b = Builder(name, comment=f"bits of {width} sums that turn at {', '.join(map(str, turns))}")
    sums = b.parameter("sums", I16, width)
    bits = b.parameter("bits", I32, words_of(width), "write")
    low, high = -(2**15), 2**15 - 1
    begin = begins ^ (sum(t <= low for t in turns) % 2 == 1)

    def one(number: Expression) -> Expression:
        value = b.let(Convert("sext", load(sums, number), I32), "value")
        flag: Expression = constant(int(begin), I1)
        for turn in turns:
            if low < turn <= high:
                flag = flag ^ compare("ge", value, turn)
        return Convert("zext", flag, I32)

    collect_bits(b, bits, width, one)
    return b.function()


def votes(name: str, rows: int, width: int) -> Function:
    """A function (flags, wanted, w, listed, bits): the sign of Σ_j wanted_j * w[j] over the rows j whose flag is set.

    w int32 [rows][words]; listed int16 [rows] is working memory. Without any row all signs are +1. Rows are added into
    vertical counters, word by word: where the weight is what is wanted, a lane counts.
    """
    words, planes = words_of(width), rows.bit_length()
    b = Builder(name, comment=f"what {rows} neurons want of {width} inputs")
    flags = b.parameter("flags", I32, words_of(rows))
    wanted = b.parameter("wanted", I32, words_of(rows))
    w = b.parameter("w", I32, rows * words)
    listed = b.parameter("listed", I16, rows, "both")
    bits = b.parameter("bits", I32, words, "write")
    count = b.variable("count", constant(0, I32))
    with b.loop(rows, "row", unroll_one=False) as row:
        number = b.let(Convert("trunc", row, I32), "number")
        with b.when(compare("ne", bit_of(flags, number, rows), 0)):
            b.store(listed, index(count, rows), Convert("trunc", number + number + bit_of(wanted, number, rows), I16))
            b.assign(count, count + 1)
    most = b.let(Convert("zext", count & 0xFFFF, I64), "most")
    fours = b.let(most & 0xFFFC, "fours")
    # A lane that counted half of the rows or more: count >= least.
    least = b.let(Binary("lshr", count + 1, constant(1, I32)), "least")
    with b.loop(words, "word", unroll_one=False) as word:
        counters = [b.variable("plane", constant(0, I32)) for _ in range(planes)]

        def agreeing(place: Expression, word: Expression = word) -> Expression:
            entry = b.let(Convert("zext", load(listed, place), I64), "entry")
            other = Convert("trunc", entry & 1, I32) - 1
            return b.let(load(w, Binary("lshr", entry, constant(1, I64)) * words + word) ^ other, "agreeing")

        if planes > 2:
            with b.loop(fours, "four", step=4, unroll_one=False) as four:
                rows_of = [agreeing(four + k) for k in range(4)]
                total, one = full_adder(b, counters[0], rows_of[0], rows_of[1])
                total, other = full_adder(b, total, rows_of[2], rows_of[3])
                b.assign(counters[0], total)
                total, carry = full_adder(b, counters[1], one, other)
                b.assign(counters[1], total)
                _ripple(b, counters[2:], carry)
        start = fours if planes > 2 else constant(0, I64)
        with b.loop(most, "last", start=start, unroll_one=False) as last:
            _ripple(b, counters, agreeing(last))
        reached: Expression = constant(-1, I32)
        for p, counter in enumerate(counters):
            bit = b.let(constant(0, I32) - (Binary("lshr", least, constant(p, I32)) & 1), "bit")
            reached = b.let((counter & (bit ^ -1)) | ((counter ^ bit ^ -1) & reached), "reached")
        tail = width % WORD
        if tail:
            reached = Select(compare("eq", word, words - 1), reached & ((1 << tail) - 1), reached)
        b.store(bits, word, reached)
    return b.function()


def _ripple(b: Builder, counters: list[Variable], carry: Expression) -> None:
    for counter in counters:
        following = b.let(counter & carry, "carry")
        b.assign(counter, counter ^ carry)
        carry = following


# --------------------------------------------------------------------------------------------------------------- flags
def trigger(name: str, classes: int, margin: int) -> Function:
    """A function (scores, label, flag): 1 if `bit.trigger` names the sample, else 0."""
    b = Builder(name, comment=f"is the label not ahead of {classes - 1} other classes by {margin}?")
    scores = b.parameter("scores", I16, classes)
    label = b.parameter("label", I32, 1)
    flag = b.parameter("flag", I32, 1, "write")
    mine = b.let(index(load(label, 0), classes), "mine")
    own = b.let(Convert("sext", load(scores, mine), I32), "own")
    found = b.variable("found", constant(0, I32))
    with b.loop(classes, "other", unroll_one=False) as other, b.when(compare("ne", other, mine)):
        score = b.let(Convert("sext", load(scores, other), I32), "score")
        gap = b.let(own - score, "gap")
        # Of equal classes the first wins.
        least: Expression = constant(margin, I32)
        if margin <= 0:
            least = binary("max", least, Convert("zext", compare("lt", other, mine), I32))
        with b.when(compare("lt", gap, least)):
            b.assign(found, 1)
    b.store(flag, 0, found)
    return b.function()


def any_flag(name: str, width: int) -> Function:
    """A function (flags, any): 1 if any of the bits is set, else 0."""
    b = Builder(name, comment=f"is any of {width} flags set?")
    flags = b.parameter("flags", I32, words_of(width))
    out = b.parameter("any", I32, 1, "write")
    joined = b.variable("joined", constant(0, I32))
    with b.loop(words_of(width), "word", unroll_one=False) as word:
        b.assign(joined, joined | load(flags, word))
    b.store(out, 0, select(compare("ne", joined, 0), constant(1, I32), constant(0, I32)))
    return b.function()


def both_flags(name: str) -> Function:
    """A function (a, b, both) on int32 flags."""
    b = Builder(name, comment="are both flags set?")
    one, two = b.parameter("a", I32, 1), b.parameter("b", I32, 1)
    out = b.parameter("both", I32, 1, "write")
    b.store(out, 0, load(one, 0) & load(two, 0))
    return b.function()


# ---------------------------------------------------------------------------------------------------------------- bits
def cut(name: str, width: int, begin: int, count: int) -> Function:
    """A function (x, bits): the bits of x from `begin` on."""
    b = Builder(name, comment=f"bits {begin} to {begin + count - 1} of {width}")
    x = b.parameter("x", I32, words_of(width))
    bits = b.parameter("bits", I32, words_of(count), "write")
    origin, shift = divmod(begin, WORD)
    for word in range(words_of(count)):
        value = load(x, origin + word)
        if shift:
            value = Binary("lshr", value, constant(shift, I32))
            if origin + word + 1 < words_of(width):
                value = value | Binary("shl", load(x, origin + word + 1), constant(WORD - shift, I32))
        rest = count - word * WORD
        b.store(bits, word, value & ((1 << rest) - 1) if rest < WORD else value)
    return b.function()


def widened(name: str, count: int) -> Function:
    """A function (sums, out): sums as int32."""
    b = Builder(name, comment=f"{count} scores for the caller")
    sums = b.parameter("sums", I16, count)
    out = b.parameter("out", I32, count, "write")
    with b.loop(count, "n", unroll_one=False) as n:
        b.store(out, n, Convert("sext", load(sums, n), I32))
    return b.function()


def room(width: int) -> int:
    """int16 elements of memory for so many sums: whole words."""
    return up(width, 2)


__all__ = [
    "added",
    "any_flag",
    "bit_of",
    "both_flags",
    "collect_bits",
    "cut",
    "full_adder",
    "index",
    "product",
    "room",
    "step",
    "trigger",
    "votes",
    "widened",
    "window_sums",
    "words_of",
]
