"""Fusion: which ops need no memory of their own, because the kernel of their only reader computes them in registers."""

from __future__ import annotations

from bnnc.ir import bit, fixed, move, nn
from bnnc.ir.module import Module
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, Code, Trit
from bnnc.loops.kernels.elementwise import ELEMENTWISE
from bnnc.loops.layout import WORD

MOST_FUSED_THRESHOLDS = 15


def fused_steps(module: Module) -> dict[Op, bit.Step]:
    """Layers whose sums are stepped and packed before they reach memory: layer -> step."""
    users = module.users()
    results = {output.value for output in module.outputs}
    found: dict[Op, bit.Step] = {}
    for op, readers in users.items():
        if not isinstance(op, bit.Conv | bit.Dense | nn.Conv | nn.Dense) or len(readers) != 1 or op in results:
            continue
        step = readers[0]
        if isinstance(step, bit.Step) and isinstance(step.dtype, Bit | Trit | Code) and _few_thresholds(step):
            found[op] = step
    return found


def fused_pools(module: Module, taken: dict[Op, bit.Step]) -> dict[Op, bit.Pool]:
    """Steps of layers whose bits go into one pool, with windows that touch and do not overlap: step -> pool."""
    users = module.users()
    results = {output.value for output in module.outputs}
    found: dict[Op, bit.Pool] = {}
    for step in taken.values():
        readers = users[step]
        pool = readers[0] if len(readers) == 1 and step not in results else None
        if isinstance(pool, bit.Pool) and isinstance(pool.type.dtype, Bit) and pool.function == "max":
            touch = pool.kernel == pool.strides and not any(pool.pads) and all(n == 1 for n in pool.dilations)
            if touch and len(pool.type.shape) in (2, 3):
                found[step] = pool
    return found


def _few_thresholds(step: bit.Step) -> bool:
    return int(step.thresholds.shape[1]) <= MOST_FUSED_THRESHOLDS


def inlined(module: Module, taken: dict[Op, bit.Step]) -> set[Op]:
    """Elementwise ops that are computed inside the elementwise op that reads them, never stored."""
    users = module.users()
    results = {output.value for output in module.outputs}
    steps = set(taken.values())
    found: set[Op] = set()
    for op, readers in users.items():
        if not isinstance(op, ELEMENTWISE) or op in results or op in steps or not readers:
            continue
        fits = all(isinstance(r, ELEMENTWISE) and r not in steps and r.type.shape == op.type.shape for r in readers)
        if fits and (isinstance(op, bit.Decode) or len(set(readers)) == 1):
            found.add(op)
    return found


def flattened(module: Module) -> dict[Op, Op]:
    """Dense layers that read a flattened image: layer -> the image. They become convolutions with its full size."""
    found: dict[Op, Op] = {}
    for op in module.ops():
        if not isinstance(op, bit.Dense | fixed.Dense | nn.Dense):
            continue
        if isinstance(op.x, move.Reshape) and len(op.x.type.shape) == 1:
            image = op.x.x
            if len(image.type.shape) in (2, 3) and (not isinstance(op, bit.Dense) or _fills_words(image)):
                found[op] = image
    return found


def _fills_words(image: Op) -> bool:
    """Whether the channels of an image fill at least half of their 32-bit words (else packing it anew is cheaper)."""
    channels, flat = image.type.shape[0], image.type.size
    return (flat // channels) * -(-channels // WORD) <= 2 * -(-flat // WORD)
