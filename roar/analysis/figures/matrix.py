"""Numbers in a grid of colored cells: estimator by threshold, and whatever else is a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from roar.analysis.curves import CURVE_COLUMNS, panel_title, panels, with_reference
from roar.analysis.facts import facts_of, require
from roar.analysis.figures.palette import PAPER, RULE, Mark
from roar.analysis.figures.style import new_figure, styled
from roar.errors import AnalysisError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ON_LIGHT, ON_DARK = "#111111", "#fefefe"  # ink on cells, whose colors are the same in dark mode


def accuracy_matrix(curves: pd.DataFrame) -> Figure:
    """Mean accuracy in percent, a row per estimator and a column per threshold, a panel per setting.

    Rows go by the mean over the thresholds that all have, the best estimator first. A cell without a finished
    seed is hatched.

    Raises:
        AnalysisError: there is nothing to draw.
    """
    require(curves, CURVE_COLUMNS, "curves")
    found = [(here, with_reference(part)) for here, part in panels(curves)]
    found = [(here, part) for here, part in found if part["mean"].notna().any()]
    if not found:
        raise AnalysisError("There are no finished cells to draw; run the experiment or see why it failed.")
    columns = min(len(found), 2)
    rows = ceil(len(found) / columns)
    tall = max(part["estimator"].nunique() for _, part in found)
    limits = (100 * curves["mean"].min(), max(100 * curves["mean"].max(), 100 * curves["mean"].min() + 1))
    with styled(axes__grid=False):
        figure = new_figure(6.6 * columns, (1.5 + 0.26 * tall) * rows)
        for i, (here, part) in enumerate(found):
            axes = figure.add_subplot(rows, columns, i + 1)
            wide = best_first(part, here["mode"])
            draw_cells(axes, wide.to_numpy(dtype=np.float64), wide.map("{:.1f}".format).to_numpy(), "cividis", limits)
            figure.colorbar(axes.collections[0], ax=axes, label="test accuracy (%)")
            axes.set_xticks(np.arange(wide.shape[1]) + 0.5, [f"{threshold:g}" for threshold in wide.columns])
            axes.set_yticks(np.arange(len(wide)) + 0.5, list(wide.index))
            axes.set_xlabel(f"{'least' if here['mode'] == 'kar' else 'most'} important pixels replaced (%)")
            axes.set_title(panel_title(here), loc="left")
    return figure


def best_first(part: pd.DataFrame, mode: str) -> pd.DataFrame:
    """One panel's means in percent: estimators down, best first, thresholds across."""
    wide = 100 * part.pivot(index="estimator", columns="threshold", values="mean")
    means = wide.dropna(axis=1).mean(axis=1) * (-1 if mode == "kar" else 1)
    return wide.loc[sorted(facts_of(part), key=lambda name: means[name])]


def draw_cells(axes: Axes, values: np.ndarray, words: np.ndarray, cmap: str, limits: tuple[float, float],
               said: Sequence[str] = ()) -> None:
    """A heat map with the words in its cells, in the ink that is read more easily; NaN is hatched.

    Args:
        axes: without ticks afterwards.
        values: ``[R, C]``.
        words: ``[R, C]``.
        cmap: a color map of matplotlib.
        limits: of the color map.
        said: what each cell says on the page, row by row.
    """
    import seaborn

    axes.patch.set(facecolor=RULE, hatch="xxx", edgecolor="#aaaaaa")
    seaborn.heatmap(values, ax=axes, cmap=cmap, vmin=limits[0], vmax=limits[1], annot=words, fmt="", cbar=False,
                    annot_kws={"fontsize": 7.5}, linewidths=0.8, linecolor=PAPER, mask=np.isnan(values),
                    xticklabels=False, yticklabels=False)
    mesh = axes.collections[0]
    mesh.set_gid(Mark("", said, name="cells"))
    shown = values[~np.isnan(values)]
    for text, value in zip(axes.texts, shown, strict=True):
        text.set_color(ON_LIGHT if luminance(mesh.to_rgba(np.array([value]))[0]) > 0.18 else ON_DARK)
    axes.tick_params(length=0)


def luminance(color: np.ndarray) -> float:
    """The relative luminance of an RGBA color in [0, 1] (WCAG 2.2); above 0.18 black is easier to read."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
