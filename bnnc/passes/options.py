"""What a compile may choose besides the exact meaning: the format of streams, integer stems, whose roundings count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class PassOptions:
    """The defaults leave every value as ONNX defines it; each other choice is recorded in `Module.facts`.

    stream: `f32`, or `fixed`: real-valued tensors as fix<i,f>. stem: `float`, or `int`: a float first layer on uint8
    pixels with 16-bit weights and an exact integer sum. semantics: `onnx`, or `real`: thresholds of folded chains as
    real numbers have them, not fp32. strict_range: a stream that could saturate is an error (B0702). inputs: what
    ranges are observed on, by input name, batch first; with none, formats follow from the worst case alone.
    """

    stream: Literal["f32", "fixed"] = "f32"
    stem: Literal["float", "int"] = "float"
    semantics: Literal["onnx", "real"] = "onnx"
    strict_range: bool = False
    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether the «bit» module computes what the canonical «nn» module computes, to the last bit."""
        return (self.stream, self.stem, self.semantics) == ("f32", "float", "onnx")

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """What is recorded in the module."""
        chosen = (("stream", self.stream, "f32"), ("stem", self.stem, "float"), ("semantics", self.semantics, "onnx"))
        return tuple((name, value) for name, value, default in chosen if value != default)
