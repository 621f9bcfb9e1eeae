"""Accuracy against threshold: the paper's figure."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from roar.analysis.curves import CURVE_COLUMNS, panel_title, panels, require, with_reference
from roar.analysis.figures.style import RC, REFERENCE_COLOUR, look, new_figure, spread
from roar.analysis.names import REFERENCE, order, parts
from roar.errors import AnalysisError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABEL_POINTS = 7.5  # type size of the labels at the lines' ends


def accuracy_curves(curves: pd.DataFrame, title: str | None = None) -> Figure:
    """Accuracy against the share of pixels replaced: a line per estimator, a panel per setting.

    Args:
        curves: as :func:`roar.analysis.curves` returns them.
        title: above all panels.

    Returns:
        A figure of matplotlib, outside pyplot. Bands are 95 % intervals over seeds and are left out where a
        cell has one seed. The dashed line is the network trained on untouched images.

    Raises:
        AnalysisError: there is nothing to draw.
    """
    import matplotlib as mpl

    require(curves, CURVE_COLUMNS, "curves")
    found = panels(curves[curves["mean"].notna()])
    if not found:
        raise AnalysisError("There are no finished cells to draw; run the experiment or see why it failed.")
    columns = min(len(found), 2)
    rows = ceil(len(found) / columns)
    most = max(part["estimator"].nunique() for _, part in found)
    with mpl.rc_context(RC):
        figure = new_figure(7.6 * columns if columns > 1 else 8.2, max(4.2, 1.4 + 0.17 * most) * rows)
        for i, (here, part) in enumerate(found):
            axes = figure.add_subplot(rows, columns, i + 1)
            draw_curves(axes, part, here.get("mode", "roar"))
            axes.set_title(panel_title(here), loc="left")
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        figure.draw_without_rendering()  # the labels need the size of the laid-out axes
        for axes in figure.axes:
            label_ends(axes)
    return figure


def draw_curves(axes: Axes, part: pd.DataFrame, mode: str = "roar") -> None:
    """Draw one panel's curves on axes: percent of pixels across, percent of test images up."""
    for cell in part[part["estimator"] == REFERENCE].to_dict("records"):
        across = [0.0, part["threshold"].max()]
        axes.plot(across, [100 * cell["mean"]] * 2, color=REFERENCE_COLOUR, linewidth=1,
                  linestyle=(0, (6, 3)), label="nothing replaced", zorder=1.5)
        axes.fill_between(across, 100 * cell["ci_low"], 100 * cell["ci_high"], color=REFERENCE_COLOUR,
                          alpha=0.08, linewidth=0)
    lines = with_reference(part)
    for estimator in sorted(lines["estimator"].unique(), key=order):
        line = lines[lines["estimator"] == estimator].sort_values("threshold")
        style = look(estimator)
        control = parts(estimator).is_control
        axes.plot(line["threshold"], 100 * line["mean"], label=estimator, zorder=2.5 if control else 3,
                  **style.line())
        axes.fill_between(line["threshold"], 100 * line["ci_low"], 100 * line["ci_high"], color=style.colour,
                          alpha=0.22 if control else 0.14, linewidth=0, zorder=2)
    ticks = sorted({0.0, *part["threshold"]})
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.set_xlabel(f"{'least' if mode == 'kar' else 'most'} important pixels replaced (%)")
    axes.set_ylabel("test accuracy (%)")


def label_ends(axes: Axes) -> None:
    """Write each line's name where it ends, moved apart where they would overlap."""
    lines = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    if not lines:
        return
    names = [str(line.get_label()) for line in lines]
    ends = [np.asarray(line.get_xydata())[-1] for line in lines]
    box = axes.get_window_extent()
    pixel = axes.figure.dpi / 72  # per point of type size
    start, end = axes.get_xlim()[0], max(float(x) for x, _ in ends)
    low, high = axes.get_ylim()
    room = min(0.45, (max(map(len, names)) * 0.56 * LABEL_POINTS + 24) * pixel / box.width)
    axes.set_xlim(start, start + (end - start) / (1 - room))
    axes.set_ylim(low, high)
    axes.spines["bottom"].set_bounds(start, end)
    axes.set_xlabel(axes.get_xlabel(), x=(1 - room) / 2)
    column = end + 14 * pixel / box.width * (end - start) / (1 - room)
    gap = LABEL_POINTS * 1.2 * pixel / box.height * (high - low)
    places = spread([float(y) for _, y in ends], gap, low, high)
    for line, name, point, place in zip(lines, names, ends, places, strict=True):
        leader = {"arrowstyle": "-", "color": line.get_color(), "linewidth": 0.5, "alpha": 0.7, "shrinkA": 1,
                  "shrinkB": 3, "relpos": (0, 0.5)}
        axes.annotate(name, xy=(point[0], point[1]), xytext=(column, place), color=line.get_color(),
                      fontsize=LABEL_POINTS, va="center", annotation_clip=False, arrowprops=leader)
