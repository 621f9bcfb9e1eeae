"""Which estimators name the same pixels, as a clustered heat map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from roar.analysis.curves import panel_title
from roar.analysis.figures.heatmaps import SIGNED
from roar.analysis.figures.matrix import draw_cells
from roar.analysis.figures.palette import PAPER, SOFT, text_width
from roar.analysis.figures.style import FILE, Medium, look, new_figure, styled
from roar.errors import AnalysisError
from roar.metrics.agreement.summary import TIED, Agreement, agreements

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELL = 0.3  # inches
_TREE, _BAR = 0.55, 0.55  # inches
_TITLE = 0.65  # inches


def agreement_heatmap(pairs: pd.DataFrame, medium: Medium = FILE) -> Figure:
    """Spearman's correlation of every two estimators' rankings, a panel per network.

    Those that agree lie side by side: the tree is by average linkage of 1 - rho. Where the same estimators ranked
    networks of other seeds, a column at the right says how far those rankings agree.

    Args:
        pairs: as ``study.table("ranking-agreement")`` gives them.
        medium: where the figure is shown.

    Raises:
        AnalysisError: no two rankings of a network were compared.
    """
    found = agreements(pairs)
    if not found:
        raise AnalysisError("No two rankings of a network were compared; `roar agreement` does it.")
    most = max(len(one.estimators) for one in found)
    names = max(text_width(f"{name} *") for one in found for name in one.estimators) + 0.12
    above = _TITLE if medium.titles else 0.05
    heights = [names + _TREE + above + 0.1 + _CELL * len(one.estimators) for one in found]
    with styled(axes__grid=False):
        wide = names + _CELL * (most + 1) + (_BAR + 0.55 if medium.titles else 0.05)
        figure = new_figure(wide, sum(heights), "none")
        top = sum(heights)
        for one, height in zip(found, heights, strict=True):
            _draw(figure, one, (names, top), medium)
            top -= height
    return figure


def _draw(figure: Figure, one: Agreement, corner: tuple[float, float], medium: Medium) -> None:
    """Draw one network at the right of and below a corner, in inches from the lower left of the figure."""
    wide, high = figure.get_size_inches()
    count, (start, top) = len(one.estimators), corner
    side = _CELL * count
    below = top - (_TITLE if medium.titles else 0.05)

    def axes_at(left: float, above: float, width: float, height: float) -> Axes:
        return figure.add_axes((left / wide, (above - height) / high, width / wide, height / high))

    _draw_tree(axes_at(start, below, side, _TREE), one)
    seeds = bool(np.isfinite(one.other_seeds).any())
    values = np.hstack([one.spearman, one.other_seeds[:, None]]) if seeds else one.spearman
    others = [*one.estimators, *["networks of other seeds"] * seeds]
    words = np.array([[shown(value) if np.isfinite(value) else "" for value in row] for row in values])
    cells = axes_at(start, below - _TREE - 0.03, _CELL * values.shape[1], side)
    draw_cells(cells, values, words, SIGNED, (-1, 1), [
        f"{name}, {other}: {words[row, column]}" for row, name in enumerate(one.estimators)
        for column, other in enumerate(others)])
    names = [f"{name}{' *' if tied >= TIED else ''}" for name, tied in zip(one.estimators, one.tied_share, strict=True)]
    cells.set_yticks(np.arange(count) + 0.5, names)
    cells.set_xticks(np.arange(len(others)) + 0.5, [*names, *["other seeds"] * seeds], rotation=90)
    for labels in (cells.get_yticklabels(), cells.get_xticklabels()):
        for label, facts in zip(labels, one.facts, strict=False):
            label.set(color=look(facts).color)
    if seeds:
        cells.axvline(count, color=PAPER, linewidth=5)
    if not medium.titles:  # the page says the rest in words
        return
    bar = axes_at(start + _CELL * values.shape[1] + 0.12, below - _TREE - 0.03, 0.1, min(side, 2.0))
    figure.colorbar(cells.collections[0], cax=bar, label="Spearman's ρ", ticks=[-1, -0.5, 0, 0.5, 1])
    figure.text(0.1 / wide, (top - 0.12) / high, panel_title(one.here), fontsize=9.5, va="top")
    said = (f"rank correlation over pixels, mean over {one.images:,} test images; 95 % intervals of "
            f"±{one.half_width:.2f} or less")
    if (one.tied_share >= TIED).any():
        said += (f"\n* {100 * TIED:g} % or more of the pixels tie; ties are broken by one permutation per image, "
                 "the same for all, so agreement among * is overstated")
    figure.text(0.1 / wide, (top - 0.32) / high, said, fontsize=7.5, color=SOFT, va="top")


def _draw_tree(axes: Axes, one: Agreement) -> None:
    from scipy.cluster import hierarchy

    drawn = hierarchy.dendrogram(one.tree, no_plot=True)
    for x, y in zip(drawn["icoord"], drawn["dcoord"], strict=True):
        axes.plot(np.asarray(x) / 10, y, color=SOFT, linewidth=0.9)
    axes.set(xlim=(0, len(one.estimators)), ylim=(0, max(float(one.tree[:, 2].max()) * 1.05, 1e-9)))
    axes.set_axis_off()


def shown(value: float) -> str:
    """A correlation with two digits, no zero before the point, and a true minus.

    >>> shown(-0.251), shown(1.0), shown(-0.001)
    ('−.25', '1', '0')
    """
    text = f"{abs(value):.2f}"
    if text == "0.00":
        return "0"
    return ("−" if value < 0 else "") + ("1" if text == "1.00" else text.removeprefix("0"))


def figures(frames: Mapping[str, pd.DataFrame]) -> dict[str, Callable[[], Figure]]:
    """The figures of the report by file name."""
    return {"agreement.svg": lambda: agreement_heatmap(frames["ranking-agreement"])}
