"""Integer layers: every conv and dense layer whose weights and inputs are scaled integers is written on the integers.

`conv(x, ±s)` becomes `conv(n, ±1) * (s_x * s)`: from here on the integer sum is exact and the scale is one fp32
multiplication behind it. This fixes the meaning of the model (design §6), so it runs before the reference point.
Why a layer cannot be written so is noted on the module.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bnnc.ir import move, nn
from bnnc.ir.codebook import codebook_of
from bnnc.ir.module import Input, Module, Note
from bnnc.ir.op import Op
from bnnc.ir.rewrite import rebuild
from bnnc.passes.canonical import per_channel
from bnnc.passes.images import Images
from bnnc.passes.lattice import EXACT, LARGEST_CODE, Lattice, Pairs, Weights, lattice_of, split_pairs, split_weights
from bnnc.passes.values import integers
from bnnc.reference.run import evaluate

LARGEST_OFFSETS = 1 << 20  # an offset at every position of an output above this size is not worth integers
MOST_LEVELS = 256  # more integers than this are not made by a table
LARGEST_STEPS = LARGEST_CODE  # a lattice of more values than this is not worth integers


def integer_layers(module: Module) -> Module:
    """Rewrite layers and what lies between them (pools, moves) to work on integers, with the scales behind them."""
    rewriting = _Rewriting()
    result = rebuild(module, rewriting.change)
    notes = tuple(dict.fromkeys((*module.notes, *rewriting.notes)))
    return Module(result.name, result.inputs, result.outputs, notes, result.pixels, result.facts)


class _Rewriting:
    def __init__(self) -> None:
        self.images = Images()
        self.notes: list[Note] = []
        self._scaled: dict[Op, tuple[Op, float]] = {}

    def change(self, op: Op) -> Op:
        match op:
            case nn.Conv() | nn.Dense():
                return self._layer(op)
            case nn.Pool() | move.Reshape() | move.Transpose() | move.Slice() | move.Gather():
                return self._carry(op)
            case move.Pad(mode="constant") if op.value == 0:
                return self._carry(op)
            case move.Concat():
                return self._carry(op)
            case nn.Map(function="add" | "sub"):
                return self._carry(op)
        return op

    def _layer(self, op: nn.Conv | nn.Dense) -> Op:
        if not isinstance(op.w, nn.Constant):
            self._note(op, "its weights are computed at run time")
            return op
        weights = split_weights(op.w.values)
        lattice = self._lattice(op.x)
        if weights is None or _is_wide(weights):
            pair = split_pairs(op.w.values) if lattice is not None else None
            if pair is not None:
                return self._pair_layer(op, pair)
        if weights is None:
            self._note(op, _float_weights(op.w.values))
            return op
        if lattice is None and isinstance(op, nn.Conv) and _is_pointwise(op):
            along = _along_positions(op.x)
            if along is not None and self._lattice(along[0]) is not None:
                scaled = self._layer(replace(op, x=along[0], bias=None))
                total = nn.Map("mul", (scaled, along[1]), loc=op.loc)
                return total if op.bias is None else nn.Map("add", (total, _bias(op)), loc=op.loc)
        if lattice is None or not (lattice.plain or max(abs(lattice.lo), abs(lattice.hi)) <= LARGEST_STEPS):
            self._note(op, f"its weights are {weights.kind}, but its input is float{_input_help(op.x)}")
            return op
        if lattice.offset and _is_padded(op) and op.type.size > LARGEST_OFFSETS:
            self._note(op, "its input has an offset that zero padding lacks, and its image is large")
            return op
        rows = np.abs(weights.integers.reshape(len(weights.integers), -1).astype(np.int64)).sum(1)
        if int(rows.max()) * max(abs(lattice.lo), abs(lattice.hi)) > EXACT:
            self._note(op, "its sums exceed 2^24, which fp32 cannot hold")
            return op
        if weights.spread:
            text = f"weights are {weights.kind} times a scale to within {weights.spread:.1e}, taken as exact"
            self.notes.append(Note("info", text, op.loc))
        return self._on_integers(op, _fewest_kernels(_one_sided(_without_empty_filters(weights))), lattice)

    def _pair_layer(self, op: nn.Conv | nn.Dense, pair: Pairs) -> Op:
        """Weights {a, b} are t * (±1) + f: the layer with ±t, and f times each window sum, shared by channels."""
        signs = nn.Constant(pair.signs * pair.half.reshape(-1, *(1,) * (pair.signs.ndim - 1)))
        groups = op.groups if isinstance(op, nn.Conv) else 1
        ones = nn.Constant(np.ones((groups, *pair.signs.shape[1:]), np.float32))
        main = self._layer(replace(op, w=signs))
        place = replace(op.loc, name=f"{op.loc.name} (window sum)")
        window = self._layer(replace(op, w=ones, bias=None, loc=place))
        if groups > 1:
            outputs = len(pair.middle)
            window = move.Gather(window, np.arange(outputs) // (outputs // groups), 0, loc=op.loc)
        shared = nn.Map("mul", (window, per_channel(pair.middle, len(op.type.shape))), loc=op.loc)
        return nn.Map("add", (main, shared), loc=op.loc)

    def _on_integers(self, op: nn.Conv | nn.Dense, weights: Weights, lattice: Lattice) -> Op:
        x = self._integral(op.x, lattice)
        kernel = nn.Constant(weights.integers.astype(np.float32))
        total: Op
        if isinstance(op, nn.Conv):
            total = nn.Conv(x, kernel, None, op.strides, op.pads, op.dilations, op.groups, loc=op.loc)
        else:
            total = nn.Dense(x, kernel, None, loc=op.loc)
        rank = len(op.type.shape)
        scale = weights.scale * np.float32(lattice.scale)
        if (scale != 1).any():
            total = nn.Map("mul", (total, per_channel(scale, rank)), loc=op.loc)
        if lattice.offset:
            total = nn.Map("add", (total, _offsets(op, weights, lattice.offset)), loc=op.loc)
        if op.bias is not None and not (isinstance(op.bias, nn.Constant) and not op.bias.values.any()):
            total = nn.Map("add", (total, _bias(op)), loc=op.loc)
        return total

    def _integral(self, op: Op, lattice: Lattice) -> Op:
        """The integers n of op = scale * n + offset."""
        if lattice.plain:
            return op
        if op in self._scaled and self._scaled[op][1] == lattice.scale:
            return self._scaled[op][0]
        shifted: Op = op
        if lattice.offset:
            shifted = nn.Map("sub", (op, nn.Constant(np.array(lattice.offset, np.float32))), loc=op.loc)
        divided = nn.Map("div", (shifted, nn.Constant(np.array(lattice.scale, np.float32))), loc=op.loc)
        return nn.Map("round", (divided,), loc=op.loc)

    def _carry(self, op: Op) -> Op:
        """f(scale * n) = scale * f(n) for pools, moves and sums: the scale goes behind, so that n stays in sight."""
        operands = op.operands
        lattices = [self._lattice(x) for x in operands if not isinstance(x, nn.Constant)]
        if len(lattices) != len(operands) or not all(lattices):
            return op
        found = {(lattice.scale, lattice.offset) for lattice in lattices if lattice}
        if len(found) != 1 or found == {(1.0, 0.0)}:
            return op
        lattice = lattices[0]
        broadcast = not isinstance(op, move.Concat) and len({x.type.shape for x in operands}) > 1
        if lattice is None or lattice.offset or broadcast:
            return op
        whole = {x: self._integral(x, lattice) for x in operands}
        moved = op.with_operands(lambda x: whole[x])
        result = nn.Map("mul", (moved, nn.Constant(np.array(lattice.scale, np.float32))), loc=op.loc)
        self._scaled[result] = (moved, lattice.scale)
        return result

    def _lattice(self, op: Op) -> Lattice | None:
        """The lattice of op's values; of many integers that are scaled once (a mean), without listing them."""
        found = lattice_of(self.images.of(op))
        if found is not None and (found.plain or found.hi - found.lo < MOST_LEVELS):
            return found
        return self._scaled_once(op) or found

    def _scaled_once(self, op: Op) -> Lattice | None:
        """The lattice of integers times (or divided by) one number, and remembers them as the integers of op."""
        if op not in self._scaled:
            if not isinstance(op, nn.Map) or op.function not in ("mul", "div") or not isinstance(op.xs[1], nn.Constant):
                return None
            source, factor = op.xs[0], op.xs[1].values.reshape(-1)
            if factor.size != 1 or not 0 < factor[0] < np.inf or source.type.shape != op.type.shape:
                return None
            inner = self._lattice(source)
            if inner is None or inner.offset:
                return None
            scale = inner.scale * float(factor[0]) if op.function == "mul" else inner.scale / float(factor[0])
            self._scaled[op] = (self._integral(source, inner), float(np.float32(scale)))
        source, scale = self._scaled[op]
        ends = integers(self.images.of(source))
        return Lattice(scale, 0.0, *ends) if ends is not None and 0 < scale < np.inf else None

    def _note(self, op: Op, why: str) -> None:
        self.notes.append(Note("float", why, op.loc))


