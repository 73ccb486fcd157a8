"""What is said of a network with floats in the middle: which op is in the way, and which options would help it."""

from __future__ import annotations

from collections.abc import Collection

from bnnc.diagnostics import BnncError, error
from bnnc.ir import bit, fixed, move, nn
from bnnc.ir.module import Input, Module
from bnnc.ir.op import Op
from bnnc.ir.types import F32, is_integer

_QUIET: tuple[type[Op], ...] = (*move.MOVES, bit.Decode, fixed.Decode, nn.Constant)


def island(module: Module, floats: Collection[Op], culprit: Op, reader: Op | None = None) -> BnncError:
    """The error for floats that the circuit would have to compute: `culprit`, or the first one before it that does more
    than move them where `reader` needs what comes of it."""
    text = f"`{culprit.opcode}` works on floats"
    if reader is not None:
        culprit = _first(reader, floats)
        text = f"`{culprit.opcode}` works on floats, and `{reader.opcode}` reads what comes of it"
    ways = _ways(module, culprit)
    return error(
        "B0620",
        f"{text}: the verilog target has no float arithmetic",
        places=(culprit.loc,),
        notes=("it takes networks that are integers, or fixed point, from the first layer to the scores",),
        helps=ways or ("no option turns this op into integers: bnnc explain B0620",),
    )


def _first(reader: Op, floats: Collection[Op]) -> Op:
    """The first float op before `reader` that computes; one that joins floats where none does."""
    before = _before(reader)
    order = [op for op in floats if op in before and op is not reader]
    computes = [op for op in order if not isinstance(op, _QUIET)]
    joins = [op for op in order if isinstance(op, move.Concat)]
    return next(iter((*computes, *joins, *order)), reader)


def _before(op: Op) -> set[Op]:
    found: set[Op] = set()
    stack = [op]
    while stack:
        op = stack.pop()
        if op not in found:
            found.add(op)
            stack.extend(op.operands)
    return found


def _ways(module: Module, culprit: Op) -> tuple[str, ...]:
    """The options that could help, without those that were given."""
    given = dict(module.facts)
    if culprit.loc.file.endswith(".bnn"):  # in such a file the inputs and weights say what they are
        return (
            "whole numbers: input x: u8[1, 28, 28] as pixels(1/255), and layers with weights=bit, trit or int<-7,7>",
            "an ONNX model with --stream fixed, for residual streams and float layers between binary ones",
        )
    layer = isinstance(culprit, nn.Conv | nn.Dense | nn.MatMul)
    sources = _sources(culprit)
    entering = [op for op in sources if isinstance(op, Input)]
    ways = []
    floats = [op.name for op in entering if op.dtype == F32()]
    more = " --stream fixed" if given.get("stream") != "fixed" else ""
    if floats:
        known = " ".join(f"--pixels {name}=1/255,MEAN,STD" for name in floats)
        ways.append(f"{known}{more}, when `{'`, `'.join(floats)}` holds 8-bit pixels")
    elif layer and len(entering) == len(sources) and given.get("stem") != "int":
        ways.append("--stem int, for a first layer on pixels")
    if more and not floats:
        ways.append("--stream fixed, for residual streams and float layers between binary ones")
    return tuple(ways)


def _sources(op: Op) -> list[Op]:
    """Where the floats of an op come from: inputs, and integers that are decoded."""
    found: dict[Op, None] = {}
    stack = [op]
    seen: set[Op] = set()
    while stack:
        op = stack.pop()
        if op in seen or isinstance(op, nn.Constant):
            continue
        seen.add(op)
        if isinstance(op, Input) or is_integer(op.type.dtype):
            found[_unchanged(op)] = None
        else:
            stack.extend(reversed(op.operands))
    return list(found)


def _unchanged(op: Op) -> Op:
    """The input that an integer is, if it is one that was only moved."""
    start = op
    while isinstance(op, move.MOVES) and len(op.operands) == 1:
        op = op.operands[0]
    return op if isinstance(op, Input) else start


__all__ = ["island"]
