"""Deletion without retraining beside ROAR."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from roar.analysis.curves import SETTING, panel_title, panels
from roar.analysis.figures.accuracy import draw_curves, label_ends
from roar.analysis.figures.style import RC, look, new_figure, spread
from roar.analysis.names import FAMILIES, REFERENCE, parts
from roar.errors import AnalysisError
from roar.metrics.deletion.areas import deletion_beside_roar, deletion_curves, metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SAME = ("source", "model", "regularizer", "mode", "fill")


def deletion_and_roar_curves(curves: pd.DataFrame, deletion: pd.DataFrame) -> Figure:
    """The same degraded images twice: judged by the explained network, and by networks trained on them.

    Args:
        curves: as :func:`roar.analysis.curves` returns them.
        deletion: as :func:`roar.analysis.deletion_curves` takes it.

    Returns:
        A row per panel that both have: on the left without retraining, bands over test images; on the right
        ROAR, bands over seeds; on the same scale of accuracy.

    Raises:
        AnalysisError: no panel has both.
    """
    import matplotlib as mpl

    without = deletion_curves(deletion)
    rows = []
    for here, part in panels(curves[curves["mean"].notna()]):
        same = np.logical_and.reduce([without[key] == here[key] for key in SAME if key in SETTING]
                                     + [(without["mode"] == here["mode"]) | (without["estimator"] == "reference")])
        if (without[same]["estimator"] != "reference").any():
            rows.append((here, without[same], part))
    if not rows:
        raise AnalysisError("No panel has both deletion and ROAR curves; run the deletion of this experiment.")
    most = max(part["estimator"].nunique() for _, _, part in rows)
    with mpl.rc_context(RC):
        figure = new_figure(13.2, max(4.2, 1.4 + 0.17 * most) * len(rows))
        for i, (here, left, right) in enumerate(rows):
            one = figure.add_subplot(len(rows), 2, 2 * i + 1)
            two = figure.add_subplot(len(rows), 2, 2 * i + 2, sharey=one)
            draw_curves(one, left, here["mode"])
            draw_curves(two, right, here["mode"])
            one.set_title(f"{here['source']} · {here['model']}: without retraining", loc="left")
            two.set_title("retrained", loc="left")
        figure.draw_without_rendering()
        for axes in figure.axes:
            label_ends(axes)
    return figure


def deletion_multiples(deletion: pd.DataFrame) -> Figure:
    """The accuracy of the explained network itself: a row per setting, mode and fill, a panel per family.

    Args:
        deletion: as :func:`roar.analysis.deletion_curves` takes it.

    Returns:
        A figure; the controls are in every panel. Bands are 95 % Wilson intervals over test images.

    Raises:
        AnalysisError: there is nothing to draw.
    """
    import matplotlib as mpl

    table = deletion_curves(deletion)
    rows = [(here, families_of(part)) for here, part in panels(table) if part["mean"].notna().any()]
    if not rows:
        raise AnalysisError("There are no deletion curves to draw; `roar delete` makes some.")
    columns = max(len(families) for _, families in rows)
    with mpl.rc_context(RC):
        figure = new_figure(max(5.4 * columns, 6.4), 4.0 * len(rows))
        for i, (here, families) in enumerate(rows):
            first = None
            for j, (family, part) in enumerate(families):
                axes = figure.add_subplot(len(rows), columns, i * columns + j + 1, sharey=first)
                first = first or axes
                draw_curves(axes, part, here["mode"])
                setting = panel_title({**here, "retrainer": here["model"], "mode": "roar"})
                axes.set_title(f"{metric(here['mode'], here['fill'])}: {family}\n{setting}", loc="left",
                               parse_math=False)
        figure.draw_without_rendering()
        for axes in figure.axes:
            label_ends(axes)
    return figure


def families_of(part: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The families of one panel, each with the controls; the controls alone where there is nothing else."""
    family = part["estimator"].map(lambda name: "controls" if name == REFERENCE else parts(name).family)
    found = [name for name in FAMILIES if name != "controls" and (family == name).any()] or ["controls"]
    return [(name, part[family.isin([name, "controls"])]) for name in found]