def _bias(op: nn.Conv | nn.Dense) -> Op:
    """The bias of a layer as it is added to its sums."""
    assert op.bias is not None
    rank = len(op.type.shape)
    if isinstance(op.bias, nn.Constant):
        return per_channel(op.bias.values, rank)
    return move.Reshape(op.bias, (*op.bias.type.shape, *(1,) * (rank - 1)))


def _is_pointwise(op: nn.Conv) -> bool:
    """Whether every output position depends on the input's channels at that position alone."""
    return op.type.shape[1:] == op.x.type.shape[1:] and all(n == 1 for n in op.w.type.shape[2:])


def _along_positions(op: Op) -> tuple[Op, nn.Constant] | None:
    """op as x times a constant that is the same in all channels: what a mean over neighbours leaves, for example."""
    turned = op.perm if isinstance(op, move.Transpose) else None
    scaled = op.x if isinstance(op, move.Transpose) else op
    if not isinstance(scaled, nn.Map) or scaled.function != "mul" or not isinstance(scaled.xs[1], nn.Constant):
        return None
    x, factor = scaled.xs[0], scaled.xs[1].values
    if x.type.shape != scaled.type.shape or factor.ndim != len(x.type.shape):
        return None
    if turned is not None:
        x, factor = move.Transpose(x, turned, loc=op.loc), factor.transpose(turned)
    return (x, nn.Constant(factor, loc=scaled.loc)) if factor.shape[0] == 1 else None


