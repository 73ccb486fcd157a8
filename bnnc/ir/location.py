"""Where an op came from in the user's model: carried through every level into messages and generated code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Location:
    """The user's own place: a node of an ONNX graph, or a span of source text.

    `name` is what the user calls it (ONNX node name, layer name); `file` has no folder part, so that equal
    models give equal bytes wherever they lie. `line` and `column` count from 1; 0 means "not from text".
    """

    name: str = ""
    file: str = ""
    line: int = 0
    column: int = 0


UNKNOWN = Location()