def deletion_scatter(results: pd.DataFrame, deletion: pd.DataFrame, control: str = "random") -> Figure:
    """Each estimator's advantage over a control: without retraining across, with it (ROAR) up.

    Were the two metrics of one mind, the points would lie on a rising line; those on the lower right are found
    good by deletion only. Crosses are 95 % intervals: over test images across, over seeds up.

    Raises:
        AnalysisError: no estimator has both.
    """
    import matplotlib as mpl

    both = deletion_beside_roar(results, deletion, control)
    if not len(both):
        raise AnalysisError(f"No estimator has both a deletion and a ROAR curve beside '{control}'.")
    found = list(both.groupby([*SAME, "retrainer"], sort=False))
    with mpl.rc_context(RC):
        figure = new_figure(7.0, 5.4 * len(found))
        for i, (panel, part) in enumerate(found):
            axes = figure.add_subplot(len(found), 1, i + 1)
            draw_scatter(axes, part, control)
            axes.set_title(" · ".join(str(word) for word in panel[:2]), loc="left")
        figure.draw_without_rendering()
        for axes in figure.axes:
            _label_points(axes)
    return figure


def draw_scatter(axes: Axes, part: pd.DataFrame, control: str) -> None:
    """Draw rows of :func:`roar.analysis.deletion_beside_roar` on axes."""
    for row in part.to_dict("records"):
        style = look(row["estimator"])
        axes.plot([row["deletion_low"], row["deletion_high"]], [row["roar"]] * 2, color=style.colour, linewidth=0.8)
        axes.plot([row["deletion"]] * 2, [row["roar_low"], row["roar_high"]], color=style.colour, linewidth=0.8)
        axes.plot([row["deletion"]], [row["roar"]], marker=style.marker, color=style.colour, markersize=6,
                  linestyle="", label=row["estimator"])
    axes.axhline(0, color="#444444", linewidth=0.8, gid="zero")
    axes.axvline(0, color="#444444", linewidth=0.8)
    axes.set_xlabel(f"advantage over {control} without retraining (points, mean over t)")
    axes.set_ylabel(f"advantage over {control}, retrained (points, mean over t)")


def _label_points(axes: Axes) -> None:
    """Name the points in a column on the right, in the order of their heights, with leaders."""
    points = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    places = [np.asarray(line.get_xydata())[0] for line in points]
    box, pixel = axes.get_window_extent(), axes.figure.dpi / 72
    low, high = axes.get_ylim()
    start, end = axes.get_xlim()
    axes.set_xticks([tick for tick in axes.get_xticks() if start <= tick <= end])
    axes.spines["bottom"].set_bounds(start, end)
    longest = max(len(str(line.get_label())) for line in points)
    room = min(0.45, (longest * 0.58 * 7.5 + 24) * pixel / box.width)
    axes.set_xlim(start, start + (end - start) / (1 - room))
    for line in axes.get_lines():
        if line.get_gid() == "zero":  # ends where the names begin
            line.set_xdata([0, 1 - room])
    gap = 7.5 * 1.25 * pixel / box.height * (high - low)
    heights = spread([float(y) for _, y in places], gap, low + gap, high - gap)
    for line, (x, y), place in zip(points, places, heights, strict=True):
        leader = {"arrowstyle": "-", "color": line.get_color(), "linewidth": 0.4, "alpha": 0.6,
                  "relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 4}
        axes.annotate(str(line.get_label()), xy=(x, y), xytext=(end, place), color=line.get_color(), fontsize=7.5,
                      va="center", arrowprops=leader, annotation_clip=False)
    axes.set_ylim(low, high)


def figures(frames: Mapping[str, pd.DataFrame]) -> dict[str, Callable[[], Figure]]:
    """The figures of the report by file name."""
    deletion, curves = frames["deletion"], frames.get("curves")
    beside = {} if curves is None or curves.empty else {
        "deletion.svg": lambda: deletion_and_roar_curves(curves, deletion)}
    return {"deletion-curves.svg": lambda: deletion_multiples(deletion), **beside}
