"""Accuracy against threshold: the paper's figure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from roar.analysis.curves import CURVE_COLUMNS, panel_title, panels
from roar.analysis.facts import REFERENCE, Facts, facts_of, require
from roar.analysis.figures.palette import SOFT, Mark, text_width
from roar.analysis.figures.style import (
    FILE,
    REFERENCE_COLOR,
    REFERENCE_DASHES,
    Medium,
    look,
    new_figure,
    panel_grid,
    spread,
    styled,
)
from roar.errors import AnalysisError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABEL_POINTS = 7.5  # type size of the labels at the lines' ends
UNTOUCHED = "nothing replaced"
CHANCE = "chance"


def accuracy_curves(curves: pd.DataFrame, title: str | None = None, medium: Medium = FILE, over: str = "seeds",
                    limits: tuple[float, float] | None = None) -> Figure:
    """Accuracy against the share of pixels replaced: a line per estimator, a panel per setting.

    Args:
        curves: as :func:`roar.analysis.curves.curves` returns them.
        title: above all panels.
        medium: where the figure is shown.
        over: what the intervals are over.
        limits: of the accuracy in percent, for figures that share a scale.

    Returns:
        A figure of matplotlib, outside pyplot. Bands are 95 % intervals over seeds, cut at 0 and 100 %; of
        fewer than three seeds the single values are drawn. The dashed line is the network trained on untouched images,
        the dotted one chance.

    Raises:
        AnalysisError: there is nothing to draw.
    """
    require(curves, CURVE_COLUMNS, "curves")
    found = panels(curves[curves["mean"].notna()])
    if not found:
        raise AnalysisError("There are no finished cells to draw; run the experiment or see why it failed.")
    columns = min(len(found), medium.columns)
    rows = ceil(len(found) / columns)
    names = {UNTOUCHED, *found[0][1]["estimator"]}.union(*(part["estimator"] for _, part in found))
    room = label_room(names) if medium.names else 0.1
    above, below = (0.4 if medium.titles else 0.1), 0.52
    margins = (0.55, room, above, below) if medium.detail else (0.28, 0.06, 0.06, 0.22)
    height = max(2.8, 0.17 * len(names)) if medium.names else 2.6 if medium.detail else 1.1
    with styled():
        figure = new_figure(medium.width if columns == 1 else 7.6 * columns,
                            (height + margins[2] + margins[3]) * rows + (0.3 if title else 0), "none")
        grid = panel_grid(figure, rows, columns, (*margins[:2], margins[2] + (0.3 if title else 0), margins[3]),
                          (0.55 + room, above + below))
        for i, (here, part) in enumerate(found):
            axes = figure.add_subplot(grid[i // columns, i % columns])
            draw_curves(axes, part, here.get("mode", "roar"), over, medium.detail)
            if medium.titles:
                axes.set_title(panel_title(here), loc="left")
            if limits is not None:
                axes.set_ylim(*limits)
            if medium.names:
                label_ends(axes)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def draw_curves(axes: Axes, part: pd.DataFrame, mode: str = "roar", over: str = "seeds", detail: bool = True) -> None:
    """Draw one panel's curves on axes: percent of pixels across, percent of test images up.

    Args:
        part: the panel's rows, its reference among them; a column ``chance`` becomes a dotted line.
        mode: which pixels are replaced.
        over: what the intervals are over.
        detail: whether there are points, bands and names of the axes.
    """
    for cell in part[part["estimator"] == REFERENCE].to_dict("records"):
        across = [0.0, part["threshold"].max()]
        mark = Mark(REFERENCE, [f"{UNTOUCHED}: {measured(cell, over)}"])
        if detail and np.isfinite(cell["ci_low"]):
            axes.fill_between(across, 100 * cell["ci_low"], 100 * cell["ci_high"], color=REFERENCE_COLOR, alpha=0.08,
                              linewidth=0, zorder=2, gid=Mark(REFERENCE))
        axes.plot(across, [100 * cell["mean"]] * 2, color=REFERENCE_COLOR, linewidth=1,
                  linestyle=(0, REFERENCE_DASHES), label=UNTOUCHED, zorder=2, gid=mark)
    for chance in part["chance"].dropna().unique() if "chance" in part.columns else ():
        axes.axhline(100 * chance, color=SOFT, linewidth=0.8, linestyle=(0, (1, 2)), label=f"_{CHANCE}", zorder=1,
                     gid=Mark("", [f"{CHANCE}: {100 * chance:.1f} %"], name="chance"))
    for facts, rows in _lines(part):
        estimator = facts.name
        thresholds, mean, low, high = (np.array([row[name] for row in rows], dtype=np.float64)
                                       for name in ("threshold", "mean", "ci_low", "ci_high"))
        mark = Mark(estimator, [f"{estimator}, {row['threshold']:g} % replaced: {measured(row, over)}"
                                for row in rows] if detail else ())
        if detail:
            draw_band(axes, thresholds, 100 * low, 100 * high, facts)
            _draw_pairs(axes, rows, facts)
        thin = {} if detail else {"marker": "", "linewidth": 1.0}
        axes.plot(thresholds, 100 * mean, label=estimator, gid=mark, zorder=2, **look(facts).line() | thin)
    draw_thresholds(axes, part["threshold"], mode, detail)
    if not detail:
        axes.locator_params(axis="y", nbins=3)
        axes.tick_params(labelsize=8, pad=2)


def _lines(part: pd.DataFrame) -> list[tuple[Facts, list[dict[Hashable, Any]]]]:
    """The estimators of a panel, each with its rows by threshold, the reference first."""
    lines: dict[str, list[dict[Hashable, Any]]] = {}
    for row in part.sort_values("threshold", kind="stable").to_dict("records"):
        lines.setdefault(row["estimator"], []).append(row)
    reference = lines.pop(REFERENCE, [])
    return [(facts, [*reference, *lines[name]]) for name, facts in facts_of(part).items() if name in lines]


def _draw_pairs(axes: Axes, rows: list[dict[Hashable, Any]], estimator: Facts) -> None:
    """The two values of each cell that has two seeds."""
    pairs = [(row["threshold"], 100 * row["mean"], 100 * row["std"] / 2 ** 0.5) for row in rows if row["n"] == 2]
    for sign in (-1, 1):
        axes.plot([x for x, _, _ in pairs], [mean + sign * half for _, mean, half in pairs], label="_single", zorder=2,
                  gid=Mark(estimator.name), linestyle="none", marker="_", markersize=6, color=look(estimator).color)


def draw_band(axes: Axes, across: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike, estimator: Facts) -> None:
    """An interval around an estimator's line, in as many pieces as there are runs of points with one."""
    if np.isfinite(np.asarray(low, dtype=np.float64)).any():
        axes.fill_between(across, low, high, color=look(estimator).color, alpha=0.14, linewidth=0, zorder=2,
                          gid=Mark(estimator.name))