def _is_padded(op: nn.Conv | nn.Dense) -> bool:
    return isinstance(op, nn.Conv) and any(op.pads)


def _offsets(op: nn.Conv | nn.Dense, weights: Weights, offset: float) -> nn.Constant:
    """What an input of nothing but `offset` gives: one number a channel, or with zero padding one a position."""
    sums = weights.integers.reshape(len(weights.scale), -1).astype(np.int64).sum(1)
    gain = weights.scale.astype(np.float64) * offset
    if not isinstance(op, nn.Conv) or not any(op.pads):
        return per_channel(sums * gain, len(op.type.shape))
    kernel = nn.Constant(weights.integers.astype(np.float32))
    ones = np.ones((1, *op.x.type.shape), np.float32)
    of_ones = nn.Conv(op.x, kernel, None, op.strides, op.pads, op.dilations, op.groups)
    inside = evaluate(of_ones, [ones, kernel.values[None]])[0]
    return nn.Constant((inside * gain.reshape(-1, *(1,) * (inside.ndim - 1))).astype(np.float32))


def _is_wide(weights: Weights) -> bool:
    """Whether weights take more planes than ±1 or -1/0/+1 do: if they are of two values, bits and a window sum do."""
    return int(np.abs(weights.integers).max(initial=0)) > 1


def _one_sided(weights: Weights) -> Weights:
    """Rows of 0 and -1 as 0 and +1 with a negative scale, where that leaves nothing else: one plane then does."""
    if weights.integers.min(initial=0) != -1 or (weights.integers != 0).all():
        return weights
    rows = weights.integers.reshape(len(weights.integers), -1)
    falls = rows.max(1) <= 0
    if not (falls | (rows.min(1) >= 0)).all():
        return weights
    signs = np.where(falls, -1, 1)
    integers = weights.integers * signs.reshape(-1, *(1,) * (weights.integers.ndim - 1)).astype(weights.integers.dtype)
    return replace(weights, integers=integers, scale=(weights.scale * signs).astype(np.float32))


def _fewest_kernels(weights: Weights) -> Weights:
    """Filters turned around, with negative scales, where that leaves fewer kernels: negative gammas double them."""
    book = codebook_of(weights.integers)
    if book is None:
        return weights
    patterns = [row.tobytes() for row in book.patterns]
    opposite = [row.tobytes() for row in -book.patterns]
    signs = np.ones(len(weights.integers), np.int8)
    taken: set[bytes] = set()
    for output, numbers in enumerate(book.index):
        used = np.unique(numbers)
        plain, turned = {patterns[n] for n in used}, {opposite[n] for n in used}
        if len(turned - taken) < len(plain - taken):
            signs[output], plain = -1, turned
        taken |= plain
    if len(taken) >= len(patterns):
        return weights
    integers = weights.integers * signs.reshape(-1, *(1,) * (weights.integers.ndim - 1))
    return replace(weights, integers=integers, scale=(weights.scale * signs).astype(np.float32))


def _without_empty_filters(weights: Weights) -> Weights:
    """Filters of zeros (a zero gamma that an exporter fused) would cost a mask plane: any bits will do, times 0."""
    empty = ~weights.integers.reshape(len(weights.integers), -1).any(1)
    if _is_wide(weights) or not empty.any():
        return weights
    integers = weights.integers.copy()
    integers[empty] = integers[np.argmin(empty)] if not empty.all() else 1  # no new kernel, should they be few
    return replace(weights, integers=integers, scale=np.where(empty, np.float32(0), weights.scale))


def _float_weights(values: np.ndarray) -> str:
    distinct = np.unique(values).size
    rows = values.reshape(len(values), -1)
    if all(np.unique(row).size <= 2 for row in rows):
        return "its weights take two values a and b that are not ±s"
    return f"its weights take {distinct} different values"


def _input_help(x: Op) -> str:
    while isinstance(x, move.Reshape | move.Transpose | move.Pad):
        x = x.operands[0]
    return f" (if `{x.name}` holds pixels: --pixels {x.name}=1/255)" if isinstance(x, Input) else ""
