"""Grids of small images, one block per network: what excites each unit, and first-layer filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from typing import TYPE_CHECKING

import numpy as np

from roar.analysis.figures.palette import SOFT
from roar.analysis.figures.style import new_figure, styled
from roar.errors import AnalysisError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL = 0.62  # inches
_LABEL = 0.15  # inches under a cell


def unit_grids(title: str, blocks: Mapping[str, np.ndarray], labels: Sequence[str], note: str = "") -> Figure:
    """The same units of several networks side by side.

    Args:
        title: what the images are.
        blocks: for each network float ``[U, H, W, C]`` in [0, 1], C = 1 or 3.
        labels: U, under each image; empty strings for none.
        note: below all.

    Raises:
        AnalysisError: there is no network or no unit, or the networks have other numbers of units.
    """
    counts = {len(images) for images in blocks.values()}
    if len(counts) != 1 or 0 in counts or counts != {len(labels)}:
        raise AnalysisError(f"Every network needs one image per unit, {len(labels)}, and there are "
                            f"{sorted(counts) or 'no networks'}; name units that all networks have.")
    columns = _columns(len(labels))
    rows = ceil(len(labels) / columns)
    under = _LABEL if any(labels) else 0.03
    block_width, gap, margin = columns * (_CELL + 0.04), 0.25, 0.12
    width = 2 * margin + len(blocks) * block_width + (len(blocks) - 1) * gap
    top, bottom = 0.62, 0.3 if note else 0.08
    height = top + rows * (_CELL + under) + bottom
    with styled(axes__grid=False):
        figure = new_figure(max(width, 4.0), height)
        figure.set_layout_engine("none")
        wide = figure.get_figwidth()
        figure.text(margin / wide, 1 - 0.1 / height, title, fontsize=10, fontweight="bold", va="top")
        for b, (name, images) in enumerate(blocks.items()):
            left = margin + b * (block_width + gap)
            figure.text(left / wide, 1 - 0.54 / height, name, fontsize=9, va="bottom")
            for u, image in enumerate(images):
                row, column = divmod(u, columns)
                x, y = left + column * (_CELL + 0.04), height - top - row * (_CELL + under) - _CELL
                axes = figure.add_axes((x / wide, y / height, _CELL / wide, _CELL / height))
                axes.imshow(image[..., 0] if image.shape[2] == 1 else image, cmap="gray", vmin=0, vmax=1,
                            interpolation="nearest")
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
                axes.set_xlabel(labels[u], fontsize=6.5, labelpad=1.5)
        if note:
            figure.text(margin / wide, 0.08 / height, note, fontsize=7, color=SOFT)
    return figure


def _columns(count: int) -> int:
    """As near to a square as leaves no gap in the last row; the square where none does."""
    side = ceil(sqrt(count))
    return next((columns for columns in range(side, 2 * side) if count % columns == 0), side)
