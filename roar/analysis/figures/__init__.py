"""Figures: functions that take a frame and return a matplotlib figure, which a notebook shows.

The same function draws a chart for a file and for a page, wide and narrow: its :class:`Medium` says which. The figures
belong to no pyplot state. :func:`render` gives the bytes of an SVG, PDF or PNG file, and
:func:`roar.analysis.figures.inline.inline` an element of a page. The figures of a metric are in its folder.
"""

from __future__ import annotations

from roar.analysis.figures.accuracy import accuracy_curves, draw_curves
from roar.analysis.figures.beyond import curves_beside_controls
from roar.analysis.figures.matrix import accuracy_matrix
from roar.analysis.figures.ranking import critical_difference_diagram, leaderboard_intervals
from roar.analysis.figures.style import FILE, PAGE, PHONE, Medium, render

__all__ = ["FILE", "PAGE", "PHONE", "Medium", "accuracy_curves", "accuracy_matrix", "critical_difference_diagram",
           "curves_beside_controls", "draw_curves", "leaderboard_intervals", "render"]
