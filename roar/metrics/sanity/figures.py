"""How the rankings change while the network that is explained loses what it learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from roar.analysis.curves import panel_title
from roar.analysis.figures.accuracy import label_ends
from roar.analysis.figures.style import RC, look, new_figure
from roar.analysis.names import FAMILIES, order, parts
from roar.errors import AnalysisError
from roar.metrics.sanity.verdict import UNCHANGED, finest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NETWORK = ("source", "model", "regularizer")
ROWS = {"cascading": "drawn anew from the output on", "independent": "one step drawn anew",
        "labels": "trained on shuffled labels"}
_GREY = "#767676"


def sanity_curves(sanity: pd.DataFrame, measure: str = "spearman", threshold: float | None = None) -> Figure:
    """Agreement with the real network's ranking against the steps of the randomisation, with 95 % intervals.

    A row per network and kind of randomisation, a column per family of estimators. The dashed line is what two
    random rankings give.

    Args:
        sanity: as ``store.sanity()`` gives it.
        measure: ``spearman`` or ``iou``.
        threshold: percent of the pixels on top, for ``iou``; default: the smallest there is.

    Raises:
        AnalysisError: there is no such check.
    """
    import matplotlib as mpl

    rows = finest(sanity[sanity["measure"] == measure])
    if measure == "iou" and len(rows):
        rows = rows[rows["threshold"] == (rows["threshold"].min() if threshold is None else threshold)]
    if rows.empty:
        raise AnalysisError(f"No sanity check with the measure {measure} is here to draw; `roar sanity` does one.")
    rows = rows.assign(family=[parts(str(name)).family for name in rows["estimator"]])
    families = sorted(set(rows["family"]), key=FAMILIES.index)
    found = [(dict(zip(NETWORK, map(str, network), strict=True)), kind, rows[same & (rows["kind"] == kind)])
             for network in rows[list(NETWORK)].drop_duplicates().itertuples(index=False, name=None)
             for same in [(rows[list(NETWORK)] == list(network)).all(axis=1)]
             for kind in ROWS if (same & (rows["kind"] == kind)).any()]
    with mpl.rc_context(RC):
        heights = [1.5 + 0.2 * part["estimator"].nunique() / len(families) if kind == "labels" else 3.5
                   for _, kind, part in found]
        figure = new_figure(4.4 * len(families) + 0.6, sum(heights) + 0.2)
        grid = figure.add_gridspec(len(found), len(families), height_ratios=heights)
        for i, (here, kind, part) in enumerate(found):
            for j, family in enumerate(families):
                axes, own = figure.add_subplot(grid[i, j]), part[part["family"] == family]
                if own.empty:
                    axes.set_axis_off()
                elif kind == "labels":
                    _draw_labels(axes, own, measure)
                else:
                    _draw_steps(axes, own, measure)
                axes.set_title(f"{panel_title(here)}: {ROWS[kind]}" if j == 0 else "", loc="left")
        figure.supxlabel(_caption(rows, measure), fontsize=7.5, color="#555555")
        figure.draw_without_rendering()  # the labels need the size of the laid-out axes
        for axes in figure.axes:
            if axes.get_gid() == "steps":
                label_ends(axes)
    return figure


def _draw_steps(axes: Axes, part: pd.DataFrame, measure: str) -> None:
    """Lines against the steps; a cascade begins with the real network, whose ranking is compared with itself."""
    axes.set_gid("steps")
    start = part["kind"].eq("cascading").any()
    for name in sorted(part["estimator"].unique(), key=order):
        own, style = part[part["estimator"] == name].sort_values("step"), look(name)
        x, mean, low, high = (own[column].to_numpy(dtype=np.float64) for column in ("step", "mean", "ci_low", "ci_high"))
        if start:
            x, mean, low, high = (np.concatenate([[first], rest]) for first, rest in
                                  ((0, x), (1, mean), (1, low), (1, high)))
        axes.plot(x, mean, label=name, **style.line())
        axes.fill_between(x, low, high, color=style.colour, alpha=0.14, linewidth=0)
    steps = part.drop_duplicates("step").sort_values("step")
    ticks = {0: "nothing"} if start else {}
    ticks |= dict(zip(map(int, steps["step"]), map(str, steps["layers"]), strict=True))
    axes.set_xticks(list(ticks), list(ticks.values()), rotation=40, ha="right", rotation_mode="anchor", fontsize=6.5,
                    parse_math=False)
    for guide in _guides(part, measure):
        axes.plot([min(ticks), max(ticks)], [guide] * 2, color=_GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1.5)
    axes.set_ylim(_lowest(part, measure), 1.03)
    axes.set_ylabel(_quantity(part, measure))


def _draw_labels(axes: Axes, part: pd.DataFrame, measure: str) -> None:
    """Points with intervals, an estimator per line."""
    names = sorted(part["estimator"].unique(), key=order)
    for y, name in enumerate(names):
        row, style = part[part["estimator"] == name].iloc[0], look(name)
        axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=style.colour, linewidth=1.4)
        axes.plot([row["mean"]], [y], marker=style.marker, color=style.colour, markersize=5, linestyle="")
    for guide in _guides(part, measure):
        axes.axvline(guide, color=_GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1.5)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(_lowest(part, measure), 1.03)
    axes.set_xlabel(_quantity(part, measure))


def _lowest(part: pd.DataFrame, measure: str) -> float:
    """The lower end of a scale that ends at 1 in every panel."""
    return min(-0.1, float(part["ci_low"].min()) - 0.05) if measure == "spearman" else 0.0


def _guides(part: pd.DataFrame, measure: str) -> list[float]:
    """What chance gives and, for the correlation, the bound of the verdict."""
    return [0.0, UNCHANGED] if measure == "spearman" else [float(part["by_chance"].iloc[0])]


def _quantity(part: pd.DataFrame, measure: str) -> str:
    return "Spearman's ρ with the real ranking" if measure == "spearman" else \
        f"IoU of the top {part['threshold'].iloc[0]:g} %"


def _caption(rows: pd.DataFrame, measure: str) -> str:
    n = int(rows["n"].min())
    said = f"means over {n:,} test images with 95 % t intervals · dashed: two random rankings"
    if measure == "spearman":
        said += f" (0), and the bound {UNCHANGED:g} of the verdict"
    fitted = rows["train_accuracy"].dropna().unique()
    if len(fitted):
        said += f" · shuffled labels were fitted to {' and '.join(f'{100 * share:.1f}' for share in sorted(fitted))} %"
    return said


def figures(frames: Mapping[str, pd.DataFrame]) -> dict[str, Callable[[], Figure]]:
    """The figures of the report by file name."""
    return {"sanity.svg": lambda: sanity_curves(frames["sanity"]),
            "sanity-iou.svg": lambda: sanity_curves(frames["sanity"], "iou")}
