"""What the engines of the library mean that move elements, by the heads of their files: buffers, windows, orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from bnnc.backends.verilog.proof.contents import Atoms, Code, Contents, Elements, Planes, Wrong
from bnnc.backends.verilog.proof.reading import Reading

Meaning = Callable[[Reading, Sequence[Contents], Elements], Contents]


def _fits(engine: Reading, found: Contents, width: int) -> None:
    if width != found.bits:
        raise Wrong(f"its beats have {width} bits, those that come {found.bits}")


def _even(beats: int, of: int, what: str) -> None:
    if beats % of:
        raise Wrong(f"a sample has {beats} beats, which is no multiple of {what}")


def fifo(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_fifo."""
    width, _ = engine.numbers("WIDTH", "DEPTH")
    _fits(engine, inputs[0], width)
    return inputs[0]


def fork(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_fork: what every copy carries."""
    width, copies = engine.numbers("WIDTH", "COPIES")
    _fits(engine, inputs[0], width)
    if copies != len(engine.placed.outputs):
        raise Wrong(f"it makes {copies} copies for {len(engine.placed.outputs)} readers")
    return inputs[0]


def width(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_width. What it calls an element are several, or a tap of a window with its bit."""
    bits, count, out = engine.numbers("WIDTH", "IN", "OUT")
    found = inputs[0]
    _fits(engine, found, bits * count)
    if max(count, out) % min(count, out):
        raise Wrong(f"of {count} and {out} lanes neither is a multiple of the other")
    if found.lanes % count or (found.pads is not None and found.pads.shape[1] != count):
        raise Wrong(f"it cuts beats of {found.lanes} elements into {count}")
    _even(found.beats * count, out, f"{out} lanes")
    pads = None if found.pads is None else found.pads.reshape(-1, out)
    return replace(found, lanes=found.lanes // count * out, pads=pads)


def planes(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_planes."""
    lanes, bits = engine.numbers("LANES", "WIDTH")
    found = inputs[0]
    if (found.width, found.lanes) != (bits, lanes) or found.pads is not None:
        raise Wrong(f"it reads {lanes} x {bits} bits where {found.lanes} x {found.width} come")
    return replace(found, form=Planes(found), width=1, size=found.size * bits)


def concat(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_concat."""
    bits, *each = engine.numbers("WIDTH", "A_BEATS", "B_BEATS")
    places = []
    first = 0
    for found, beats in zip(inputs, each, strict=True):
        _fits(engine, found, bits)
        _even(found.beats, beats, f"{beats} beats")
        places.append(np.arange(first, first + found.size).reshape(-1, beats * found.lanes))
        first += found.size
    a, b = inputs
    if len(places[0]) != len(places[1]) or (a.lanes, a.width) != (b.lanes, b.width):
        raise Wrong("its inputs do not take turns")
    if not isinstance(a.form, Atoms) or not isinstance(b.form, Atoms) or a.form.code != b.form.code:
        raise Wrong("its inputs have different codes")
    both = replace(a, form=Atoms(np.concatenate([a.form.ids, b.form.ids]), a.form.code), size=first, via=a.via + b.via)
    return both.moved(np.concatenate(places, axis=1).reshape(-1))


def copies(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_copies."""
    bits, lanes, many = engine.numbers("WIDTH", "LANES", "COPIES")
    found = inputs[0]
    if (found.width, found.lanes) != (bits, lanes) or found.pads is not None:
        raise Wrong(f"it reads {lanes} x {bits} bits where {found.lanes} x {found.width} come")
    return replace(found.moved(np.repeat(np.arange(found.size), many)), lanes=lanes * many)


def repeat(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_repeat."""
    bits, beats, times = engine.numbers("WIDTH", "BEATS", "TIMES")
    found = inputs[0]
    _fits(engine, found, bits)
    _even(found.beats, beats, f"{beats} beats")
    groups = np.arange(found.size).reshape(-1, 1, beats * found.lanes)
    return found.moved(np.broadcast_to(groups, (len(groups), times, groups.shape[2])).reshape(-1))


def reorder(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_reorder."""
    bits, beats, out = engine.numbers("WIDTH", "IN_BEATS", "OUT_BEATS")
    found, fill = inputs[0], engine.number("FILL", 0)
    _fits(engine, found, bits)
    if beats != found.beats:
        raise Wrong(f"it reads {beats} beats a sample, but {found.beats} come")
    index = engine.words("INDEX", out, max(1, beats.bit_length())).fields(0, 1, max(1, beats.bit_length()), False)
    if int(index.max()) > beats:
        raise Wrong(f"its index has the beat {int(index.max())} of {beats}")
    if fill < 0 or fill >> bits:
        raise Wrong(f"its FILL does not fit {bits} bits")
    lane = np.arange(found.lanes)
    places = np.where(index == beats, -1, index * found.lanes + lane).reshape(-1)
    fills = np.array([fill >> (int(n) * found.width) & ((1 << found.width) - 1) for n in lane], np.int64)
    return found.moved(places, np.tile(fills, out))


def _taps(engine: Reading, found: Contents) -> tuple[np.ndarray, np.ndarray, int, int]:
    """The place of the first channel of each tap, and whether it lies outside ([output row, column, tap row, column]);
    channels of a pixel and of a beat. Raises Wrong."""
    bits, lanes, channels = engine.numbers("WIDTH", "LANES", "CHANNELS")
    sizes, out = (engine.numbers(f"{name}HEIGHT", f"{name}COLUMNS") for name in ("", "OUT_"))
    kernel, strides, dilations = (engine.numbers(f"{n}_H", f"{n}_W") for n in ("KERNEL", "STRIDE", "DILATION"))
    pads = [engine.number("PAD_TOP"), engine.number("PAD_LEFT")]
    if (found.width, found.lanes) != (bits, lanes) or found.pads is not None:
        raise Wrong(f"it reads {lanes} x {bits} bits where {found.lanes} x {found.width} come")
    if found.size != channels * sizes[0] * sizes[1] or min(pads) < 0:
        raise Wrong(f"its image has {channels} x {sizes[0]} x {sizes[1]} elements, but {found.size} come")
    places = []
    for axis in (0, 1):
        at = np.arange(out[axis])[:, None] * strides[axis] + np.arange(kernel[axis]) * dilations[axis] - pads[axis]
        places.append(np.where((at >= 0) & (at < sizes[axis]), at, -1))
    rows, columns = places[0][:, None, :, None], places[1][None, :, None, :]
    outside = np.broadcast_to((rows < 0) | (columns < 0), (*out, *kernel))
    return np.where(outside, -1, (rows * sizes[1] + columns) * channels), outside, channels, lanes


def _windows(engine: Reading, found: Contents, places: np.ndarray, pads: np.ndarray | None, lanes: int) -> Contents:
    fill = engine.number("PAD_VALUE") & ((1 << found.width) - 1)
    return replace(found.moved(places.reshape(-1), np.full(1, fill)), pads=pads, lanes=lanes)


def window(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_window."""
    found = inputs[0]
    (groups,) = engine.numbers("GROUPS")
    first, outside, channels, lanes = _taps(engine, found)
    if channels % (lanes * groups):
        raise Wrong(f"{groups} groups of {channels} channels do not come in {lanes} lanes")
    within = channels // groups
    # output row, column, group, tap row, column, channel of the group
    channel = np.arange(channels).reshape(groups, 1, 1, within)
    places = np.where(first[:, :, None, :, :, None] < 0, -1, first[:, :, None, :, :, None] + channel)
    pads = np.repeat(np.broadcast_to(outside[:, :, None], places.shape[:-1]).reshape(-1, 1), within // lanes, axis=0)
    return _windows(engine, found, places, pads, lanes)


def window_wide(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_window_wide."""
    found, flag = inputs[0], engine.number("FLAG")
    first, outside, channels, lanes = _taps(engine, found)
    if flag not in (0, 1):
        raise Wrong(f"FLAG is {flag}")
    count, pixels = first.shape[2] * first.shape[3], len(first) * first.shape[1]
    if channels % lanes:
        raise Wrong(f"{channels} channels do not come in {lanes} lanes")
    # output pixel, chunk of channels, tap, channel of the chunk
    flat = first.reshape(-1, 1, count, 1)
    places = np.where(flat < 0, -1, flat + np.arange(channels).reshape(1, -1, 1, lanes))
    pads = np.broadcast_to(outside.reshape(pixels, 1, count), (pixels, channels // lanes, count)).reshape(-1, count)
    return _windows(engine, found, places, pads if flag else None, lanes * count)


def constant(engine: Reading, inputs: Sequence[Contents], elements: Elements) -> Contents:
    """bnnc_constant. How its bits are read, and for how many beats, is what the design says; it is compared later."""
    bits, beats = engine.numbers("WIDTH", "BEATS")
    stream = engine.stream
    if stream is None or stream.bits != bits:
        raise Wrong(f"no stream of {bits} bits is known to come from it")
    _even(stream.beats, beats, f"{beats} beats")
    words = engine.words("TABLE", beats, bits)
    raws = np.tile(words.fields(0, stream.lanes, stream.width, False).reshape(-1), stream.beats // beats)
    code = Code(1, -stream.offset, stream.multiplier)
    return Contents(Atoms(-1 - raws, code), stream.lanes, stream.width, len(raws))


MOVES: dict[str, Meaning] = {
    "bnnc_fifo": fifo,
    "bnnc_fork": fork,
    "bnnc_constant": constant,
    "bnnc_width": width,
    "bnnc_planes": planes,
    "bnnc_concat": concat,
    "bnnc_copies": copies,
    "bnnc_repeat": repeat,
    "bnnc_reorder": reorder,
    "bnnc_window": window,
    "bnnc_window_wide": window_wide,
}
"""By the name of the module."""
