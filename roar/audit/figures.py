"""Kendall's tau of every metric with the true order of the estimators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from roar.analysis.facts import require
from roar.analysis.figures.palette import FAMILY_COLORS, INK, PAPER, Mark, text_width
from roar.analysis.figures.style import CONTROL_LOOKS, FILE, Medium, new_figure, panel_grid, styled
from roar.audit.table import ALL_SOURCES, AUDIT_COLUMNS, ORDERS
from roar.errors import AnalysisError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "osD^vP<>"
_COLOR = FAMILY_COLORS["gradient"]
_GRAY = CONTROL_LOOKS["sobel"][0]
_ROW = 0.5  # inches of a metric


def audit_taus(table: pd.DataFrame, medium: Medium = FILE) -> Figure:
    """A panel per order of estimators, a row per metric: tau with its interval, of each source and of all.

    Args:
        table: as :func:`roar.audit.table.audit` gives it.
        medium: where the figure is shown; on a phone the panels stand below each other.

    Raises:
        AnalysisError: there is nothing to draw.
    """
    require(table, AUDIT_COLUMNS, "audit")
    orders = [order for order in ORDERS if (table["order"] == order).any()]
    if not orders:
        raise AnalysisError("There is no metric to draw; audit at least three estimators.")
    metrics, sources = list(dict.fromkeys(table["metric"])), list(dict.fromkeys(table["source"]))
    across = len(orders) if medium.names else 1
    rows, key_columns = len(orders) // across, 2 if medium.names else 1
    left, above, below = max(map(text_width, metrics)) + 0.15, 0.34, 0.3
    key = 0.3 + 0.17 * -(-len(sources) // key_columns)
    with styled(axes__grid__axis="x"):
        high = _ROW * len(metrics)
        figure = new_figure(medium.width, (high + above + below) * rows + 0.25 + key, "none")
        grid = panel_grid(figure, rows, across, (left, 0.1, above, below + 0.25 + key), (0.2, above + below))
        for number, order in enumerate(orders):
            axes = figure.add_subplot(grid[number // across, number % across])
            _panel(axes, table[table["order"] == order], metrics, sources)
            axes.set_yticks(range(len(metrics)), metrics if number % across == 0 else [""] * len(metrics))
            axes.set_title(ORDERS[order], loc="left")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=key_columns, fontsize=7.5)
        figure.text(0.5, (key + 0.05) / figure.get_figheight(),
                    "Kendall's tau with the true order, 95 % bootstrap interval", ha="center")
    return figure


def _panel(axes: Axes, part: pd.DataFrame, metrics: list[str], sources: list[str]) -> None:
    step = 0.66 / max(1, len(sources))
    axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
    for k, source in enumerate(sources):
        rows = part[part["source"] == source]
        every = source == ALL_SOURCES
        places = [metrics.index(name) + (k - (len(sources) - 1) / 2) * step for name in rows["metric"]]
        color = _COLOR if every else _GRAY
        widths = [(rows["tau"] - rows["boot_low"]).clip(lower=0), (rows["boot_high"] - rows["tau"]).clip(lower=0)]
        said = [f"{row['metric']}, {source}: {row['tau']:.2f}" for row in rows.to_dict("records")]
        drawn = axes.errorbar(rows["tau"], places, xerr=widths, fmt=_MARKERS[k % len(_MARKERS)], color=color, capsize=2,
                              markerfacecolor=color if every else PAPER, markersize=5.5 if every else 4,
                              elinewidth=1.4 if every else 0.9, label=source, zorder=3)
        drawn.lines[0].set_gid(Mark("", said, name="taus"))  # of the points, not of the ends of their intervals
    axes.set_ylim(len(metrics) - 0.5, -0.5)
    axes.set_xlim(-1.08, 1.08)
