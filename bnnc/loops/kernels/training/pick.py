"""Finds the neurons to correct: in each group of an active sample the wrong one with the smallest sum, as a list."""

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
    Reduce,
    Select,
    Unary,
    Unpack,
    Variable,
    binary,
    compare,
    constant,
    load,
    select,
    splat,
    vector_of,
)
from bnnc.loops.kernels.training.draws import draw, stream
from bnnc.loops.kernels.training.layouts import BatchBits, BatchSums, half_lanes, lane_numbers
from bnnc.loops.layout import WORD
from bnnc.loops.machine import Machine

NEVER = 0xFFFF


def scratch_length(sums: BatchSums, machine: Machine) -> int:
    """int16 elements of scratch memory that a thread needs; a multiple of 64 bytes."""
    return -(-(sums.stride + machine.lanes) // 32) * 32


def pick(
    name: str, sums: BatchSums, wanted: BatchBits, layer: int, tie: str, zero_right: bool, machine: Machine
) -> Function:
    """A function (sums, wanted, active, group, clock, scratch, picks, counts, first, last).

    picks int32 [samples][neurons] gets 2 * neuron, + 1 if it is wanted positive, one a group that needs correction, and
    counts int32 [samples] how many there are. scratch int16 is the thread's own.
    """
    b = Builder(name, comment=f"wrong neurons of layer {layer} that are easiest to mend")
    values = b.parameter("sums", I16, sums.length, alignment=32)
    target = b.parameter("wanted", I32, wanted.length)
    active = b.parameter("active", I32, sums.samples)
    group = b.parameter("group", I32, 1)
    clock = b.parameter("clock", I32, 3)
    scratch = b.parameter("scratch", I16, scratch_length(sums, machine), "both", alignment=64)
    picks = b.parameter("picks", I32, sums.samples * sums.width, "write")
    counts = b.parameter("counts", I32, sums.samples, "write")
    first, last = b.scalar("first", I64), b.scalar("last", I64)
    size = b.let(binary("min", _wide(load(group, 0)), constant(sums.width, I64)), "size")
    seed, time, seen = (_wide(load(clock, n)) for n in range(3))
    key: Expression | None = None
    if tie == "random":
        key = b.let(stream(b, seed, TIE, layer, time), "key")
        seen = b.let(seen, "seen")
    with b.loop(last, "sample", start=first, unroll_one=False) as sample:
        count = b.variable("count", constant(0, I32))
        with b.when(compare("ne", load(active, sample), 0)):
            _ranks(b, sums, wanted, values, target, scratch, sample, zero_right, machine)
            number = b.variable("number", constant(0, I64))
            begin = b.variable("start", constant(0, I64))
            with b.loop_while(begin < sums.width):
                length = b.let(binary("min", size, sums.width - begin), "length")
                turn: Expression = constant(0, I32)
                if key is not None:
                    low = draw(b, key, (seen + sample) * 65536 + number) & 0xFFFFFFFF
                    turn = b.let(Convert("trunc", Binary("lshr", low * length, constant(32, I64)), I32), "turn")
                best = _best(b, scratch, begin, length, turn, machine)
                place = b.let((best & 0xFFFF) + turn, "place")
                short = b.let(Convert("trunc", length, I32), "short")
                place = b.let(select(place >= short, place - short, place), "place")
                neuron = b.let(begin + Convert("zext", place, I64), "neuron")
                word = load(target, sample * wanted.stride + Binary("lshr", neuron, constant(5, I64)))
                sign = Binary("lshr", word, Convert("trunc", neuron, I32) & 31) & 1
                where = sample * sums.width + Convert("zext", count, I64)
                # Written in any case, and kept only where a wrong neuron was found.
                b.store(picks, where, Convert("trunc", neuron + neuron, I32) + sign)
                found = compare("ne", Binary("lshr", best, constant(16, I32)), NEVER)
                b.assign(count, count + Convert("zext", found, I32))
                b.assign(number, number + 1)
                b.assign(begin, begin + size)
        b.store(counts, sample, count)
    return b.function()


def joined_picks(name: str, samples: int, neurons: int, parts: int, part: int) -> Function:
    """A function (picks, counts, all_picks, all_counts, first, last): lists as the part-th batch of a larger one."""
    b = Builder(name, comment=f"corrections of batch {part} of a larger one")
    picks = b.parameter("picks", I32, samples * neurons)
    counts = b.parameter("counts", I32, samples)
    all_picks = b.parameter("all_picks", I32, parts * samples * neurons, "both")
    all_counts = b.parameter("all_counts", I32, parts * samples, "both")
    first, last = b.scalar("first", I64), b.scalar("last", I64)
    with b.loop(last, "sample", start=first, unroll_one=False) as sample:
        count = b.let(load(counts, sample), "count")
        other = b.let(sample + part * samples, "other")
        b.store(all_counts, other, count)
        with b.loop(_wide(count), "i", unroll_one=False) as i:
            b.store(all_picks, other * neurons + i, load(picks, sample * neurons + i))
    return b.function()


def _wide(value: Expression) -> Expression:
    return Convert("sext", value, I64)


def _ranks(
    b: Builder,
    sums: BatchSums,
    wanted: BatchBits,
    values: Buffer,
    target: Buffer,
    scratch: Buffer,
    sample: Expression,
    zero_right: bool,
    machine: Machine,
) -> None:
    """|sum| of every wrong neuron of a sample into the scratch memory; NEVER for the others."""
    lanes = half_lanes(machine)
    type_ = vector_of(I16, lanes)
    origin = b.let(sample * sums.stride, "origin")
    with b.loop(wanted.words, "word") as word:
        bits = b.let(load(target, sample * wanted.stride + word), "bits")
        with b.loop(WORD // lanes, "part") as part:
            z = b.let(load(values, origin + (word * WORD + part * lanes), type_, min(2 * lanes, 32)), "z")
            mine = bits if lanes == WORD else Binary("lshr", bits, Convert("trunc", part * lanes, I32))
            wrong = compare("ge", z, 0) ^ Unpack(mine, lanes)
            if zero_right:
                wrong = wrong & compare("ne", z, 0)
            rank = Select(wrong, Unary("abs", z), constant(NEVER, type_))
            b.store(scratch, word * WORD + part * lanes, rank, alignment=min(2 * lanes, 64))


def _best(
    b: Builder, scratch: Buffer, begin: Expression, length: Expression, turn: Expression, machine: Machine
) -> Expression:
    """The least of |sum| << 16 | place in the cycle, over one group."""
    lanes = machine.lanes
    type_ = vector_of(I32, lanes)
    best: Variable = b.variable("best", constant(-1, type_))
    around = b.let(splat(Convert("trunc", length, I32), type_), "around")
    behind = b.let(lane_numbers(type_) - splat(turn, type_), "behind")

    def candidates(at: Expression) -> Expression:
        rank = Convert("zext", load(scratch, begin + at, vector_of(I16, lanes)), type_)
        place = b.let(behind + splat(Convert("trunc", at, I32), type_), "place")
        # A place before the turn is negative: as an unsigned number it is larger than the place one round later.
        return Binary("shl", rank, constant(16, type_)) | binary("umin", place, place + around)

    if lanes == 1:
        with b.loop(length, "at") as at:
            b.assign(best, binary("umin", best, candidates(at)))
        return best
    full = b.let(length & -lanes, "full")
    with b.loop(full, "at", step=lanes) as at:
        b.assign(best, binary("umin", best, candidates(at)))
    with b.when(full < length):
        rest = splat(Convert("trunc", length - full, I32), type_)
        inside = lane_numbers(type_) < rest
        b.assign(best, binary("umin", best, Select(inside, candidates(full), constant(-1, type_))))
    return b.let(Reduce("umin", best), "least")
