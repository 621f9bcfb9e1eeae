"""A figure of matplotlib as SVG within a page: small, themed by the page's style sheet, readable by its script.

Colors that :data:`roar.analysis.figures.palette.THEME` knows become classes (``f-ink`` fills, ``s-ink`` strokes), so
that they follow light and dark mode; those of data stay. What a :class:`roar.analysis.figures.palette.Mark` groups
becomes a group with ``data-estimator``, and every point that says a value an element of class ``pt`` with a title.
There are no ids, no links and no clip paths, so that many charts can stand on one page.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from roar.analysis.facts import REFERENCE, Facts
from roar.analysis.figures.palette import Mark
from roar.analysis.figures.style import (
    FILE,
    PAGE,
    PHONE,
    REFERENCE_COLOR,
    REFERENCE_DASHES,
    Medium,
    look,
    new_figure,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 72  # per inch: the unit of the SVG
REM = 60 / (FILE.width * POINTS)  # of the page's type size per point, where a chart as wide as a file fills its column


def chart(draw: Callable[[Medium], Figure], label: str) -> Markup:
    """A chart for a wide and for a narrow page, of which the style sheet shows one.

    Args:
        draw: gives the figure for a medium.
        label: what the chart shows, for those who do not see it.
    """
    return inline(draw(PAGE), label, "wide") + inline(draw(PHONE), label, "narrow")


def inline(figure: Figure, label: str, kind: str = "") -> Markup:
    """A figure as an ``svg`` element.

    Args:
        label: what the chart shows, for those who do not see it.
        kind: classes for the style sheet: ``wide``, ``narrow``; ``always`` for a chart that scrolls on a phone.
    """
    width, height, body = _drawn(figure)
    size = f"max-width:{width * REM:.1f}rem" + (f";min-width:{width * REM * 0.75:.1f}rem" if "always" in kind else "")
    return Markup('<svg class="{}" viewBox="0 0 {:g} {:g}" style="{}" role="img" aria-label="{}" tabindex="0">{}</svg>'
                  ).format(f"chart {kind}".strip(), width, height, size, label, body)


@lru_cache(maxsize=256)
def swatch(estimator: Facts) -> Markup:
    """A short piece of an estimator's line, for legends."""
    from matplotlib.lines import Line2D

    with styled():
        figure = new_figure(34 / POINTS, 12 / POINTS, "none")
        if estimator.family == REFERENCE:
            style: dict[str, Any] = {"color": REFERENCE_COLOR, "linewidth": 1, "linestyle": (0, REFERENCE_DASHES)}
        else:
            style = {**look(estimator).line(), "markevery": [1], "markersize": 6}
        figure.add_artist(Line2D([0.02, 0.5, 0.98], [0.5] * 3, gid=Mark("", name="swatch"), **style))
    return Markup('<svg class="swatch" viewBox="0 0 34 12" aria-hidden="true">{}</svg>').format(_drawn(figure)[2])


def _drawn(figure: Figure) -> tuple[float, float, Markup]:
    """Width and height in points, and what is inside the ``svg`` element."""
    from roar.analysis.figures.canvas import PageRenderer

    width, height = (round(float(inches) * POINTS, 1) for inches in figure.get_size_inches())
    before = figure.dpi
    renderer = PageRenderer(width, height)
    with styled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)  # the browser may have it
        figure.set_dpi(POINTS)
        try:
            figure.draw(renderer)
        finally:
            figure.set_dpi(before)
    return width, height, renderer.body()
