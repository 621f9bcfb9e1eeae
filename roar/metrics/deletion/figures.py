"""Deletion without retraining beside ROAR."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from roar.analysis.curves import SETTING, panel_title, panels
from roar.analysis.facts import GROUPS, REFERENCE, Facts, facts_of
from roar.analysis.figures.accuracy import draw_curves, label_ends, label_room
from roar.analysis.figures.palette import SOFT, Mark
from roar.analysis.figures.style import FILE, Medium, look, new_figure, panel_grid, styled
from roar.analysis.tables import signed
from roar.errors import AnalysisError
from roar.metrics.deletion.areas import deletion_beside_roar, deletion_curves, metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SAME = ("source", "model", "regularizer", "mode", "fill")
LEFT, ABOVE, BELOW = 0.55, 0.45, 0.55  # inches around a panel


def deletion_and_roar_curves(curves: pd.DataFrame, deletion: pd.DataFrame) -> Figure:
    """The same degraded images twice: judged by the explained network, and by networks trained on them.

    Args:
        curves: as :func:`roar.analysis.curves.curves` returns them.
        deletion: as :func:`roar.metrics.deletion.areas.deletion_curves` takes it.

    Returns:
        A row per panel that both have: on the left without retraining, bands over test images; on the right
        ROAR, bands over seeds; on the same scale of accuracy.

    Raises:
        AnalysisError: no panel has both.
    """
    without = deletion_curves(deletion)
    rows = []
    for here, part in panels(curves[curves["mean"].notna()]):
        same = np.logical_and.reduce([without[key] == here[key] for key in SAME if key in SETTING]
                                     + [(without["mode"] == here["mode"]) | (without["estimator"] == "reference")])
        if (without[same]["estimator"] != "reference").any():
            rows.append((here, without[same], part))
    if not rows:
        raise AnalysisError("No panel has both deletion and ROAR curves; run the deletion of this experiment.")
    names = {name for _, left, right in rows for frame in (left, right) for name in frame["estimator"]}
    room = label_room(["nothing replaced", *names])
    with styled():
        figure = new_figure(13.2, (max(2.9, 0.17 * len(names)) + ABOVE + BELOW) * len(rows), "none")
        grid = panel_grid(figure, len(rows), 2, (LEFT, room, ABOVE, BELOW), (LEFT + room, ABOVE + BELOW))
        for i, (here, left, right) in enumerate(rows):
            one = figure.add_subplot(grid[i, 0])
            two = figure.add_subplot(grid[i, 1], sharey=one)
            draw_curves(one, left, here["mode"], "test images")
            draw_curves(two, right, here["mode"])
            one.set_title(f"{here['source']} · {here['model']}: without retraining", loc="left")
            two.set_title("retrained", loc="left")
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
    table = deletion_curves(deletion)
    rows = [(here, families_of(part)) for here, part in panels(table) if part["mean"].notna().any()]
    if not rows:
        raise AnalysisError("There are no deletion curves to draw; `roar delete` makes some.")
    columns = max(len(families) for _, families in rows)
    room = label_room(["nothing replaced", *deletion["estimator"].unique()])
    with styled():
        figure = new_figure(max(5.4 * columns, 6.4), 4.0 * len(rows), "none")
        grid = panel_grid(figure, len(rows), columns, (LEFT, room, ABOVE + 0.1, BELOW),
                          (LEFT + room, ABOVE + BELOW + 0.1))
        for i, (here, families) in enumerate(rows):
            first = None
            for j, (family, part) in enumerate(families):
                axes = figure.add_subplot(grid[i, j], sharey=first)
                first = first or axes
                draw_curves(axes, part, here["mode"], "test images")
                setting = panel_title({**here, "retrainer": here["model"], "mode": "roar"})
                axes.set_title(f"{metric(here['mode'], here['fill'])}: {family}\n{setting}", loc="left")
        for axes in figure.axes:
            label_ends(axes)
    return figure


def families_of(part: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The families of one panel, each with the controls; the controls alone where there is nothing else."""
    family = part["estimator"].map({name: "controls" if name == REFERENCE else facts.group
                                    for name, facts in facts_of(part).items()})
    found = [name for name in GROUPS if name != "controls" and (family == name).any()] or ["controls"]
    return [(name, part[family.isin([name, "controls"])]) for name in found]