def draw_thresholds(axes: Axes, thresholds: pd.Series, mode: str, detail: bool = True) -> None:
    """A tick at every threshold, with a number where there is room, and the names of the axes."""
    axes.margins(x=0.015)
    ticks = sorted({0.0, *thresholds})
    room = axes.get_window_extent().width / axes.figure.dpi
    least = (0.24 if detail else 0.3) * max(ticks[-1], 1.0) / room
    shown: list[float] = []
    for tick in ticks:
        if not shown or tick - shown[-1] >= least:
            shown.append(tick)
    axes.set_xticks(ticks, [f"{tick:g}" if tick in shown else "" for tick in ticks])
    if detail:
        axes.set_xlabel(f"{'least' if mode == 'kar' else 'most'} important pixels replaced (%)")
        axes.set_ylabel("test accuracy (%)")


def measured(row: Mapping[Hashable, Any], over: str) -> str:
    """A cell in words: its mean, its interval and what that is over."""
    words = f"{100 * row['mean']:.1f} %"
    if np.isfinite(row["ci_low"]):
        words += f", 95 % interval over {over} {100 * row['ci_low']:.1f} to {100 * row['ci_high']:.1f}"
    n = int(row["n"])
    return words + (f" ({n} seed{'' if n == 1 else 's'})" if over == "seeds" else "")


def label_room(names: Iterable[str], points: float = LABEL_POINTS) -> float:
    """The inches that :func:`label_ends` needs at the right of a panel."""
    return max(text_width(name, points) for name in names) + 0.32


def label_ends(axes: Axes, points: float = LABEL_POINTS) -> None:
    """Write each line's name at the right of the axes, moved apart where they would overlap.

    Args:
        axes: at their final place in the figure, with :func:`label_room` at their right.
        points: type size.
    """
    lines = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    if not lines:
        return
    ends = [np.asarray(line.get_xydata())[-1] for line in lines]
    box, dpi = axes.get_window_extent(), axes.figure.dpi
    (start, end), (low, high) = axes.get_xlim(), axes.get_ylim()
    inch = (end - start) / (box.width / dpi)
    axes.set(xlim=(start, end), ylim=(low, high))
    places = spread([float(y) for _, y in ends], points * 1.2 / 72 / (box.height / dpi) * (high - low), low, high)
    for line, (x, y), place in zip(lines, ends, places, strict=True):
        gid = line.get_gid()
        mark = Mark(gid.estimator) if isinstance(gid, Mark) else None
        _leader(axes, [(x + 0.05 * inch, y), (end + 0.16 * inch, place)], mark, color=line.get_color(),
                linestyle="-" if np.size(line.get_xdata()) > 1 else (0, (1, 3)))  # not to look like an interval
        axes.annotate(str(line.get_label()), (end + 0.19 * inch, place), color=line.get_color(), fontsize=points,
                      va="center_baseline", annotation_clip=False, gid=mark)


def _leader(axes: Axes, ends: list[tuple[float, float]], mark: Mark | None, **style: Any) -> None:
    """A thin line from a curve to its name, which is none of the panel's lines."""
    from matplotlib.collections import LineCollection

    axes.add_collection(LineCollection([ends], linewidths=0.5, alpha=0.7, clip_on=False, gid=mark, **style),
                        autolim=False)
