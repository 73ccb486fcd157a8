"""A network that runs in this process: converts the user's arrays, shares a batch among threads, times its code."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bnnc.backends.llvm.jit import JitProgram
from bnnc.backends.llvm.roofline import Roofline
from bnnc.ir import bit, nn
from bnnc.ir.module import Module, Output
from bnnc.ir.op import Op
from bnnc.ir.types import Bit, Fix, Trit
from bnnc.loops.ir import NUMPY
from bnnc.loops.lower.network import Lowered
from bnnc.loops.machine import Machine
from bnnc.protocols import LayerTime
from bnnc.reference.fixed import to_float

LAYERS = (bit.Conv, bit.Dense, nn.Conv, nn.Dense)  # what a step can be fused with
LEAST_SECONDS = 0.002  # a timed stretch is at least this long, so that the clock does not show


class Compiled:
    """Callable: arrays by input name, batch first, to arrays by output name."""

    def __init__(self, module: Module, lowered: Lowered, machine: Machine, threads: int) -> None:
        self._module, self._lowered, self._machine = module, lowered, machine
        self._threads = max(1, threads)
        self._program = JitProgram(lowered.program, machine)
        self._timed: JitProgram | None = None

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run a batch of any length. The arrays must fit the inputs (the API checks that)."""
        arrays = self._arrays(inputs)
        count = len(arrays[0]) if arrays else 1
        parts = min(self._threads, max(count, 1))
        if parts == 1:
            flat = self._program(arrays, count)
        else:
            ends = [count * k // parts for k in range(parts + 1)]
            slices = [[array[a:b] for array in arrays] for a, b in itertools.pairwise(ends)]
            with ThreadPoolExecutor(parts) as pool:
                results = list(pool.map(lambda part: self._program(part, len(part[0])), slices))
            flat = [np.concatenate(columns) for columns in zip(*results, strict=True)]
        return {o.name: _shaped(array, o, count) for o, array in zip(self._module.outputs, flat, strict=True)}

    def _arrays(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The inputs in the element types of the program; bytes keep their bits."""
        arrays = []
        for op, buffer in zip(self._module.inputs, self._lowered.program.inputs, strict=True):
            array = np.asarray(inputs[op.name])
            wanted = NUMPY[buffer.element]
            if wanted == np.int8 and array.dtype != np.int8:
                array = array.astype(np.int64).astype(np.uint8).view(np.int8)
            arrays.append(np.ascontiguousarray(array.astype(wanted, copy=False)))
        return arrays

    # ---------------------------------------------------------------------------------------------------- timing
    def time(self, inputs: Mapping[str, np.ndarray], runs: int) -> Sequence[float]:
        """The CPU seconds of each of `runs` native runs on the whole batch, in one thread, with no Python inside."""
        arrays = self._arrays(inputs)
        return self._stretches(arrays, len(arrays[0]), runs, None)

    def layer_times(self, inputs: Mapping[str, np.ndarray]) -> Sequence[LayerTime]:
        """The median time of every op on one sample, in order, times the batch. An op may take several calls."""
        arrays = [array[:1] for array in self._arrays(inputs)]
        count = len(next(iter(inputs.values())))
        self._bench().repeat(arrays, 1, 1)
        found = []
        roofline = Roofline(self._machine)
        alone = {call.op for call in self._lowered.calls}
        for op, numbered in itertools.groupby(enumerate(self._lowered.calls), lambda pair: pair[1].op):
            calls = list(numbered)
            seconds = sum(float(np.median(self._stretches(arrays, 1, 5, number))) for number, _ in calls) * count
            fused = isinstance(op, bit.Step) and isinstance(op.x, LAYERS) and op.x not in alone
            layer = op.operands[0] if fused else op
            macs = _bit_macs(layer) * count
            # The roofline is measured next to the layer: clocks change.
            share = macs / seconds / roofline.rate() if macs and _counts_bits(layer) else None
            name = layer.loc.name or calls[0][1].loc.name or calls[0][1].function
            found.append(LayerTime(name, layer.opcode, seconds, macs, share))
        return found

    def _bench(self) -> JitProgram:
        if self._timed is None:
            self._timed = JitProgram(self._lowered.program, self._machine, bench=True)
        return self._timed

    def _stretches(self, arrays: list[np.ndarray], count: int, runs: int, call: int | None) -> list[float]:
        program = self._bench()
        repeats = 1
        while True:
            start = time.thread_time()
            program.repeat(arrays, count, repeats, call)
            spent = time.thread_time() - start
            if spent > LEAST_SECONDS or repeats > 1 << 24:
                break
            repeats = max(repeats * 2, int(repeats * LEAST_SECONDS / max(spent, 1e-7)))
        found = []
        for _ in range(runs):
            start = time.thread_time()
            program.repeat(arrays, count, repeats, call)
            found.append((time.thread_time() - start) / repeats)
        return found


def _bit_macs(layer: Op) -> int:
    """Multiply-accumulates of a packed layer for one sample; 0 for any other op."""
    if isinstance(layer, bit.Conv | bit.Dense):
        return int(layer.weights.size) * int(np.prod(layer.type.shape[1:], dtype=np.int64))
    return 0


def _counts_bits(layer: Op) -> bool:
    """Whether the layer works on bits or trits, so that the popcount roofline is its measure."""
    return isinstance(layer, bit.Conv | bit.Dense) and isinstance(layer.x.type.dtype, Bit | Trit)


def _shaped(array: np.ndarray, output: Output, count: int) -> np.ndarray:
    dtype = output.value.type.dtype
    numbers = to_float(array, dtype) if isinstance(dtype, Fix) else array
    shaped = numbers.reshape(count, *output.value.type.shape).astype(output.storage, copy=False)
    return np.moveaxis(shaped, 0, output.batch_axis) if output.batch_axis else shaped


__all__ = ["Compiled"]
