"""Figures: functions that take a frame and return a matplotlib figure, which a notebook shows.

The figures belong to no pyplot state. :func:`render` gives the bytes of an SVG, PDF or PNG file.
"""

from __future__ import annotations

from roar.analysis.figures.accuracy import accuracy_curves, draw_curves
from roar.analysis.figures.beyond import curves_beside_controls
from roar.analysis.figures.classes import class_curves
from roar.analysis.figures.gallery import degraded_gallery
from roar.analysis.figures.matrix import accuracy_matrix
from roar.analysis.figures.ranking import critical_difference_diagram, leaderboard_intervals
from roar.analysis.figures.style import render
from roar.metrics.agreement.figures import agreement_heatmap
from roar.metrics.deletion.figures import deletion_and_roar_curves, deletion_multiples, deletion_scatter
from roar.metrics.sanity.figures import sanity_curves

__all__ = ["accuracy_curves", "accuracy_matrix", "agreement_heatmap", "class_curves", "critical_difference_diagram",
           "curves_beside_controls", "degraded_gallery", "deletion_and_roar_curves", "deletion_multiples",
           "deletion_scatter", "draw_curves", "leaderboard_intervals", "render", "sanity_curves"]
