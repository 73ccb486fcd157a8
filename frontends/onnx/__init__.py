"""The ONNX frontend: any ONNX network of elementwise, window, matrix and movement operators, as an «nn» module.

Reading a file runs through reading.py (bytes to a checked protobuf), batches.py (which number stands for the batch) and
graph.py (one ONNX node after the other, through the operator tables of the other files).
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from bnnc.diagnostics import error
from bnnc.ir.location import Location
from bnnc.ir.module import Module
from bnnc.protocols import ImportOptions


class Frontend:
    """Reads `.onnx` files (operator sets 7 and later, QONNX and FINN quantisers, external weights)."""

    name: ClassVar[str] = "onnx"
    summary: ClassVar[str] = "ONNX networks of PyTorch, Keras (tf2onnx), Brevitas, FINN and ONNX Runtime"
    suffixes: ClassVar[tuple[str, ...]] = (".onnx",)
    api: ClassVar[int] = 1

    def load(self, path: Path, options: ImportOptions) -> Module:
        """The network in the file, at level «nn». Raises BnncError (B0301, B0401 to B0413) and nothing else."""
        from bnnc.frontends.onnx.graph import import_model
        from bnnc.frontends.onnx.reading import read_model

        path = Path(path)
        model = read_model(path)
        try:
            return import_model(model, path, options)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as reason:
            # Whatever a damaged file still finds to break outside of a single node.
            raise error(
                "B0408",
                f"`{path.name}` is not a proper ONNX model: {str(reason) or type(reason).__name__}",
                places=(Location(file=path.name),),
                helps=(f"python -m onnx.checker {path.name}",),
            ) from reason
