"""The gallery of degraded images as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roar.analysis.figures.style import RC, new_figure
from roar.analysis.gallery import Gallery
from roar.errors import AnalysisError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def degraded_gallery(gallery: Gallery) -> Figure:
    """A row per estimator and image, a column per threshold.

    Raises:
        AnalysisError: the gallery is empty.
    """
    import matplotlib as mpl

    if not gallery.rows or not gallery.thresholds:
        raise AnalysisError("There are no images to show; give a gallery with a row at least.")
    rows, columns = len(gallery.rows), len(gallery.thresholds)
    with mpl.rc_context(RC):
        figure = new_figure(2.2 + 1.05 * columns, 0.5 + 1.08 * rows)
        for i, row in enumerate(gallery.rows):
            for j, threshold in enumerate(gallery.thresholds):
                axes = figure.add_subplot(rows, columns, i * columns + j + 1)
                image = row.images[j]
                axes.imshow(image[..., 0] if image.shape[2] == 1 else image, cmap="gray", vmin=0, vmax=255,
                            interpolation="nearest")
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
                if i == 0:
                    axes.set_title(f"{threshold:g} %", fontsize=9)
                if j == 0:
                    axes.set_ylabel(f"{row.estimator}\n{row.label}", rotation=0, ha="right", va="center", fontsize=8,
                                    parse_math=False)
    return figure
