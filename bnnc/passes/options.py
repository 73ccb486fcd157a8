"""What a compile may choose besides the exact meaning: the format of streams, integer stems, whose roundings count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bnnc.diagnostics import Exit, error


@dataclass(frozen=True)
class PassOptions:
    """The defaults leave every value as ONNX defines it; each other choice is recorded in `Module.facts`.

    stream: `f32`, or `fixed`: real-valued tensors as fix<i,f>. stem: `float`, or `int`: a float first layer on uint8
    pixels with 16-bit weights and an exact integer sum. semantics: `onnx`, or `real`: thresholds of folded chains as
    real numbers have them, not fp32. strict_range: a stream that could saturate is an error (B0702). inputs: what
    ranges are observed on, by input name, batch first; with none, formats follow from the worst case alone.
    """

    stream: str = "f32"
    stem: str = "float"
    semantics: str = "onnx"
    strict_range: bool = False
    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, words in (("stream", ("f32", "fixed")), ("stem", ("float", "int")), ("semantics", ("onnx", "real"))):
            if getattr(self, name) not in words:
                text = f"{name} `{getattr(self, name)}` is none of {', '.join(words)}"
                raise error("B0101", text, exit_code=Exit.USAGE)

    @property
    def exact(self) -> bool:
        """Whether the «bit» module computes what the canonical «nn» module computes, to the last bit."""
        return (self.stream, self.stem, self.semantics) == ("f32", "float", "onnx")

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """What is recorded in the module."""
        chosen = (("stream", self.stream, "f32"), ("stem", self.stem, "float"), ("semantics", self.semantics, "onnx"))
        return tuple((name, value) for name, value, default in chosen if value != default)
