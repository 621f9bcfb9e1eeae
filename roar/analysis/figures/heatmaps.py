"""A strip of heat maps as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from roar.analysis.figures.palette import FAMILY_COLORS, INK
from roar.analysis.figures.style import new_figure, styled
from roar.analysis.heatmaps import HeatStrip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIGNED, UNSIGNED = "RdBu_r", "cividis"  # told apart with any color vision (ColorBrewer; Nunez et al. 2018)
_CELL = 0.92  # inches
_GAP = 0.16  # between networks, as a share of a cell
_BAR = 0.1


def heat_strip(strip: HeatStrip) -> Figure:
    """A row per estimator; the picture, then for each network the map and what is left at each threshold.

    The colors of a row have one scale for all networks, drawn at its right.
    """
    shown, rows = 1 + len(strip.thresholds), len(strip.estimators)
    widths = [1.0]
    for _ in strip.columns:
        widths += [_GAP, *[1.0] * shown]
    widths += [_GAP / 2, _BAR]
    size = strip.picture.shape[0] / strip.picture.shape[1]
    left, right, top, bottom = 1.35, 0.55, 0.78, 0.1
    width, height = left + right + _CELL * 1.04 * sum(widths), top + bottom + _CELL * 1.06 * size * rows
    with styled(axes__grid=False):
        figure = new_figure(width, height)
        figure.set_layout_engine("none")
        grid = figure.add_gridspec(rows, len(widths), width_ratios=widths, wspace=0.04, hspace=0.06,
                                   left=left / width, right=1 - right / width, top=1 - top / height,
                                   bottom=bottom / height)
        for i, estimator in enumerate(strip.estimators):
            low, high = strip.scale(estimator)
            heading = i == 0
            axes = figure.add_subplot(grid[i, 0])
            _picture(axes, strip.picture, "the image" if heading else "")
            axes.set_ylabel(estimator.replace("-", "-\n", 1) if len(estimator) > 14 else estimator, rotation=0,
                            ha="right", va="center", fontsize=8.5)
            for j, column in enumerate(strip.columns):
                start = 2 + j * (shown + 1)
                axes = figure.add_subplot(grid[i, start])
                drawn = axes.imshow(column.scores[estimator], cmap=SIGNED if low < 0 else UNSIGNED, vmin=low,
                                    vmax=high, interpolation="nearest")
                _bare(axes, "map" if heading else "")
                if heading:
                    _network(axes, column.name, column.predicted, column.right)
                for k, threshold in enumerate(strip.thresholds):
                    here = figure.add_subplot(grid[i, start + 1 + k])
                    _picture(here, column.degraded[estimator][k], f"{threshold:g} %" if heading else "")
            bar = figure.colorbar(drawn, cax=figure.add_subplot(grid[i, len(widths) - 1]), extend="max" if low == 0
                                  else "both", extendfrac=0.06)
            bar.set_ticks([low, 0, high] if low < 0 else [0, high])
            bar.set_ticklabels([f"{value:.2g}" for value in ((low, 0, high) if low < 0 else (0, high))])
            bar.ax.tick_params(labelsize=6, length=2, pad=1)
            bar.outline.set_linewidth(0.4)
        figure.text(0.08 / width, 1 - 0.14 / height, f"{strip.title}: {strip.label}", fontsize=10, fontweight="bold",
                    va="top")
    return figure


def _network(axes: Axes, name: str, predicted: str, right: bool) -> None:
    axes.annotate(name, (0, 1), xytext=(0, 27), xycoords="axes fraction", textcoords="offset points", fontsize=9,
                  fontweight="bold")
    axes.annotate(f"{predicted}{'' if right else ' (wrong)'}", (0, 1), xytext=(0, 16), xycoords="axes fraction",
                  textcoords="offset points", fontsize=8, color=INK if right else FAMILY_COLORS["integrated-gradients"])


def _picture(axes: Axes, picture: np.ndarray, title: str) -> None:
    axes.imshow(picture[..., 0] if picture.shape[2] == 1 else picture, cmap="gray", vmin=0, vmax=255,
                interpolation="nearest")
    _bare(axes, title)


def _bare(axes: Axes, title: str) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if title:
        axes.set_title(title, fontsize=7.5, pad=3)
