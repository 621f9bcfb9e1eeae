"""Which estimators name the same pixels, as a clustered heat map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from roar.analysis.curves import panel_title
from roar.analysis.figures.heatmaps import SIGNED
from roar.analysis.figures.matrix import luminance
from roar.analysis.figures.style import RC, look, new_figure
from roar.errors import AnalysisError
from roar.metrics.agreement.summary import TIED, Agreement, agreements

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELL = 0.3  # inches
_NAMES, _TREE, _BAR = 2.4, 0.55, 0.55  # inches
_TITLE = 0.65  # inches


def agreement_heatmap(pairs: pd.DataFrame) -> Figure:
    """Spearman's correlation of every two estimators' rankings, a panel per network.

    Those that agree lie side by side: the tree is by average linkage of 1 - rho. Where the same estimators ranked
    networks of other seeds, a column at the right says how far those rankings agree.

    Args:
        pairs: as ``store.ranking_agreement()`` gives them.

    Raises:
        AnalysisError: no two rankings of a network were compared.
    """
    import matplotlib as mpl

    found = agreements(pairs)
    if not found:
        raise AnalysisError("No two rankings of a network were compared; `roar agreement` does it.")
    most = max(len(one.estimators) for one in found)
    heights = [_NAMES + _TREE + 0.8 + _CELL * len(one.estimators) for one in found]
    with mpl.rc_context({**RC, "axes.grid": False}):
        figure = new_figure(_NAMES + _CELL * (most + 2) + _BAR + 0.5, sum(heights))
        figure.set_layout_engine("none")
        top = sum(heights)
        for one, height in zip(found, heights, strict=True):
            _draw(figure, one, top)
            top -= height
    return figure


def _draw(figure: Figure, one: Agreement, top: float) -> None:
    """Draw one network below a height in inches."""
    wide, high = figure.get_size_inches()
    count = len(one.estimators)
    side = _CELL * count

    def axes_at(left: float, above: float, width: float, height: float) -> Axes:
        return figure.add_axes((left / wide, (above - height) / high, width / wide, height / high))

    tree = axes_at(_NAMES, top - _TITLE, side, _TREE)
    _draw_tree(tree, one)
    cells = axes_at(_NAMES, top - _TITLE - _TREE - 0.03, side, side)
    _draw_cells(cells, one.spearman)
    names = [f"{name}{' *' if tied >= TIED else ''}" for name, tied in zip(one.estimators, one.tied_share, strict=True)]
    cells.set_yticks(np.arange(count) + 0.5, names)
    cells.set_xticks(np.arange(count) + 0.5, names, rotation=90)
    for labels in (cells.get_yticklabels(), cells.get_xticklabels()):
        for label, name in zip(labels, one.estimators, strict=True):
            label.set(color=look(name).colour, parse_math=False)
    after = _NAMES + side
    if np.isfinite(one.other_seeds).any():
        seeds = axes_at(after + 0.08, top - _TITLE - _TREE - 0.03, _CELL, side)
        _draw_cells(seeds, one.other_seeds[:, None])
        seeds.set_xticks([0.5], ["other seeds"], rotation=90)
        seeds.set_yticks([])
        after += _CELL + 0.08
    bar = axes_at(after + 0.12, top - _TITLE - _TREE - 0.03, 0.1, min(side, 2.0))
    figure.colorbar(cells.collections[0], cax=bar, label="Spearman's ρ", ticks=[-1, -0.5, 0, 0.5, 1])
    figure.text(0.1 / wide, (top - 0.12) / high, panel_title(one.here), fontsize=9.5, va="top", parse_math=False)
    said = (f"rank correlation over pixels, mean over {one.images:,} test images; 95 % intervals of "
            f"±{one.half_width:.2f} or less")
    if (one.tied_share >= TIED).any():
        said += (f"\n* {100 * TIED:g} % or more of the pixels tie; they fall by one lot per image, the same for all, so "
                 "agreement among * is overstated")
    figure.text(0.1 / wide, (top - 0.32) / high, said, fontsize=7.5, color="#555555", va="top")



def _draw_tree(axes: Axes, one: Agreement) -> None:
    from scipy.cluster import hierarchy

    drawn = hierarchy.dendrogram(one.tree, no_plot=True)
    for x, y in zip(drawn["icoord"], drawn["dcoord"], strict=True):
        axes.plot(np.asarray(x) / 10, y, color="#555555", linewidth=0.9)
    axes.set(xlim=(0, len(one.estimators)), ylim=(0, max(float(one.tree[:, 2].max()) * 1.05, 1e-9)))
    axes.set_axis_off()


def _draw_cells(axes: Axes, values: np.ndarray) -> None:
    axes.patch.set(facecolor="#dddddd", hatch="xxx", edgecolor="#aaaaaa")
    mesh = axes.pcolormesh(np.ma.masked_invalid(values), cmap=SIGNED, vmin=-1, vmax=1, edgecolor="white",
                           linewidth=0.6)
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            dark = luminance(mesh.to_rgba(np.array([value]))[0]) <= 0.18
            axes.text(column + 0.5, row + 0.5, shown(value), ha="center", va="center", fontsize=6,
                      color="white" if dark else "black")


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
