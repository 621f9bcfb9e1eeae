"""Leaderboard with intervals, and the critical-difference diagram."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from roar.analysis.curves import PANEL, panel_title
from roar.analysis.facts import Facts
from roar.analysis.figures.palette import INK, SOFT, Mark, text_width
from roar.analysis.figures.style import FILE, Medium, look, new_figure, panel_grid, styled
from roar.analysis.leaderboard import BOARD_CONTROLS, with_remarks
from roar.analysis.ranks import CriticalDifference
from roar.analysis.tables import signed
from roar.errors import AnalysisError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, TALL_ROW = 0.24, 0.36  # inches


def leaderboard_intervals(board: pd.DataFrame, medium: Medium = FILE) -> Figure:
    """Each estimator's advantage over each control with its intervals, best first, a row of panels per setting.

    Args:
        board: as :func:`roar.analysis.leaderboard.leaderboard` returns it, or with a column ``remark``
            (:func:`roar.analysis.leaderboard.with_remarks`), which stands below an estimator's name.
        medium: where the figure is shown; on a phone the controls stand below each other, and a page has the remarks
            in its table.

    Returns:
        Points: the mean over t and seeds; thin lines: the 95 % t interval; thick ones: the bootstrap's. A hollow
        point does not differ significantly from the control in its corrected test.

    Raises:
        AnalysisError: no estimator was held against a control.
    """
    controls = [control for control in BOARD_CONTROLS if board[f"{control}_advantage"].notna().any()]
    if not controls:
        raise AnalysisError(f"No estimator was held against {' or '.join(map(repr, BOARD_CONTROLS))}; add one to the "
                            "experiment's estimators.")
    board = with_remarks(board, [""] * len(board)) if medium.titles else board.assign(remark="")
    found = list(board.groupby(list(PANEL), sort=False))
    across = min(len(controls), medium.columns)
    down = -(-len(controls) // across)
    row_height = ROW if (board["remark"] == "").all() else TALL_ROW
    labels = [*board["estimator"], *board["remark"]]
    left, above, below = max(map(text_width, labels)) + 0.15, 0.36 if medium.titles else 0.1, 0.54
    heights = [row_height * len(part) for _, part in found for _ in range(down)]
    note = 0.3 if medium.titles else 0.0
    with styled(axes__grid__axis="x"):
        figure = new_figure(medium.width, sum(heights) + (above + below) * len(heights) + note, "none")
        grid = panel_grid(figure, len(heights), across, (left, 0.12, above, below + note), (0.2, above + below),
                          heights)
        for i, (panel, part) in enumerate(found):
            for j, control in enumerate(controls):
                row, column = i * down + j // across, j % across
                axes = figure.add_subplot(grid[row, column])
                _draw_intervals(axes, part, control)
                axes.set_yticks(range(len(part)), _labels(part) if column == 0 else [""] * len(part))
                axes.set_xlabel(f"advantage over {control}\n(points, mean over t)", fontsize=8)
                if medium.titles and j == 0:
                    axes.set_title(panel_title(dict(zip(PANEL, map(str, panel), strict=True))), loc="left")
        if medium.titles:
            figure.text(0.5, 0.05 / figure.get_figheight(), "thin: 95 % t interval over seeds · thick: 95 % bootstrap "
                        "interval · hollow: not significant after correction, or not tested", fontsize=7.5,
                        color=SOFT, ha="center")
    return figure


def _draw_intervals(axes: Axes, part: pd.DataFrame, control: str) -> None:
    for y, row in enumerate(part.to_dict("records")):
        style, name = look(Facts.of(row)), row["estimator"]
        value, low, high, boot_low, boot_high = (
            row[f"{control}_{of}"] for of in ("advantage", "ci_low", "ci_high", "boot_low", "boot_high"))
        if pd.isna(value):
            continue
        verdict = row[f"{control}_verdict"]
        interval = "" if pd.isna(low) else f", 95 % interval {signed(low)} to {signed(high)}"
        axes.plot([low, high], [y, y], color=style.color, linewidth=1.2, gid=Mark(name))
        axes.plot([boot_low, boot_high], [y, y], color=style.color, linewidth=5.5, alpha=0.4, gid=Mark(name),
                  solid_capstyle="butt")
        axes.plot([value], [y], linestyle="", **style.points(hollow=verdict not in ("better", "worse")),
                  gid=Mark(name, [f"{name} over {control}: {signed(value)} points{interval}, {_word(verdict)}"]))
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_ylim(len(part) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _word(verdict: str) -> str:
    return {"open": "not significant", "untested": "not tested"}.get(verdict, verdict)


def _labels(part: pd.DataFrame) -> list[str]:
    """The estimators' names and, below them, what is remarked."""
    return [f"{name}\n{remark}" if remark else str(name)
            for name, remark in zip(part["estimator"], part["remark"], strict=True)]


