"""bnnc: a compiler for binary neural networks. The functions here are the Python API; the work is in api.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bnnc.api import check, compile, emit, load, run, train

__all__ = ["check", "compile", "emit", "load", "run", "train"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Loaded on first use: `import bnnc` and `bnnc --help` must not load numpy, onnx or llvmlite.
    if name in __all__:
        from bnnc import api

        return getattr(api, name)
    raise AttributeError(f"module 'bnnc' has no attribute {name!r}")
