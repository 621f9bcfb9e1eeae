"""Each estimator's curve beside those of its controls of shape and of smoothness, in small multiples."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import pandas as pd

from roar.analysis.beside import BLURRED, MASK_ONLY
from roar.analysis.beyond import CONTROL_CURVE_COLUMNS
from roar.analysis.curves import CURVE, CURVE_COLUMNS, PANEL, panel_title, with_reference
from roar.analysis.facts import CONTROL, REFERENCE, Facts, require
from roar.analysis.figures.accuracy import draw_band, draw_thresholds, label_ends, label_room, measured
from roar.analysis.figures.palette import SOFT, Mark
from roar.analysis.figures.style import FILE, Medium, look, new_figure, panel_grid, styled
from roar.errors import AnalysisError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = {BLURRED: "random, as smooth", MASK_ONLY: "mask alone"}
RANDOM = Facts("random", CONTROL, "random", "base")
_DASHES = {BLURRED: (5.0, 2.0), MASK_ONLY: (1.0, 1.4)}


def curves_beside_controls(curves: pd.DataFrame, controls: pd.DataFrame, medium: Medium = FILE,
                           limits: tuple[float, float] | None = None) -> Figure:
    """A panel per estimator: its curve, its equally smooth random twin, its masks alone, and the random control.

    Args:
        curves: as :func:`roar.analysis.curves.curves` returns them.
        controls: as :func:`roar.analysis.beyond.control_curves` returns them.
        medium: where the figure is shown.
        limits: of the accuracy in percent, for figures that share a scale.

    Returns:
        A figure. Bands are 95 % intervals over seeds and are left out where a cell has one seed.

    Raises:
        AnalysisError: no estimator has a control of shape or of smoothness.
    """
    require(curves, CURVE_COLUMNS, "curves")
    require(controls, CONTROL_CURVE_COLUMNS, "control curves")
    found = multiples(curves, controls)
    if not found:
        raise AnalysisError("No estimator has a control of shape or of smoothness to draw; run them with "
                            "`--control mask-only,random-blurred`.")
    columns = min(len(found), 3)
    rows = ceil(len(found) / columns)
    several = len({panel_title(here) for here, *_ in found}) > 1
    room = label_room(["random", "itself", *NAMES.values()])
    left, above, below = (0.5, 0.36, 0.46) if medium.detail else (0.3, 0.08, 0.26)
    with styled():
        wide, high = max(4.3 * columns, 5.6) if medium is FILE else medium.width, 2.3 if medium.detail else 1.5
        figure = new_figure(wide, (high + above + below) * rows, "none")
        grid = panel_grid(figure, rows, columns, (left, room, above, below), (left + room, above + below))
        first = None
        for i, (here, own, beside, random) in enumerate(found):
            axes = figure.add_subplot(grid[i // columns, i % columns], sharey=first)
            first = first or axes
            _draw(axes, own, beside, random)
            draw_thresholds(axes, pd.concat([own["threshold"], beside["threshold"]]), here["mode"], medium.detail)
            if medium.titles:
                axes.set_title(here["estimator"], loc="left", color=look(Facts.of(beside.iloc[0].to_dict())).color)
                if several:
                    axes.set_title(panel_title(here), loc="right", fontsize=7, color=SOFT)
            if i % columns:
                axes.set_ylabel("")
        if limits is not None:
            figure.axes[0].set_ylim(*limits)
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
    """One estimator: the random control in gray, its own curve full, its controls thin in the same color."""
    facts = Facts.of(beside.iloc[0].to_dict())
    style = look(facts)
    plain = {"color": look(RANDOM).color, "linewidth": 1.0}
    whole = {**style.line(), "linewidth": 2.0, "linestyle": "-"}
    for words, shown, line, drawn in (
            ("random", RANDOM, random, plain), ("itself", facts, own, whole),
            *((NAMES[str(control)], facts, line, {"color": style.color, "linewidth": 1.3, "linestyle": (
                0, _DASHES[str(control)])}) for control, line in beside.groupby("control", sort=False))):
        if len(line):
            draw_band(axes, line["threshold"], 100 * line["ci_low"], 100 * line["ci_high"], shown)
            said = "; ".join(f"{row['threshold']:g} %: {measured(row, 'seeds')}" for row in line.to_dict("records"))
            axes.plot(line["threshold"], 100 * line["mean"], label=words, zorder=2, **drawn,
                      gid=Mark(shown.name, [f"{words}, {said}"]))
