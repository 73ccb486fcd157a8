"""Other runtimes that a network can be compared with, in the same process; each is imported only when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bnnc.data.pixels import mapped
from bnnc.diagnostics import Exit, error
from bnnc.ir.module import Module

PEERS = ("onnxruntime",)


class OnnxRuntime:
    """The model file run by ONNX Runtime's CPU provider; called like a compiled network.

    A batch that the file bakes in is honoured: longer batches go in chunks, the last one filled up.
    """

    name = "onnxruntime"

    def __init__(self, path: Path, module: Module, threads: int = 1) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise error(
                "B0605",
                "comparing with ONNX Runtime needs the package onnxruntime, which is not installed",
                helps=("pip install onnxruntime",),
                exit_code=Exit.ENVIRONMENT,
            ) from None
        if path.suffix.lower() != ".onnx":
            raise error("B0605", f"`{path}` is no ONNX model, so ONNX Runtime cannot run it", exit_code=Exit.USAGE)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as reason:
            raise error(
                "B0605",
                "ONNX Runtime cannot run this model",
                notes=(str(reason).splitlines()[0][:300],),
                helps=("compare with outputs you recorded elsewhere: --vs FILE.npz",),
                exit_code=Exit.ENVIRONMENT,
            ) from None
        self._module = module
        self._wanted = {given.name: given for given in self._session.get_inputs()}
        self._made = [output.name for output in self._session.get_outputs()]
        first = next(iter(self._wanted.values()), None)
        baked = first.shape[0] if first is not None and first.shape else None
        self.chunk: int | None = baked if isinstance(baked, int) and baked > 0 else None

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name, for inputs in the form our own targets take. Raises BnncError B0605 when it fails."""
        feed = {name: self._own(name, array) for name, array in inputs.items()}
        batch = len(next(iter(feed.values())))
        length = self.chunk or batch
        if length == batch:  # the common case has no detours of ours in it, so that its time is the runtime's
            return dict(zip(self._made, self._run(feed), strict=True))
        parts: list[list[np.ndarray]] = []
        for start in range(0, batch, length):
            some = {name: array[start : start + length] for name, array in feed.items()}
            missing = length - len(next(iter(some.values())))
            if missing:
                some = {name: np.concatenate([a, np.repeat(a[-1:], missing, 0)]) for name, a in some.items()}
            parts.append(self._run(some))
        outputs: dict[str, np.ndarray] = {}
        for place, name in enumerate(self._made):
            axis = next((o.batch_axis for o in self._module.outputs if o.name == name), 0)
            joined = np.concatenate([part[place] for part in parts], axis)
            outputs[name] = np.take(joined, range(batch), axis) if joined.shape[axis] > batch else joined
        return outputs

    def _run(self, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        try:
            return list(self._session.run(None, feed))
        except Exception as reason:
            raise error(
                "B0605",
                "ONNX Runtime fails on these inputs",
                notes=(str(reason).splitlines()[0][:300],),
                exit_code=Exit.ENVIRONMENT,
            ) from None

    def _own(self, name: str, array: np.ndarray) -> np.ndarray:
        """The array as the model file itself declares the input: pixels mapped to real values, in its dtype."""
        for pixels in self._module.pixels:
            if pixels.name == name:
                array = mapped(array, pixels)
        kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
        declared = self._wanted[name].type if name in self._wanted else "tensor(float)"
        whole = declared.removeprefix("tensor(").removesuffix(")")
        return array.astype(kinds.get(declared) or np.dtype(whole), copy=False)
