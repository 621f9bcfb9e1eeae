"""A figure outside pyplot that a notebook shows all the same."""

from __future__ import annotations

from typing import Literal

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from roar.analysis.figures.style import PAPER, render


class Picture(Figure):
    """A figure of matplotlib that belongs to no pyplot state and draws itself as PNG in a notebook."""

    def __init__(self, width: float, height: float, layout: Literal["constrained", "none"] = "constrained") -> None:
        super().__init__(figsize=(width, height), layout=None if layout == "none" else layout, facecolor=PAPER)
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
        return render(self, "png")
