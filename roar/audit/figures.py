"""Kendall's tau of every metric with the true order of the estimators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from roar.analysis.curves import require
from roar.analysis.figures.style import FAMILY_COLOURS, RC, new_figure
from roar.audit.table import ALL_SOURCES, AUDIT_COLUMNS, ORDERS
from roar.errors import AnalysisError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "osD^vP<>"
_COLOUR = FAMILY_COLOURS["gradient"]
_GREY = "#767676"


def audit_taus(table: pd.DataFrame) -> Figure:
    """A panel per order of estimators, a row per metric: tau with its interval, of each source and of all.

    Args:
        table: as :func:`roar.audit.table.audit` gives it.

    Raises:
        AnalysisError: there is nothing to draw.
    """
    import matplotlib as mpl

    require(table, AUDIT_COLUMNS, "audit")
    orders = [order for order in ORDERS if (table["order"] == order).any()]
    if not orders:
        raise AnalysisError("There is no metric to draw; audit at least three estimators.")
    metrics = list(dict.fromkeys(table["metric"]))
    sources = list(dict.fromkeys(table["source"]))
    with mpl.rc_context(RC):
        figure = new_figure(1.9 + 2.7 * len(orders), 1.3 + 0.5 * len(metrics))
        first: Axes | None = None
        for number, order in enumerate(orders):
            axes = figure.add_subplot(1, len(orders), number + 1, sharey=first)
            first = first or axes
            _panel(axes, table[table["order"] == order], metrics, sources)
            axes.set_title(ORDERS[order], loc="left")
            axes.tick_params(labelleft=number == 0)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=7.5)
        figure.axes[len(orders) // 2].set_xlabel("Kendall's tau with the true order, 95 % bootstrap interval")
    return figure


def _panel(axes: Axes, part: pd.DataFrame, metrics: list[str], sources: list[str]) -> None:
    step = 0.66 / max(1, len(sources))
    axes.axvline(0, color="#222222", linewidth=0.8, zorder=1)
    for k, source in enumerate(sources):
        rows = part[part["source"] == source]
        every = source == ALL_SOURCES
        places = [metrics.index(name) + (k - (len(sources) - 1) / 2) * step for name in rows["metric"]]
        colour = _COLOUR if every else _GREY
        widths = [(rows["tau"] - rows["boot_low"]).clip(lower=0), (rows["boot_high"] - rows["tau"]).clip(lower=0)]
        axes.errorbar(rows["tau"], places, xerr=widths, fmt=_MARKERS[k % len(_MARKERS)], color=colour, capsize=2,
                      markerfacecolor=colour if every else "white", markersize=5.5 if every else 4,
                      elinewidth=1.4 if every else 0.9, label=source, zorder=3)
    axes.set_yticks(range(len(metrics)), metrics)
    axes.set_ylim(len(metrics) - 0.5, -0.5)
    axes.set_xlim(-1.08, 1.08)
    axes.grid(axis="y", visible=False)
