"""Reads `.bnnm` containers: modules that bnnc wrote itself."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from bnnc.diagnostics import error
from bnnc.ir.module import Module
from bnnc.ir.store import MAX_BYTES, loads
from bnnc.protocols import API_VERSION, ImportOptions


class Frontend:
    """The frontend for `.bnnm`: shapes and pixel maps are already in the file."""

    name: ClassVar[str] = "bnnm"
    summary: ClassVar[str] = "a module written by bnnc (weights, types and names, with checksums)"
    suffixes: ClassVar[tuple[str, ...]] = (".bnnm",)
    api: ClassVar[int] = API_VERSION

    def load(self, path: Path, options: ImportOptions) -> Module:
        """The module in the file. Raises BnncError: B0420 to B0423 for a bad file, B0425 for options that would change
        it, B0407 where it cannot be read."""
        try:
            size = path.stat().st_size
            if size > MAX_BYTES:
                raise error("B0420", f"`{path.name}` is not a .bnnm file: {size} bytes are too many")
            data = path.read_bytes()
        except OSError as fault:
            raise error("B0407", f"cannot read `{path}`: {fault.strerror or fault}") from None
        module = loads(data, path.name)
        _check_options(module, options, path.name)
        return module


def _check_options(module: Module, options: ImportOptions, file: str) -> None:
    if options.pixels:
        raise error(
            "B0425",
            f"`--pixels` cannot be added to `{file}`: its inputs are already fixed",
            helps=("give --pixels when the ONNX model is compiled",),
        )
    shapes = {op.name: op.shape for op in module.inputs}
    for name, shape in options.shapes.items():
        if shapes.get(name) != tuple(shape[1:]):
            listed = ", ".join(f"{known}=1,{','.join(map(str, fixed))}" for known, fixed in shapes.items())
            raise error(
                "B0425",
                f"`--shape {name}={','.join(map(str, shape))}` does not fit `{file}`: its shapes are fixed",
                notes=(f"inputs: {listed}",),
            )


__all__ = ["Frontend"]
