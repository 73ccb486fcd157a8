"""The .bnn language: nets as source text, for people to write, train and read. docs/language.md is the reference.

Reading goes through reading.py (bytes to text), parsing.py (text to the tree of syntax.py) and lowering.py (tree to
module); planning.py finds what is to be trained, printing.py goes back from a module to source, formatting.py tidies.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bnnc.ir.module import Module
from bnnc.protocols import API_VERSION, ImportOptions

if TYPE_CHECKING:
    import numpy as np

    from bnnc.train.plan import TrainingPlan


class Frontend:
    """Reads `.bnn` files. lark is loaded when the first one is read."""

    name: ClassVar[str] = "dsl"
    summary: ClassVar[str] = "nets written as source text"
    suffixes: ClassVar[tuple[str, ...]] = (".bnn",)
    api: ClassVar[int] = API_VERSION

    def load(self, path: Path, options: ImportOptions) -> Module:
        """The net in the file, at level «bit». Raises BnncError (B02xx, B0301, B0407) and nothing else."""
        from bnnc.frontends.dsl.loading import load

        return load(Path(path), options)

    def plan(self, path: Path) -> TrainingPlan:
        """What the net in the file asks to be trained. Raises BnncError (B02xx, B0301, B0407)."""
        from bnnc.frontends.dsl.loading import plan

        return plan(Path(path))

    def formatted(self, data: bytes, file: str) -> str:
        """The text of a file, laid out. Raises BnncError B0201, B0202, B0213 for what is no net."""
        from bnnc.frontends.dsl.formatting import formatted
        from bnnc.frontends.dsl.reading import decoded

        return formatted(decoded(data, file))

    def written(self, module: Module, weights: str) -> tuple[str, dict[str, np.ndarray]]:
        """A net that computes what the module does, and the arrays that it looks for in the file `weights` ("": in
        none). Raises BnncError B0212 for what the language cannot express."""
        from bnnc.frontends.dsl.printing import written

        return written(module, weights)
