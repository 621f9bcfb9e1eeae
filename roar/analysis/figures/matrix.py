"""Estimator by threshold as a heat map."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from roar.analysis.curves import CURVE_COLUMNS, panel_title, panels, require, with_reference
from roar.analysis.figures.style import RC, new_figure
from roar.analysis.names import order
from roar.errors import AnalysisError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def accuracy_matrix(curves: pd.DataFrame) -> Figure:
    """Mean accuracy in percent, a row per estimator and a column per threshold, a panel per setting.

    Rows go by the mean over the thresholds that all have, the best estimator first. A cell without a finished
    seed is hatched.

    Raises:
        AnalysisError: there is nothing to draw.
    """
    import matplotlib as mpl

    require(curves, CURVE_COLUMNS, "curves")
    found = [(here, with_reference(part)) for here, part in panels(curves)]
    found = [(here, part) for here, part in found if part["mean"].notna().any()]
    if not found:
        raise AnalysisError("There are no finished cells to draw; run the experiment or see why it failed.")
    columns = min(len(found), 2)
    rows = ceil(len(found) / columns)
    tall = max(part["estimator"].nunique() for _, part in found)
    limits = (100 * curves["mean"].min(), max(100 * curves["mean"].max(), 100 * curves["mean"].min() + 1))
    with mpl.rc_context({**RC, "axes.grid": False}):
        figure = new_figure(6.6 * columns, (1.5 + 0.26 * tall) * rows)
        for i, (here, part) in enumerate(found):
            axes = figure.add_subplot(rows, columns, i + 1)
            _draw(axes, best_first(part, here["mode"]), limits)
            axes.set(xlabel=f"{'least' if here['mode'] == 'kar' else 'most'} important pixels replaced (%)", ylabel="")
            axes.set_title(panel_title(here), loc="left")
    return figure


def best_first(part: pd.DataFrame, mode: str) -> pd.DataFrame:
    """One panel's means in percent: estimators down, best first, thresholds across."""
    wide = 100 * part.pivot(index="estimator", columns="threshold", values="mean")
    means = wide.dropna(axis=1).mean(axis=1) * (-1 if mode == "kar" else 1)
    return wide.loc[sorted(wide.index, key=lambda name: (means[name], order(name)))]


def _draw(axes: Axes, wide: pd.DataFrame, limits: tuple[float, float]) -> None:
    import seaborn

    axes.patch.set(facecolor="#dddddd", hatch="xxx", edgecolor="#aaaaaa")
    seaborn.heatmap(wide, ax=axes, cmap="cividis", vmin=limits[0], vmax=limits[1], annot=True, fmt=".1f",
                    annot_kws={"fontsize": 7.5}, linewidths=0.8, linecolor="white", mask=wide.isna(),
                    xticklabels=[f"{threshold:g}" for threshold in wide.columns],
                    cbar_kws={"label": "test accuracy (%)"})
    mesh = axes.collections[0]
    for text in axes.texts:
        text.set_color("black" if luminance(mesh.to_rgba(np.array([float(text.get_text())]))[0]) > 0.18 else "white")
    axes.set_yticks(np.arange(len(wide)) + 0.5, list(wide.index), rotation=0)
    axes.tick_params(length=0)


def luminance(colour: np.ndarray) -> float:
    """The relative luminance of an RGBA colour in [0, 1] (WCAG 2.2); above 0.18 black is easier to read."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
