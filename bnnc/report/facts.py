"""The facts about a compiled network: one dataclass behind the summary, the table, `--json` and `facts.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bnnc import __version__

SAID_ELSEWHERE = ("arena_bytes", "weight_bytes", "note")


@dataclass(frozen=True)
class Layer:
    """A layer that does arithmetic. `why` says why it was left float; it is None for a packed one."""

    name: str
    op: str
    output: str
    bit_macs: int
    weight_bytes: int
    packed: bool
    why: str | None
    bits_a_weight: float = 32.0

    def as_json(self) -> dict[str, Any]:
        """The fields of the contract, in its order."""
        return {
            "name": self.name,
            "op": self.op,
            "output": self.output,
            "bit_macs": self.bit_macs,
            "packed": self.packed,
            "why": self.why,
        }


@dataclass(frozen=True)
class Facts:
    """What was compiled, for what, with which options, and what came out. No dates, no folders: equal in, equal out."""

    model: str
    digest: str
    target: str
    options: Mapping[str, Any]
    memory: Mapping[str, int]
    layers: Sequence[Layer]
    more: Mapping[str, Any]

    def as_bytes(self) -> bytes:
        """The file facts.json."""
        document = {
            "schema": "bnnc.facts/1",
            "bnnc": __version__,
            "model": self.model,
            "sha256": self.digest,
            "target": self.target,
            "options": dict(self.options),
            "memory": dict(self.memory),
            "layers": [asdict(layer) for layer in self.layers],
            **{key: value for key, value in sorted(self.more.items()) if key not in SAID_ELSEWHERE},
        }
        return (json.dumps(document, indent=1, ensure_ascii=False, default=str) + "\n").encode()


def layers(found: Sequence[Any]) -> list[Layer]:
    """The layers as `bnnc.passes.report.layers` gives them."""
    return [
        Layer(
            name=str(fact.name),
            op=str(fact.op),
            output=str(fact.output).replace(", ", ","),
            bit_macs=int(fact.macs),
            weight_bytes=int(fact.weight_bytes),
            packed=bool(fact.packed),
            why=fact.why or None,
            bits_a_weight=round(float(fact.bits_a_weight), 3),
        )
        for fact in found
    ]


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    made = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            made.update(chunk)
    return made.hexdigest()


def size(count: int) -> str:
    """A number of bytes for people: 640 B, 2.3 KiB, 1.4 MiB."""
    if count < 1024:
        return f"{count} B"
    if count < 1024 * 1024:
        return f"{count / 1024:.1f} KiB"
    return f"{count / 1024**2:.1f} MiB"


def amount(count: float) -> str:
    """A large number for people: 803 k, 71.4 M."""
    for unit, worth in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= worth:
            return f"{count / worth:.1f} {unit}"
    return f"{count:.0f}"