def deletion_scatter(beside: pd.DataFrame, control: str = "random", medium: Medium = FILE) -> Figure:
    """Each estimator's advantage over a control: without retraining across, with it (ROAR) up.

    Were the two metrics of one mind, the points would lie on a rising line; those on the lower right are found
    good by deletion only. Crosses are 95 % intervals: over test images across, over seeds up.

    Args:
        beside: as :func:`roar.metrics.deletion.areas.deletion_beside_roar` gives it for that control.
        control: what the advantage is over.
        medium: where the figure is shown.

    Raises:
        AnalysisError: no estimator has both.
    """
    if not len(beside):
        raise AnalysisError(f"No estimator has both a deletion and a ROAR curve beside '{control}'.")
    found = list(beside.groupby([*SAME, "retrainer"], sort=False))
    above = ABOVE if medium.titles else 0.12
    margins = (0.65, label_room(beside["estimator"]) if medium.names else 0.12, above, BELOW)
    with styled(axes__grid__axis="both", axes__spines__bottom=False):
        height = 3.4 if medium.names else 2.8
        figure = new_figure(medium.width, (height + above + BELOW) * len(found), "none")
        grid = panel_grid(figure, len(found), 1, margins, (0.0, above + BELOW))
        for i, (panel, part) in enumerate(found):
            axes = figure.add_subplot(grid[i, 0])
            draw_scatter(axes, part, control)
            if medium.titles:
                axes.set_title(" · ".join(str(word) for word in panel[:2]), loc="left")
            if medium.names:
                label_ends(axes)
    return figure


def draw_scatter(axes: Axes, part: pd.DataFrame, control: str) -> None:
    """Draw rows of :func:`roar.metrics.deletion.areas.deletion_beside_roar` on axes."""
    axes.axhline(0, color=SOFT, linewidth=0.8)
    axes.axvline(0, color=SOFT, linewidth=0.8)
    for row in part.sort_values("roar", ascending=False).to_dict("records"):
        style, name = look(Facts.of(row)), row["estimator"]
        across, up = [row["deletion_low"], row["deletion_high"]], [row["roar_low"], row["roar_high"]]
        axes.plot(across, [row["roar"]] * 2, color=style.color, linewidth=0.8, gid=Mark(name))
        axes.plot([row["deletion"]] * 2, up, color=style.color, linewidth=0.8, gid=Mark(name))
        said = f"{name}: {signed(row['deletion'])} without retraining, {signed(row['roar'])} retrained"
        axes.plot([row["deletion"]], [row["roar"]], linestyle="", label=name, **style.points(),
                  gid=Mark(name, [said]))
    axes.set_xlabel(f"over {control} without retraining (points)")
    axes.set_ylabel(f"over {control} retrained (points)")


def figures(frames: Mapping[str, pd.DataFrame]) -> dict[str, Callable[[], Figure]]:
    """The figures of the report by file name."""
    deletion, curves, results = frames["deletion"], frames.get("curves"), frames.get("results")
    drawn: dict[str, Callable[[], Figure]] = {"deletion-curves.svg": lambda: deletion_multiples(deletion)}
    if curves is not None and len(curves):
        drawn["deletion.svg"] = lambda: deletion_and_roar_curves(curves, deletion)
    if results is not None and len(results):
        drawn["deletion-scatter.svg"] = lambda: deletion_scatter(deletion_beside_roar(
            results, deletion, frames.get("deletion-areas")))
    return drawn
