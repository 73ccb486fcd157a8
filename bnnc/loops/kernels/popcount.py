"""Convolutions and dense layers on bit planes by popcount, for vectors of 32-bit lanes or for none.

Activations are `layout.Packed` with a halo; lanes are output channels; the weights of one block of channels are read in
the order of the loops: [block][kernel row][kernel column][word][plane][vector][lane]. A dense layer is a convolution of
one pixel, or of the whole image when it follows one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bnnc.ir.location import UNKNOWN, Location
from bnnc.ir.op import expect
from bnnc.loops.builder import Builder
from bnnc.loops.ir import (
    I8,
    I32,
    I64,
    Binary,
    Buffer,
    Convert,
    Expression,
    Function,
    Variable,
    binary,
    constant,
    constant_buffer,
    load,
    popcount,
    splat,
    vector_of,
)
from bnnc.loops.kernels.borders import Within, corrections
from bnnc.loops.kernels.channel_windows import ChannelWindows
from bnnc.loops.kernels.epilogue import Epilogue, Sums
from bnnc.loops.kernels.forms import Form, Pass, Term, choose_form
from bnnc.loops.kernels.tiling import Part, Plan, Tile, Window, input_origin, make_plan, tile_loop
from bnnc.loops.layout import Packed
from bnnc.loops.machine import Machine


def _in_bytes(machine: Machine) -> bool:
    """Whether vectors are counted in bytes, which are added up before they overflow."""
    return machine.lanes > 1 and not machine.vector_popcount


_UNROLLED = 8
"""Words are taken several at a time while a round of the loop has no more popcounts than this."""


def popcount_conv(
    name: str,
    image: Packed,
    weights: np.ndarray,
    window: Window,
    epilogue: Epilogue,
    machine: Machine,
    *,
    groups: int = 1,
    pad_value: int = 0,
    within: Within | None = None,
    halo_value: int | None = None,
    in_memory: bool = False,
    loc: Location = UNKNOWN,
) -> Function:
    """A function (x, y): the convolution of `image` with integer weights [O, C/groups, KH, KW], then the epilogue.

    Padding: outside the image x counts as `pad_value`; `halo_value` is what the bits in the halo mean (default: what
    zero bits mean); where the two differ, the difference is put right in constant tables. `within`: the image is some
    rows of a larger one, and where such tables are used the function is (x, row, y). Constants are named
    `name_…`. `in_memory`: the function is (x, w, y), and w holds the packed weights, which codebook.py writes. Raises
    TypeRuleError when sizes do not fit.
    """
    plan, windows, form = _arrange(image, weights, window, epilogue.packed, machine, groups)
    padded = np.zeros((plan.channels, *weights.shape[1:]), np.int64)
    padded[: len(weights)] = weights
    halo = form.halo_value if halo_value is None else halo_value
    b = Builder(name, comment=f"{len(weights)} outputs, window {window.kernel} on {image.channels} channels", loc=loc)
    x = b.parameter("x", I32, image.length)
    borders, correction = corrections(image, padded, window, pad_value - halo, within)
    if within is not None and len(borders.rows) > 1:
        borders = replace(borders, first=b.scalar("row", I64))
    sums = Sums(name, form.base(padded) + correction, form.scale, borders)

    parts = _parts(plan, windows, image.planes, form)
    sizes = [windows.size(own, part) for part, own in parts]
    expanded = b.parameter("w", I32, sum(sizes), alignment=4 * plan.lanes) if in_memory else None
    epilogue.declare(b, plan, sums)
    for number, (part, own) in enumerate(parts):
        buffer, start = expanded, sum(sizes[:number])
        if buffer is None:
            packed = windows.pack(own, part)
            comment = "[block][kernel row][kernel column][word][plane][vector][lane]"
            buffer, start = constant_buffer(f"{name}_weights" + (f"_{number}" if number else ""), packed, comment), 0
        kernel = _Kernel(b, x, image, window, own, part, buffer, start, windows)
        with tile_loop(b, plan, part) as tile:
            epilogue.finish(b, tile, kernel.accumulate(tile))
    return b.function()


def _arrange(
    image: Packed, weights: np.ndarray, window: Window, packed: bool, machine: Machine, groups: int
) -> tuple[Plan, ChannelWindows, Form]:
    """How the output is cut, which words each vector reads, and the form of the whole."""
    expect(weights.shape[1] * groups == image.channels, f"{image.channels} channels, weights {list(weights.shape)}")
    expect(weights.shape[2:] == window.kernel, f"weights {list(weights.shape)} are not for a window {window.kernel}")
    height, width = window.output(image.height, image.width)
    # More planes than one, and counting in bytes, need registers besides the accumulators.
    many = len(image.planes) > 1 or int(np.abs(weights).max(initial=0)) > 1 or bool((weights == 0).any())
    registers = 0
    if many or _in_bytes(machine):
        registers = 20 if machine.vector_registers >= 32 else 8
    plan = make_plan(machine, len(weights), height, width, packed, registers=registers)
    windows = ChannelWindows(plan, weights, groups, image.words)
    return plan, windows, choose_form(image.planes, windows.weights, windows.real, windows.shared)


@dataclass(frozen=True)
class WeightWords:
    """Where `popcount_conv` reads weights of one plane that lie in memory: of each part its first word, its plan's
    Part and the number of words of a tap; and whether a set bit stands for +1."""

    parts: tuple[tuple[int, Part], ...]
    lanes: int
    words: int
    total: int
    positive: bool


def weight_words(
    image: Packed, weights: np.ndarray, window: Window, packed: bool, machine: Machine
) -> WeightWords | None:
    """The arrangement of ±1 weights without groups; None if the kernel wants more planes than one."""
    plan, windows, form = _arrange(image, weights, window, packed, machine, 1)
    parts = _parts(plan, windows, image.planes, form)
    if any(own is not form for _, own in parts) or form.weights or form.masked:
        return None
    starts = np.cumsum([0, *(windows.size(form, part) for part, _ in parts)]).tolist()
    placed = tuple((start, part) for start, (part, _) in zip(starts, parts, strict=False))
    return WeightWords(placed, plan.lanes, windows.words, starts[-1], form.sign_bits)


def _parts(plan: Plan, windows: ChannelWindows, planes: tuple[int, ...], form: Form) -> list[tuple[Part, Form]]:
    """The parts of a plan, each with its form: a few zeros cost a mask plane only in the blocks that have them.

    A part is cut around the blocks from the first to the last that need `form`; the others take the cheaper one, if
    what the counts make of it is the same.
    """
    found = []
    for part in plan.parts:
        needs = [form.alike(windows.form(planes, part, block)) is None for block in range(part.blocks)]
        first = needs.index(True) if any(needs) else part.blocks
        last = part.blocks - needs[::-1].index(True) if any(needs) else part.blocks
        for start, stop in ((0, first), (first, last), (last, part.blocks)):
            if start < stop:
                piece = replace(part, first=part.first + start * part.vectors, blocks=stop - start)
                own = form if start == first else form.alike(windows.form(planes, part, start))
                found.append((piece, own or form))
    return found


class _Kernel:
    """Writes the sums of one tile."""

    def __init__(
        self,
        b: Builder,
        x: Buffer,
        image: Packed,
        window: Window,
        form: Form,
        part: Part,
        weights: Buffer,
        first: int,
        windows: ChannelWindows,
    ) -> None:
        self.first = first
        self.b, self.x, self.image, self.window, self.form, self.part = b, x, image, window, form, part
        self.weights, self.windows = weights, windows
        self.origin = input_origin(image, window)
        self.starts = None
        if not windows.shared:
            self.starts = constant_buffer(f"{weights.name}_start", windows.start, "first word that each vector reads")

    def accumulate(self, tile: Tile) -> list[list[Expression]]:
        """The code that counts; gives r for every pixel and vector of the tile."""
        b, image, window = self.b, self.image, self.window
        type_ = tile.type_of(I32)
        pixels, vectors = tile.pixels, range(self.part.vectors)
        counts = [[b.variable(f"r{m}_{n}", constant(0, type_)) for n in vectors] for m in range(len(pixels))]
        sums = [b.variable(f"z{m}", constant(0, I32)) for m in range(len(pixels))] if self.form.pixel_sum else []
        step = (window.strides[0] * image.row, window.strides[1] * image.pixel)
        corner = b.let(tile.y * step[0] + tile.x * step[1] + self.origin, "corner")
        offsets = [row * step[0] + column * step[1] for row, column in pixels]
        starts: list[Expression] = [constant(0, I64)] * len(vectors)
        if self.starts is not None:
            starts = [b.let(load(self.starts, tile.vector + n), "start") for n in vectors]
        size = self.part.vectors * tile.plan.lanes * self.form.weight_planes
        block = window.kernel[0] * window.kernel[1] * self.windows.words * size
        for step_ in self.form.passes:
            if step_.ratio != 1:
                for variable in [*(v for row in counts for v in row), *sums]:
                    b.assign(variable, variable * step_.ratio)
            with b.loop(window.kernel[0], "ky") as ky:
                row = b.let(corner + ky * (window.dilations[0] * image.row), "row")
                taps = b.let(tile.block * block + self.first + ky * (block // window.kernel[0]), "taps")
                # Neighbouring taps are one run of words, unless they are apart, or only a part of a pixel is read.
                joined = (window.dilations[1] == 1 or window.kernel[1] == 1) and self.windows.words == image.pixel
                with b.loop(1 if joined else window.kernel[1], "kx") as kx:
                    words = self.windows.words * (window.kernel[1] if joined else 1)
                    begin = b.let(row + kx * (window.dilations[1] * image.pixel), "begin")
                    base = b.let(taps + kx * (self.windows.words * size), "base")
                    self._run(tile, step_, words, begin, base, size, offsets, starts, counts, sums)
        if not self.form.pixel_sum:
            return [[*row] for row in counts]
        return [[splat(z, type_) - r * 2 for r in row] for row, z in zip(counts, sums, strict=True)]

    def _run(
        self,
        tile: Tile,
        step: Pass,
        words: int,
        begin: Expression,
        base: Expression,
        size: int,
        offsets: list[int],
        starts: list[Expression],
        counts: list[list[Variable]],
        sums: list[Variable],
    ) -> None:
        """The loop over a run of words."""
        b = self.b
        if not _in_bytes(tile.plan.machine):
            together = self._together(words, len(step.terms) * len(offsets) * len(starts))
            with b.loop(words // together, "k") as k:
                for more in range(together):
                    word = k * together + more
                    place = b.let(begin + word, "place")
                    self._word(tile, step, place, base + word * size, offsets, starts, counts, sums)
            return
        type_ = tile.type_of(I32)
        octets = vector_of(I8, 4 * type_.lanes)
        signs = sorted({term.sign for term in step.terms}, reverse=True)
        # A byte takes 8 a term and word, and holds 255.
        most = 255 // (8 * max(sum(term.sign == sign for term in step.terms) for sign in signs))
        pieces = -(-words // most)
        with b.loop(pieces, "piece") as piece:
            first = b.let(piece * most, "first")
            last = b.let(binary("min", first + most, constant(words, I64)), "last") if pieces > 1 else words
            narrow = {
                sign: [[b.variable("byte", constant(0, octets)) for _ in starts] for _ in offsets] for sign in signs
            }
            with b.loop(last, "k", start=first) as k:
                self._word(tile, step, b.let(begin + k, "place"), base + k * size, offsets, starts, narrow, sums)
            for sign, rows in narrow.items():
                for row, totals in zip(rows, counts, strict=True):
                    for count, total in zip(row, totals, strict=True):
                        pairs = b.let(_halves(b, Convert("bitcast", count, type_), 8, 0x00FF00FF), "pairs")
                        added = _halves(b, pairs, 16, 0x0000FFFF)
                        b.assign(total, binary("add" if sign > 0 else "sub", total, added))

    @staticmethod
    def _together(words: int, counts: int) -> int:
        """How many words a round of the inner loop takes: more when each is little work, as in dense layers."""
        return max(n for n in (1, 2, 4) if words % n == 0 and (n == 1 or n * counts <= _UNROLLED))

    def _word(
        self,
        tile: Tile,
        step: Pass,
        place: Expression,
        where: Expression,
        offsets: list[int],
        starts: list[Expression],
        counts: list[list[Variable]] | dict[int, list[list[Variable]]],
        sums: list[Variable],
    ) -> None:
        """Counts one word of every tap of the tile; in bytes where `counts` are given by sign."""
        b, lanes = self.b, tile.plan.lanes
        type_ = tile.type_of(I32)
        where = b.let(where, "where")
        rows: dict[tuple[int, int], Expression] = {}
        for q in sorted({q for term in step.terms for q in _weight_planes(term)}):
            for n in range(self.part.vectors):
                index = where + (q * self.part.vectors + n) * lanes
                rows[q, n] = b.let(load(self.weights, index, type_, alignment=4 * lanes), "w")
        stride = self.image.words
        activation_planes = sorted({p for term in step.terms for p in _activation_planes(term)})
        for m, offset in enumerate(offsets):
            shared: dict[int, Expression] = {}
            scalars: dict[int, Expression] = {}
            if self.starts is None:
                for p in activation_planes:
                    scalars[p] = b.let(load(self.x, place + (offset + p * stride)), "x")
                    shared[p] = b.let(splat(scalars[p], type_), "u")
            for sign, p in step.pixel_terms:
                count = popcount(scalars[p] if p in scalars else load(self.x, place + (offset + p * stride)))
                b.assign(sums[m], binary("add" if sign > 0 else "sub", sums[m], count))
            for n in range(self.part.vectors):
                u = shared
                if self.starts is not None:
                    u = {
                        p: b.let(splat(load(self.x, place + starts[n] + (offset + p * stride)), type_), "u")
                        for p in activation_planes
                    }
                for term in step.terms:
                    word = _term_word(term, u, rows, n)
                    if isinstance(counts, dict):
                        total = counts[term.sign][m][n]
                        b.assign(total, total + popcount(Convert("bitcast", word, total.of)))
                    else:
                        total = counts[m][n]
                        b.assign(total, binary("add" if term.sign > 0 else "sub", total, popcount(word)))


def _halves(b: Builder, value: Expression, distance: int, mask: int) -> Expression:
    """Neighbouring fields of so many bits, added in pairs."""
    value = b.let(value, "fields")
    low = constant(mask, value.type)
    return (value & low) + (Binary("lshr", value, constant(distance, value.type)) & low)


def _weight_planes(term: Term) -> list[int]:
    return [q for q in (term.differ[1] if term.differ else None, term.weight) if q is not None]


def _activation_planes(term: Term) -> list[int]:
    return [p for p in (term.differ[0] if term.differ else None, term.activation) if p is not None]


def _term_word(term: Term, u: dict[int, Expression], rows: dict[tuple[int, int], Expression], n: int) -> Expression:
    parts: list[Expression] = []
    if term.differ is not None:
        parts.append(u[term.differ[0]] ^ rows[term.differ[1], n])
    if term.activation is not None:
        parts.append(u[term.activation])
    if term.weight is not None:
        parts.append(rows[term.weight, n])
    word = parts[0]
    for part in parts[1:]:
        word = word & part
    return word
