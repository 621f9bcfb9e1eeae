"""Areas against the controls, regularizer by regularizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from roar.analysis.curves import PANEL, panel_title
from roar.analysis.facts import CONTROL, ESTIMATOR_FACTS, facts_of, require
from roar.analysis.figures.palette import FAMILY_COLORS, INK, PAPER
from roar.analysis.figures.style import CONTROL_LOOKS, look, new_figure, styled
from roar.errors import AnalysisError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = (*PANEL, "estimator", "control", "area", "ci_low", "ci_high", *ESTIMATOR_FACTS)
_SHIFT = {"random": -0.14, "sobel": 0.14}  # of a control's points from the regularizer's place


def regularizer_areas(areas: pd.DataFrame) -> Figure:
    """A row of panels per architecture, a panel per estimator: the area against each control, with its interval.

    Args:
        areas: as :func:`roar.analysis.regularizers.compare_regularizers` gives them.

    Raises:
        AnalysisError: there is nothing to draw.
    """
    require(areas, COLUMNS, "areas")
    shown = areas[areas["family"] != CONTROL]
    if shown.empty:
        raise AnalysisError("There is no estimator besides the controls to draw; rank some with --estimator.")
    setting = [name for name in PANEL if name != "regularizer"]
    groups = [part for _, part in shown.groupby(setting, sort=False, dropna=False)]
    estimators = facts_of(shown)
    kinds = max(part["regularizer"].nunique() for part in groups)
    with styled():
        figure = new_figure(1.6 + max(2.3, 0.62 * kinds) * len(estimators), 0.7 + 3.1 * len(groups))
        for i, part in enumerate(groups):
            first = None
            for j, (estimator, facts) in enumerate(estimators.items()):
                axes = figure.add_subplot(len(groups), len(estimators), i * len(estimators) + j + 1, sharey=first)
                first = first or axes
                _panel(axes, part[part["estimator"] == estimator], list(dict.fromkeys(part["regularizer"])))
                axes.set_title(estimator, loc="left", color=look(facts).color)
                axes.tick_params(labelleft=j == 0)
                if j == 0:
                    here = {name: str(part[name].iloc[0]) for name in setting}
                    axes.set_ylabel(f"{panel_title(here)}\nadvantage over a control (accuracy points)", fontsize=8)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _panel(axes: Axes, part: pd.DataFrame, kinds: list[str]) -> None:
    axes.axhline(0, color=INK, linewidth=0.8, zorder=1)
    for control, rows in part.groupby("control", sort=True):
        places = [kinds.index(kind) + _SHIFT[str(control)] for kind in rows["regularizer"]]
        filled = control == "random"
        color = FAMILY_COLORS["gradient"] if filled else CONTROL_LOOKS[str(control)][0]
        axes.errorbar(places, rows["area"], yerr=[rows["area"] - rows["ci_low"], rows["ci_high"] - rows["area"]],
                      fmt="o" if filled else "s", color=color, markersize=5, capsize=2,
                      elinewidth=1.2, markerfacecolor=color if filled else PAPER,
                      label=f"over {control}, 95 % t interval", zorder=3)
    axes.set_xticks(range(len(kinds)), kinds, rotation=30, ha="right", fontsize=8)
    axes.set_xlim(-0.5, len(kinds) - 0.5)
    axes.grid(axis="x", visible=False)
