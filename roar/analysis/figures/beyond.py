"""Each estimator's curve beside those of its controls of shape and of smoothness, in small multiples."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import pandas as pd

from roar.analysis.beside import BLURRED, MASK_ONLY
from roar.analysis.beyond import CONTROL_CURVE_COLUMNS
from roar.analysis.curves import CURVE, CURVE_COLUMNS, PANEL, panel_title, require, with_reference
from roar.analysis.figures.accuracy import label_ends
from roar.analysis.figures.style import CONTROL_LOOKS, RC, look, new_figure
from roar.analysis.names import REFERENCE
from roar.errors import AnalysisError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = {BLURRED: "random, as smooth", MASK_ONLY: "mask alone"}
_DASHES = {BLURRED: (5.0, 2.0), MASK_ONLY: (1.0, 1.4)}


def curves_beside_controls(curves: pd.DataFrame, controls: pd.DataFrame) -> Figure:
    """A panel per estimator: its curve, its equally smooth random twin, its masks alone, and the random control.

    Args:
        curves: as :func:`roar.analysis.curves` returns them.
        controls: as :func:`roar.analysis.beyond.control_curves` returns them.

    Returns:
        A figure. Bands are 95 % intervals over seeds and are left out where a cell has one seed.

    Raises:
        AnalysisError: no estimator has a control of shape or of smoothness.
    """
    import matplotlib as mpl

    require(curves, CURVE_COLUMNS, "curves")
    require(controls, CONTROL_CURVE_COLUMNS, "control curves")
    found = multiples(curves, controls)
    if not found:
        raise AnalysisError("No estimator has a control of shape or of smoothness to draw; run them with "
                            "`--control mask-only,random-blurred`.")
    columns = min(len(found), 3)
    rows = ceil(len(found) / columns)
    several = len({panel_title(here) for here, *_ in found}) > 1
    with mpl.rc_context(RC):
        figure = new_figure(max(4.3 * columns, 5.6), 2.9 * rows + 0.4)
        first = None
        for i, (here, own, beside, random) in enumerate(found):
            axes = figure.add_subplot(rows, columns, i + 1, sharey=first)
            first = first or axes
            _draw(axes, own, beside, random)
            axes.set_title(here["estimator"], loc="left", color=look(here["estimator"]).colour, parse_math=False)
            if several:
                axes.set_title(panel_title(here), loc="right", fontsize=7, color="#555555", parse_math=False)
            axes.set_xlabel(f"{'least' if here['mode'] == 'kar' else 'most'} important pixels replaced (%)")
            if i % columns == 0:
                axes.set_ylabel("test accuracy (%)")
        figure.draw_without_rendering()  # the labels need the size of the laid-out axes
        for axes in figure.axes:
            label_ends(axes)
    return figure


Multiple = tuple[dict[str, str], pd.DataFrame, pd.DataFrame, pd.DataFrame]


def multiples(curves: pd.DataFrame, controls: pd.DataFrame) -> list[Multiple]:
    """For each curve that has a control: what it is, its rows (its t = 0 cell first), its controls', random's."""
    lines = with_reference(curves) if (curves["estimator"] != REFERENCE).any() else curves
    drawn = controls[controls["mean"].notna()]
    found: list[Multiple] = []
    for values in drawn[list(CURVE)].drop_duplicates().itertuples(index=False, name=None):
        here = dict(zip(CURVE, map(str, values), strict=True))
        panel = lines[(lines[list(PANEL)] == pd.Series({name: here[name] for name in PANEL})).all(axis=1)]
        beside = drawn[(drawn[list(CURVE)] == pd.Series(here)).all(axis=1)]
        own, random = (panel[(panel["estimator"] == name) & panel["mean"].notna()]
                       for name in (here["estimator"], "random"))
        found.append((here, own, beside, random.iloc[:0] if here["estimator"] == "random" else random))
    return found


def _draw(axes: Axes, own: pd.DataFrame, beside: pd.DataFrame, random: pd.DataFrame) -> None:
    """One estimator: the random control in grey, its own curve full, its controls thin in the same colour."""
    grey = CONTROL_LOOKS["random"][0]
    name = str(beside["estimator"].iloc[0])
    style = look(name)
    if len(random):
        axes.plot(random["threshold"], 100 * random["mean"], color=grey, linewidth=1, label="random")
        axes.fill_between(random["threshold"], 100 * random["ci_low"], 100 * random["ci_high"], color=grey,
                          alpha=0.25, linewidth=0)
    if len(own):
        axes.plot(own["threshold"], 100 * own["mean"], color=style.colour, marker=style.marker, markersize=4,
                  linewidth=2, label="itself", zorder=3)
        axes.fill_between(own["threshold"], 100 * own["ci_low"], 100 * own["ci_high"], color=style.colour, alpha=0.18,
                          linewidth=0)
    for control, line in beside.groupby("control", sort=False):
        axes.plot(line["threshold"], 100 * line["mean"], color=style.colour, linewidth=1.3,
                  linestyle=(0, _DASHES[str(control)]), marker=".", markersize=3, label=NAMES[str(control)], zorder=2.5)
        axes.fill_between(line["threshold"], 100 * line["ci_low"], 100 * line["ci_high"], color=style.colour,
                          alpha=0.1, linewidth=0)
    ticks = sorted({0.0, *own["threshold"], *beside["threshold"]})
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
