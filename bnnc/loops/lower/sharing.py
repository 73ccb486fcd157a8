"""Equal kernels are one: unrolled recurrent nets and layers that share weights keep one copy of code and constants."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace

from bnnc.ir.location import UNKNOWN
from bnnc.loops.ir import Function, buffers_of
from bnnc.loops.text import print_function


def shared(functions: Iterable[Function]) -> dict[Function, Function]:
    """For each function the first that is equal to it but for its name, its comments and the names of its constants."""
    first: dict[tuple[str, ...], Function] = {}
    return {function: first.setdefault(_key(function), function) for function in functions}


def _key(function: Function) -> tuple[str, ...]:
    head, *body = print_function(replace(function, name="kernel", comment="", loc=UNKNOWN))
    text = "\n".join(body)
    contents = []
    for number, buffer in enumerate(b for b in buffers_of(function) if b.data is not None):
        assert buffer.data is not None
        text = re.sub(rf"\b{re.escape(buffer.name)}\b", f"constant.{number}", text)
        contents.append(f"{buffer.element}[{buffer.length}] {hashlib.sha256(buffer.data.tobytes()).hexdigest()}")
    return head, text, *contents
