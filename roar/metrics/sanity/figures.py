"""How the rankings change while the network that is explained loses what it learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from roar.analysis.curves import panel_title
from roar.analysis.facts import GROUPS, facts_of
from roar.analysis.figures.accuracy import draw_band, label_ends, label_room
from roar.analysis.figures.palette import SOFT, Mark, text_width
from roar.analysis.figures.style import FILE, Medium, look, new_figure, panel_grid, styled
from roar.analysis.tables import signed
from roar.errors import AnalysisError
from roar.metrics.sanity.verdict import UNCHANGED, finest
from roar.store.facts import NETWORK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS = {"cascading": "layers re-initialized from the output on", "independent": "one layer re-initialized",
        "labels": "trained on shuffled labels"}
TICK_POINTS = 7.5  # type size of the names of layers
_SLANT = 0.7  # sine of the angle of the names of layers, with room to spare


def sanity_curves(sanity: pd.DataFrame, measure: str = "spearman", threshold: float | None = None,
                  medium: Medium = FILE) -> Figure:
    """Agreement with the real network's ranking against the steps of the randomization, with 95 % intervals.

    Rows of panels per network and kind of randomization, a panel per family of estimators. The dashed line is what
    two random rankings give.

    Args:
        sanity: as ``study.table("sanity")`` gives it.
        measure: ``spearman`` or ``iou``.
        threshold: percent of the pixels on top, for ``iou``; default: the smallest there is.
        medium: where the figure is shown.

    Raises:
        AnalysisError: there is no such check.
    """
    rows = finest(sanity[sanity["measure"] == measure])
    if measure == "iou" and len(rows):
        rows = rows[rows["threshold"] == (rows["threshold"].min() if threshold is None else threshold)]
    if rows.empty:
        raise AnalysisError(f"There is no sanity check with the measure {measure} to draw; run `roar sanity`.")
    known = facts_of(rows)
    rows = rows.assign(group=[known[str(name)].group for name in rows["estimator"]])
    families = sorted(set(rows["group"]), key=GROUPS.index)
    found = [(dict(zip(NETWORK, map(str, network), strict=True)), kind, rows[same & (rows["kind"] == kind)])
             for network in rows[list(NETWORK)].drop_duplicates().itertuples(index=False, name=None)
             for same in [(rows[list(NETWORK)] == list(network)).all(axis=1)]
             for kind in ROWS if (same & (rows["kind"] == kind)).any()]
    columns = len(families) if medium is FILE else 1
    lines = ceil(len(families) / columns)
    names = [str(name) for name in rows["estimator"].unique()]
    layers = max(text_width(str(words), TICK_POINTS) for words in rows["layers"])
    beside, below = label_room(names) if medium.names else 0.12, layers * _SLANT + 0.15
    left = max(0.6, layers * 0.77 - 0.1, max(map(text_width, names)) + 0.1 if "labels" in set(rows["kind"]) else 0.0)
    above, note = 0.4 if medium.titles else 0.1, 0.3
    heights = [0.4 + 0.2 * part["estimator"].nunique() / len(families) if kind == "labels" else 2.3
               for _, kind, part in found for _ in range(lines)]
    with styled():
        wide = (left + 2.7 + beside) * columns if medium is FILE else medium.width
        figure = new_figure(wide, sum(heights) + len(heights) * (above + below) + note, "none")
        grid = panel_grid(figure, len(heights), columns, (left, beside, above, below + note),
                          (left + beside, above + below), heights)
        for i, (here, kind, part) in enumerate(found):
            for j, family in enumerate(families):
                axes = figure.add_subplot(grid[i * lines + j // columns, j % columns])
                own = part[part["group"] == family]
                if own.empty:
                    axes.set_axis_off()
                elif kind == "labels":
                    _draw_labels(axes, own, measure)
                else:
                    _draw_steps(axes, own, measure)
                    if medium.names:
                        label_ends(axes)
                if medium.titles and j == 0:
                    axes.set_title(f"{panel_title(here)}: {ROWS[kind]}", loc="left")
        figure.text(0.5, 0.06 / figure.get_figheight(), _caption(rows, measure, medium), fontsize=7, color=SOFT,
                    ha="center")
    return figure


def _draw_steps(axes: Axes, part: pd.DataFrame, measure: str) -> None:
    """Lines against the steps; a cascade begins with the real network, whose ranking is compared with itself."""
    start = part["kind"].eq("cascading").any()
    steps = part.drop_duplicates("step").sort_values("step")
    ticks = {0: "nothing"} if start else {}
    ticks |= dict(zip(map(int, steps["step"]), map(str, steps["layers"]), strict=True))
    for guide in _guides(part, measure):
        axes.axhline(guide, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)))
    for name, facts in facts_of(part).items():
        own, style = part[part["estimator"] == name].sort_values("step"), look(facts)
        x, mean, low, high = (own[column].to_numpy(dtype=np.float64)
                              for column in ("step", "mean", "ci_low", "ci_high"))
        if start:
            x, mean, low, high = (np.concatenate([[first], rest]) for first, rest in
                                  ((0, x), (1, mean), (1, low), (1, high)))
        draw_band(axes, x, low, high, facts)
        said = [f"{name}, {ticks[int(step)]}: {signed(value, 2)}" for step, value in zip(x, mean, strict=True)]
        axes.plot(x, mean, label=name, zorder=2, gid=Mark(name, said), **style.line())
    axes.set_xticks(list(ticks), list(ticks.values()), rotation=40, ha="right", rotation_mode="anchor",
                    fontsize=TICK_POINTS)
    axes.set_ylim(_lowest(part, measure), 1.03)
    axes.set_ylabel(_quantity(part, measure))


def _draw_labels(axes: Axes, part: pd.DataFrame, measure: str) -> None:
    """Points with intervals, an estimator per line."""
    known = facts_of(part)
    for guide in _guides(part, measure):
        axes.axvline(guide, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)))
    for y, (name, facts) in enumerate(known.items()):
        row, style = part[part["estimator"] == name].iloc[0], look(facts)
        axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=style.color, linewidth=1.4, gid=Mark(name))
        axes.plot([row["mean"]], [y], linestyle="", **style.points(),
                  gid=Mark(name, [f"{name}, {row['layers']}: {signed(row['mean'], 2)}"]))
    axes.set_yticks(range(len(known)), list(known))
    axes.set_ylim(len(known) - 0.4, -0.6)
    axes.set_xlim(_lowest(part, measure), 1.03)
    axes.grid(axis="x")
    axes.grid(axis="y", visible=False)
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


def _caption(rows: pd.DataFrame, measure: str, medium: Medium) -> str:
    n = int(rows["n"].min())
    said = f"dashed: two random rankings{f' (0) and the bound {UNCHANGED:g}' if measure == 'spearman' else ''}"
    if not medium.titles:
        return said
    fitted = rows["train_accuracy"].dropna().unique()
    if len(fitted):
        said += f" · shuffled labels were fitted to {' and '.join(f'{100 * share:.1f}' for share in sorted(fitted))} %"
    return f"means over {n:,} test images with 95 % t intervals · {said}"


def figures(frames: Mapping[str, pd.DataFrame]) -> dict[str, Callable[[], Figure]]:
    """The figures of the report by file name."""
    return {"sanity.svg": lambda: sanity_curves(frames["sanity"]),
            "sanity-iou.svg": lambda: sanity_curves(frames["sanity"], "iou")}
