"""The attributes of an ONNX node, each asked for by the type it must have."""

from __future__ import annotations

from dataclasses import dataclass

from onnx import AttributeProto

from bnnc.frontends.onnx.problems import malformed


@dataclass(frozen=True, eq=False)
class Attributes:
    """Attributes by name. Every question raises Problem B0408 if the file holds another type."""

    attributes: dict[str, AttributeProto]

    def _attribute(self, name: str, kind: int) -> AttributeProto | None:
        found = self.attributes.get(name)
        if found is not None and found.type != kind:
            raise malformed(f"has an attribute `{name}` of the wrong type")
        return found

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        found = self._attribute(name, AttributeProto.INT)
        return default if found is None else int(found.i)

    def number(self, name: str, default: float) -> float:
        """A float attribute: the fp32 number that the file holds."""
        found = self._attribute(name, AttributeProto.FLOAT)
        return default if found is None else float(found.f)

    def text(self, name: str, default: str) -> str:
        """A string attribute."""
        found = self._attribute(name, AttributeProto.STRING)
        return default if found is None else bytes(found.s).decode("utf-8", "replace")

    def integers(self, name: str) -> tuple[int, ...] | None:
        """A list of integers, or None if the node does not have it."""
        found = self._attribute(name, AttributeProto.INTS)
        return None if found is None else tuple(int(i) for i in found.ints)

    def has(self, name: str) -> bool:
        """Whether the attribute is given."""
        return name in self.attributes
