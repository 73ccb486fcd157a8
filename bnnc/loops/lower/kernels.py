"""Which kernel a layer takes: the machine's favourite of those that can do it, or the one that was chosen for it.

A choice is data, layer by layer, so that it can be measured (`bnnc bench -X tune`), kept in a file and given back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bnnc.diagnostics import error
from bnnc.ir.op import Op

CODE_NO_SUCH_CHOICE = "B0618"

KERNELS: dict[str, str] = {
    "vectors": "rows of weights added, four words at a time",
    "rows": "rows of weights added, 32 outputs a word",
    "row planes": "rows of weights added for every bit of small integers",
    "pixels": "sums over the channels of a pixel looked up",
    "bytes": "bytes of the user's array added",
    "carry-save": "bits added by carry-save adders, output by output",
    "popcount": "differing bits counted",
    "lanes": "numbers multiplied and added",
}
"""The kernels of layers on integers, and what they do."""


@dataclass(frozen=True)
class LayerKernels:
    """A layer, its kernel, and all that can do it, the machine's favourite first."""

    layer: str
    op: Op
    kernel: str
    fitting: tuple[str, ...]


class Choices:
    """Gives every layer its kernel, and writes down which."""

    def __init__(self, wanted: Mapping[str, str]) -> None:
        """wanted: kernels by layer; other layers take the machine's favourite."""
        self._wanted = dict(wanted)
        self._taken: dict[str, int] = {}
        self.made: list[LayerKernels] = []

    def choose(self, op: Op, fitting: Sequence[str]) -> str:
        """The kernel of the next layer. Raises BnncError B0618 when the one that is wanted cannot do it."""
        layer = self._name(op)
        kernel = self._wanted.get(layer, fitting[0])
        if kernel not in fitting:
            raise error(
                CODE_NO_SUCH_CHOICE,
                f"the kernel `{kernel}` cannot do the layer `{layer}`",
                places=(op.loc,),
                notes=(f"these can: {', '.join(fitting)}",),
                helps=("bnnc bench -X tune chooses anew",),
            )
        self.made.append(LayerKernels(layer, op, kernel, tuple(fitting)))
        return kernel

    def check(self) -> None:
        """Raises BnncError B0618 when a kernel was wanted for a layer that there is not."""
        layers = [choice.layer for choice in self.made]
        strange = [layer for layer in self._wanted if layer not in layers]
        if strange:
            raise error(
                CODE_NO_SUCH_CHOICE,
                f"a kernel is chosen for the layer `{strange[0]}`, and the network has none of that name",
                notes=(f"its layers: {', '.join(layers[:12])}{' …' if len(layers) > 12 else ''}",),
                helps=("bnnc bench -X tune chooses anew",),
            )

    def _name(self, op: Op) -> str:
        """The user's name of a layer, and a number where others have it too."""
        stem = op.loc.name or op.opcode.split(".")[-1]
        count = self._taken[stem] = self._taken.get(stem, 0) + 1
        return stem if count == 1 else f"{stem}#{count}"


__all__ = ["KERNELS", "Choices", "LayerKernels"]
