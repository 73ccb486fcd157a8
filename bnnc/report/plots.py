"""Plots as SVG. They need matplotlib, which the extra `bnnc[report]` brings; equal figures give equal bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

INSTALL = "pip install 'bnnc[report]'"


def available() -> bool:
    """Whether plots can be made here."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def accuracies(title: str, curves: Mapping[str, Sequence[float]], result_epoch: int) -> bytes:
    """Accuracy over epochs, one curve for each name (fractions, the first for epoch 1), the result's epoch marked.

    Raises ImportError without matplotlib.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    # Text stays text, names of clip paths do not change, and no date is written.
    settings: Any = {"svg.hashsalt": "bnnc", "svg.fonttype": "none"}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        axes = figure.add_subplot()
        for name, values in curves.items():
            epochs = range(1, len(values) + 1)
            line = axes.plot(epochs, [100 * v for v in values], label=name, marker="." if len(values) < 20 else "")[0]
            if result_epoch:
                last = 100 * values[result_epoch - 1]
                axes.annotate(
                    f"{last:.2f} %",
                    (result_epoch, last),
                    xytext=(4, 0),
                    textcoords="offset points",
                    color=line.get_color(),
                    va="center",
                    fontsize="small",
                )
        longest = max((len(values) for values in curves.values()), default=1)
        axes.set_xlim(min(0.5, 1 - 0.03 * longest), 1 + 1.12 * max(1, longest - 1))  # room for the figures
        axes.set_title(title, loc="left")
        axes.set_xlabel("epoch")
        axes.set_ylabel("accuracy in %")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right", frameon=False)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": "bnnc"})
    return stream.getvalue()
