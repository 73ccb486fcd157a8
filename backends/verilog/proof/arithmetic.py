"""What the engines of the library mean that compute, by the heads of their files: sums, steps, tables, pools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bnnc.backends.verilog.proof.contents import (
    BIT,
    NOTHING,
    Atoms,
    Best,
    Code,
    Contents,
    Curve,
    Elements,
    Form,
    Largest,
    Planes,
    Sum,
    Wrong,
    numbers,
    raw_range,
)
from bnnc.backends.verilog.proof.moves import Meaning
from bnnc.backends.verilog.proof.pieces import Pieces, steps
from bnnc.backends.verilog.proof.reading import Reading


def atoms(found: Contents) -> Atoms:
    """The elements that it holds. Raises Wrong."""
    if not isinstance(found.form, Atoms):
        raise Wrong("it reads sums before they are complete")
    return found.form


def made(found: Contents, form: Form, width: int, size: int = 0, lanes: int = 0) -> Contents:
    """What an engine makes of what came."""
    return Contents(form, lanes or found.lanes, width, size or found.size, None, found.via)


def chunks_of(engine: Reading, found: Contents) -> tuple[int, np.ndarray]:
    """CHUNKS, and which word of a table every beat of a sample meets. Raises Wrong."""
    (count,) = engine.numbers("CHUNKS")
    if found.beats % count:
        raise Wrong(f"a sample has {found.beats} beats, which is no multiple of its {count} words")
    return count, np.arange(found.beats) % count


def vectors_of(engine: Reading, found: Contents) -> tuple[int, int, int, int, int]:
    """INPUTS, OUTPUTS, SIMD, PE and GROUPS of a matrix-vector engine that reads whole vectors. Raises Wrong."""
    inputs, outputs, simd, pe, groups = engine.numbers("INPUTS", "OUTPUTS", "SIMD", "PE", "GROUPS")
    if inputs % simd or outputs % pe:
        raise Wrong(f"SIMD {simd} or PE {pe} does not divide {inputs} inputs and {outputs} outputs")
    if found.size % (inputs * groups):
        raise Wrong(f"{found.size} elements come, which are no {groups} vectors of {inputs}, or some times as many")
    return inputs, outputs, simd, pe, groups


def summed(
    engine: Reading, found: Contents, ids: np.ndarray, weights: np.ndarray, constant: int, divisor: int
) -> Contents:
    """(Σ weights * value + constant) / divisor in the order of the engine; weights as read from the memory, int64
    [words, PE, SIMD]."""
    inputs, outputs, simd, pe, groups = vectors_of(engine, found)
    (accumulator,) = engine.numbers("ACC_WIDTH")
    words = weights.reshape(groups, outputs // pe, inputs // simd, pe, simd)
    rows = words.transpose(0, 1, 3, 2, 4).reshape(groups * outputs, inputs)
    vectors = len(ids) // inputs
    neuron = (np.arange(vectors) % groups)[:, None] * outputs + np.arange(outputs)
    row = np.repeat(np.arange(vectors), outputs)
    constants = np.full(row.size, constant, np.int64)
    form = Sum(ids.reshape(vectors, inputs), row, rows, neuron.reshape(-1), constants, divisor)
    return made(found, form, accumulator, row.size, pe)


def bits(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_mvu_bits."""
    found = inputs[0]
    count, outputs, simd, pe, groups = vectors_of(engine, found)
    ternary, total = (engine.number(name) != 0 for name in ("TERNARY", "SUM"))
    flags = 0 if found.pads is None else found.pads.shape[1]
    if engine.number("FLAGS", 0) != flags:
        raise Wrong(f"FLAGS is {engine.number('FLAGS', 0)}, but its beats have {flags} bits more")
    if not total and (ternary or found.outside.any()):
        raise Wrong("it counts ones where a product can be 0")
    outside = found.outside
    found = numbers(found, elements, simd, 1, False)
    form = atoms(found)
    if form.code != BIT:
        raise Wrong("its input is not -1 and +1")
    ids = np.where(outside, elements.known(np.zeros(1, np.int64)), form.ids)
    depth = groups * (outputs // pe) * (count // simd)
    amount = simd.bit_length()
    field = 2 * simd + amount if ternary else simd
    words = engine.words("WEIGHTS", depth, pe * field).bits.reshape(depth, pe, field).astype(np.int64)
    weights = 2 * words[:, :, :simd] - 1
    if ternary:
        present = words[:, :, simd : 2 * simd]
        if not np.array_equal(present.sum(2), words[:, :, 2 * simd :] @ (1 << np.arange(amount))):
            raise Wrong("a count of weights that are not 0 is wrong")
        weights = weights * present
    return summed(engine, found, ids, weights, 0 if total else count, 1 if total else 2)


def serial(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_mvu_serial."""
    bits = inputs[0].form
    if not isinstance(bits, Planes):
        raise Wrong("no bits of numbers come one after the other")
    count, outputs, simd, pe, groups = vectors_of(engine, bits.of)
    found = numbers(bits.of, elements, simd, engine.number("IN_WIDTH"), engine.number("IN_SIGNED") != 0)
    form = atoms(found)
    if form.code != Code():
        raise Wrong("its input is not the numbers themselves")
    depth, amount = groups * (outputs // pe) * (count // simd), simd.bit_length()
    words = engine.words("WEIGHTS", depth, pe * (simd + amount)).bits.reshape(depth, pe, -1).astype(np.int64)
    weights = 2 * words[:, :, :simd] - 1
    if not np.array_equal((weights < 0).sum(2), words[:, :, simd:] @ (1 << np.arange(amount))):
        raise Wrong("a count of weights that are -1 is wrong")
    return summed(engine, found, form.ids, weights, 0, 1)


def integers(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_mvu_integers."""
    count, outputs, simd, pe, groups = vectors_of(engine, inputs[0])
    width, weight, signed = engine.number("IN_WIDTH"), engine.number("WEIGHT_WIDTH"), engine.number("IN_SIGNED")
    found = numbers(inputs[0], elements, simd, width, signed != 0)
    form = atoms(found)
    if form.code != Code():
        raise Wrong("its input is not the numbers themselves")
    depth = groups * (outputs // pe) * (count // simd)
    words = engine.words("WEIGHTS", depth, pe * simd * weight)
    read = words.fields(0, pe * simd, weight, weight > 1)
    weights = 2 * read - 1 if weight == 1 else read
    return summed(engine, found, form.ids, weights.reshape(depth, pe, simd), 0, 1)


def step(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_step."""
    lanes, width, out, count = engine.numbers("LANES", "IN_WIDTH", "OUT_WIDTH", "COUNT")
    signed = engine.number("IN_SIGNED") != 0
    found = numbers(inputs[0], elements, lanes, width, signed)
    chunks, turn = chunks_of(engine, found)
    field = count * width + (count + 1) * out
    words = engine.words("TABLE", chunks, lanes * field)
    each = [
        (words.fields(at, count, width, signed), words.fields(at + count * width, count + 1, out, False))
        for at in range(0, lanes * field, field)
    ]
    pieces = steps(np.concatenate([t for t, _ in each]), np.concatenate([v for _, v in each]))
    return made(found, _curve(found, pieces, chunks, turn), out)


def _curve(found: Contents, pieces: Pieces, chunks: int, turn: np.ndarray, shift: int | None = None) -> Curve:
    """Functions of lane l and word c in row l * chunks + c."""
    form = atoms(found)
    rows = np.arange(found.lanes)[None, :] * chunks + turn[:, None]
    return Curve(form.ids, form.code, pieces, rows.reshape(-1), shift)


def lookup(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_lookup."""
    lanes, width, out, size = engine.numbers("LANES", "IN_WIDTH", "OUT_WIDTH", "SIZE")
    low, shared = engine.number("LOW"), engine.number("SHARED", 0) != 0
    found = numbers(inputs[0], elements, lanes, width, engine.number("IN_SIGNED") != 0)
    chunks, turn = chunks_of(engine, found)
    lo, hi = raw_range(found.form, elements)
    if lo < low or hi >= low + size:
        raise Wrong(f"its table is for {low} to {low + size - 1}, but {lo} to {hi} come")
    if shared and chunks != 1:
        raise Wrong("a table for all lanes has one chunk")
    words = engine.words("TABLE", chunks * size, out if shared else lanes * out)
    read = words.fields(0, 1 if shared else lanes, out, False)
    values = np.broadcast_to(read.T.reshape(-1, chunks, size), (lanes, chunks, size)).reshape(lanes * chunks, size)
    pieces = steps(low + np.arange(1, size)[None, :], values)
    return made(found, _curve(found, pieces, chunks, turn), out)


def affine(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_affine: numbers in another code where all channels have the same line."""
    lanes, width, factor, out = engine.numbers("LANES", "IN_WIDTH", "FACTOR_WIDTH", "OUT_WIDTH")
    found = numbers(inputs[0], elements, lanes, width, engine.number("IN_SIGNED") != 0)
    chunks, turn = chunks_of(engine, found)
    field = factor + out
    words = engine.words("TABLE", chunks, lanes * field)
    slopes = np.concatenate([words.field(at, factor) for at in range(0, lanes * field, field)])[:, None]
    offsets = np.concatenate([words.field(at + factor, out) for at in range(0, lanes * field, field)])[:, None]
    form = atoms(found)
    if bool((slopes == slopes[0]).all() and (offsets == offsets[0]).all()):
        code = form.code.mapped(int(slopes[0, 0]), int(offsets[0, 0]))
        return made(found, Atoms(form.ids, code), out)
    pieces = Pieces(np.empty((1, 0), np.int64), slopes, offsets)
    return made(found, _curve(found, pieces, chunks, turn), out)


def pool(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_pool."""
    lanes, width, out, taps, chunks = engine.numbers("LANES", "IN_WIDTH", "OUT_WIDTH", "TAPS", "CHUNKS")
    function, smallest = engine.number("FUNCTION"), engine.number("SMALLEST", 0)
    pads = inputs[0].pads
    if pads is None or pads.shape[1] != 1 or len(pads) % (taps * chunks):
        raise Wrong(f"no windows of {taps} taps for {chunks} beats of a pixel come")
    found = numbers(inputs[0], elements, lanes, width, engine.number("SIGNED") != 0)
    form = atoms(found)
    ids = np.where(inputs[0].outside, NOTHING, form.ids)
    index = ids.reshape(-1, taps, lanes).transpose(0, 2, 1).reshape(-1, taps)
    if function == 2:
        code = form.code.mapped(engine.number("FACTOR", 1), engine.number("OFFSET", 0))
        counted = index != NOTHING
        index = np.where(counted, index, elements.known(np.zeros(1, np.int64)))
        if code.offset or code.divisor != 1:
            raise Wrong("it does not sum the numbers of its input")
        size = len(index)
        coefficients = np.full((1, taps), code.factor, np.int64)
        zeros = np.zeros(size, np.int64)
        return made(found, Sum(index, np.arange(size), coefficients, zeros, zeros), out, size, lanes)
    engine.number("FACTOR", 1), engine.number("OFFSET", 0)
    if function not in (0, 1) or out != width:
        raise Wrong(f"there is no pool {function} from {width} to {out} bits")
    if smallest < 0 or smallest >> (lanes * chunks):
        raise Wrong("SMALLEST has more bits than there are channels")
    # Where no tap counts, what stands outside of the input comes out.
    empty = (index == NOTHING).all(1)
    index[empty, 0] = form.ids.reshape(-1, taps, lanes)[:, -1].reshape(-1)[empty]
    channel = np.arange(len(index)) % (lanes * chunks)
    marked = np.array([function == 1 or bool(smallest >> n & 1) for n in range(lanes * chunks)])
    return made(found, Best(index, marked[channel], form.code), width, len(index), lanes)


def add(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_add."""
    lanes, out = engine.numbers("LANES", "OUT_WIDTH")
    terms = []
    constant = engine.number("CONSTANT")
    for letter, operand in zip("AB", inputs, strict=True):
        width, signed = engine.number(f"{letter}_WIDTH"), engine.number(f"{letter}_SIGNED") != 0
        terms.append((numbers(operand, elements, lanes, width, signed), engine.number(f"{letter}_FACTOR")))
    return made(terms[0][0], total(terms, constant), out)


def total(terms: Sequence[tuple[Contents, int]], constant: int) -> Sum:
    """Σ factor * operand + constant, position by position. Raises Wrong."""
    index, coefficients = [], []
    size = terms[0][0].size
    constants = np.full(size, constant, np.int64)
    for found, factor in terms:
        form = found.form
        if found.size != size:
            raise Wrong("its inputs have samples of different lengths")
        if isinstance(form, Atoms):
            factors = [factor * form.code.factor, factor * form.code.offset]
            if any(number % form.code.divisor for number in factors):
                raise Wrong("it sums parts of numbers")
            index.append(form.ids[:, None])
            coefficients.append(np.array([[factors[0] // form.code.divisor]], np.int64))
            constants = constants + factors[1] // form.code.divisor
        elif isinstance(form, Sum) and len(form.coefficients) == 1 and form.divisor == 1:
            index.append(form.index[form.row])
            coefficients.append(form.coefficients * factor)
            constants = constants + form.constant * factor
        else:
            raise Wrong("it adds results that are no numbers")
    zeros = np.zeros(size, np.int64)
    together = np.concatenate(coefficients, axis=1)
    return Sum(np.concatenate(index, axis=1), np.arange(size), together, zeros, constants)


def argmax(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_argmax."""
    width, count, lanes = engine.numbers("WIDTH", "COUNT", "LANES")
    found = numbers(inputs[0], elements, lanes, width, engine.number("SIGNED") != 0)
    if found.size != count:
        raise Wrong(f"it compares {count} numbers, but {found.size} come")
    if not isinstance(found.form, Atoms | Curve):
        raise Wrong("it compares sums before they are complete")
    return replace(found, form=Largest(found.form), lanes=1, width=max(1, (count - 1).bit_length()), size=1)


ARITHMETIC: dict[str, Meaning] = {
    "bnnc_mvu_bits": bits,
    "bnnc_mvu_integers": integers,
    "bnnc_mvu_serial": serial,
    "bnnc_step": step,
    "bnnc_lookup": lookup,
    "bnnc_affine": affine,
    "bnnc_pool": pool,
    "bnnc_add": add,
    "bnnc_argmax": argmax,
}
"""By the name of the module."""
