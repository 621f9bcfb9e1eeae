"""The page's charts of what needs no retraining: agreement of rankings, and sanity checks."""

from __future__ import annotations

import numpy as np
import pandas as pd
from markupsafe import Markup

from roar.analysis.figures.matrix import luminance
from roar.analysis.figures.style import spread
from roar.analysis.names import order
from roar.metrics.agreement.figures import shown
from roar.metrics.agreement.summary import Agreement
from roar.metrics.sanity.verdict import UNCHANGED
from roar.report.page import svg

CELL = 27.0
_SLANT = 0.64  # sine of 40 degrees
# RdBu of ColorBrewer (Brewer, Harrower and Pennsylvania State University), told apart with any colour vision.
_RAMP = {-1.0: (5, 48, 97), -0.5: (67, 147, 195), 0.0: (247, 247, 247), 0.5: (214, 96, 77), 1.0: (103, 0, 31)}


def agreement_chart(one: Agreement) -> Markup:
    """Spearman's correlation of every two estimators, those that agree side by side; and with other seeds."""
    count, names = len(one.estimators), list(one.estimators)
    room = max(map(len, names)) * svg.CHARACTER + 12
    right = room + CELL * count
    body: list[Markup] = []
    for row, name in enumerate(names):
        body.append(svg.text(room - 6, 6 + CELL * (row + 0.5) + 4, name, anchor="end"))
        body.append(_slanted(room + CELL * (row + 0.5), CELL * count + 18, name))
        for column, other in enumerate(names):
            body += _cell(room + CELL * column, 6 + CELL * row, float(one.spearman[row, column]), f"{name}, {other}")
        if np.isfinite(one.other_seeds).any():
            body += _cell(right + 10, 6 + CELL * row, float(one.other_seeds[row]), f"{name}, networks of other seeds")
    if np.isfinite(one.other_seeds).any():
        body.append(_slanted(right + 10 + CELL / 2, CELL * count + 18, "other seeds"))
    label = f"Rank correlation of {count} estimators' rankings over {one.images} test images; the numbers are in the cells"
    wide = max(760.0, right + CELL + 20)  # a chart fills its column, and few cells should not grow
    return svg.chart(wide, CELL * count + 24 + room * _SLANT, label, body, "wide always")


def _cell(x: float, y: float, value: float, said: str) -> list[Markup]:
    if not np.isfinite(value):
        return []
    stops = np.array(list(_RAMP), dtype=np.float64)
    colour = [round(float(np.interp(value, stops, [rgb[i] for rgb in _RAMP.values()]))) for i in range(3)]
    ink = "#000" if luminance(np.array(colour) / 255) > 0.18 else "#fff"
    return [Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" style="fill:rgb({},{},{})"><title>{}: {}'
                   "</title></rect>").format(x, y, CELL - 1, CELL - 1, *colour, said, shown(value)),
            Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="middle" style="fill:{};font-size:9px">{}</text>').format(
                x + CELL / 2 - 0.5, y + CELL / 2 + 3, ink, shown(value))]


def _slanted(x: float, y: float, words: str) -> Markup:
    return Markup('<text class="tick" text-anchor="end" transform="translate({:.1f},{:.1f}) rotate(-40)">{}</text>'
                  ).format(x, y, words)


def sanity_chart(rows: pd.DataFrame, label: str) -> Markup:
    """Agreement with the real network's ranking, step by step, for the estimators of one family.

    Args:
        rows: of one network and kind, with the measure ``spearman``.
        label: what the chart shows, for those who do not see it.
    """
    steps = rows.drop_duplicates("step").sort_values("step")
    ticks = dict(zip(map(int, steps["step"]), map(str, steps["layers"]), strict=True))
    start = rows["kind"].eq("cascading").any()
    if start:
        ticks = {0: "nothing", **ticks}
    names = sorted(rows["estimator"].unique(), key=order)
    room = max(map(len, names)) * svg.CHARACTER + 26
    below = max(map(len, ticks.values())) * svg.CHARACTER * _SLANT + 24
    left = max(46.0, len(next(iter(ticks.values()))) * svg.CHARACTER * 0.77)
    x = svg.Scale(float(min(ticks)), float(max(max(ticks), min(ticks) + 1)), left, 760.0 - room)
    y = svg.Scale(min(-0.1, float(rows["ci_low"].min()) - 0.05), 1.03, 280.0, 12.0)
    body = [piece for value in svg.nice_ticks(y.low, y.high) for piece in (
        svg.line(x.start, y(value), x.end, y(value), "grid" if value else "zero"),
        svg.text(x.start - 6, y(value) + 4, f"{value:g}".replace("-", "−"), anchor="end"))]
    body.append(Markup('<line class="zero" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke-dasharray="4 3">'
                       "<title>bound of the verdict</title></line>").format(x.start, y(UNCHANGED), x.end, y(UNCHANGED)))
    body += [_slanted(x(step), y.start + 14, words) for step, words in ticks.items()]
    ends = []
    for name in names:
        own = [{"step": 0, "mean": 1.0, "ci_low": 1.0, "ci_high": 1.0}] if start else []
        own += rows[rows["estimator"] == name].sort_values("step").to_dict("records")
        places = [(x(row["step"]), y(row["mean"])) for row in own]
        edge = [(x(row["step"]), y(row["ci_high"])) for row in own if np.isfinite(row["ci_low"])]
        edge += [(x(row["step"]), y(row["ci_low"])) for row in reversed(own) if np.isfinite(row["ci_low"])]
        pieces = [Markup('<polygon class="band" points="{}"/>').format(svg.points(edge)),
                  Markup('<polyline class="line" points="{}" stroke-dasharray="{}"/>').format(
                      svg.points(places), svg.dash_array(name))]
        pieces += [svg.marker(name, *place, f"{name}, {ticks[int(row['step'])]}: {svg.signed(row['mean'], 2)}")
                   for row, place in zip(own, places, strict=True)]
        body.append(Markup('<g class="series {}" data-estimator="{}">{}</g>').format(
            svg.series_class(name), name, svg.joined(pieces)))
        ends.append((name, *places[-1]))
    heights = spread([place for _, _, place in ends], 14.0, y.end, y.start)
    for (name, _, own_place), place in zip(ends, heights, strict=True):
        body.append(Markup('<g class="series {}" data-estimator="{}"><polyline class="leader" points="{}"/>{}</g>').format(
            svg.series_class(name), name, svg.points([(x.end + 5, own_place), (x.end + 18, place)]),
            svg.text(x.end + 21, place + 4, name, "end")))
    return svg.chart(760.0, 280.0 + below, label, body, "wide always")
