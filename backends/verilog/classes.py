"""The class: arg-max of the integers behind the scores, where that is the arg-max of the scores for every input."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from bnnc.backends.verilog.boundary import Boundary
from bnnc.backends.verilog.circuit import Circuit, Value, width_of
from bnnc.backends.verilog.design import Block, Pace, Stream
from bnnc.backends.verilog.plan_steps import lookup, raw_range
from bnnc.ir import bit, move, nn
from bnnc.ir.op import Op
from bnnc.ir.types import TensorType, is_integer, value_range
from bnnc.reference.run import evaluate

WIDEST = 1 << 16
TABLE_BITS = 1 << 18


@dataclass(frozen=True, eq=False)
class Ranking:
    """How integers of a cut compare: by themselves, or by `ranks` [channels, n], their places among all scores that can
    occur (the first column belongs to the integer `low`)."""

    cut: Op
    ranks: np.ndarray | None
    low: int

    def words(self, numbers: np.ndarray, stream: Stream | None) -> np.ndarray:
        """The beats of the class for values of the cut: uint8 [B, bytes]."""
        assert stream is not None
        flat = numbers.reshape(len(numbers), -1)
        if self.ranks is not None:
            flat = self.ranks[np.arange(flat.shape[1])[None], flat - self.low]
        classes = flat.argmax(1)
        return np.stack([(classes >> (8 * n)) & 255 for n in range(-(-stream.width // 8))], 1).astype(np.uint8)


def ranking_of(boundary: Boundary) -> Ranking | str:
    """How to find the class, or why it is not found in the circuit."""
    scores = _scores(boundary)
    if isinstance(scores, str):
        return scores
    path: list[Op] = []
    op = scores
    while op in boundary.tail:
        whole = [x for x in op.operands if not isinstance(x, nn.Constant)]
        plain = isinstance(op, nn.Map | bit.Decode | move.Reshape)
        if not plain or len(whole) != 1 or whole[0].type.size != op.type.size:
            return f"`{op.opcode}` behind the integers works on all scores together"
        path.append(op)
        op = whole[0]
    if not is_integer(op.type.dtype):
        return f"the scores are {op.type.dtype}, of which several can be one float"
    lo, hi = value_range(op.type.dtype)
    if not path:
        return Ranking(op, None, 0)
    if hi - lo >= WIDEST:
        return "too many different scores can occur to compare all of them"
    if _steps(path, op) * (hi - lo + 1) > 1 << 24:
        return "there are too many scores to compare all that can occur"
    numbers = np.arange(lo, hi + 1, dtype=np.int64)
    values = _applied(path, op, numbers)
    if np.isnan(values).any():
        return "a score can be no number"
    if bool((values == values[:, :1]).all()) and bool((np.diff(values[:, 0]) > 0).all()):
        return Ranking(op, None, 0)
    found, ranks = np.unique(values, return_inverse=True)
    ranks = ranks.reshape(values.shape).T
    if ranks.size * width_of(0, len(found))[0] > TABLE_BITS:
        return "the scores are no increasing function of the integers, one for all classes, and a table would be large"
    return Ranking(op, np.ascontiguousarray(ranks.astype(np.int64)), lo)


def _scores(boundary: Boundary) -> Op | str:
    """The op whose arg-max is the class: what the first output with several numbers, or an index, comes from."""
    for output in boundary.module.outputs:
        op = output.value
        if op.type.size > 1:
            return op
        while isinstance(op, move.Reshape):
            op = op.x
        if isinstance(op, nn.ArgMax) and op.x.type.size == op.x.type.shape[op.axis] > 1:
            return "the model takes the highest index on a tie" if op.last or op.smallest else op.x
    return "no output has the scores of several classes"


def _steps(path: list[Op], cut: Op) -> int:
    return len(path) * cut.type.size


def _applied(path: list[Op], cut: Op, numbers: np.ndarray) -> np.ndarray:
    """What becomes of each of the numbers at each place of the cut: [numbers, places]."""
    value = np.broadcast_to(numbers.reshape(-1, *(1,) * len(cut.type.shape)), (len(numbers), *cut.type.shape))
    values: dict[Op, np.ndarray] = {cut: value}
    for op in reversed(path):
        for x in op.operands:
            if isinstance(x, nn.Constant):
                values[x] = evaluate(x, [])
        values[op] = evaluate(op, [values[x] for x in op.operands])
    return np.asarray(values[path[0]]).reshape(len(numbers), -1)


def classes(circuit: Circuit, ranking: Ranking, value: Value) -> Stream:
    """The engines behind a cut that find the class; the stream of the index."""
    op = ranking.cut
    value = circuit.row_major(value, op)
    if ranking.ranks is not None:
        # Every place has ranks of its own.
        value = dataclasses.replace(value, type=TensorType(value.type.dtype, (value.type.size,)))
        stream = value.stream
        lo, hi = raw_range(value)
        numbers = np.arange(lo, hi + 1) * stream.multiplier + stream.offset - ranking.low
        top = int(ranking.ranks.max())
        value = lookup(circuit, op, value, ranking.ranks[:, numbers], lo, *width_of(0, top))
    stream = value.stream
    count = stream.elements
    name = circuit.fresh(op, "class")
    width = max(1, (count - 1).bit_length())
    parameters = [
        ("WIDTH", stream.width),
        ("SIGNED", int(stream.signed)),
        ("COUNT", count),
        ("LANES", stream.lanes),
    ]
    out = Stream(name, 1, 1, 1, width)
    pace = Pace((Block(stream.beats, 1),), latency=1 + (stream.lanes - 1).bit_length())
    circuit.add(name, "bnnc_argmax", op, parameters, [("in", stream)], [out], pace)
    return out


__all__ = ["Ranking", "classes", "ranking_of"]
