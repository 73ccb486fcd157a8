"""Movements into packed bits: whole words where they fit, pieces of words where all pixels agree, else bit by bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bnnc.loops.builder import Builder
from bnnc.loops.ir import I32, I64, Buffer, Convert, Expression, binary, constant, constant_buffer, load, vector_of
from bnnc.loops.kernels.digits import walk_of, write_walk
from bnnc.loops.kernels.halo import fill_image, pixel_pattern
from bnnc.loops.kernels.moves import FIXED, Moves, read_bits, read_number
from bnnc.loops.kernels.numbers import bit_as, plane_bits, planes_of
from bnnc.loops.layout import WORD, Layout, Packed

_PIECES_UNROLLED = 256


def repack(
    b: Builder,
    name: str,
    inputs: Sequence[Buffer],
    y: Buffer,
    sources: Sequence[Layout],
    target: Packed,
    moves: Moves,
    value: float,
    lanes: int,
) -> None:
    """Writes the code that fills `y` as `moves` says; elements that come from nowhere get `value`."""
    job = _Job(b, name, tuple(inputs), y, tuple(sources), target, moves, value, lanes)
    alike = all(isinstance(source, Packed) and source.planes == target.planes for source in sources)
    if alike and job.copy_words():
        return
    if alike and job.join_pieces():
        return
    if len(sources) == 1 and not moves.any_fixed:
        job.collect_words()
        return
    job.set_bits()


@dataclass(frozen=True)
class _Piece:
    """Neighbouring bits of one word of an operand (FIXED: all 0 or 1, see `value`) and where they go."""

    operand: int
    word: int
    shift: int
    to_word: int
    to_shift: int
    length: int


@dataclass(frozen=True, eq=False)
class _Job:
    b: Builder
    name: str
    inputs: tuple[Buffer, ...]
    y: Buffer
    sources: tuple[Layout, ...]
    target: Packed
    moves: Moves
    value: float
    lanes: int

    # --------------------------------------------------------------------------------------------------- whole words
    def copy_words(self) -> bool:
        """Copies words, if every word of the target is one of an operand, or has the fixed value; else does nothing."""
        moves, target = self.moves, self.target
        first = np.arange(target.words) * WORD
        operand, source = moves.operand[:, first], moves.source[:, first]
        counts = np.minimum(WORD, target.channels - first)
        inside = np.arange(target.channels) % WORD
        word_of = np.arange(target.channels) // WORD
        together = (moves.operand == operand[:, word_of]).all()
        fixed = moves.operand == FIXED
        if not together or not (fixed | (moves.source == source[:, word_of] + inside)).all():
            return False
        if (source % WORD)[operand != FIXED].any():
            return False
        if moves.any_fixed:
            fill_image(self.b, self.y, target, self.value, self.lanes)
        for number, layout in enumerate(self.sources):
            chosen = operand == number
            # A word that holds more channels than the target takes is cut.
            cut = chosen & (np.minimum(WORD, layout.channels - moves.channel[:, first]) != counts)
            for part, mask in ((chosen & ~cut, -1), (cut, (1 << int(counts[-1])) - 1)):
                if part.any():
                    self._copy(number, part, moves.target[:, first] // WORD, source // WORD, mask)
        return True

    def _copy(self, number: int, part: np.ndarray, to: np.ndarray, source: np.ndarray, mask: int) -> None:
        layout, planes = self.sources[number], np.arange(len(self.target.planes))[:, None]
        assert isinstance(layout, Packed)
        # [pixels, planes, words], the order of memory.
        taken = np.broadcast_to(part[:, None], (len(part), len(planes), part.shape[1]))
        sequences = np.stack(
            [
                (source[:, None] + planes * layout.words)[taken],
                (to[:, None] + planes * self.target.words)[taken],
            ]
        )

        def move(places: tuple[Expression, ...], width: int) -> None:
            words = load(self.inputs[number], places[0], vector_of(I32, width))
            self.b.store(self.y, places[1], words if mask == -1 else words & mask)

        kind = "words" if mask == -1 else "cut"
        write_walk(self.b, f"{self.name}_{kind}_{number}", walk_of(sequences), move, self.lanes)

    # ---------------------------------------------------------------------------------------------- pieces of words
    def join_pieces(self) -> bool:
        """Shifts pieces of words into place, if every pixel is made alike of few pieces; else does nothing."""
        moves = self.moves
        if not ((moves.operand == moves.operand[:1]).all() and (moves.channel == moves.channel[:1]).all()):
            return False
        pieces = self._pieces()
        if len(pieces) > _PIECES_UNROLLED:
            return False
        bases = []
        for number in range(len(self.sources)):
            base = moves.base[:, moves.operand[0] == number]
            if (base != base[:, :1]).any():
                return False
            bases.append(base[:, 0] if base.size else np.zeros(len(moves.base), np.int64))
        sequences = np.stack([*bases, moves.target[:, 0] // WORD])

        def pixel(places: tuple[Expression, ...], _: int) -> None:
            for word in range(self.target.words):
                for plane in range(len(self.target.planes)):
                    parts = [self._bits(piece, plane, places) for piece in pieces if piece.to_word == word]
                    total = parts[0]
                    for part in parts[1:]:
                        total = total | part
                    self.b.store(self.y, places[-1] + plane * self.target.words + word, total)

        write_walk(self.b, f"{self.name}_pixels", walk_of(sequences), pixel)
        return True

    def _pieces(self) -> list[_Piece]:
        operand, channel = self.moves.operand[0], self.moves.channel[0]
        pieces: list[_Piece] = []
        for to in range(self.target.channels):
            number, from_ = int(operand[to]), int(channel[to])
            last = pieces[-1] if pieces else None
            if (
                last is not None
                and (last.operand, last.to_word) == (number, to // WORD)
                and (number == FIXED or last.word * WORD + last.shift + last.length == from_ != last.word * WORD + WORD)
            ):
                pieces[-1] = _Piece(number, last.word, last.shift, last.to_word, last.to_shift, last.length + 1)
            else:
                pieces.append(_Piece(number, from_ // WORD, from_ % WORD, to // WORD, to % WORD, 1))
        return pieces

    def _bits(self, piece: _Piece, plane: int, places: tuple[Expression, ...]) -> Expression:
        mask = ((1 << piece.length) - 1) << piece.to_shift
        if piece.operand == FIXED:
            return constant(mask if planes_of(int(self.value), self.target.planes)[plane] else 0, I32)
        source = self.sources[piece.operand]
        assert isinstance(source, Packed)
        word = load(
            self.inputs[piece.operand], places[piece.operand] + plane * source.words + piece.word, vector_of(I32, 1)
        )
        distance = piece.to_shift - piece.shift
        moved = binary("shl", word, distance) if distance > 0 else binary("lshr", word, -distance) if distance else word
        return moved & mask if piece.length < WORD else moved

    # ----------------------------------------------------------------------------------------------------- bit by bit
    def collect_words(self) -> None:
        """Gathers every word of the target bit by bit from one operand, by a table of all bits."""
        b, target = self.b, self.target
        walk = walk_of(self.moves.source.reshape(1, -1))
        table = None
        if walk.table_entries or len(walk.digits) > 1:
            comment = "where each element comes from"
            table = constant_buffer(f"{self.name}_table", self.moves.source.astype(np.int32).reshape(-1), comment)
        step = walk.digits[0].steps[0] if walk.digits else 0
        full, rest = divmod(target.channels, WORD)
        with b.loop(target.height, "y") as row, b.loop(target.width, "x") as column:
            place = b.let(row * target.row + column * target.pixel + target.origin, "place")
            element = b.let((row * target.width + column) * target.channels, "element")
            for words, first_word, count in ((full, 0, WORD), (min(rest, 1), full, rest)):
                with b.loop(words, "word") as number:
                    word = number + first_word
                    totals = [b.variable("total", constant(0, I32)) for _ in target.planes]
                    first = b.let(element + word * WORD, "first")
                    with b.loop(count, "bit") as bit:
                        from_: Expression
                        if table is not None:
                            from_ = Convert("sext", load(table, first + bit), I64)
                        else:
                            assert isinstance(step, int)
                            from_ = (first + bit) * step + walk.starts[0]
                        shift = Convert("trunc", bit, I32)
                        for total, value in zip(totals, self._planes(0, b.let(from_, "from")), strict=True):
                            b.assign(total, total | binary("shl", value, shift))
                    for plane, total in enumerate(totals):
                        b.store(self.y, place + plane * target.words + word, total)

    def set_bits(self) -> None:
        """Sets every single bit in memory: slow, but whatever the table says."""
        b, target = self.b, self.target
        value = self.value if self.moves.any_fixed else (-1 if target.planes == (0,) else 0)
        fill_image(b, self.y, target, value, self.lanes)
        set_already = any(pixel_pattern(target, value))
        for number in range(len(self.sources)):
            sequences = self.moves.addresses(number)
            if not sequences.size:
                continue

            def move(places: tuple[Expression, ...], _: int, number: int = number) -> None:
                from_, to = places
                word, shift = b.let(binary("lshr", to, 5), "word"), b.let(Convert("trunc", to & 31, I32), "shift")
                for plane, bit in enumerate(self._planes(number, from_)):
                    place = b.let(word + plane * target.words, "place")
                    old = load(self.y, place)
                    if set_already:
                        old = old & ~binary("shl", constant(1, I32), shift)
                    b.store(self.y, place, old | binary("shl", bit, shift))

            write_walk(b, f"{self.name}_bits_{number}", walk_of(sequences), move)

    def _planes(self, number: int, address: Expression) -> list[Expression]:
        """The bit (i32, 0 or 1) of every plane of the target that the element at an address has."""
        source, x = self.sources[number], self.inputs[number]
        if isinstance(source, Packed):
            if source.planes == self.target.planes:
                return read_bits(self.b, x, source, address)
            integer = read_number(self.b, x, source, address)
        else:
            if source.element.is_float:
                raise TypeError("f32 does not become bits by moving it")
            integer = load(x, address)
            if source.element.bits <= len(self.target.planes):
                integer = Convert("sext", integer, I32)
        named = self.b.let(integer, "number")
        return [bit_as(condition) for condition in plane_bits(named, self.target.planes)]
