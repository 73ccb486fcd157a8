"""Runs one kernel, natively or in the interpreter, and states what a convolution is, for tests of kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bnnc.backends.llvm.host import native_machine
from bnnc.backends.llvm.jit import JitProgram
from bnnc.loops.builder import Builder, at
from bnnc.loops.ir import I64, Buffer, Function, Program
from bnnc.loops.kernels.tiling import Window
from bnnc.reference.loop import run_program


def program_of(function: Function) -> Program:
    """A program that runs the function once a sample; its read parameters are the inputs, the others the outputs."""
    b = Builder("run")
    passed: list[Buffer] = []
    inputs: list[Buffer] = []
    outputs: list[Buffer] = []
    for parameter in function.parameters:
        assert isinstance(parameter, Buffer)
        mine = b.parameter(parameter.name, parameter.element, parameter.length, parameter.access, parameter.alignment)
        passed.append(mine)
        (inputs if parameter.access == "read" else outputs).append(mine)
    n = b.scalar("n", I64)
    with b.loop(n, "sample") as sample:
        b.call(function, *(at(buffer, sample * buffer.length) for buffer in passed))
    return Program("test", (function,), b.function(), tuple(inputs), tuple(outputs))


def run_native(function: Function, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """The only output, computed by compiled code on this machine."""
    return JitProgram(program_of(function), native_machine())(inputs, 1)[0]


def run_interpreted(function: Function, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """The only output, computed by the interpreter."""
    return run_program(program_of(function), inputs, 1)[0]


def convolve(x: np.ndarray, weights: np.ndarray, window: Window, groups: int, pad_value: int) -> np.ndarray:
    """[O, OH, OW] of integers x [C, H, W] and weights [O, C/groups, KH, KW], straight from the definition."""
    top, left, bottom, right = window.pads
    framed = np.pad(x, ((0, 0), (top, bottom), (left, right)), constant_values=pad_value).astype(np.int64)
    height, width = window.output(x.shape[1], x.shape[2])
    outputs, inputs = weights.shape[:2]
    out = np.zeros((outputs, height, width), np.int64)
    for o in range(outputs):
        first = o // (outputs // groups) * inputs
        for i in range(inputs):
            for ky in range(weights.shape[2]):
                for kx in range(weights.shape[3]):
                    y0, x0 = ky * window.dilations[0], kx * window.dilations[1]
                    rows = slice(y0, y0 + (height - 1) * window.strides[0] + 1, window.strides[0])
                    columns = slice(x0, x0 + (width - 1) * window.strides[1] + 1, window.strides[1])
                    out[o] += int(weights[o, i, ky, kx]) * framed[first + i, rows, columns]
    return out