def critical_difference_diagram(test: CriticalDifference, medium: Medium = FILE) -> Figure:
    """Mean ranks on a line; bars join the estimators that the test cannot tell apart (Demšar 2006, figure 1).

    Args:
        test: one of :func:`roar.analysis.ranks.critical_differences`.
        medium: where the figure is shown; its width is always a file's, so that it scrolls on a phone.
    """
    k = len(test.estimators)
    half = (k + 1) // 2
    bar = 0.13  # inches
    top, bars = 0.75, bar * (len(test.groups) + 1)
    height = top + bars + ROW * half + (0.55 if medium.titles else 0.15)
    with styled(axes__grid=False):
        figure = new_figure(FILE.width, height, "none")
        axes: Axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        left, right = 2.3, FILE.width - 2.3  # inches: where rank 1 and rank k are
        axes.set(xlim=(0, FILE.width), ylim=(height, 0))
        scale = (right - left) / max(k - 1, 1)
        place = left + (np.asarray(test.mean_ranks) - 1) * scale
        pen: dict[str, Any] = {"color": SOFT, "linewidth": 1.0, "solid_capstyle": "butt"}
        axes.plot([left, right], [top, top], **pen)
        for rank in range(1, k + 1):
            long = rank == 1 or rank == k or rank % 5 == 0 or k <= 10
            axes.plot([left + (rank - 1) * scale] * 2, [top, top - (0.09 if long else 0.05)], **pen)
            if long:
                axes.text(left + (rank - 1) * scale, top - 0.12, str(rank), ha="center", va="bottom", fontsize=8,
                          color=SOFT)
        if test.distance < k - 1:
            axes.plot([left, left + test.distance * scale], [0.32, 0.32], color=INK, linewidth=2.0)
        axes.text(left, 0.24, f"critical difference {test.distance:.2f} ({test.blocks} {test.block}s, "
                              f"Friedman p = {test.p:.2g}); rank 1 is best", fontsize=8, va="bottom", color=SOFT)
        for i, (first, last) in enumerate(test.groups):
            y = top + bar * (i + 1)
            axes.plot([place[first] - 0.03, place[last] + 0.03], [y, y], color=INK, linewidth=3.0,
                      solid_capstyle="round")
        for i, facts in enumerate(test.facts):
            on_left = i < half
            depth = i if on_left else k - 1 - i
            y = top + bars + ROW * depth + 0.12
            edge = left - 0.12 if on_left else right + 0.12
            name, color, mark = facts.name, look(facts).color, Mark(facts.name)
            axes.plot([place[i], place[i], edge], [top, y, y], color=color, linewidth=0.9, gid=mark)
            axes.text(edge - 0.05 if on_left else edge + 0.05, y, f"{name}  {test.mean_ranks[i]:.1f}" if on_left
                      else f"{test.mean_ranks[i]:.1f}  {name}", ha="right" if on_left else "left", va="center_baseline",
                      fontsize=8, color=color, gid=mark)
        if medium.titles:
            axes.text(0.1, height - 0.08, test.note, fontsize=7.5, color=SOFT, va="bottom")
    return figure
