"""How an estimator looks, everywhere: one color and marker per family, one line style per ensemble.

Markers and line styles say what the colors say once more, so that a picture printed in gray loses nothing.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from roar.analysis.facts import Facts
from roar.analysis.figures.palette import CONTROL_COLORS, FAMILY_COLORS, GRID, INK, PAPER, SOFT, plain_settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec

FAMILY_MARKERS = {"gradient": "o", "integrated-gradients": "s", "guided-backprop": "^", "others": "D", "truth": "v"}
DASHES: dict[str, tuple[float, ...]] = {  # on, off, ... in line widths; () is a full line
    "base": (), "magnitude": (7, 2), "smoothgrad": (4, 1.5), "smoothgrad-magnitude": (4, 1.5, 1, 1.5),
    "smoothgrad-squared": (2, 1), "vargrad": (1, 1)}
ORACLE_DASHES: dict[str, tuple[float, ...]] = {"oracle": (), "oracle-noisy": (2, 1), "oracle-inverted": (7, 2)}
CONTROL_LOOKS: dict[str, tuple[str, str, tuple[float, ...]]] = {
    "random": (CONTROL_COLORS["random"], "x", ()), "sobel": (CONTROL_COLORS["sobel"], "P", (5, 2)),
    "random-bernoulli": (CONTROL_COLORS["random-bernoulli"], "+", (1, 1))}
REFERENCE_COLOR = INK
REFERENCE_DASHES = (6.0, 3.0)

RC: dict[Any, Any] = {
    "font.family": "sans-serif", "font.size": 9.0, "axes.titlesize": 9.5, "axes.labelsize": 9.0, "text.color": INK,
    "text.parse_math": False, "axes.labelcolor": SOFT, "axes.edgecolor": SOFT, "xtick.color": SOFT,
    "ytick.color": SOFT, "xtick.major.size": 3.0, "ytick.major.size": 0.0, "axes.spines.top": False,
    "axes.spines.right": False, "axes.spines.left": False, "axes.grid": True, "axes.grid.axis": "y",
    "grid.color": GRID, "grid.linewidth": 0.6, "axes.axisbelow": True, "legend.frameon": False,
    "svg.fonttype": "none", "pdf.fonttype": 42, "svg.hashsalt": "roar", "figure.dpi": 100, "savefig.dpi": 200}


def styled(**settings: Any) -> AbstractContextManager[None]:
    """Draw in roar's style with these settings over it (``axes__grid=False``), whatever a person's own settings are."""
    return plain_settings({**RC, **{name.replace("__", "."): value for name, value in settings.items()}})


@dataclass(frozen=True)
class Medium:
    """Where a chart is shown.

    Attributes:
        width: of the figure, inches; a page scales it to its column.
        columns: of panels, where there are several.
        titles: whether the chart names its setting; a page has headings for that.
        names: whether lines are named where they end; a page has a legend too.
        detail: whether there are points, bands and names of the axes.
    """

    width: float = 8.2
    columns: int = 2
    titles: bool = True
    names: bool = True
    detail: bool = True


FILE = Medium()
PAGE = Medium(titles=False)
PHONE = Medium(4.1, 1, titles=False, names=False)
TILE = Medium(2.1, 1, titles=False, names=False, detail=False)  # one of many beside each other


@dataclass(frozen=True)
class Look:
    """How one estimator is drawn; ``dashes`` in line widths, empty for a full line."""

    color: str
    marker: str
    dashes: tuple[float, ...]
    width: float

    def line(self) -> dict[str, Any]:
        """The keyword arguments of ``Axes.plot``."""
        return {"color": self.color, "linewidth": self.width, "linestyle": (0, self.dashes) if self.dashes else "-",
                **self.points()}

    def points(self, hollow: bool = False) -> dict[str, Any]:
        """The keyword arguments of ``Axes.plot`` for the markers."""
        strokes = self.marker in "x+"
        return {"marker": self.marker, "markersize": 5, "color": self.color,
                "markerfacecolor": PAPER if hollow else self.color,
                "markeredgecolor": self.color if strokes or hollow else PAPER,
                "markeredgewidth": 1.2 if strokes or hollow else 0.5}


def look(estimator: Facts) -> Look:
    """How an estimator is drawn."""
    group = estimator.group
    if estimator.is_control:
        return Look(*CONTROL_LOOKS[estimator.base], 1.7)
    dashes = ORACLE_DASHES[estimator.base] if group == "truth" else DASHES[estimator.ensemble]
    return Look(FAMILY_COLORS[group], FAMILY_MARKERS[group], dashes, 1.5)


def new_figure(width: float, height: float, layout: Literal["constrained", "none"] = "constrained") -> Figure:
    """An empty figure in inches, outside pyplot, drawn by Agg; ``none`` leaves the layout to :func:`panel_grid`."""
    from roar.analysis.figures.canvas import Picture

    return Picture(width, height, layout, render)


def panel_grid(figure: Figure, rows: int, columns: int, margins: tuple[float, float, float, float],
               gaps: tuple[float, float] = (0.0, 0.0), heights: Sequence[float] | None = None) -> GridSpec:
    """Places for panels, much faster than matplotlib's layout engines.

    Args:
        margins: left, right, top and bottom of the figure, inches.
        gaps: between columns and between rows, inches.
        heights: of the rows, in any unit.
    """
    wide, high = figure.get_size_inches()
    left, right, top, bottom = margins
    panel = ((wide - left - right - gaps[0] * (columns - 1)) / columns,
             (high - top - bottom - gaps[1] * (rows - 1)) / rows)
    return figure.add_gridspec(rows, columns, left=left / wide, right=1 - right / wide, top=1 - top / high,
                               bottom=bottom / high, wspace=gaps[0] / panel[0], hspace=gaps[1] / panel[1],
                               height_ratios=heights)


def render(figure: Figure, kind: Literal["svg", "png", "pdf"] = "svg") -> bytes:
    """A figure as the bytes of a file, the same every time: SVG and PDF keep their text as text."""
    stream = io.BytesIO()
    metadata: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[kind]
    with styled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)  # an emoji in a class's name
        figure.savefig(stream, format=kind, metadata=metadata)
    return stream.getvalue()


def spread(positions: list[float], gap: float, low: float, high: float) -> list[float]:
    """Places for labels, at least ``gap`` apart and within ``low .. high``, near ``positions``.

    The least-squares solution under the order of the labels (pool adjacent violators). Where all of them do
    not fit, the gap shrinks until they do.
    """
    n = len(positions)
    if n == 0:
        return []
    gap = min(gap, (high - low) / max(n - 1, 1))
    ranked = sorted(range(n), key=lambda i: positions[i])
    blocks: list[list[float]] = []  # [mean of the shifted positions, number of labels]
    for k, i in enumerate(ranked):
        blocks.append([positions[i] - k * gap, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            mean, count = blocks.pop()
            total = blocks[-1][1] + count
            blocks[-1] = [(blocks[-1][0] * blocks[-1][1] + mean * count) / total, total]
    flat = [mean for mean, count in blocks for _ in range(int(count))]
    top = high - (n - 1) * gap
    placed = [0.0] * n
    for k, i in enumerate(ranked):
        placed[i] = min(max(flat[k], low), top) + k * gap
    return placed
