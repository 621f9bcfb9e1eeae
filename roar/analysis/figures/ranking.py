"""Leaderboard with intervals, and the critical-difference diagram."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from roar.analysis.curves import PANEL, panel_title
from roar.analysis.figures.style import RC, look, new_figure
from roar.analysis.ranks import CriticalDifference
from roar.errors import AnalysisError
from roar.metrics.sanity.verdict import DOES_NOT_NOTICE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def leaderboard_intervals(board: pd.DataFrame, control: str = "random") -> Figure:
    """Each estimator's advantage over a control with its intervals, best first, a panel per setting.

    Args:
        board: as :func:`roar.analysis.leaderboard` returns it; with a column ``sanity``
            (:func:`roar.metrics.sanity.verdict.with_sanity`) those that do not notice a randomised network are marked.
        control: ``random`` or ``sobel``.

    Returns:
        Points: the mean over t and seeds; thin lines: the 95 % t interval; thick ones: the bootstrap's. A hollow
        point is not told apart from the control by its corrected test.

    Raises:
        AnalysisError: no estimator was held against that control.
    """
    import matplotlib as mpl

    held = board[board[f"{control}_advantage"].notna()]
    if not len(held):
        raise AnalysisError(f"No estimator was held against '{control}'; add it to the experiment's estimators.")
    found = list(held.groupby(list(PANEL), sort=False))
    with mpl.rc_context(RC):
        figure = new_figure(7.4, 0.2 + sum(1.2 + 0.24 * len(part) for _, part in found))
        heights = [1.2 + 0.24 * len(part) for _, part in found]
        grid = figure.add_gridspec(len(found), 1, height_ratios=heights)
        for i, (panel, part) in enumerate(found):
            axes = figure.add_subplot(grid[i, 0])
            _draw_intervals(axes, part, control)
            axes.set_title(panel_title(dict(zip(PANEL, map(str, panel), strict=True))), loc="left")
            axes.set_xlabel(f"advantage over {control}: accuracy points, mean over t (right is better)")
        figure.supxlabel("thin: 95 % t interval over seeds · thick: 95 % bootstrap interval · hollow: the corrected "
                         "test does not tell it from the control", fontsize=7.5, color="#555555")
    return figure


def _draw_intervals(axes: Axes, part: pd.DataFrame, control: str) -> None:
    ranked = part.sort_values(f"{control}_advantage", ascending=False, kind="stable")
    for y, row in enumerate(ranked.to_dict("records")):
        style = look(row["estimator"])
        value, low, high, boot_low, boot_high = (
            row[f"{control}_{name}"] for name in ("advantage", "ci_low", "ci_high", "boot_low", "boot_high"))
        axes.plot([low, high], [y, y], color=style.colour, linewidth=1.2)
        axes.plot([boot_low, boot_high], [y, y], color=style.colour, linewidth=5.5, alpha=0.4)
        told_apart = row[f"{control}_verdict"] in ("better", "worse")
        axes.plot([value], [y], marker=style.marker, markersize=4.5, markeredgecolor=style.colour, linestyle="",
                  markerfacecolor=style.colour if told_apart else "white", markeredgewidth=1.4)
    axes.axvline(0, color="#444444", linewidth=1)
    axes.set_yticks(range(len(ranked)), [_marked(row) for row in ranked.to_dict("records")])
    axes.set_ylim(len(ranked) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def _marked(row: dict[Hashable, Any]) -> str:
    """An estimator's name and, where a sanity check says so, that it does not notice what its network learned."""
    said = str(row.get("sanity", ""))
    return f"{row['estimator']}\n{said}" if said.startswith(DOES_NOT_NOTICE) else str(row["estimator"])


def critical_difference_diagram(test: CriticalDifference) -> Figure:
    """Mean ranks on a line; bars join the estimators that the test cannot tell apart (Demšar 2006, figure 1)."""
    import matplotlib as mpl

    k = len(test.estimators)
    half = (k + 1) // 2
    bar, row = 0.13, 0.24  # inches
    top, bars = 0.75, bar * (len(test.groups) + 1)
    height = top + bars + row * half + 0.55
    with mpl.rc_context({**RC, "axes.grid": False}):
        figure = new_figure(8.0, height)
        figure.set_layout_engine("none")
        axes: Axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        left, right = 2.3, 5.7  # inches: where rank 1 and rank k are
        axes.set(xlim=(0, 8.0), ylim=(height, 0))
        scale = (right - left) / max(k - 1, 1)
        place = left + (np.asarray(test.mean_ranks) - 1) * scale
        pen: dict[str, Any] = {"color": "#333333", "linewidth": 1.0, "solid_capstyle": "butt"}
        axes.plot([left, right], [top, top], **pen)
        for rank in range(1, k + 1):
            long = rank == 1 or rank == k or rank % 5 == 0 or k <= 10
            axes.plot([left + (rank - 1) * scale] * 2, [top, top - (0.09 if long else 0.05)], **pen)
            if long:
                axes.text(left + (rank - 1) * scale, top - 0.12, str(rank), ha="center", va="bottom", fontsize=8)
        if test.distance < k - 1:
            axes.plot([left, left + test.distance * scale], [0.32, 0.32], color="#333333", linewidth=2.0)
        axes.text(left, 0.24, f"critical difference {test.distance:.2f} ({test.blocks} {test.block}s, "
                              f"Friedman p = {test.p:.2g}); rank 1 is best", fontsize=8, va="bottom")
        for i, (first, last) in enumerate(test.groups):
            y = top + bar * (i + 1)
            axes.plot([place[first] - 0.03, place[last] + 0.03], [y, y], color="#333333", linewidth=3.0,
                      solid_capstyle="round")
        for i, name in enumerate(test.estimators):
            on_left = i < half
            depth = i if on_left else k - 1 - i
            y = top + bars + row * depth + 0.12
            edge = left - 0.12 if on_left else right + 0.12
            colour = look(name).colour
            axes.plot([place[i], place[i], edge], [top, y, y], color=colour, linewidth=0.9)
            axes.text(edge - 0.05 if on_left else edge + 0.05, y, f"{name}  {test.mean_ranks[i]:.1f}" if on_left
                      else f"{test.mean_ranks[i]:.1f}  {name}", ha="right" if on_left else "left", va="center",
                      fontsize=8, color=colour)
        axes.text(0.1, height - 0.08, test.note, fontsize=7.5, color="#555555", va="bottom")
    return figure
