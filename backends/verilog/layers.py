"""The layers of a circuit that can be folded: what they compute, and how a fold is chosen where nobody says."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from bnnc.backends.verilog.circuit import width_of
from bnnc.backends.verilog.design import Fold, Folding, Layer
from bnnc.backends.verilog.windows import Window, window_of
from bnnc.diagnostics import Exit, error
from bnnc.ir import bit, fixed
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, stored_range

BITS, INTEGERS, SERIAL = "bnnc_mvu_bits", "bnnc_mvu_integers", "bnnc_mvu_serial"
FoldedOp = bit.Conv | bit.Dense | fixed.Conv | fixed.Dense


def layer_of(op: FoldedOp, name: str) -> Layer:
    """What can be folded of a convolution or a dense layer."""
    w = op.weights
    convolution = isinstance(op, bit.Conv | fixed.Conv)
    groups = op.groups if isinstance(op, bit.Conv | fixed.Conv) else 1
    taps = math.prod(w.shape[2:]) if convolution else 1
    pixels = math.prod(op.type.shape[1:]) if convolution else 1
    bits = isinstance(op.x.type.dtype, Bit) and isinstance(op, bit.Conv | bit.Dense) and int(np.abs(w).max()) <= 1
    flag = bits and isinstance(op, bit.Conv) and any(op.pads) and op.pad_value == 0
    return Layer(
        name,
        BITS if bits else INTEGERS,
        pixels * groups,
        groups,
        w.shape[1] * taps,
        w.shape[0] // groups,
        w.shape[1],
        taps,
        1 if bits else width_of(*_input_range(op))[0],
        _weight_width(w),
        flag,
        op.loc,
        _window(op) if isinstance(op, bit.Conv | fixed.Conv) else None,
    )


def _window(op: bit.Conv | fixed.Conv) -> Window | None:
    """The window that an engine hands out; None where there is nothing to hand out."""
    window = window_of(op, op.weights.shape[2:])
    return None if window.trivial or (window.whole and op.groups == 1) else window


def _input_range(op: FoldedOp) -> tuple[int, int]:
    """The numbers that an integer engine multiplies: those of the input, and what stands outside of it."""
    lo, hi = stored_range(op.x.type.dtype)
    if isinstance(op, bit.Conv) and any(op.pads):
        return min(lo, op.pad_value), max(hi, op.pad_value)
    if isinstance(op, fixed.Conv) and any(op.pads):
        return min(lo, 0), max(hi, 0)
    return lo, hi


def _weight_width(w: np.ndarray) -> int:
    """1 for weights of -1 and +1, else the bits of two's complement."""
    if bool((np.abs(w) == 1).all()):
        return 1
    return max(2, width_of(min(int(w.min()), -1), int(w.max()))[0])


def divisors(number: int) -> list[int]:
    """Ascending."""
    small = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
    return small + [number // n for n in reversed(small) if n * n != number]


def folds_of(layer: Layer) -> list[Fold]:
    """Every fold that a layer can have."""
    return [Fold(pe, simd, layer.serial) for pe in divisors(layer.outputs) for simd in divisors(layer.simds)]


def serial_layers(layers: Sequence[Layer], chosen: str) -> tuple[Layer, ...]:
    """The layers, those of `-X serial=…` to be computed bit by bit: `all` that can be, or names or numbers.

    Raises BnncError B0621 for unknown names, and layers whose numbers are no integers or weights not -1 and 1.
    """
    can = [layer.module == INTEGERS and layer.weight_width == 1 for layer in layers]
    if chosen in ("", "none", "all"):
        return tuple(
            dataclasses.replace(layer, serial=chosen == "all" and fits) for layer, fits in zip(layers, can, strict=True)
        )
    found: set[str] = set()
    for word in chosen.split(","):
        at = next((n for n, layer in enumerate(layers) if word in (layer.name, str(n + 1))), None)
        if at is None:
            raise error(
                "B0621",
                f"`-X serial={chosen}`: there is no folded layer `{word}`",
                notes=(f"the layers are: {', '.join(layer.name for layer in layers)}",),
                helps=("-X serial=all",),
                exit_code=Exit.USAGE,
            )
        if not can[at]:
            raise error(
                "B0621",
                f"layer `{layers[at].name}` cannot be computed bit by bit",
                places=(layers[at].loc,),
                notes=("serial layers have weights of -1 and 1 on integers of several bits",),
                helps=("leave it out", "-X serial=all, for all that can be"),
                exit_code=Exit.USAGE,
            )
        found.add(layers[at].name)
    return tuple(dataclasses.replace(layer, serial=layer.name in found) for layer in layers)


def given_folding(layers: Sequence[Layer], pe: str, simd: str, plain: Folding) -> Folding:
    """The fold of `-X pe=16,8,8,10 -X simd=49,16,8,8`: a number for each layer, in order; else the plain one.

    Raises BnncError B0621 for numbers that do not divide a layer.
    """
    pes, simds = _numbers(pe, "pe", layers), _numbers(simd, "simd", layers)
    folds = []
    for at, layer in enumerate(layers):
        default = plain.of(layer)
        fold = Fold(pes[at] if pes else default.pe, simds[at] if simds else default.simd, layer.serial)
        if layer.outputs % fold.pe:
            raise _does_not_divide(layer, "pe", fold.pe, "outputs", layer.outputs)
        if layer.simds % fold.simd:
            what = "inputs" if layer.simds == layer.inputs else "channels"
            raise _does_not_divide(layer, "simd", fold.simd, what, layer.simds)
        folds.append((layer.name, fold))
    return Folding(tuple(folds))


def _numbers(text: str, key: str, layers: Sequence[Layer]) -> list[int]:
    if not text:
        return []
    parts = text.split(",")
    names = ", ".join(layer.name for layer in layers)
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts) or len(parts) not in (
        1,
        len(layers),
    ):
        raise error(
            "B0621",
            f"`-X {key}={text}` is not a number for each of the {len(layers)} layers",
            notes=(f"the layers are: {names}",),
            helps=(f"-X {key}={','.join('1' for _ in layers)}",),
            exit_code=Exit.USAGE,
        )
    return [int(part) for part in parts] * (len(layers) if len(parts) == 1 else 1)


def _does_not_divide(layer: Layer, key: str, number: int, what: str, whole: int) -> Exception:
    return error(
        "B0621",
        f"`-X {key}`: {number} does not divide the {whole} {what} of layer `{layer.name}`",
        places=(layer.loc,),
        helps=(f"choose one of: {', '.join(map(str, divisors(whole)))}",),
        exit_code=Exit.USAGE,
    )


def folded(op: Op) -> bool:
    """Whether an op is a layer that can be folded."""
    return isinstance(op, bit.Conv | bit.Dense | fixed.Conv | fixed.Dense)


__all__ = [
    "BITS", "INTEGERS", "SERIAL", "FoldedOp", "divisors", "folded", "folds_of", "given_folding", "layer_of",
    "serial_layers",
]  # fmt: skip
