"""Accuracy of each class against threshold, in small multiples."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import pandas as pd

from roar.analysis.classes import CLASS_COLUMNS
from roar.analysis.curves import PANEL, panels, require
from roar.analysis.figures.accuracy import draw_curves
from roar.analysis.figures.style import RC, new_figure
from roar.errors import AnalysisError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 100  # small multiples that a figure holds


def class_curves(classes: pd.DataFrame, **panel: str) -> Figure:
    """Small multiples: accuracy against threshold, a panel per class and a line per estimator.

    Args:
        classes: as :func:`roar.analysis.per_class` returns them.
        panel: which source, model, mode, ... to draw, where there are several.

    Raises:
        AnalysisError: there is none, more than one panel, or more than 100 classes.
    """
    import matplotlib as mpl

    require(classes, CLASS_COLUMNS, "accuracies per class")
    for key, value in panel.items():
        classes = classes[(classes[key] == value) | ((classes["estimator"] == "reference") & (key in PANEL[4:]))]
    found = panels(classes[classes["mean"].notna()])
    if len(found) != 1:
        raise AnalysisError(f"One figure shows the classes of one panel, but {len(found)} are here; "
                            f"choose by {', '.join(PANEL)}.")
    here, part = found[0]
    names = part.drop_duplicates("class_index").sort_values("class_index")[["class_index", "class"]]
    if len(names) > MOST:
        raise AnalysisError(f"{len(names)} classes are too many for one figure; give at most {MOST} of them.")
    columns = min(len(names), 5)
    rows = ceil(len(names) / columns)
    with mpl.rc_context({**RC, "axes.titlesize": 8.5, "axes.labelsize": 8, "xtick.labelsize": 7,
                         "ytick.labelsize": 7}):
        figure = new_figure(max(2.3 * columns, 6.0), 1.9 * rows + 1.1)
        first = None
        for i, row in enumerate(names.to_dict("records")):
            axes = figure.add_subplot(rows, columns, i + 1, sharex=first, sharey=first)
            first = first or axes
            draw_curves(axes, part[part["class_index"] == row["class_index"]], here["mode"])
            axes.set_title(_short(str(row["class"])), loc="left", parse_math=False)
            axes.set(xlabel="", ylabel="")
            for line in axes.get_lines():
                line.set(markersize=2.2, linewidth=1.1)
            axes.label_outer()
        figure.supxlabel(f"{'least' if here['mode'] == 'kar' else 'most'} important pixels replaced (%)", fontsize=9)
        figure.supylabel("test accuracy (%)", fontsize=9)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=4, fontsize=8, handlelength=3.4)
    return figure


def _short(name: str, most: int = 24) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
