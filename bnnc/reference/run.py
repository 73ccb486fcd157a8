"""Runs a module op by op in numpy. This is the meaning of every module: all other targets are judged by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bnnc.ir.module import Input, Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import Fix
from bnnc.reference import bit, fixed, move, nn, training
from bnnc.reference.arrays import batch_size, check_inputs

MEANINGS: dict[type[Op], Callable[[Any, Sequence[np.ndarray]], np.ndarray]] = {
    **nn.MEANINGS,
    **bit.MEANINGS,
    **fixed.MEANINGS,
    **training.MEANINGS,
    **move.MEANINGS,
}
# How many elements the largest tensor of a chunk of the batch may have.
CHUNK_ELEMENTS = 1 << 23


def evaluate(op: Op, operands: Sequence[np.ndarray]) -> np.ndarray:
    """The value of one op. Every array has the batch as axis 0, of length 1 for what no input reaches.

    Integer tensors are int32 (int64 where the range of the type needs it) arrays of the integers they stand for; the
    others are float32. Raises NotImplementedError for an op without a meaning here (an Input has none of its own).
    """
    meaning = MEANINGS.get(type(op))
    if meaning is None:
        raise NotImplementedError(f"the reference has no meaning for `{op.opcode}`")
    with np.errstate(all="ignore"):
        result = meaning(op, operands)
    return result.astype(bit.array_dtype(op.type.dtype), copy=False)


def _steps(module: Module, arrays: Mapping[str, np.ndarray], keep: bool) -> dict[Op, np.ndarray]:
    """The value of every op, or, unless `keep`, of the outputs only: the rest is freed after its last use."""
    order = module.ops()
    uses: dict[Op, int] = dict.fromkeys(order, 0)
    for op in order:
        for operand in op.operands:
            uses[operand] += 1
    for output in module.outputs:
        uses[output.value] += 1
    values: dict[Op, np.ndarray] = {}
    for op in order:
        if isinstance(op, Input):
            values[op] = arrays[op.name]
        else:
            values[op] = evaluate(op, [values[operand] for operand in op.operands])
        if not keep:
            for operand in op.operands:
                uses[operand] -= 1
                if not uses[operand]:
                    values.pop(operand, None)
    return values


def values(module: Module, inputs: Mapping[str, np.ndarray]) -> dict[Op, np.ndarray]:
    """Every op's value, batch first (length 1 for what no input reaches). Raises BnncError for wrong inputs."""
    return _steps(module, check_inputs(module, inputs), keep=True)


def run(module: Module, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs by name: each in its `storage` dtype, with the batch moved to its `batch_axis`.

    `inputs` are arrays by input name, batch first. The batch is worked through in chunks, so that memory does not grow
    with it. Raises BnncError for wrong inputs.
    """
    checked = check_inputs(module, inputs)
    batch = batch_size(checked)
    parts: dict[str, list[np.ndarray]] = {output.name: [] for output in module.outputs}
    for chunk in _chunks(module, checked, batch):
        found = _steps(module, chunk, keep=False)
        length = batch_size(chunk)
        for output in module.outputs:
            value = found[output.value]
            parts[output.name].append(np.broadcast_to(value, (length, *value.shape[1:])))
    return {output.name: present(output, parts[output.name]) for output in module.outputs}


def _chunks(module: Module, arrays: Mapping[str, np.ndarray], batch: int) -> Iterator[dict[str, np.ndarray]]:
    largest = max((op.type.size for op in module.ops()), default=1)
    length = max(1, CHUNK_ELEMENTS // max(1, largest))
    for start in range(0, batch, length):
        yield {name: array[start : start + length] for name, array in arrays.items()}


def present(output: Output, parts: Sequence[np.ndarray]) -> np.ndarray:
    """The batch-first chunks of an output as the user gets them: joined, cast to `storage`, the batch on its axis."""
    empty = np.empty((0, *output.value.type.shape), bit.array_dtype(output.value.type.dtype))
    joined = np.concatenate(parts) if parts else empty
    if isinstance(output.value.type.dtype, Fix):
        joined = fixed.to_float(joined, output.value.type.dtype)
    with np.errstate(all="ignore"):
        stored = joined.astype(np.dtype(output.storage))
    return np.ascontiguousarray(np.moveaxis(stored, 0, output.batch_axis))


__all__ = ["MEANINGS", "batch_size", "check_inputs", "evaluate", "present", "run", "values"]
